"""What a training runs on and how, and what the parts of an interrupted one ran on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch

from efsgd.deep.optim.compiled import compiler_missing, switched_off
from efsgd.deep.optim.triton_step import missing as triton_missing
from efsgd.provenance import Json

Form: TypeAlias = Literal["loop", "foreach", "compiled", "triton"]

# What makes an EFSGD take each form; without one it takes what it finds best.
FORMS: dict[str | None, dict[str, Any]] = {
    None: {},
    "loop": {"foreach": False, "fused": False},
    "foreach": {"foreach": True, "fused": False},
    "compiled": {"fused": True},
    "triton": {"fused": "triton"},
}


@dataclass(frozen=True)
class Means:
    """How a training is run, which is no part of what it is: device, and what speeds it up.

    ``graph`` and ``form`` (of the optimiser's step) are None where they are still to be chosen.
    """

    device: torch.device
    compile: bool = False  # the model runs through torch.compile
    graph: bool | None = None  # each step is one CUDA graph
    form: Form | None = None

    def __str__(self) -> str:
        told = f"on {self.device}, each step a CUDA graph" if self.graph else f"on {self.device}"
        told += ", the model compiled" if self.compile else ""
        return told + (f", the optimiser's step as {self.form!r}" if self.form else "")


def usable(
    device: str | torch.device,
    precision: str,
    compile: bool = False,
    graph: bool | None = None,
    form: str | None = None,
) -> Means:
    """These means; ValueError where this machine or the device cannot do what is asked of it."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be cpu or cuda, not {device!r}") from error
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, not {str(found)!r}")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no device {str(found)!r} here: use device='cpu'")
    if (dtype := torch.get_default_dtype()) != torch.float32:
        raise ValueError(
            f"torch's default dtype is {dtype}, and models are trained in float32: "
            "call torch.set_default_dtype(torch.float32) first"
        )
    if form not in FORMS:
        known = ", ".join(str(name) for name in FORMS if name)
        raise ValueError(f"form must be one of {known} or None, not {form!r}")
    if found.type == "cpu" and precision == "tf32":
        raise ValueError("precision 'tf32' is one of GPUs: use fp32 or bf16 on the CPU")
    if why := _impossible(found, compile, graph, form):
        raise ValueError(f"{why}: leave it out")
    return Means(found, bool(compile), graph, form)  # type: ignore[arg-type]  # it is in FORMS


def _impossible(
    device: torch.device, compile: bool, graph: bool | None, form: str | None
) -> str | None:
    """What cannot work, as far as one sees without trying; None if nothing."""
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


def machine(means: Means, form: str) -> Json:
    """What a history depends on beside the training and the code, as far as it has a name.

    ``form`` is the one that the optimiser's steps took.
    """
    on_cuda = means.device.type == "cuda"
    return {
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name(means.device) if on_cuda else _processor(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "compile": means.compile,
        "graph": bool(means.graph),
        "form": form,
    }


def difference(earlier: Json, now: Json) -> str:
    """What changed, such as "threads 2, not 1"; "" where nothing did."""
    names = [name for name in now if earlier.get(name) != now[name]]
    return ", ".join(f"{name} {now[name]}, not {earlier.get(name)}" for name in names)


def together(parts: Sequence[Json]) -> Json:
    """Each name with its value, or with the list of its values where the parts had several.

    They are in the order in which they were last used.
    """
    found: Json = {}
    for name in parts[-1]:
        values = [part.get(name) for part in parts]
        distinct = [value for i, value in enumerate(values) if value not in values[:i]]
        found[name] = distinct[0] if len(distinct) == 1 else distinct
    return found


def _processor() -> str:
    """The name of the CPU, as the system tells it."""
    try:
        told = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        told = ""
    names = [line.partition(":")[2].strip() for line in told.splitlines() if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()
