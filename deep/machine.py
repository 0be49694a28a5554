"""What a training runs on, and what the parts of an interrupted one ran on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from efsgd.provenance import Json


def machine(device: torch.device, compile: bool, graph: bool) -> Json:
    """What a history depends on beside the training and the code, as far as it has a name.

    The form of the optimiser's step, which needs a compiler and EFSGD_COMPILE, is not in it.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        **{"torch": str(torch.__version__), "device": name, "threads": torch.get_num_threads()},
        "instructions": torch.backends.cpu.get_cpu_capability(),
        **{"compile": bool(compile), "graph": bool(graph)},
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
