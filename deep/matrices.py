"""The torch kernels of compressors that read a vector as a matrix: LowRank, PowerSGD."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from efsgd.compressors import LowRank, PowerSGD
from efsgd.deep.arrays import ldexp, max_abs, unit_scale


def low_rank(c: LowRank, x: Tensor, drawn: Any) -> Tensor:
    """The one kernel that waits for the device: on a GPU the SVD reads back whether it converged.

    Of equal singular values either may be kept. NaN and inf count as 0: the SVD would raise.
    """
    *lead, d = x.shape
    u, k = unit_scale(x)
    matrix = u.nan_to_num(0.0, 0.0, 0.0).reshape(*lead, *c.sides(d))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    r, k = c.rank_at(d), k[..., None]
    left = ldexp(left[..., :r] * values[..., None, :r], k // 2).to(x.dtype)
    right = ldexp(right[..., :r, :], k - k // 2).to(x.dtype)
    return _product(left, right).reshape(x.shape)


def power_step(c: PowerSGD, x: Tensor, drawn: Tensor) -> Tensor:
    """P P'M for the orthonormal basis P of M Q, or of the mean of three axes' workers.

    NaN and inf count as 0, as in :func:`low_rank`. Whether QR waits for the device is torch's own.
    """
    if x.numel() == 0:
        return x.clone()
    *lead, d = x.shape
    k = torch.frexp(max_abs(x).double()).exponent
    k = k.amax(-2, keepdim=True) if x.ndim > 2 else k
    matrices = ldexp(x, -k).nan_to_num(0.0, 0.0, 0.0).reshape(*lead, *c.sides(d))
    image = matrices @ drawn
    basis = torch.linalg.qr(image.mean(-3, keepdim=True) if x.ndim > 2 else image).Q
    k = k[..., None]
    left = ldexp(basis, k // 2).to(x.dtype)
    right = ldexp(basis.mT @ matrices, k - k // 2).to(x.dtype)
    return _product(left, right).reshape(x.shape)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right, its terms added in the order of the columns of left."""
    out = left[..., :, :1] * right[..., :1, :]
    for j in range(1, left.shape[-1]):
        out = out + left[..., :, j : j + 1] * right[..., j : j + 1, :]
    return out
