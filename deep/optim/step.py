"""One optimiser step as a function of lists of tensors: the loop that every faster form must equal.

Letters as in the paper (arXiv 1901.09847, Algorithm 2), one entry a parameter, each of the shape of
that parameter: x iterate, g gradient, m momentum buffer, e memory (what has not been sent yet), d
the gradient after weight decay and momentum, p = lr d + e what is to be sent. In this order: g,
+ weight_decay x, momentum, p, C of each flattened tensor, x - sent, e = p - sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from efsgd.compressors.base import Compressor
from efsgd.compressors.wrappers import Identity
from efsgd.deep.kernels import Kernel, asks_freely

Number: TypeAlias = float | Tensor  # a float, or a 0-dim tensor where a change must not recompile
Many: TypeAlias = list[Tensor] | tuple[Tensor, ...]
SAFE = 1e-15  # from it to its inverse squares of float32 neither vanish nor overflow


class Lists(NamedTuple):
    """What one step works on; ``e``, ``m`` and ``started`` hold None where there is none."""

    x: list[Tensor]
    g: list[Tensor]
    e: list[Tensor | None]
    m: list[Tensor | None]
    started: list[Tensor | None]  # 0-dim bool: m holds a gradient; only where m is dampened


class Numbers(NamedTuple):
    """The numbers of a step, which a schedule may change."""

    lr: Number
    weight_decay: Number
    momentum: Number
    dampening: Number


@dataclass(frozen=True)
class Rule:
    """What stays the same from step to step; a compiled step is made for one Rule."""

    compressor: Compressor
    feedback: bool
    weight_decay: bool
    momentum: bool
    nesterov: bool
    maximize: bool
    together: bool  # all tensors make one vector, instead of one each
    measure: bool

    @property
    def dense(self) -> bool:
        """Whether all is sent, so that nothing is compressed and nothing remembered."""
        return isinstance(self.compressor, Identity) and not self.feedback


class Part(NamedTuple):
    """The tensors of one parameter group on one device."""

    lists: Lists
    numbers: Numbers
    rule: Rule
    kernel: Kernel  # of rule.compressor
    drawn: list[Any]  # what the compressor drew, for each vector that it is given


class Move(NamedTuple):
    """What a step does to tensor i."""

    i: int
    m: Tensor | None  # the new momentum buffer
    p: Tensor  # what the compressor was given: lr d + e, or d itself without feedback
    sent: Tensor


def step(parts: Sequence[Part], check: bool) -> tuple[Tensor | None, list[Tensor | None]]:
    """One step of every part, in place; returns whether it was taken, and the norms of each part.

    With ``check`` nothing changes unless all gradients are finite; the device decides it. This is
    what is compiled: the check of a gradient stands beside what is made of it, because only what
    stands close together becomes one pass over the tensor.
    """
    moves: list[list[Move]] = []
    norms: list[list[list[Tensor]]] = []
    fine: list[Tensor] = []
    home = parts[0].lists.x[0].device
    for part in parts:
        moves.append([])
        norms.append([])
        for move in planned(part):
            moves[-1].append(move)
            norms[-1].append(measured(part, move))
            g = part.lists.g[move.i]  # |g|_1 of float64 may overflow
            norm = length(g, math.inf if g.dtype == torch.float64 else 1)
            fine.append(torch.isfinite(norm).to(home))
    ok = reduce(torch.logical_and, fine) if check else None
    for part, own in zip(parts, moves, strict=True):
        for move in own:
            make(part, move, ok)
    pairs = zip(parts, norms, strict=True)
    return ok, [reported(part, own, ok) if part.rule.measure else None for part, own in pairs]


def all_finite(lists: Sequence[list[Tensor]]) -> Tensor:
    """Whether no entry is NaN or infinite: a 0-dim bool tensor on the device of the first."""
    home = lists[0][0].device
    if home.type == "cpu":  # there it takes a twentieth of the norm
        most = [bound.to(home) for gs in lists for g in gs for bound in torch.aminmax(g)]
    else:
        most = [n.to(home) for gs in lists for n in torch._foreach_norm(gs, math.inf)]
    return torch.isfinite(torch.stack(most)).all()


def advance(part: Part, ok: Tensor | None = None) -> Tensor | None:
    """Step the tensors of one part, one after the other; where ``ok`` is given, only if it is true.

    Returns, if the rule measures, |g|_1, |p|_1, |g|_2, |p|_2 of each tensor: float64 (4, n), NaN if
    the step was not taken.
    """
    ok = None if ok is None else ok.to(part.lists.x[0].device)
    norms = []
    for move in planned(part):
        norms.append(measured(part, move))
        make(part, move, ok)
    return reported(part, norms, ok) if part.rule.measure else None


def planned(part: Part) -> Iterator[Move]:
    """What a step does to each tensor, without doing it; the vectors of a part, one by one."""
    everything = list(range(len(part.lists.x)))
    vectors = [everything] if part.rule.together else [[i] for i in everything]
    for vector, drawn in zip(vectors, part.drawn, strict=True):
        pairs = [to_send(part, i) for i in vector]
        sent = compressed(part, [p for _, p in pairs], drawn)
        for i, (m, p), message in zip(vector, pairs, sent, strict=True):
            yield Move(i, m, p, message)


def to_send(part: Part, i: int) -> tuple[Tensor | None, Tensor]:
    """The new momentum buffer of tensor i, and what the compressor is given."""
    lists, numbers, rule = part.lists, part.numbers, part.rule
    d = -lists.g[i] if rule.maximize else lists.g[i]
    if rule.weight_decay:
        d = axpy(d, numbers.weight_decay, lists.x[i])
    m, e = lists.m[i], lists.e[i]
    if m is not None:
        m = axpy(numbers.momentum * m, 1 - numbers.dampening, d)
        m = first_or(m, d, lists.started[i])
        d = axpy(d, numbers.momentum, m) if rule.nesterov else m
    return m, d if e is None else axpy(e, numbers.lr, d)


def compressed(part: Part, given: list[Tensor], drawn: Any) -> list[Tensor]:
    """C of each flattened tensor, or of all as one vector."""
    if part.rule.dense:
        return given
    if not part.rule.together:
        return [part.kernel(given[0].flatten(), drawn).view(given[0].shape)]
    vector = torch.cat([p.flatten() for p in given])
    pieces = torch.split(part.kernel(vector, drawn), [p.numel() for p in given])
    return [piece.view(p.shape) for piece, p in zip(pieces, given, strict=True)]


def make(part: Part, move: Move, ok: Tensor | None = None) -> None:
    """x - sent and e = p - sent, without feedback x - lr sent; and the momentum buffer."""
    i, m, p, sent = move
    x, e, lr = part.lists.x[i], part.lists.e[i], part.numbers.lr
    held, started = part.lists.m[i], part.lists.started[i]
    if e is not None:
        minus(x, x, sent, ok)
        minus(e, p, sent, ok)
    elif ok is None and isinstance(lr, float):
        x.add_(sent, alpha=-lr)  # to the bit what torch.optim.SGD does
    else:
        keep(x, axpy(x, -lr, sent), ok)
    if held is not None and m is not None:
        keep(held, m, ok)
    if started is not None:
        keep(started, torch.ones_like(started), ok)


def keep(held: Tensor, fresh: Tensor, ok: Tensor | None) -> None:
    """Overwrite ``held``, where ``ok`` is given only if it is true."""
    held.copy_(fresh if ok is None else torch.where(ok, fresh, held))


def minus(held: Tensor, a: Tensor, b: Tensor, ok: Tensor | None) -> None:
    """Overwrite ``held`` with a - b, without another tensor where it can be."""
    if ok is None and held.dtype == a.dtype == b.dtype and not torch.compiler.is_compiling():
        torch.sub(a, b, out=held)
    else:
        keep(held, a - b, ok)


def axpy(y: Tensor, a: Number, x: Tensor) -> Tensor:
    """y + a x; of a float, with one rounding where torch's own optimisers round once."""
    return y + a * x if isinstance(a, Tensor) else torch.add(y, x, alpha=a)


