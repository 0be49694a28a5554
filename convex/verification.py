"""Does a compressor keep its word? An adversarial search for a vector where it does not.

Gaussian vectors never meet a worst case: on them scaled sign achieves about 2/pi at any d, while
its delta is 1/d. So the search goes through the shapes that are worst for known compressors, climbs
from the worst it finds, and then looks at tiny and huge vectors, whose |x|^2 leaves float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, get_args

import numpy as np

from efsgd.arrays import Array, Generator, achieved_delta
from efsgd.base import Compressor, Guarantee, drawn_for, instance, whole
from efsgd.wire import HEADER, decode

ROUNDING = 1e-9  # of a claimed delta
FLOAT32 = 1e-4  # rounding of a loss in float32
NEAR = 1e-6  # how near the claim the worst case has to come to count as attained
ERRORS = 4.0  # standard errors; what looks like a violation is drawn again before it is called one
SCALES = (1e-309, 1e-150, 1e150)
EXTREME = " where |x|^2 underflows or overflows: divide by max|x| before taking norms"
LONG = 4096  # a dimension at which the header cannot hide what the payload carries


@dataclass(frozen=True, eq=False)
class Verification:
    """What :func:`verify` found. ``bool(v)`` is False where the claim is violated."""

    compressor: str
    d: int
    guarantee: Guarantee
    verdict: str  # "attained", "not violated", "VIOLATED" or "claims nothing"
    claimed: float  # delta, or omega if unbiased
    worst: float  # the least delta, or greatest omega, that was found; NaN if none was measured
    error: float  # its standard error, 0 if nothing is random
    vector: Array  # (d,) where it was found
    reason: str  # what was violated; empty if nothing was

    def __bool__(self) -> bool:
        """Whether nothing was violated."""
        return self.verdict != "VIOLATED"

    def __str__(self) -> str:
        """One or two lines."""
        what = "omega" if self.guarantee == "unbiased" else "delta"
        said = f"{self.compressor}, d = {self.d}: {self.verdict}"
        if self.verdict != "claims nothing":
            spread = f" +- {self.error:.2g}" if self.error else ""
            said += f"; claimed {what} = {self.claimed:.6g}, worst found {self.worst:.6g}{spread}"
        if self:
            return said
        shown = np.array2string(self.vector, precision=3, threshold=8, edgeitems=3)
        return f"{said}\n{self.reason}, at x = {shown}"


def verify(
    compressor: Compressor | Callable[..., Any],
    d: int,
    rng: Generator | None = None,
    *,
    delta: float | Callable[[int], float] | None = None,
    samples: int = 1000,
) -> Verification:
    """Search for a vector of dimension d at which ``compressor`` breaks what it claims.

    It may be a :class:`Compressor`, which says itself what it guarantees, or a function x -> C(x)
    of one vector (d,), or (x, rng) -> C(x), with the ``delta`` that it is to be held to. What is
    random is judged by means over ``samples`` draws. Checked are the bound, the vector that is said
    to attain it, for unbiased ones the mean, and for compressors that can be encoded that messages
    decode to C(x) and are no longer than ``bits(d)`` says; also that C treats several vectors as it
    treats each, that the bound holds in float32, and the flags ``projection`` and ``fixed_size``.

    Raises ValueError where a function comes without ``delta``, or a compressor with one.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    if isinstance(compressor, type):
        compressor = instance(compressor)
    whole("samples", samples, least=2)
    if isinstance(compressor, Compressor):
        if delta is not None:
            raise ValueError(f"{compressor} claims its own delta: leave delta out")
        c = compressor
    else:
        if delta is None:
            raise ValueError(
                "a function claims nothing by itself: pass delta, a number or d -> delta"
            )
        claim = delta(d) if callable(delta) else float(delta)
        if not claim <= 1:
            raise ValueError(f"delta must be a number of at most 1, not {claim}")
        c = _Function(compressor, claim)
    if d < 1:
        raise ValueError(f"d must be at least 1 to search for a vector, not {d}")
    return _Search(c, d, rng, samples).run()


