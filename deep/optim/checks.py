"""What EFSGD refuses: options, groups and gradients, each with an error of one sentence."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from efsgd.compressors import compressor
from efsgd.compressors.base import instance
from efsgd.deep.kernels import kernel
from efsgd.methods.feedback import check_feedback

Fused: TypeAlias = bool | Literal["triton"] | None


def check_options(
    nonfinite: str, capturable: bool, fused: Fused, memory_dtype: torch.dtype | None
) -> None:
    """Refuse impossible options of the whole optimiser."""
    if nonfinite not in ("skip", "raise"):
        raise ValueError(f"nonfinite must be 'skip' or 'raise', not {nonfinite!r}")
    if nonfinite == "raise" and capturable:
        raise ValueError(
            "nonfinite='raise' asks the device, which capturable rules out: use 'skip'"
        )
    if not isinstance(memory_dtype, torch.dtype | None):
        raise TypeError(f"memory_dtype must be a torch.dtype or None, not {memory_dtype!r}")
    if memory_dtype is not None and not _computes(memory_dtype):
        raise ValueError(
            f"memory_dtype must be a floating-point dtype of 16 bits or more, not {memory_dtype}"
        )
    if not (fused is None or isinstance(fused, bool) or fused == "triton"):
        raise ValueError(f"fused must be None, a bool or 'triton', not {fused!r}")
    if fused is True and capturable:
        raise ValueError("fused=True cannot be captured in a CUDA graph: leave fused to None")


def prepare_group(group: dict[str, Any], capturable: bool) -> tuple[Any, ...]:
    """Check a group, and put the compressor in the place of its spec; returns :func:`deciding`.

    Where the step must be ``capturable`` its step size becomes a tensor on the device.
    """
    if isinstance(group["compressor"], str):
        group["compressor"] = compressor(group["compressor"])
    check_group(group)
    if capturable and group["params"]:
        x = group["params"][0]
        dtype = torch.promote_types(x.dtype, torch.float32)
        group["lr"] = torch.as_tensor(group["lr"], dtype=dtype).to(x.device)
    return deciding(group)


def deciding(group: dict[str, Any]) -> tuple[Any, ...]:
    """What decides whether the feedback of a group can diverge."""
    return group["compressor"], group["error_feedback"], group["scope"]


def check_group(group: dict[str, Any]) -> None:
    """Refuse impossible numbers, tensors that cannot be compressed, compressors that diverge."""
    c = instance(group["compressor"])
    kernel(c)
    _check_numbers(group)
    for name in ("lr", "weight_decay"):
        if not 0 <= (value := float(group[name])) < math.inf:
            raise ValueError(f"{name} must be at least 0 and finite, not {value}")
    if not 0 <= group["momentum"] < 1:
        raise ValueError(f"momentum must lie in [0, 1), not {group['momentum']}")
    if not 0 <= group["dampening"] <= 1:
        raise ValueError(f"dampening must lie in [0, 1], not {group['dampening']}")
    if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
        raise ValueError("Nesterov momentum needs momentum > 0 and dampening = 0")
    if group["scope"] not in ("tensor", "global"):
        raise ValueError(f"scope must be 'tensor' or 'global', not {group['scope']!r}")
    seen: set[int] = set()
    for i, x in enumerate(group["params"]):
        name = parameter_name(group, i)
        _check_tensor(x, name)
        if id(x) in seen:
            raise ValueError(f"{name} is there twice: list a tied parameter once")
        seen.add(id(x))
    if group["error_feedback"]:
        sizes = [x.numel() for x in group["params"] if x.numel()]
        for d in {sum(sizes)} - {0} if group["scope"] == "global" else set(sizes):
            check_feedback(c, d)


def _check_numbers(group: dict[str, Any]) -> None:
    """Refuse what is no number; only the step size may be a tensor, which a schedule overwrites."""
    lr = group["lr"]
    if not isinstance(lr, Real) and not (isinstance(lr, Tensor) and lr.numel() == 1):
        raise TypeError(f"lr must be a number or a tensor of one element, not {lr!r}")
    for name in ("momentum", "dampening", "weight_decay"):
        if not isinstance(group[name], Real):
            raise TypeError(f"{name} must be a number, not {group[name]!r}")


def parameter_name(group: dict[str, Any], i: int) -> str:
    """The name of parameter i of a group; without names, its number and shape."""
    names = group.get("param_names")
    if names:
        return str(names[i])
    return f"parameter {i} of its group, shape {tuple(group['params'][i].shape)}"


def _check_tensor(x: Tensor, name: str) -> None:
    distributed = sys.modules.get("torch.distributed.tensor")
    if distributed is not None and isinstance(x, distributed.DTensor):
        raise TypeError(f"{name} is sharded (DTensor), and C needs it whole: use DDP, not FSDP")
    if x.layout != torch.strided:
        raise TypeError(f"{name} is sparse: convert it with .to_dense()")
    if not _computes(x.dtype):
        cure = "only real floating-point parameters of 16 bits or more are compressed"
        raise TypeError(f"{name} is {x.dtype}: {cure}")


def _computes(dtype: torch.dtype) -> bool:
    """Whether torch adds and multiplies numbers of this dtype, and they are real."""
    return dtype.is_floating_point and dtype.itemsize > 1


def with_gradient(group: dict[str, Any]) -> dict[torch.device, list[Tensor]]:
    """The parameters of a group that have a gradient, by device; refuses a sparse gradient."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for i, x in enumerate(group["params"]):
        if x.grad is None or not x.numel():
            continue
        if x.grad.layout != torch.strided:
            cure = "make its layer with sparse=False"
            raise TypeError(f"the gradient of {parameter_name(group, i)} is sparse: {cure}")
        by_device.setdefault(x.device, []).append(x)
    return by_device


def refuse_nonfinite(groups: Sequence[dict[str, Any]]) -> None:
    """Raise FloatingPointError that names the first parameter with NaN or inf in its gradient."""
    for group in groups:
        for i, x in enumerate(group["params"]):
            if x.grad is not None and not bool(torch.isfinite(x.grad).all()):
                name = parameter_name(group, i)
                raise FloatingPointError(
                    f"the gradient of {name} holds NaN or inf: nothing was changed"
                )
