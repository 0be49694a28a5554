"""Compressors that break one promise each, for the tests of ``verify``."""

from dataclasses import dataclass

import numpy as np

from efsgd import QSGD, Compressor, RandK, TopK


class L2Sign(Compressor, spec="l2_sign_under_test"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        size = np.linalg.norm(x, axis=-1, keepdims=True) / np.sqrt(x.shape[-1])
        return size * np.where(x < 0, -1.0, 1.0)

    def delta(self, d):
        return 1 / d


@dataclass(frozen=True)
class KeepsOneLess(Compressor, spec="keeps_one_less"):
    k: int
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return TopK(self.k - 1).apply(x)

    def delta(self, d):
        return self.k / d


class CheapIdentity(Compressor, spec="cheap_identity"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return x.copy()

    def delta(self, d):
        return 1.0

    def bits(self, d, dtype=np.float64):
        return d


class HiddenBias(Compressor, spec="hidden_bias"):
    """QSGD whose rounding leans down by three percent."""

    guarantee = "unbiased"
    random = True

    def draw(self, shape, rng=None, state=None):
        return 0.97 * QSGD(4).draw(shape, rng)

    def apply(self, x, drawn=None):
        return QSGD(4).apply(x, drawn)

    def omega(self, d):
        return QSGD(4).omega(d)


class BadWire(Compressor, spec="bad_wire"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return x.copy()

    def delta(self, d):
        return 1.0

    def _write(self, out, x, drawn):
        out.floats(x + 1)


class Underflows(Compressor, spec="underflows"):
    """Scales with a norm that squares first: right at normal sizes, 0 or inf at others."""

    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        square = (x**2).sum(-1, keepdims=True)
        return x * (square / np.where(square > 0, square, 1.0))

    def delta(self, d):
        return 1.0


class MixesRows(Compressor, spec="mixes_rows"):
    """Scaled sign whose author forgot the axis: right for one vector, wrong for several."""

    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return np.abs(x).mean() * np.where(x < 0, -1.0, 1.0)

    def delta(self, d):
        return 1 / d


class CoinPathwise(Compressor, spec="coin_pathwise"):
    """Keeps x or sends nothing by a coin: delta = 1/2 in expectation, 0 on every second path."""

    guarantee = "pathwise"
    random = True

    def draw(self, shape, rng=None, state=None):
        return rng.random((*shape[:-1], 1)) < 0.5

    def apply(self, x, drawn=None):
        return x * drawn

    def delta(self, d):
        return 0.5


class OnlyFloat64(Compressor, spec="only_float64"):
    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        return x * (x.dtype == np.float64)

    def delta(self, d):
        return 1.0


class FalseProjection(Compressor, spec="false_projection"):
    guarantee = "pathwise"
    projection = True

    def apply(self, x, drawn=None):
        return 0.5 * x

    def delta(self, d):
        return 0.75


class FalseSize(Compressor, spec="false_size"):
    guarantee = "pathwise"
    fixed_size = True

    def apply(self, x, drawn=None):
        return x.copy()

    def delta(self, d):
        return 1.0

    def _write(self, out, x, drawn):
        out.floats(x[x != 0])


class Overwrites(Compressor, spec="overwrites"):
    """Sends nothing, and hides it: what is left of x is 0 too, and looks well compressed."""

    guarantee = "pathwise"

    def apply(self, x, drawn=None):
        x *= 0.0
        return x

    def delta(self, d):
        return 1.0


@dataclass(frozen=True)
class Claiming(Compressor):
    """``inner``, but claims a delta or omega better by ``share``, and names no attaining point."""

    inner: Compressor
    share: float

    @property
    def guarantee(self):
        return self.inner.guarantee

    @property
    def random(self):
        return self.inner.random

    def draw(self, shape, rng=None, state=None):
        return self.inner.draw(shape, rng)

    def apply(self, x, drawn=None):
        return self.inner.apply(x, drawn)

    def _delta(self, d):
        return self.inner.delta(d) * (1 + self.share)

    def _omega(self, d):
        return self.inner.omega(d) / (1 + self.share)


class Shrunk(Compressor, spec="shrunk_under_test"):
    """Unbiased rand-1 times ``a``: each entry is sent so seldom that none of them tells."""

    guarantee = "unbiased"
    random = True
    a = 0.8

    def draw(self, shape, rng=None, state=None):
        return RandK(1).draw(shape, rng)

    def apply(self, x, drawn=None):
        return self.a * RandK(1, unbiased=True).apply(x, drawn)

    def omega(self, d):
        return d - 1.0


class Nothing(Shrunk, spec="nothing_under_test"):
    a = 0.0


class PlainQSGD(Compressor, spec="plain_qsgd_under_test"):
    """Not scaled by 1/(1 + omega), with the delta of that: what makes error feedback diverge."""

    guarantee = "expectation"
    random = True

    def draw(self, shape, rng=None, state=None):
        return QSGD(1).draw(shape, rng)

    def apply(self, x, drawn=None):
        return QSGD(1).apply(x, drawn)

    def delta(self, d):
        return 1 / (1 + QSGD(1).omega(d))


class Silent(Compressor):
    """Its author forgot to say what kind of bound it has."""

    def apply(self, x, drawn=None):
        return 0.0 * x

    def delta(self, d):
        return 0.5
