"""What the tests of compressors share: instances of every subclass, inputs, draws, exact errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from efsgd import compressors as library
from efsgd.arrays import Array
from efsgd.compressors import (
    QSGD,
    Blockwise,
    Compressor,
    Contractive,
    Identity,
    LowRank,
    Natural,
    NaturalDithering,
    PowerSGD,
    Quantised,
    RandK,
    Scaled,
    ScaledSign,
    Shared,
    Sign,
    SignTopK,
    TernGrad,
    Threshold,
    TopK,
    TwoMeans,
)

LIBRARY = [cls for cls in Compressor.__subclasses__() if hasattr(library, cls.__name__)]

INSTANCES: dict[type[Compressor], tuple[Compressor, ...]] = {
    Identity: (Identity(),),
    Sign: (Sign(), Sign(zero=0)),
    ScaledSign: (ScaledSign(), ScaledSign(zero=0)),
    TwoMeans: (TwoMeans(),),
    TopK: (TopK(1), TopK(3), TopK(0.3)),
    RandK: (RandK(1), RandK(3), RandK(2, unbiased=True), RandK(0.3, unbiased=True)),
    QSGD: (QSGD(1), QSGD(4), QSGD(255)),
    TernGrad: (TernGrad(),),
    Natural: (Natural(), Natural(nearest=True)),
    NaturalDithering: (NaturalDithering(3),),
    LowRank: (LowRank(1), LowRank(2)),
    PowerSGD: (PowerSGD(2),),
    Shared: (Shared(RandK(2)), Shared(RandK(0.7, unbiased=True))),
    Quantised: (
        Quantised(TopK(5), 2),
        Quantised(TopK(0.5), 4),
    ),
    SignTopK: (SignTopK(1), SignTopK(2), SignTopK(0.5)),
    Threshold: (
        Threshold(l2=0.8),
        Threshold(l2=1.0),
        Threshold(linf=0.5),
        Threshold(linf=1.0),
        Threshold(abs=0.1),
    ),
    Scaled: (
        Scaled(TopK(2), 0.5),
        Scaled(RandK(2, unbiased=True), 0.25),
        Scaled(TopK(2), 1.5),
        Scaled(RandK(2), 0.7),
        Scaled(Natural(), 8 / 9),
        Scaled(Natural(nearest=True), 0.5),
        Scaled(Natural(nearest=True), 1.2),
        Scaled(Sign(zero=0), 0.01),
        Scaled(Threshold(abs=0.1), 0.5),
        Scaled(QSGD(2), 1.0),
        Scaled(ScaledSign(zero=0), 1.5),
        Scaled(Scaled(ScaledSign(), 0.5), 1.5),
        Scaled(Blockwise(TernGrad(), 4), 0.5),
        Scaled(Contractive(QSGD(2)), 1.5),
        Scaled(Quantised(TopK(5), 3), 1.25),
        Scaled(Shared(RandK(2)), 0.7),
    ),
    Contractive: (
        Contractive(QSGD(1)),
        Contractive(RandK(2, unbiased=True)),
        Contractive(Blockwise(TernGrad(), 3)),
        Contractive(Scaled(Natural(), 1.0)),
        Contractive(NaturalDithering(2)),
        Contractive(Shared(RandK(2, unbiased=True))),
    ),
    Blockwise: (
        Blockwise(ScaledSign(), 4),
        Blockwise(QSGD(2), 3),
        Blockwise(ScaledSign(zero=0), 3),
        Blockwise(Sign(zero=0), 1),
        Blockwise(TopK(1), 1),
        Blockwise(RandK(2, unbiased=True), 5),
        Blockwise(Natural(), 4),
        Blockwise(LowRank(1), 6),
        Blockwise(Threshold(l2=0.8), 3),
        Blockwise(Scaled(TernGrad(), 0.5), 4),
        Blockwise(Blockwise(SignTopK(2), 3), 7),
        Blockwise(Contractive(QSGD(1)), 5),
        Blockwise(Quantised(TopK(4), 2), 6),
    ),
}
COMPRESSORS = [c for cls in LIBRARY for c in INSTANCES.get(cls, ())]
DETERMINISTIC = [c for c in COMPRESSORS if not c.random]
RANDOM = [c for c in COMPRESSORS if c.random]
UNBIASED = [c for c in COMPRESSORS if c.guarantee == "unbiased"]
BOUNDED = [c for c in COMPRESSORS if c.guarantee not in ("absolute", "none")]
SOME = [c for cls in LIBRARY for c in INSTANCES.get(cls, ())[:2]]
HOMOGENEOUS = [c for c in COMPRESSORS if c in BOUNDED]  # C(ax) = a C(x) for powers of two a
DTYPES = (np.float32, np.float64)


def slow_but_some(compressors: list[Compressor]) -> list[Any]:
    """The same as parameters of a test: all but two of each class only in `make test-slow`."""
    return [c if c in SOME else pytest.param(c, marks=pytest.mark.slow) for c in compressors]


def drawn_for(c: Compressor, shape: tuple[int, ...], seed: int = 0) -> Any:
    """What c draws for this shape with a generator of its own."""
    return c.draw(shape, np.random.default_rng(seed))


def sent(c: Compressor, x: Array, seed: int = 0) -> Array:
    """C(x), drawn with a generator of its own."""
    return c(x, np.random.default_rng(seed))


def row(drawn: Any, i: int) -> Any:
    """The draws that belong to row i of an (R, d) input."""
    if isinstance(drawn, list):
        return [row(part, i) for part in drawn]
    return None if drawn is None else drawn[i]


def vectors(d: int, dtype: Any = np.float64, seed: int = 0, each: int = 4) -> Array:
    """Vectors (n, d) that compressors find hard, entries between 1e-9 and 1e3 in magnitude or 0."""
    rng = np.random.default_rng([seed, d])
    i = np.arange(d)
    special = [
        np.zeros(d),
        -np.zeros(d),
        np.ones(d),
        np.full(d, -0.1),  # constant, and no sum of it is exact
        1.0 * (i == 0),
        -3.0 * (i == d - 1),
        np.where(i == d // 2, -1.0, -0.0),  # one nonzero among negative zeros
        (-1.0) ** i,
        np.where(i == 0, 1.0, 1e-8),
        np.where(i == 0, 1.0, -1.0 / (1.0 + math.sqrt(d or 1))),  # TernGrad's worst
        np.where(i == 0, 1.0, 0.5),  # at the threshold linf = 0.5
        np.where(i == 0, 1.0, np.nextafter(0.5, 0)),  # just below
        2.0 ** -i.clip(max=25),
        (-0.7) ** i.clip(max=50),
        np.where(i % 3 == 0, 2.0, -1.0),  # many ties
        np.full(d, 4 / 3) * 2.0 ** (i % 5),
        np.full(d, -1.5) * 2.0 ** (i % 3),
        2.0 * (i % 3) + 1.0,  # odd integers
        np.sqrt(i + 1.0),
        1.0 * (i < d // 2) - 1.0 * (i >= d // 2),
    ]
    size = (each, d)
    drawn = [
        rng.standard_normal(size),
        rng.standard_normal(size) * (rng.random(size) < 0.2),
        np.clip(rng.standard_cauchy(size), -1e3, 1e3),
        rng.integers(-2, 3, size).astype(float),
        np.exp(rng.uniform(-9, 5, size)) * rng.choice([-1.0, 1.0], size),
    ]
    return np.concatenate([np.stack(special), *drawn]).astype(dtype)


def square(x: Array) -> Array:
    """|x|_2^2 of each vector."""
    return np.vecdot(x, x)


def expected_error(c: Compressor, x: Array) -> Array:
    """E|C(x)-x|^2 of each float64 vector (..., d), from a closed form where c is random.

    Derived here, with y = |x|: an entry that becomes lo or hi >= lo without bias has the variance
    (y-lo)(hi-y). QSGD: lo = l u, hi = (l+1) u, u = |x|_2/s. TernGrad: lo = 0, hi = max y. Natural:
    hi = 2 lo. Dithering: the levels beside y. Without bias E|aC-x|^2 = a^2 E|C-x|^2 +
    (1-a)^2|x|^2. RandK keeps each entry with probability k/d.
    """
    d, y = x.shape[-1], np.abs(x)
    match c:
        case Blockwise():
            blocks = [x[..., at : at + c.size] for at in range(0, d, c.size)]
            return np.sum([expected_error(c.compressor, block) for block in blocks], axis=0)
        case Scaled(compressor=Scaled() as inner):
            return expected_error(Scaled(inner.compressor, c.factor * inner.factor), x)
        case Contractive(compressor=inner):
            return expected_error(Scaled(inner, 1 / (1 + inner.omega(d))), x)
        case Shared(compressor=inner):
            return expected_error(inner, x)
        case Scaled(compressor=Shared(compressor=inner), factor=a):
            return expected_error(Scaled(inner, a), x)
        case Scaled(compressor=Contractive(compressor=inner), factor=a):
            return expected_error(Scaled(inner, a / (1 + inner.omega(d))), x)
        case Scaled(compressor=inner, factor=a) if inner.guarantee == "unbiased":
            return a**2 * expected_error(inner, x) + (1 - a) ** 2 * square(x)
        case Scaled(compressor=RandK() as inner, factor=a):
            return (1 - a * (2 - a) * inner.delta(d)) * square(x)
        case RandK():
            return (1 / count(c.k, d) * d - 1 if c.unbiased else 1 - count(c.k, d) / d) * square(x)
        case QSGD():
            unit = np.sqrt(square(x))[..., None] / c.s
            share = np.divide(y, unit, out=np.zeros_like(y), where=unit > 0)
            part = share - np.floor(share)
            return np.sum(unit**2 * part * (1 - part), axis=-1)
        case TernGrad():
            return y.max(-1) * y.sum(-1) - square(x)
        case Natural(nearest=False):
            low = np.where(y > 0, 2.0 ** np.floor(np.log2(np.where(y > 0, y, 1.0))), 0.0)
            return np.sum((y - low) * (2 * low - y), axis=-1)
        case NaturalDithering(s=s):
            top = np.maximum(y.max(-1, keepdims=True), np.finfo(x.dtype).tiny)
            levels = np.concatenate([[0.0], 2.0 ** -np.arange(s - 1.0, -1, -1)])
            below = np.searchsorted(levels[:-1], y / top, side="right") - 1
            low, high = levels[below] * top, levels[below + 1] * top
            return np.sum((y - low) * (high - y), axis=-1)
    assert not c.random, f"no closed form is derived here for {c}"
    return square(c(x) - x)


def count(k: float, d: int) -> int:
    """How many of d entries k means, a count or a share s as floor(s*d + 1/2): from 1 to d."""
    return min(d, max(1, int(k * d + 0.5)) if isinstance(k, float) else k)
