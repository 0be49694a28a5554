"""Whether all that a step stores is finite, decided before anything changes.

The old x, the new m and the most that a compressor can send of p must lie within half the range of
the dtypes that store them; then the new x and e are finite. g + wd x, which is rounded to the dtype
of x, must not leave its range. |v| is the largest |entry| of v.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from efsgd import compressors as lib
from efsgd.compressors.base import Compressor
from efsgd.compressors.selection import count
from efsgd.deep.optim.parts import Number, Part, Rule

Kind: TypeAlias = tuple[torch.dtype, torch.dtype]  # of x and of e (of x where there is none)
Reach: TypeAlias = tuple[float, float]  # (a, b) with |C(p)| <= a |p| + b for all p


def kind_of(part: Part, i: int) -> Kind:
    """The dtypes in which tensor i is stored."""
    x, e = part.lists.x[i], part.lists.e[i]
    return x.dtype, (x if e is None else e).dtype


WHOLE = 0.51  # the weight of what has the whole range of its dtype, but for roundings


class Weights(NamedTuple):
    """|x|, |m| and ``rounded`` |g + wd x| must be at most ``half``, and so must what C can send.

    With feedback this is fixed |p| + constant; without, fixed |p| and (per_lr |p| + constant) |lr|.
    """

    half: float  # of the range of x
    rounded: float
    fixed: float
    per_lr: float
    constant: float


class Magnitudes(NamedTuple):
    """|entries| of tensors of one kind, or bounds of them."""

    x: Tensor
    decayed: Tensor | None  # g + wd x, where there is weight decay
    p: Tensor  # lr d + e, without feedback d
    m: Tensor | None  # the new one


def weights(rule: Rule, kind: Kind, sizes: Iterable[int]) -> Weights:
    """Those of a step that compresses vectors of these sizes."""
    of_x, of_e = (torch.finfo(dtype).max / 2 for dtype in kind)
    in_wider = torch.promote_types(*kind) == torch.float16  # the kernels compute in float32 then
    a, b = _widest(rule.compressor, sizes, in_wider)
    if rule.feedback:  # e holds what C(p) leaves of p, and x loses C(p)
        to_e = of_x / of_e
        return Weights(of_x, WHOLE, max(max(1.0, a) * to_e, a), 0.0, b * max(1.0, to_e))
    return Weights(of_x, WHOLE, WHOLE * a, a, b)


def fits(part: Part, kind: Kind, sizes: Iterable[int], magnitudes: Magnitudes) -> Tensor:
    """Whether a step of tensors of one ``kind`` stores finite numbers only, 0-dim bool.

    False where there are others already. ``sizes`` are those of the vectors that are compressed.
    """
    half, rounded, fixed, per_lr, constant = weights(part.rule, kind, sizes)
    x, decayed, p, m = magnitudes
    wide = torch.promote_types(torch.promote_types(x.dtype, p.dtype), torch.float32)
    x, p = x.to(wide), p.to(wide)
    loads = [x]
    if decayed is not None:
        loads.append(decayed.to(wide) * rounded)
    if m is not None:
        loads.append(m.to(wide))
    if part.rule.feedback:
        loads.append(p * fixed + constant)
    else:
        lr = magnitude(part.numbers.lr)
        loads += [p * fixed, p * (per_lr * lr) + constant * lr]
    if x.shape != p.shape:
        return torch.stack([load.amax() for load in loads]).amax() <= half
    return reduce(torch.maximum, loads).amax() <= half  # one reduction: a pass has room for two


def magnitude(number: Number) -> Number:
    """Its absolute value."""
    return number.abs() if isinstance(number, Tensor) else abs(number)


def largest(lists: Sequence[list[Tensor]]) -> list[Any]:
    """|y| of the n tensors of each list, (n,) in float32 at least; None for an empty list."""
    tensors = [y for ys in lists for y in ys]
    dtypes = {y.dtype for y in tensors}
    if tensors[0].device.type == "cpu":  # there it takes a twentieth of the norm
        bounds = torch.stack([bound for y in tensors for bound in torch.aminmax(y)])
        most = bounds.abs_().view(-1, 2).amax(1)
    elif len(dtypes) == 1:
        most = torch.stack(torch._foreach_norm(tensors, math.inf))
    else:  # several dtypes would be launched one by one
        most = torch.cat([torch.stack(torch._foreach_norm(ys, math.inf)) for ys in lists if ys])
    most = most.to(torch.promote_types(most.dtype, torch.float32))
    rows = iter(torch.split(most, [len(ys) for ys in lists if ys]))
    return [next(rows) if ys else None for ys in lists]


def _widest(c: Compressor, sizes: Iterable[int], in_wider: bool) -> Reach:
    """A reach for vectors of all these sizes."""
    reaches = [reach(c, d, in_wider) for d in sizes]
    return max(a for a, _ in reaches), max(b for _, b in reaches)


def reach(c: Compressor, d: int, in_wider: bool = False) -> Reach:
    """(a, b) with |C(p)| <= a |p| + b for all p of d entries, also of those that are drawn.

    A norm that C computes of p is within it too, unless C computes ``in_wider`` range than that of
    p. Of a compressor of your own what a contraction can reach, |C(p)|_2 <= 2 |p|_2.
    """
    # no singledispatch: the compiled step reads this
    if isinstance(c, lib.Blockwise):
        return _widest(c.compressor, {min(c.size, d), d % c.size or d}, in_wider)
    if isinstance(c, lib.Contractive):
        return reach(c.compressor, d, in_wider)  # its factor is at most 1
    if isinstance(c, lib.Scaled):
        a, b = reach(c.compressor, d, in_wider)
        factor = max(1.0, c.factor)  # what the inner one sends must be finite too
        return factor * a, factor * b
    if isinstance(c, lib.Sign):
        return 0.0, 1.0
    if isinstance(c, lib.Natural):
        return 2.0, 0.0  # it rounds up to a power of two
    if isinstance(c, lib.RandK):
        return (d / count(c.k, d) if c.unbiased else 1.0), 0.0
    if isinstance(c, lib.QSGD):
        norm = math.sqrt(d)  # that of p is a factor of what is sent
        return (min(norm, 1 + norm / c.s) if in_wider else norm), 0.0
    if isinstance(c, lib.Shared):
        return reach(c.compressor, d, in_wider)
    if isinstance(c, lib.LowRank | lib.PowerSGD):
        return math.sqrt(d), 0.0
    return (1.0 if isinstance(c, WITHIN) else 2 * math.sqrt(d)), 0.0


# None of these sends an entry larger than the largest of p.
WITHIN = (
    lib.Identity,
    lib.NaturalDithering,
    lib.Quantised,
    lib.ScaledSign,
    lib.SignTopK,
    lib.TernGrad,
    lib.Threshold,
    lib.TopK,
    lib.TwoMeans,
)
