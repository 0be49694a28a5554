"""How a training is run: device, CUDA graph, compiled model, form of the optimiser's step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch

from efsgd.deep.optim.forms.compiled import compiler_missing, switched_off
from efsgd.deep.optim.forms.triton_step import missing as triton_missing

Form: TypeAlias = Literal["loop", "foreach", "compiled", "triton"]

# The options of EFSGD that select each form; with None it selects one itself.
FORMS: dict[str | None, dict[str, Any]] = {
    None: {},
    "loop": {"foreach": False, "fused": False},
    "foreach": {"foreach": True, "fused": False},
    "compiled": {"fused": True},
    "triton": {"fused": "triton"},
}


@dataclass(frozen=True)
class Execution:
    """The device that a training runs on, and what makes it faster there.

    No part of the training's spec. ``graph`` and ``form`` (of the optimiser's step) are None until
    :mod:`efsgd.deep.training.choice` has chosen them.
    """

    device: torch.device
    compile: bool = False  # the model runs through torch.compile
    graph: bool | None = None  # each step is one CUDA graph
    form: Form | None = None

    def __str__(self) -> str:
        text = f"on {self.device}, each step a CUDA graph" if self.graph else f"on {self.device}"
        text += ", the model compiled" if self.compile else ""
        return text + (f", the optimiser's step as {self.form!r}" if self.form else "")


def checked_execution(
    device: str | torch.device,
    precision: str,
    compile: bool = False,
    graph: bool | None = None,
    form: str | None = None,
) -> Execution:
    """The execution with these options; ValueError for what this machine or device cannot do."""
    try:
        parsed = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be cpu or cuda, not {device!r}") from error
    if parsed.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, not {str(parsed)!r}")
    if parsed.type == "cuda" and (parsed.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no device {str(parsed)!r} here: use device='cpu'")
    if (dtype := torch.get_default_dtype()) != torch.float32:
        raise ValueError(
            f"torch's default dtype is {dtype}, and models are trained in float32: "
            "call torch.set_default_dtype(torch.float32) first"
        )
    if form not in FORMS:
        known = ", ".join(str(name) for name in FORMS if name)
        raise ValueError(f"form must be one of {known} or None, not {form!r}")
    if parsed.type == "cpu" and precision == "tf32":
        raise ValueError("precision 'tf32' is one of GPUs: use fp32 or bf16 on the CPU")
    if reason := _unsupported(parsed, compile, graph, form):
        raise ValueError(f"{reason}: leave it out")
    return Execution(parsed, bool(compile), graph, form)  # type: ignore[arg-type]  # it is in FORMS


def _unsupported(
    device: torch.device, compile: bool, graph: bool | None, form: str | None
) -> str | None:
    """Why these options cannot work, as far as is known without trying; None if they may."""
    if device.type == "cpu" and graph:
        return "graph=True captures a CUDA graph and cannot work on the CPU"
    if compile and (missing := compiler_missing(device)):
        return f"compile=True cannot work, {missing}"
    if form == "compiled" and (missing := switched_off() or compiler_missing(device)):
        return f"form='compiled' cannot work, {missing}"
    if form == "compiled" and graph:
        return "form='compiled' cannot be captured by graph=True"
    if form == "triton" and (missing := switched_off() or triton_missing(device.type)):
        return f"form='triton' cannot work, {missing}"
    return None