def first_or(fresh: Tensor, d: Tensor, started: Tensor | None) -> Tensor:
    """The new momentum buffer: the first one is the gradient, which dampening leaves alone."""
    return fresh if started is None else torch.where(started, fresh, d)


def at_hand(part: Part) -> Tensor:
    """The norms (4, n) of the gradients and of what would be sent of them now; changes nothing."""
    everything = range(len(part.lists.x))
    return reported(part, [norms_of(part, i, to_send(part, i)[1]) for i in everything])


def measured(part: Part, move: Move) -> list[Tensor]:
    """The norms of one tensor, if the rule measures."""
    return norms_of(part, move.i, move.p) if part.rule.measure else []


def norms_of(part: Part, i: int, p: Tensor) -> list[Tensor]:
    """|g|_1, |p|_1, |g|_2, |p|_2 of tensor i."""
    return [length(v, q) for q in (1, 2) for v in (part.lists.g[i], p)]


def length(x: Tensor, q: float) -> Tensor:
    """|x|_q, 0-dim float64: of a float32 x it is finite exactly where x is."""
    flat = x.flatten()
    if x.dtype == torch.float32 and q != math.inf and asks_freely(x):
        quick = flat.abs().sum() if q == 1 else torch.dot(flat, flat).sqrt()
        if SAFE < quick < 1 / SAFE:  # float64 takes ten times as long there
            return quick.double()
    norm: Tensor = torch.linalg.vector_norm(flat, q, dtype=torch.float64)
    return norm


def reported(part: Part, norms: Sequence[list[Tensor]], ok: Tensor | None = None) -> Tensor:
    """The norms (4, n), those of p in units of x also where d was compressed; NaN if not taken."""
    found = torch.stack([norm for own in norms for norm in own]).view(-1, 4).T
    if not part.rule.feedback:
        g1, p1, g2, p2 = found
        found = torch.stack([g1, p1 * part.numbers.lr, g2, p2 * part.numbers.lr])
    return found if ok is None else torch.where(ok, found, torch.nan)
