"""The step by operators that take all tensors of a part at once: far fewer launches on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from efsgd.deep.optim.step import (
    Many,
    Number,
    Part,
    compressed,
    first_or,
    keep,
    length,
    reported,
)


def advance_many(part: Part, ok: Tensor | None = None) -> Tensor | None:
    """What ``advance`` does, by operators that take all tensors at once."""
    lists, numbers, rule = part.lists, part.numbers, part.rule
    ok = None if ok is None else ok.to(lists.x[0].device)
    x, d, e, m = lists.x, lists.g, _all(lists.e), _all(lists.m)
    if rule.maximize:
        d = list(torch._foreach_neg(d))
    if rule.weight_decay:
        d = axpy_many(d, numbers.weight_decay, x)
    if rule.momentum:
        fresh = axpy_many(torch._foreach_mul(m, numbers.momentum), 1 - numbers.dampening, d)
        fresh = [first_or(*one) for one in zip(fresh, d, lists.started, strict=True)]
        keep_many(m, fresh, ok)
        d = axpy_many(d, numbers.momentum, fresh) if rule.nesterov else fresh
    for started in _all(lists.started):
        keep(started, torch.ones_like(started), ok)
    p = axpy_many(e, numbers.lr, d) if rule.feedback else d
    if rule.together:
        sent = compressed(part, p, part.drawn[0])
    else:
        pairs = zip(p, part.drawn, strict=True)
        sent = [compressed(part, [vector], drawn)[0] for vector, drawn in pairs]
    if rule.feedback:
        keep_many(x, torch._foreach_sub(x, sent), ok)
        keep_many(e, torch._foreach_sub(p, sent), ok)
    else:
        keep_many(x, axpy_many(x, -numbers.lr, sent), ok)
    if not rule.measure:
        return None
    norms = [[length(v, q) for q in (1, 2) for v in pair] for pair in zip(lists.g, p, strict=True)]
    return reported(part, norms, ok)


def keep_many(held: list[Tensor], fresh: Many, ok: Tensor | None) -> None:
    """``keep`` of each."""
    if ok is not None:
        fresh = [torch.where(ok, new, old) for new, old in zip(fresh, held, strict=True)]
    torch._foreach_copy_(held, fresh)


def axpy_many(y: Many, a: Number, x: Many) -> list[Tensor]:
    """``axpy`` of each."""
    if isinstance(a, Tensor):
        return list(torch._foreach_add(y, torch._foreach_mul(x, a)))
    return list(torch._foreach_add(y, x, alpha=a))


def _all(tensors: Sequence[Tensor | None]) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor is not None]
