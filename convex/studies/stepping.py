"""Error feedback step by step, where what a run records is not enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor
from efsgd.methods.feedback import EFSGD


def memories(
    compressor: Compressor,
    x: Array,
    gradient: Callable[[int, Array, Array], Array],
    lrs: Iterable[float],
    rng: Generator,
) -> Iterator[Array]:
    """e_1, e_2, ... (R, d) from x (R, d), one for each of ``lrs``; ``gradient`` is of (t, x, e)."""
    method = EFSGD(compressor)
    memory, e = method.start(x), 0 * x
    for t, lr in enumerate(lrs):
        x, memory = method.advance(x, gradient(t, x, e), memory, lr, rng)
        assert memory.e is not None  # of a method with feedback
        e = memory.e
        yield e
