"""One optimiser step as a function of lists of tensors: every faster form must equal it.

Letters as in the paper (arXiv 1901.09847, Algorithm 2): x iterate, g gradient, m momentum buffer, e
memory (what has not been sent yet), d the gradient after weight decay and momentum, p = lr d + e
what is to be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from efsgd.deep.optim.limits import Kind, Magnitudes, fits, kind_of, largest, magnitude
from efsgd.deep.optim.norms import lengths, table
from efsgd.deep.optim.parts import Lists, Number, Part


class Change(NamedTuple):
    """What a step does to tensor i of a part."""

    part: Part
    i: int
    p: Tensor  # what the compressor was given: lr d + e, or d itself without feedback
    sent: Tensor
    m: Tensor | None  # the new momentum buffer


def step(parts: Sequence[Part], check: bool) -> tuple[Tensor | None, list[Tensor | None]]:
    """One step of every part, in place; returns whether it was taken, and the norms of each part.

    With ``check`` nothing changes unless all that it stores is finite; the device decides it. Norms
    (:func:`efsgd.deep.optim.norms.table`) are there of parts whose rule measures.
    """
    # This is what is compiled: all is read before anything changes, and the check of a tensor
    # stands beside what is made of it, so that both become one pass over the tensor.
    all_changes: list[Change] = []
    home = parts[0].lists.x[0].device
    norms: list[list[list[Tensor]]] = [[] for _ in parts]
    finite: list[Tensor] = []
    for part, columns in zip(parts, norms, strict=True):
        for vector in part.vectors():
            of_vector = changes(vector)
            all_changes += of_vector
            if part.rule.measure:
                columns += [lengths(vector.lists.g[change.i], change.p) for change in of_vector]
            if check:
                finite += [ok.to(home) for ok in stay_finite(of_vector)]
    ok = reduce(torch.logical_and, finite) if check else None
    for change in all_changes:
        assign(change, ok)
    tables = [
        table(part, columns, ok) if part.rule.measure else None
        for part, columns in zip(parts, norms, strict=True)
    ]
    return ok, tables


def advance(part: Part, ok: Tensor | None = None) -> Tensor | None:
    """The step of one part, one vector after the other, so that no more than one is held twice.

    Where ``ok`` is given nothing changes unless it is true. Returns the norms if the rule measures.
    """
    ok = None if ok is None else ok.to(part.lists.x[0].device)
    columns = []
    for vector in part.vectors():
        for change in changes(vector):
            if part.rule.measure:
                columns.append(lengths(vector.lists.g[change.i], change.p))
            assign(change, ok)
    return table(part, columns, ok) if part.rule.measure else None


def changes(vector: Part) -> list[Change]:
    """Algorithm 2 without its assignments, for the tensors that are compressed together."""
    pairs = [to_send(vector, i) for i in range(len(vector.lists.x))]
    sent = compressed(vector, [p for p, _ in pairs])
    return [Change(vector, i, p, sent[i], m) for i, (p, m) in enumerate(pairs)]


def to_send(part: Part, i: int) -> tuple[Tensor, Tensor | None]:
    """What is to be sent of tensor i, p = lr d + e (without feedback d), and the new m."""
    lists, (lr, _, mu, dampening) = part.lists, part.numbers
    d, momentum, memory = decayed(part, i), lists.m[i], lists.e[i]
    if momentum is not None:
        momentum = first_or(axpy(mu * momentum, 1 - dampening, d), d, lists.started[i])
        d = axpy(d, mu, momentum) if part.rule.nesterov else momentum
    return d if memory is None else axpy(memory, lr, d), momentum


def decayed(part: Part, i: int) -> Tensor:
    """The gradient of tensor i after weight decay, g + wd x; it has the dtype of both."""
    g = -part.lists.g[i] if part.rule.maximize else part.lists.g[i]
    return axpy(g, part.numbers.weight_decay, part.lists.x[i]) if part.rule.weight_decay else g


def stay_finite(of_vector: list[Change]) -> list[Tensor]:
    """Whether each change of the tensors that make one vector stores finite numbers only."""
    vector = of_vector[0].part
    size = sum(x.numel() for x in vector.lists.x)
    kinds = [kind_of(vector, i) for i in range(len(of_vector))]
    ps = [change.p for change in of_vector]
    if len(set(kinds)) > 1:  # what fits into one dtype need not fit into another
        ps = [torch.cat([p.flatten() for p in ps])] * len(ps)
    entries = [
        Magnitudes(
            x=vector.lists.x[change.i].abs(),
            decayed=decayed(vector, change.i).abs() if vector.rule.weight_decay else None,
            p=p.abs(),
            m=None if change.m is None else change.m.abs(),
        )
        for change, p in zip(of_vector, ps, strict=True)
    ]
    return [
        fits(vector, kind, (size,), magnitudes)
        for kind, magnitudes in zip(kinds, entries, strict=True)
    ]


def norms_ahead(part: Part) -> Tensor:
    """The norms (4, n) of the gradients and of what would be sent of them; changes nothing."""
    g = part.lists.g
    return table(part, [lengths(g[i], to_send(part, i)[0]) for i in range(len(g))])


def stays_finite(part: Part) -> Tensor:
    """Whether a step of this part stores finite numbers only: 0-dim bool, on its device.

    The step of the largest entries bounds that of all, so that nothing of their size is made.
    """
    alike: dict[Kind, list[int]] = {}
    for i in range(len(part.lists.x)):
        alike.setdefault(kind_of(part, i), []).append(i)
    largest_of = {kind: _step_of_largest(part, members) for kind, members in alike.items()}
    sizes = {x.numel() for x in part.lists.x}
    if part.rule.together:  # the largest of all decides what is sent of each
        sizes = {sum(x.numel() for x in part.lists.x)}
        whole = torch.cat([bounds.p for bounds in largest_of.values()]).amax()
        largest_of = {kind: bounds._replace(p=whole) for kind, bounds in largest_of.items()}
    verdicts = [fits(part, kind, sizes, bounds) for kind, bounds in largest_of.items()]
    return reduce(torch.logical_and, verdicts)


def _step_of_largest(part: Part, members: list[int]) -> Magnitudes:
    """Bounds of these n tensors, (n,) each."""
    lists = [[y for y in (ys[i] for i in members) if y is not None] for ys in part.lists[:4]]
    x, g, e, m = largest(lists)
    bounds = Lists(x=[x], g=[g], e=[e], m=[m], started=[None])
    # all terms are added up; of a first m nothing is lost to dampening
    numbers = part.numbers._replace(lr=magnitude(part.numbers.lr), dampening=0.0)
    rule = replace(part.rule, maximize=False)
    of_bounds = Part(bounds, numbers, rule, part.kernel, [])
    p, new_m = to_send(of_bounds, 0)
    return Magnitudes(x, decayed(of_bounds, 0) if rule.weight_decay else None, p, new_m)


def compressed(part: Part, ps: list[Tensor]) -> list[Tensor]:
    """C of each flattened tensor, or of all as one vector."""
    if part.rule.dense:
        return ps
    if part.rule.together:
        vector = torch.cat([p.flatten() for p in ps])
        pieces = torch.split(part.kernel(vector, part.drawn[0]), [p.numel() for p in ps])
        return [piece.view(p.shape) for piece, p in zip(pieces, ps, strict=True)]
    pairs = zip(ps, part.drawn, strict=True)
    return [part.kernel(p.flatten(), drawn).view(p.shape) for p, drawn in pairs]


def assign(change: Change, ok: Tensor | None) -> None:
    """x <- x - sent and e <- p - sent (without feedback x <- x - lr sent), and the new m."""
    part, i, p, sent, m = change
    x, e, lr = part.lists.x[i], part.lists.e[i], part.numbers.lr
    if e is not None:
        minus(x, x, sent, ok)
        minus(e, p, sent, ok)
    elif ok is None and isinstance(lr, float):
        x.add_(sent, alpha=-lr)  # to the bit what torch.optim.SGD does
    else:
        overwrite(x, axpy(x, -lr, sent), ok)
    buffer, started = part.lists.m[i], part.lists.started[i]
    if buffer is not None and m is not None:
        overwrite(buffer, m, ok)
    if started is not None:
        overwrite(started, torch.ones_like(started), ok)


def first_or(m: Tensor, d: Tensor, started: Tensor | None) -> Tensor:
    """The new momentum buffer: the first one is the gradient, which dampening leaves alone."""
    return m if started is None else torch.where(started, m, d)


def axpy(y: Tensor, a: Number, x: Tensor) -> Tensor:
    """y + a x; of a float, with one rounding where torch's own optimisers round once."""
    if isinstance(a, Tensor):  # of half precision a x would be rounded, and then the sum again
        kept = torch.promote_types(y.dtype, x.dtype)
        wide = torch.promote_types(kept, torch.float32)
        return (y.to(wide) + a * x.to(wide)).to(kept)
    return torch.add(y, x, alpha=a)


def overwrite(target: Tensor, source: Tensor, ok: Tensor | None) -> None:
    """Copy ``source`` into ``target``; where ``ok`` is given, only if it is true."""
    target.copy_(source if ok is None else torch.where(ok, source, target))


def minus(target: Tensor, a: Tensor, b: Tensor, ok: Tensor | None) -> None:
    """Overwrite ``target`` with a - b, without another tensor where it can be."""
    if ok is None and target.dtype == a.dtype == b.dtype and not torch.compiler.is_compiling():
        torch.sub(a, b, out=target)
    else:
        overwrite(target, a - b, ok)
