"""What random compressors draw, made on the device by a torch generator of that device.

The numbers differ from NumPy's but have the same form and distribution: the kernels take either.
Uniform numbers are float64 as in NumPy, so that a probability below 2^-24 is not rounded to 0.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from torch import Generator, Tensor

from efsgd.compressors import (
    QSGD,
    Blockwise,
    Contractive,
    Natural,
    NaturalDithering,
    PowerSGD,
    RandK,
    Scaled,
    Shared,
    TernGrad,
)
from efsgd.compressors.base import Compressor, instance
from efsgd.compressors.packing import Shape
from efsgd.compressors.selection import count
from efsgd.deep.arrays import seeded_subset


@singledispatch
def draw(c: Compressor, shape: Shape, generator: Generator | None, device: Any) -> Any:
    """Draw what is random for an input of this shape (..., d), on ``device``; None if nothing is.

    A tensor with the same leading axes or a list of such. It depends only on the shape and the
    state of ``generator``, which must belong to ``device``; the host does not wait for it. Raises
    ValueError for a random compressor whose class has not registered how it draws.
    """
    if not instance(c).random:
        return None
    raise missing(c)


def missing(c: Compressor) -> ValueError:
    """The error for a compressor without a torch kernel; it says how to register one."""
    name = f"register({type(instance(c)).__name__})"
    draws = f" and its draws with efsgd.deep.kernels.draw.{name}" if c.random else ""
    cure = f"register one with efsgd.deep.kernels.apply.{name}{draws}"
    return ValueError(f"{c} has no torch kernel of its own: {cure}")


def registered(c: Compressor, table: Any, method: str) -> bool:
    """Whether the function that ``table`` has for c is made for the method that c has in NumPy.

    It is not where a subclass overrides the method and registers no function of its own.
    """
    cls = next(cls for cls in type(instance(c)).__mro__ if cls in table.registry)
    return getattr(type(c), method) is getattr(cls, method, None)


def as_tensors(drawn: Any, device: Any = "cpu") -> Any:
    """What a compressor drew with NumPy, copied to ``device``: a tensor, a list of them or None."""
    if isinstance(drawn, list | tuple):
        return type(drawn)(as_tensors(part, device) for part in drawn)
    return None if drawn is None else torch.tensor(drawn, device=device)


def _need(generator: Generator | None) -> Generator:
    """Return the generator; ValueError without one."""
    if generator is None:
        raise ValueError(
            "a random compressor needs a generator: pass torch.Generator(device).manual_seed(seed)"
        )
    return generator


def _uniform(shape: Shape, generator: Generator | None, device: Any) -> Tensor:
    """Uniform numbers in [0, 1), float64."""
    return torch.rand(shape, generator=_need(generator), dtype=torch.float64, device=device)


def _own(lead: Shape) -> Shape:
    """The leading axes of what a joint compressor draws: once for all workers, axis -2 of three."""
    return (*lead[:-1], 1) if len(lead) > 1 else lead


@draw.register(QSGD)
@draw.register(TernGrad)
@draw.register(NaturalDithering)
def _entries(c: Compressor, shape: Shape, generator: Generator | None, device: Any) -> Tensor:
    """Uniform numbers in [0, 1), one an entry."""
    return _uniform(shape, generator, device)


@draw.register
def _natural(c: Natural, shape: Shape, generator: Generator | None, device: Any) -> Tensor | None:
    """Uniform numbers in [0, 1), one an entry; rounding to the nearest draws nothing."""
    return None if c.nearest else _uniform(shape, generator, device)


@draw.register
def _rand_k(c: RandK, shape: Shape, generator: Generator | None, device: Any) -> Tensor:
    """The positions (..., k) that are sent, increasing: of the k largest of d uniform numbers."""
    numbers = _uniform(shape, generator, device)
    return numbers.topk(count(c.k, shape[-1]), sorted=False).indices.sort(-1).values


@draw.register
def _shared(c: Shared, shape: Shape, generator: Generator | None, device: Any) -> list[Tensor]:
    """Seeds (...), int64, and the positions (..., k) that they determine."""
    *lead, d = shape
    seeds = torch.empty(_own(tuple(lead)), dtype=torch.int64, device=device)
    seeds.random_(-(2**63), None, generator=_need(generator))  # all 64 bits
    k = count(c.inner.k, d)
    return [seeds.expand(lead), seeded_subset(seeds, d, k).expand(*lead, k)]


@draw.register
def _power(c: PowerSGD, shape: Shape, generator: Generator | None, device: Any) -> Tensor:
    """Q (..., n, r), standard normal, of a cold start."""
    *lead, d = shape
    sides = (c.sides(d)[1], c.rank_at(d)) if d else (0, 0)
    own, rng = (*_own(tuple(lead)), *sides), _need(generator)
    drawn = torch.randn(own, generator=rng, dtype=torch.float64, device=device)
    return drawn.expand(*lead, *sides)


@draw.register(Scaled)
@draw.register(Contractive)
def _inner(c: Any, shape: Shape, generator: Generator | None, device: Any) -> Any:
    """What the inner one draws."""
    return draw(c.compressor, shape, generator, device)


@draw.register
def _blockwise(c: Blockwise, shape: Shape, generator: Generator | None, device: Any) -> list[Any]:
    """A list with what the inner one draws for the full blocks and for the rest."""
    return [draw(c.compressor, part, generator, device) for part in c.block_shapes(tuple(shape))]
