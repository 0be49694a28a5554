"""The optimiser step on the shapes of the paper's networks, against SGD fused and the paper's form.

EF-signSGD reads x, g, e twice and writes x, e: 8 accesses of memory, but 7 without weight decay,
where its first pass does without x. torch.optim.SGD(momentum, fused=True) reads x, g, m and writes
x, m: 5.
Eager times hold what the host needs to launch; those of a graph are the device's alone.
"""

import math
from functools import cache
from typing import Any

import torch
from candidates import BASELINE, NETWORKS, candidate, parameters
from measure import Captured, Context, copy_rate, failure, launches, table, timed, waits, write
from torch import Tensor

FORMS = ("triton", "triton 4096 8", "foreach", "paper's form")  # with chunk and warps
DECAYS = {5e-4: 8 / 5, 0.0: 7 / 5}  # weight decay, and the ratio of accesses
TARGET, LAUNCHES = 1.25, 10  # times that ratio; launches of a step


def copies(network: str, at: Context) -> list[Tensor]:
    """The parameters of a network with gradients, as if they had just been made."""
    found = []
    for x in _made(network, str(at.device)):
        found.append(torch.nn.Parameter(x.detach().clone()))
        assert x.grad is not None
        found[-1].grad = x.grad.clone()
    return found


@cache
def _made(network: str, device: str) -> list[Tensor]:
    return parameters(network, NETWORKS.get(network, 10), device)


def measured(name: str, network: str, decay: float, at: Context) -> dict[str, Any]:
    """Eager and captured milliseconds, launches and waits of one form, or why there are none."""
    repeats, warm = (2, 1) if at.small else (50, 10)
    found: dict[str, Any] = {"form": name, "weight decay": decay}
    own: dict[str, Any] = {"weight_decay": decay}
    try:
        step = candidate(name, copies(network, at), **own)
        found["eager"] = timed(step, at, repeats, warm)
        found |= counted(step, at)
        if at.cuda:
            own |= {"capturable": True} if name not in (BASELINE, "paper's form") else {}
            step = candidate(name, copies(network, at), **own)
            found["graph"] = timed(Captured(step), at, repeats, warm)
    except Exception as error:  # one form that fails does not take the others along
        found["failed"] = failure(error)
    return found


def counted(step: Any, at: Context) -> dict[str, Any]:
    """Launches and waits of a step; a profiler that does not work must not cost the times."""
    found: dict[str, Any] = {}
    for name, count in (("launches", launches), ("waits", waits)):
        try:
            found[name] = count(step, at)
        except Exception as error:
            found[name] = math.nan
            print(f"{name} were not counted: {failure(error)}", flush=True)
    return found


def section(network: str, decay: float, at: Context) -> list[dict[str, Any]]:
    """All forms of one network, each with its ratio to the baseline."""
    rows = [measured(name, network, decay, at) for name in (BASELINE, *FORMS)]
    for r in rows:
        for kind in ("eager", "graph"):
            if kind in r and kind in rows[0]:
                r[f"{kind} / {BASELINE}"] = r[kind].median / rows[0][kind].median
    return rows


def within(rows: list[dict[str, Any]], decay: float) -> bool:
    """Whether a Triton step is as fast as memory allows, in few launches, without a wait."""
    fast = [r for r in rows if r["form"].startswith("triton") and "graph" in r]
    most = TARGET * DECAYS[decay]
    return any(
        r.get(f"graph / {BASELINE}", most + 1) <= most
        and r["launches"] <= LAUNCHES
        and r["waits"] == 0
        for r in fast
    )


def run(at: Context) -> bool:
    """Whether the Triton step meets its target on every network."""
    every: dict[str, Any] = {}
    met = True
    for network in ("resnet8",) if at.small else NETWORKS:
        for decay, ratio in DECAYS.items():
            rows = every[f"{network}, weight decay {decay:g}"] = section(network, decay, at)
            columns = ["form", "eager ms", "x SGD", "graph ms", "x SGD", "launches", "waits"]
            cells = [
                [r["form"], r.get("eager", r.get("failed", "")), _x(r, "eager"),
                 r.get("graph", ""), _x(r, "graph"), r.get("launches", ""), r.get("waits", "")]
                for r in rows
            ]  # fmt: skip
            told = f"{network}, weight decay {decay:g}: median (min .. max); target {TARGET}"
            table(f"Step of {told} x {ratio:g} x SGD", columns, cells)
            met = met and (within(rows, decay) or not at.cuda)
            write(at, "step", {"networks": every})
    rate = copy_rate(at)
    print(f"copy within the device: {rate / 1e12:.2f} TB/s")
    write(at, "step", {"networks": every, "copy bytes per second": rate})
    return met and (at.cuda or not any("failed" in r for rows in every.values() for r in rows))


def _x(r: dict[str, Any], kind: str) -> str:
    ratio = r.get(f"{kind} / {BASELINE}")
    return "" if ratio is None else f"{ratio:.2f}"