class _Search:
    """One search; ``loss`` is what a claim bounds, |C(x)-x|^2/|x|^2, in the mean if random."""

    def __init__(self, c: Compressor, d: int, rng: Generator, samples: int) -> None:
        self.c, self.d, self.rng, self.samples = c, d, rng, samples
        self.unbiased = c.guarantee == "unbiased"
        self.silent = c.guarantee in ("absolute", "none")
        self.claimed = 0.0 if self.silent else c.omega(d) if self.unbiased else c.delta(d)
        self.silent = self.silent or (self.claimed == 0 and not self.unbiased)  # delta = 0
        self.bound = self.claimed if self.unbiased else 1.0 - self.claimed

    def run(self) -> Verification:
        """Search, then judge."""
        if self.c.guarantee not in get_args(Guarantee) or not self.claimed < np.inf:
            raise ValueError(
                f"{self.c} claims {self.claimed} with the guarantee {self.c.guarantee!r}: "
                f"use a number and one of {', '.join(get_args(Guarantee))}"
            )
        points = candidates(self.d, self.rng)
        extreme = np.concatenate([points[::4] * scale for scale in SCALES])
        broken = self._broken(points)
        if not isinstance(self.c, _Function):
            broken = broken or self._mixed(points) or self._longer(points) or self._flagged(points)
        broken = broken or self._broken(extreme)
        if broken is not None:
            return self._result("VIOLATED", *broken)
        if self.silent:
            return self._result("claims nothing", points[0])
        points = np.concatenate([points, *self._named()])
        points = np.concatenate([points, self._climb(points)])
        loss, error = self._loss(points)
        violated = self._violated(points, loss, error, "")
        if violated is None:
            violated = self._violated(extreme, *self._loss(extreme), EXTREME)
        if violated is not None:
            return violated
        wrong = self._bias(points) if self.unbiased else self._short(points)
        if wrong is not None:
            return self._result("VIOLATED", *wrong)
        at = int(np.argmax(loss))
        again, spread = self._anew(points[at], loss[at])
        reached = self.bound - again <= NEAR + ERRORS * spread
        verdict = "attained" if reached else "not violated"
        return self._result(verdict, points[at], "", again, spread)

    def _violated(self, points: Array, loss: Array, error: Array, why: str) -> Verification | None:
        """The verdict on the worst of these points, if the bound does not hold there."""
        at = int(np.argmax(loss - ERRORS * error))
        if not self._above(loss[at], error[at]):
            return None
        again, spread = self._anew(points[at], loss[at])
        if not self._above(again, spread):
            return None
        reason = f"the bound does not hold{why}"
        return self._result("VIOLATED", points[at], reason, again, spread)

    def _anew(self, x: Array, loss: float) -> tuple[float, float]:
        """The loss at a chosen vector and its error: if random drawn again, and more, because it
        was chosen for being large."""
        if not self.c.random:
            return loss, 0.0
        return self._moments(x, 20 * self.samples)

    def _result(
        self, verdict: str, x: Array, reason: str = "", loss: float = np.nan, error: float = 0.0
    ) -> Verification:
        found = (self.claimed, self._told(loss), float(error))
        return Verification(
            str(self.c), self.d, self.c.guarantee, verdict, *found, x.copy(), reason
        )

    def _told(self, loss: float) -> float:
        return float(loss if self.unbiased else 1.0 - loss)

    def _above(self, loss: float, error: float) -> bool:
        return not loss - ERRORS * error <= self.bound + ROUNDING  # NaN is above

    def _loss(self, points: Array) -> tuple[Array, Array]:
        """The loss at each point (N, d) and its standard error, (N,) each."""
        if not self.c.random:
            loss: Array = 1.0 - achieved_delta(points, self.c(points))
            return loss, np.zeros(len(points))
        moments = np.array([self._moments(x, self.samples) for x in points])
        return moments[:, 0], moments[:, 1]

    def _moments(self, x: Array, draws: int) -> tuple[float, float]:
        many = np.broadcast_to(x, (draws, self.d))
        loss = 1.0 - achieved_delta(many, self.c(many, self.rng))
        if self.c.guarantee == "pathwise":
            return float(loss.max()), 0.0
        return float(loss.mean()), float(loss.std(ddof=1) / np.sqrt(draws))

    def _broken(self, points: Array) -> tuple[Array, str] | None:
        """A vector whose C(x) is no vector of finite numbers of the same shape, and why."""
        for x in points:
            try:
                sent = np.asarray(self.c(x, self.rng))
            except (ValueError, OverflowError, FloatingPointError) as error:
                return x, f"C(x) cannot be computed ({error})"
            if sent.shape != x.shape or not np.isfinite(sent).all():
                return x, f"C(x) has the shape {sent.shape} or holds NaN or inf"
        return None

    def _mixed(self, points: Array) -> tuple[Array, str] | None:
        """A vector of which C makes something else beside other vectors."""
        drawn = self.c.draw(points.shape, self.rng)
        together = self.c._checked(points, drawn)
        for i, x in enumerate(points):
            alone = self.c._checked(x, drawn_for(i, drawn))
            if not np.allclose(together[i], alone, rtol=ROUNDING, atol=ROUNDING * np.abs(x).max()):
                return x, "C of several vectors at once is not C of each of them"
        return None

    def _short(self, points: Array) -> tuple[Array, str] | None:
        """A vector at which the bound does not hold in float32."""
        if self.c.random or isinstance(self.c, _Function):
            return None
        short = points.astype(np.float32)
        loss = 1.0 - achieved_delta(short, self.c(short))
        worst = int(np.argmax(loss))
        if loss[worst] <= self.bound + FLOAT32:
            return None
        return points[worst], "the bound does not hold in float32"

    def _flagged(self, points: Array) -> tuple[Array, str] | None:
        """A vector at which the flag ``projection`` or ``fixed_size`` is not true, and which."""
        c = self.c
        sizes = set()
        for x in points:
            drawn = c.draw(x.shape, self.rng)
            sent = c._checked(x, drawn)
            if c.projection and abs(sent @ x - sent @ sent) > 1e-6 * (x @ x):
                return x, "projection is claimed, but <C(x), x> is not |C(x)|^2"
            if c.fixed_size and c.name:
                sizes.add(len(c.encode(x, drawn=drawn)))
                if len(sizes) > 1:
                    return x, f"fixed_size is claimed, but messages take {sorted(sizes)} bytes"
        return None

    def _named(self) -> list[Array]:
        """The vector that the compressor itself names as its worst, [(1, d)], or none."""
        try:
            return [self.c.attaining_point(self.d)[None]]
        except NotImplementedError:
            return []

    def _climb(self, points: Array, rounds: int = 40, width: int = 16) -> Array:
        """Better points near the worst few, by random changes of all or of single entries."""
        if self.c.random:
            rounds, width = 6, 4
        loss, _ = self._loss(points)
        best = points[np.argsort(loss)[-width:]].copy()
        score = self._loss(best)[0]
        for i in range(rounds):
            size = 0.7 ** (i % 20)
            noise = self.rng.standard_normal(best.shape)
            single = self.rng.random(best.shape) < (1.0 if i % 2 else 2.0 / self.d)
            tried = best * np.where(single, np.exp(size * noise), 1.0)
            better, _ = self._loss(tried)
            won = better > score
            best[won], score[won] = tried[won], better[won]
        return best

    def _bias(self, points: Array) -> tuple[Array, str] | None:
        """A vector at which the mean of C(x) is not x, and by how much; drawn twice to be sure."""
        for x in points:
            if all((worst := self._deviation(x)) > ERRORS + 1 for _ in range(2)):
                return x, f"the mean of C(x) is {worst:.3g} standard errors away from x"
        return None

    def _deviation(self, x: Array) -> float:
        """How many standard errors the mean of C(x) is off, at the worst entry."""
        scale = float(np.abs(x).max())
        sent = self.c(np.broadcast_to(x, (self.samples, self.d)), self.rng) / scale
        error = sent.std(axis=0, ddof=1) / np.sqrt(self.samples)
        rare = np.abs(sent).max() / self.samples  # a large value that was too rare to be drawn
        off: Array = np.abs(sent.mean(axis=0) - x / scale) / np.maximum(error, rare)
        return float(off.max())

    def _longer(self, points: Array) -> tuple[Array, str] | None:
        """A vector whose message is longer than said, or does not decode to C(x), and why."""
        if not self.c.name:
            return None
        long = self.rng.standard_normal(LONG)
        try:
            self.c(long, self.rng)
        except ValueError:  # some have a shape of their own, and no other dimension
            long = points[0]
        for x in (long, *points[:: max(1, len(points) // 16)]):
            drawn = self.c.draw(x.shape, self.rng)
            message = self.c.encode(x, drawn=drawn)
            allowed = self.c.bits(x.size) + 8 * HEADER
            if 8 * len(message) > allowed:
                return x, f"a message takes {8 * len(message)} bits, {allowed} are allowed"
            try:
                decoded = decode(message)
            except ValueError as error:
                return x, f"its message cannot be decoded ({error})"
            if not np.array_equal(decoded, self.c._checked(x, drawn)):
                return x, "its message does not decode to C(x)"
        return None


class _Function(Compressor):
    """A plain function of one vector, held to a given delta."""

    def __init__(self, function: Callable[..., Any], delta: float) -> None:
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "claim", delta)
        object.__setattr__(self, "draws", _takes_generator(function))

    function: Callable[..., Any]
    claim: float
    draws: bool

    @property
    def random(self) -> bool:
        """Whether the function takes a generator."""
        return self.draws

    @property
    def guarantee(self) -> Guarantee:
        """In the mean where the function is random."""
        return "expectation" if self.draws else "pathwise"

    def __call__(self, x: Any, rng: Generator | None = None) -> Array:
        """C of each vector."""
        extra = (rng,) if self.draws else ()
        if x.ndim == 1:
            return np.asarray(self.function(x.copy(), *extra), np.float64)
        return np.stack([self.function(v.copy(), *extra) for v in x]).astype(np.float64)

    def _delta(self, d: int) -> float:
        return self.claim

    def __str__(self) -> str:
        """The function's name."""
        name = str(getattr(self.function, "__name__", type(self.function).__name__))
        return "the function" if name == "<lambda>" else name


def _takes_generator(function: Callable[..., Any]) -> bool:
    """Whether the function has a second argument that it needs, or one called rng."""
    try:
        parameters = signature(function).parameters.values()
    except ValueError:  # some built-in functions do not say
        return False
    by_place = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(by_place) > 1 and (
        by_place[1].default is Parameter.empty or by_place[1].name == "rng"
    )


def candidates(d: int, rng: Generator) -> Array:
    """Vectors (N, d) that are worst, or nearly, for known compressors."""
    sparse = np.zeros((8, d))
    for i, k in enumerate(rng.integers(1, d + 1, size=len(sparse))):
        sparse[i, rng.permutation(d)[:k]] = rng.standard_normal(k)
    first = np.eye(d)[:1]
    flat = [np.where(first, 1.0, low) for low in (1e-8, 1e-3, 0.3, 0.999999, 1 / (1 + d**0.5))]
    halves = np.where(np.arange(d) < (d + 1) // 2, 1.0, -1.0)[None]
    rows = np.concatenate(
        [
            first,
            -np.eye(d)[-1:],
            np.ones((1, d)),
            halves,
            *flat,
            *(value * np.ones((1, d)) for value in (4 / 3, 1.5, 1.4999, 1.5001)),
            *(rate ** np.arange(d)[None] for rate in (0.5, 0.9)),
            rng.choice([1.0, 3.0, -1.0], (4, d)),
            sparse,
            rng.standard_normal((8, d)),
            rng.standard_normal((8, d)) * np.exp(3 * rng.standard_normal((8, d))),
            rng.integers(-2, 3, (4, d)) + np.eye(d)[rng.integers(d, size=4)] / 8,
        ]
    )
    return rows[rows.any(-1)]
