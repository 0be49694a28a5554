"""phi, the density of gradients and of corrected gradients (arXiv 1901.09847, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Density(NamedTuple):
    """phi(v) = |v|_1^2 / (d |v|_2^2), 1 for v = 0, of gradients g and corrected gradients p.

    ``g`` and ``p`` are taken over all tensors l as the paper does,
    sum_l |v_l|_1^2/d_l / sum_l |v_l|_2^2: 0-dim tensors. ``each_g`` and ``each_p`` (n,) belong to
    ``parameters``, those that had a gradient. p is in units of x, lr d + e or lr d. All is float64,
    on the device of the first; NaN after a step that was skipped.
    """

    g: Tensor
    p: Tensor
    each_g: Tensor
    each_p: Tensor
    parameters: tuple[Tensor, ...]


def density(measured: Sequence[tuple[Sequence[Tensor], Tensor]]) -> Density:
    """phi of the parameters of all parts, each with its norms (4, n): |g|_1, |p|_1, |g|_2, |p|_2.

    Summed over tensors on the device of the first one; the host does not wait for it.
    """
    parameters = tuple(x for xs, _ in measured for x in xs)
    device = parameters[0].device
    norms = torch.cat([norms.to(device) for _, norms in measured], dim=1)
    sums, total = norms.square().chunk(2)  # (2, n): g, p
    # d as numbers: a tensor of them would be copied from the host, which a captured step must not
    pairs = torch._foreach_div(list(sums.T.contiguous()), [float(x.numel()) for x in parameters])
    explained = torch.stack(pairs, dim=1)
    each_g, each_p = _share(explained, total)
    g, p = _share(explained.sum(1), total.sum(1))
    return Density(g, p, each_g, each_p, parameters)


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """part / whole, 1 where the whole is 0."""
    return torch.where(whole == 0, torch.ones_like(part), part / whole)
