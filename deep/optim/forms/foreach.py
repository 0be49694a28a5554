"""The step by operators that take all tensors of a part at once: far fewer launches on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from efsgd.deep.optim.norms import lengths, table
from efsgd.deep.optim.parts import Number, Part
from efsgd.deep.optim.step import compressed, first_or, overwrite

Tensors: TypeAlias = list[Tensor] | tuple[Tensor, ...]


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
        fresh = [first_or(*entry) for entry in zip(fresh, d, lists.started, strict=True)]
        overwrite_many(m, fresh, ok)
        d = axpy_many(d, numbers.momentum, fresh) if rule.nesterov else fresh
    for started in _all(lists.started):
        overwrite(started, torch.ones_like(started), ok)
    p = axpy_many(e, numbers.lr, d) if rule.feedback else d
    sent = compressed(part, p)
    if rule.feedback:
        minus_many(x, x, sent, ok)
        minus_many(e, p, sent, ok)
    else:
        overwrite_many(x, axpy_many(x, -numbers.lr, sent), ok)
    if not rule.measure:
        return None
    norms = [lengths(g, p_i) for g, p_i in zip(lists.g, p, strict=True)]
    return table(part, norms, ok)


def overwrite_many(targets: list[Tensor], sources: Tensors, ok: Tensor | None) -> None:
    """``overwrite`` of each."""
    if ok is None:
        torch._foreach_copy_(targets, sources)
        return
    for target, source in zip(targets, sources, strict=True):
        torch.where(ok, source.to(target.dtype), target, out=target)


def minus_many(targets: list[Tensor], a: Tensors, b: Tensors, ok: Tensor | None) -> None:
    """``minus`` of each: a - b, in place where a is what it overwrites."""
    if ok is None and targets is a:
        torch._foreach_sub_(targets, b)
    else:
        overwrite_many(targets, torch._foreach_sub(a, b), ok)


def axpy_many(y: Tensors, a: Number, x: Tensors) -> list[Tensor]:
    """``axpy`` of each."""
    if isinstance(a, Tensor):
        kept = [torch.promote_types(*(v.dtype for v in pair)) for pair in zip(y, x, strict=True)]
        wide = [torch.promote_types(dtype, torch.float32) for dtype in kept]
        y, x = _cast(y, wide), _cast(x, wide)
        return _cast(torch._foreach_add(y, torch._foreach_mul(x, a)), kept)
    return list(torch._foreach_add(y, x, alpha=a))


def _cast(tensors: Tensors, dtypes: Sequence[torch.dtype]) -> list[Tensor]:
    return [y.to(dtype) for y, dtype in zip(tensors, dtypes, strict=True)]


def _all(tensors: Sequence[Tensor | None]) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor is not None]
