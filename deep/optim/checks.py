"""What EFSGD refuses: options, groups and gradients, each with an error of one sentence."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from efsgd.compressors.base import instance
from efsgd.deep.kernels import kernel
from efsgd.methods.feedback import check_feedback

Fused: TypeAlias = bool | Literal["triton"] | None
SHARDED = (  # classes of tensors that hold a part on each process
    ("torch.distributed.tensor", "DTensor"),
    ("torch.distributed._shard.sharded_tensor", "ShardedTensor"),
)


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
    if memory_dtype is not None and not computes(memory_dtype):
        raise ValueError(
            f"memory_dtype must be a floating-point dtype of 16 bits or more, not {memory_dtype}"
        )
    if not (fused is None or isinstance(fused, bool) or fused == "triton"):
        raise ValueError(f"fused must be None, a bool or 'triton', not {fused!r}")
    if fused is True and capturable:
        raise ValueError("fused=True cannot be captured in a CUDA graph: leave fused to None")


def check_group(group: dict[str, Any]) -> None:
    """Refuse impossible numbers, tensors that cannot be compressed, compressors that diverge."""
    check_compressor(group)
    check_numbers(group)
    check_tensors(group)


def check_numbers(group: dict[str, Any], ask: bool = True) -> None:
    """Refuse numbers and switches that are none, or impossible.

    Without ``ask`` a step size that is a tensor is not read, which would wait for its device.
    """
    _check_types(group)
    lr = 0.0 if isinstance(group["lr"], Tensor) and not ask else float(group["lr"])
    for name, value in (("lr", lr), ("weight_decay", float(group["weight_decay"]))):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be at least 0 and finite, not {value}")
    if not 0 <= group["momentum"] < 1:
        raise ValueError(f"momentum must lie in [0, 1), not {group['momentum']}")
    if not 0 <= group["dampening"] <= 1:
        raise ValueError(f"dampening must lie in [0, 1], not {group['dampening']}")
    if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
        raise ValueError("Nesterov momentum needs momentum > 0 and dampening = 0")


def _check_types(group: dict[str, Any]) -> None:
    """Refuse what is no number; only the step size may be a tensor, which a schedule overwrites."""
    if refused_size(group["lr"]):
        lr = group["lr"]
        what = f"one of shape {tuple(lr.shape)}" if isinstance(lr, Tensor) else repr(lr)
        raise TypeError(f"lr must be a real number or a tensor of one element, not {what}")
    for name in ("momentum", "dampening", "weight_decay"):
        if not isinstance(group[name], Real):
            raise TypeError(f"{name} must be a number, not {group[name]!r}")
    for name in ("nesterov", "maximize"):
        _check_switch(group, name)


def refused_size(lr: Any) -> bool:
    """Whether this is no step size, whatever its value."""
    if isinstance(lr, Tensor):
        return lr.numel() != 1 or lr.dtype.is_complex
    return not isinstance(lr, Real)


def _check_switch(group: dict[str, Any], name: str) -> None:
    value = group[name]
    if not isinstance(value, Real | np.bool_) or value not in (0, 1):
        raise TypeError(f"{name} must be True or False, not {value!r}")


def check_compressor(group: dict[str, Any]) -> None:
    """Refuse what is no compressor that torch can run."""
    c = instance(group["compressor"])
    kernel(c)
    if c.warm:
        raise ValueError(
            f"{c} starts each step from what it sent before, which this optimiser does not keep: "
            f"use lowrank here, or the methods of efsgd"
        )
    _check_switch(group, "error_feedback")
    if group["scope"] not in ("tensor", "global"):
        raise ValueError(f"scope must be 'tensor' or 'global', not {group['scope']!r}")


def check_tensors(group: dict[str, Any]) -> None:
    """Refuse tensors that cannot be compressed, and feedback that diverges at their dimensions.

    A lazy parameter is checked at the first step after the forward pass that has made it.
    """
    params = [(i, x) for i, x in enumerate(group["params"]) if not is_lazy(x)]
    for i, x in params:
        name = parameter_name(group, i)
        check_tensor(x, name)
        if not (x.is_leaf or x.retains_grad):
            raise ValueError(f"{name} is no leaf, so it has no gradient: list what it is made of")
    check_distinct([group])
    if group["error_feedback"]:
        names: dict[int, str] = {}  # of the first parameter of each dimension
        for i, x in params:
            names.setdefault(x.numel(), parameter_name(group, i))
        if group["scope"] == "global":
            names = {sum(x.numel() for _, x in params): "all parameters of the group together"}
        for d, name in names.items():
            check_feedback(group["compressor"], d, name)


def check_distinct(groups: Sequence[dict[str, Any]]) -> None:
    """Refuse a parameter that is listed twice."""
    seen: set[int] = set()
    for group in groups:
        for i, x in enumerate(group["params"]):
            if id(x) in seen:
                name = parameter_name(group, i)
                raise ValueError(f"{name} is there twice: list a tied parameter once")
            seen.add(id(x))


def parameter_name(group: dict[str, Any], i: int) -> str:
    """The name of parameter i of a group; without names, its number and shape."""
    names = group.get("param_names")
    if names and i < len(names):
        return str(names[i])
    x = group["params"][i]
    return f"parameter {i} of its group, shape {'unknown' if is_lazy(x) else tuple(x.shape)}"


def check_tensor(x: Tensor, name: str) -> None:
    """Refuse a tensor that cannot be compressed."""
    if sharding := _sharding(x):
        cure = "use DDP or ZeroRedundancyOptimizer"
        raise TypeError(f"{name} is sharded ({sharding}), and C needs it whole: {cure}")
    if x.layout != torch.strided:
        raise TypeError(f"{name} is sparse: convert it with .to_dense()")
    if not computes(x.dtype):
        cure = "only real floating-point parameters of 16 bits or more are compressed"
        raise TypeError(f"{name} is {x.dtype}: {cure}")


def _sharding(x: Tensor) -> str | None:
    """What has cut this parameter into shards, or None."""
    for module, name in SHARDED:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(x, kind):
            return name
    # FullyShardedDataParallel marks its flat parameters, and those that are views of one
    return "FullyShardedDataParallel" if getattr(x, "_fsdp_flattened", False) else None


def computes(dtype: torch.dtype) -> bool:
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
