"""One optimiser step as a function of lists of tensors: every faster form must equal it.

Letters as in the paper (arXiv 1901.09847, Algorithm 2): x iterate, g gradient, m momentum buffer, e
memory (what has not been sent yet), d the gradient after weight decay and momentum, p = lr d + e
what is to be sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from efsgd.deep.optim.norms import is_finite, lengths, table
from efsgd.deep.optim.parts import Number, Part


def step(
    parts: Sequence[Part], check: bool, ok: Tensor | None = None
) -> tuple[Tensor | None, list[Tensor | None]]:
    """One step of every part, in place; nothing changes where ``ok`` is false.

    With ``check`` ok is whether all gradients are finite; the device decides it. Returns ok and, of
    each part whose rule measures, the norms (4, n) of :func:`efsgd.deep.optim.norms.table`.
    """
    # This is what is compiled: all is read before anything changes, and the check of a gradient
    # stands beside what is made of it, so that both become one pass over the tensor.
    changes: list[tuple[Part, int, Tensor, Tensor, Tensor | None]] = []
    norms: list[list[list[Tensor]]] = [[] for _ in parts]
    finite: list[Tensor] = []
    for part, columns in zip(parts, norms, strict=True):
        for vector in part.vectors():
            pairs = [to_send(vector, i) for i in range(len(vector.lists.x))]
            sent = compressed(vector, [p for p, _ in pairs])
            for i, (p, m) in enumerate(pairs):
                changes.append((vector, i, p, sent[i], m))
                g = vector.lists.g[i]
                if part.rule.measure:
                    columns.append(lengths(g, p))
                if check:
                    finite.append(is_finite(g).to(parts[0].lists.x[0].device))
    ok = reduce(torch.logical_and, finite) if check else ok
    for change in changes:
        assign(*change, ok)
    tables = [
        table(part, columns, ok) if part.rule.measure else None
        for part, columns in zip(parts, norms, strict=True)
    ]
    return ok, tables


def advance(part: Part, ok: Tensor | None = None) -> Tensor | None:
    """The step of one part, one vector after the other, so that no more than one is held twice."""
    tables = [step([vector], check=False, ok=ok)[1][0] for vector in part.vectors()]
    norms = [norms for norms in tables if norms is not None]
    return torch.cat(norms, dim=1) if norms else None


def to_send(part: Part, i: int) -> tuple[Tensor, Tensor | None]:
    """What is to be sent of tensor i, p = lr d + e (without feedback d), and the new m."""
    (x, g, e, m, started), rule = part.lists, part.rule
    lr, weight_decay, mu, dampening = part.numbers
    d, momentum = -g[i] if rule.maximize else g[i], m[i]
    if rule.weight_decay:
        d = axpy(d, weight_decay, x[i])
    if momentum is not None:
        momentum = first_or(axpy(mu * momentum, 1 - dampening, d), d, started[i])
        d = axpy(d, mu, momentum) if rule.nesterov else momentum
    memory = e[i]
    return d if memory is None else axpy(memory, lr, d), momentum


def norms_ahead(part: Part) -> Tensor:
    """The norms (4, n) of the gradients and of what would be sent of them; changes nothing."""
    g = part.lists.g
    return table(part, [lengths(g[i], to_send(part, i)[0]) for i in range(len(g))])


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


def assign(
    part: Part, i: int, p: Tensor, sent: Tensor, m: Tensor | None, ok: Tensor | None
) -> None:
    """x <- x - sent and e <- p - sent (without feedback x <- x - lr sent), and the new m."""
    x, e, lr = part.lists.x[i], part.lists.e[i], part.numbers.lr
    ok = None if ok is None else ok.to(x.device)
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
    return y + a * x if isinstance(a, Tensor) else torch.add(y, x, alpha=a)


def overwrite(target: Tensor, source: Tensor, ok: Tensor | None) -> None:
    """Copy ``source`` into ``target``; where ``ok`` is given, only if it is true."""
    target.copy_(source if ok is None else torch.where(ok, source, target))


def minus(target: Tensor, a: Tensor, b: Tensor, ok: Tensor | None) -> None:
    """Overwrite ``target`` with a - b, without another tensor where it can be."""
    if ok is None and target.dtype == a.dtype == b.dtype and not torch.compiler.is_compiling():
        torch.sub(a, b, out=target)
    else:
        overwrite(target, a - b, ok)
