"""The machine that a training runs on, and the machines and code that its sessions ran with.

An interrupted training may go on on another machine or with other code, where its last bits may
differ: its result names all of them.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from efsgd.deep.training.execution import Execution
from efsgd.provenance import Json

log = logging.getLogger("efsgd.deep")


class Lineage:
    """The code and the machines that produced the training state of a session."""

    def __init__(self, execution: Execution, code: str | None) -> None:
        self.execution = execution
        self.code = code  # None once more than one version took part
        self.machines: list[Json] = []  # those that took part, in the order of their last step
        self.form = ""  # of the optimiser's last step in this session; "" before its first

    def restore(self, code: str | None, machines: list[Json], begun: bool, done: bool) -> None:
        """Take over those of a saved state; where it is ``done``, this session adds nothing.

        Raises ValueError where they cannot be those of a training that has ``begun``.
        """
        kinds = _kinds(machine(self.execution, ""))
        if (begun and not machines) or any(_kinds(earlier) != kinds for earlier in machines):
            raise ValueError("it names no machine")
        if code is not None and not isinstance(code, str):
            raise ValueError("its code is no digest")
        self.machines = machines
        self.code = code if done or code == self.code else None

    def record(self, form: str) -> None:
        """Add this machine, where the optimiser's step took ``form``.

        With "" for a session that only evaluates, the form is that of the session before.
        """
        self.form = form
        current = machine(self.execution, form or self.machines[-1]["form"])
        if self.machines and (changes := difference(self.machines[-1], current)):
            log.info("the training goes on with %s: its last bits may differ", changes)
        self.machines = [earlier for earlier in self.machines if earlier != current] + [current]


def _kinds(entry: Json) -> dict[str, type]:
    return {name: type(value) for name, value in entry.items()}


def machine(execution: Execution, form: str) -> Json:
    """What the bits of a history depend on beside the training and the code.

    ``form`` is the one that the optimiser's steps took.
    """
    on_cuda = execution.device.type == "cuda"
    return {
        "torch": str(torch.__version__),
        "device": torch.cuda.get_device_name(execution.device) if on_cuda else _processor(),
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "compile": execution.compile,
        "graph": bool(execution.graph),
        "form": form,
    }


def difference(earlier: Json, now: Json) -> str:
    """What changed, such as "threads 2, not 1"; "" where nothing did."""
    names = [name for name in now if earlier.get(name) != now[name]]
    return ", ".join(f"{name} {now[name]}, not {earlier.get(name)}" for name in names)


def merge_machines(machines: Sequence[Json]) -> Json:
    """One entry for each name: the value that all machines share, else the list of the values.

    A list is in the order of ``machines``.
    """
    merged: Json = {}
    for name in machines[-1]:
        values = [machine.get(name) for machine in machines]
        distinct = [value for i, value in enumerate(values) if value not in values[:i]]
        merged[name] = distinct[0] if len(distinct) == 1 else distinct
    return merged


def _processor() -> str:
    """The name of the CPU, as the system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()
