"""The norms that a step takes where it measures: what the densities are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from efsgd.deep.arrays import readable
from efsgd.deep.optim.parts import Part

SAFE = 1e-15  # from it to its inverse squares of float32 neither vanish nor overflow


def length(x: Tensor, q: float) -> Tensor:
    """|x|_q, 0-dim float64: of a float32 x it is finite exactly where x is."""
    flat = x.flatten()
    if x.dtype == torch.float32 and q != math.inf and readable(x):
        quick = flat.abs().sum() if q == 1 else torch.dot(flat, flat).sqrt()
        if SAFE < quick < 1 / SAFE:  # float64 takes ten times as long there
            return quick.double()
    norm: Tensor = torch.linalg.vector_norm(flat, q, dtype=torch.float64)
    return norm


def lengths(g: Tensor, p: Tensor) -> list[Tensor]:
    """|g|_1, |p|_1, |g|_2, |p|_2 of a gradient and of what the compressor is given."""
    return [length(v, q) for q in (1, 2) for v in (g, p)]


def table(part: Part, norms: Sequence[list[Tensor]], ok: Tensor | None = None) -> Tensor:
    """The :func:`lengths` of each tensor as columns (4, n); NaN where ``ok`` says not taken.

    Those of p are in units of x also where d was compressed.
    """
    rows = torch.stack([norm for column in norms for norm in column]).view(-1, 4).T
    if not part.rule.feedback:
        g1, p1, g2, p2 = rows
        rows = torch.stack([g1, p1 * part.numbers.lr, g2, p2 * part.numbers.lr])
    return rows if ok is None else torch.where(ok, rows, torch.nan)
