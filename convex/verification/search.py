"""The adversarial search: the loss of a compressor, and worse points near bad ones."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array, Generator, achieved_delta
from efsgd.compressors.base import Compressor
from efsgd.convex.verification.plain_function import PlainFunction
from efsgd.convex.verification.precision import ROUNDING, precision_of, rounding

SIMPLE = 1e-7  # relative: of losses as close as that, the simplest vector is reported
ERRORS = 4.0  # standard errors; what looks like a violation is drawn again before it is called one
ROUNDS, RANDOM_ROUNDS = 40, 6  # of the ascent
KEPT = 16  # points that the ascent returns
CHUNK = 2**18  # entries that are drawn at once
AGAIN, FINAL = 20, 320  # times the samples: at the worst vector, and where that looks suspicious
GRID, ZOOMS = 64, 6  # of a sweep: its last interval is 1e-9 of the first
DRAWN, LEAST = 2**22, 100  # entries drawn at one point, and the least number of draws


class Search:
    """``loss`` is what a claim bounds, |C(x)-x|^2/|x|^2: in the mean over ``samples`` draws if C is
    random, and the greatest of them if the claim is for every draw."""

    def __init__(self, c: Compressor, d: int, rng: Generator, samples: int) -> None:
        self.c, self.d, self.rng = c, d, rng
        self.samples = min(samples, max(LEAST, DRAWN // d))
        self.precision = precision_of(c, d)
        self.unbiased = c.guarantee == "unbiased"
        silent = c.guarantee in ("absolute", "none")
        defines_bound = (type(c).delta, type(c).omega) != (Compressor.delta, Compressor.omega)
        if c.guarantee == "none" and defines_bound:
            raise ValueError(
                f"{c} defines a bound but guarantees none: write guarantee = "
                f"'pathwise', 'expectation' or 'unbiased' in its class"
            )
        claimed = 0.0 if silent else c.omega(d) if self.unbiased else c.delta(d)
        self.claimed = float(claimed)
        zero_is_a_claim = self.unbiased or isinstance(c, PlainFunction)
        self.silent = silent or (self.claimed == 0 and not zero_is_a_claim)
        self.bound = self.claimed if self.unbiased else 1.0 - self.claimed
        small = not self.unbiased and 0 < self.claimed < 2 * ROUNDING
        self.accuracy = self.claimed / 2 if small else ROUNDING

    def loss(self, points: Array, samples: int | None = None) -> tuple[Array, Array]:
        """The loss at each point (N, d) and its standard error, (N,) each."""
        if not self.c.random:
            loss: Array = 1.0 - achieved_delta(points, self.c(points))
            return loss, np.zeros(len(points))
        draws = samples or self.samples
        rows = max(1, CHUNK // (draws * self.d))  # at a time
        pieces = [points[at : at + rows] for at in range(0, len(points), rows)]
        means, errors = zip(*(self._moments(piece, draws) for piece in pieces), strict=True)
        return np.concatenate(means), np.concatenate(errors)

    def redrawn(self, x: Array, loss: float, times: int = AGAIN) -> tuple[float, float]:
        """The loss at a chosen vector (d,) and its standard error.

        A random one is estimated anew and from more draws, as x was chosen for a large estimate.
        """
        if not self.c.random:
            return loss, 0.0
        (mean,), (error,) = self._moments(x[None], times * self.samples)
        return float(mean), float(error)

    def _moments(self, points: Array, draws: int) -> tuple[Array, Array]:
        """The mean loss of each point and its standard error, or the greatest loss and 0."""
        step = max(1, CHUNK // (len(points) * self.d))  # draws at a time
        counts = [min(step, draws - at) for at in range(0, draws, step)]
        loss = np.concatenate([self._draws(points, count) for count in counts], axis=1)
        if self.c.guarantee == "pathwise":
            return loss.max(axis=1), np.zeros(len(points))
        return loss.mean(axis=1), loss.std(axis=1, ddof=1) / np.sqrt(draws)

    def _draws(self, points: Array, draws: int) -> Array:
        """The loss at each point (N, d) in so many draws, (N, draws)."""
        repeated = np.repeat(points, draws, axis=0)
        achieved = achieved_delta(repeated, self.c(repeated, self.rng))
        return 1.0 - achieved.reshape(len(points), draws)

    def rounding(self, points: Array) -> Array:
        """What the dtype of C(x) may have added to the loss at each point (N, d); (N,).

        If C is random: in the mean over as many draws as one chunk holds.
        """
        if self.precision.exact:
            return np.zeros(len(points))
        draws = max(1, min(LEAST, CHUNK // self.d)) if self.c.random else 1
        copies = (np.repeat(x[None], draws, axis=0) for x in points)
        return np.array([rounding(xs, self.c(xs, self.rng)).mean() for xs in copies])

    def exceeds(self, loss: float, error: float, rounded: float) -> bool:
        """Whether a loss lies above what is claimed, beyond chance and what may be ``rounded``."""
        most = self.bound + self.accuracy + rounded
        return not loss - ERRORS * error <= most  # NaN is above

    def refuse_undecided(self, loss: float, rounded: float) -> None:
        """ValueError where the largest loss may be above the claim, were it not for rounding, and
        that is as large as half the claimed delta: a delta of 0 would look the same."""
        if not self.unbiased and rounded > self.claimed / 2 > 0 and loss + rounded > self.bound:
            raise ValueError(
                f"{self.c} returns {self.precision.dtype}, whose rounding may hide {rounded:.2g} "
                f"of delta = {self.claimed:.6g} at d = {self.d}: return float64 to have it checked"
            )

    def worst_index(self, loss: Array) -> int:
        """Where the loss is greatest; NaN is greatest.

        If C is not random: the first of those that are nearly as large, as simple vectors come
        first.
        """
        if self.c.random or np.isnan(loss).any():
            return int(np.argmax(loss))
        return int(np.argmax(loss >= loss.max() - SIMPLE * abs(loss.max())))

    def worst(self, points: Array, loss: Array) -> tuple[Array, float, float]:
        """The worst point (d,), its loss and standard error, drawn anew.

        The vector that the compressor names competes once more: a point beside it may have won by
        luck.
        """
        at = self.worst_index(loss)
        x = points[at]
        mean, error = self.redrawn(x, float(loss[at]))
        for named in self.named() if self.c.random else []:
            named_mean, named_error = self.redrawn(named[0], mean)
            if named_mean > mean:
                x, mean, error = named[0], named_mean, named_error
        if error and mean - 2 * error > self.bound:  # too small an excess to tell, or chance
            mean, error = self.redrawn(x, mean, FINAL)
        return x, mean, error

    def named(self) -> list[Array]:
        """The vector that the compressor itself names as its worst, [(1, d)], or none."""
        try:
            return [self.c.attaining_point(self.d)[None]]
        except NotImplementedError:
            return []

    def swept(self) -> Array:
        """Vectors (1, .., 1, a, .., a) with the worst a in (0, 1], one for each number of ones.

        A compressor that compares entries with a threshold is worst just below it, where no ascent
        ends; zooming in finds such jumps. Of a random one it would find chance: there it is left
        out.
        """
        ones = {0, 1, 2, self.d // 4, self.d // 2, self.d - 1}
        counts = [] if self.c.random else sorted(m for m in ones if m < self.d)
        return np.array([self._zoomed(m) for m in counts]).reshape(-1, self.d)

    def _zoomed(self, ones: int) -> Array:
        """The worst vector with so many ones."""
        first = np.arange(self.d) < ones
        a = np.linspace(0.0, 1.0, GRID + 1)[1:]
        for _ in range(ZOOMS):
            at = int(np.argmax(self.loss(self._held(first, a[:, None]))[0]))
            low = a[at - 1] if at else max(0.0, 2 * a[0] - a[1])
            best = a[at]
            a = np.linspace(low, a[min(at + 1, len(a) - 1)], GRID + 1)
            a = np.append(a[a > 0], best)
        return self._held(first, best)

    def _held(self, first: Array, a: Array | float) -> Array:
        """The vectors with 1 at the first entries and a at the others."""
        return self.precision.fit(np.where(first, 1.0, a))

    def climb(self, points: Array) -> Array:
        """Local ascent from every point, by random changes of all or of single entries; the best.

        If C is random, few draws lead it: the points are drawn anew before they count.
        """
        draws = max(2, self.samples // 10)
        best, score = points.copy(), self.loss(points, draws)[0]
        for i in range(RANDOM_ROUNDS if self.c.random else ROUNDS):
            size = 0.7 ** (i % 20)
            noise = self.rng.standard_normal(best.shape)
            changed = self.rng.random(best.shape) < (1.0 if i % 2 else 2.0 / self.d)
            tried = self.precision.fit(best * np.where(changed, np.exp(size * noise), 1.0))
            loss, _ = self.loss(tried, draws)
            won = loss > score
            best[won], score[won] = tried[won], loss[won]
        return best[np.argsort(score)[-KEPT:]]
