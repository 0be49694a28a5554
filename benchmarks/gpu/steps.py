"""The optimiser's step on the shapes of the paper's networks: EF-signSGD in its forms against SGD.

EF-signSGD reads x, g, e twice and writes x, e: 8 memory accesses for each parameter, but 7 without
weight decay, where its first pass does not read x. torch.optim.SGD(momentum, fused=True) reads
x, g, m and writes x, m: 5.
Eager times include the host's launches; those of a graph are the device's alone.
"""

import math
from functools import cache
from typing import Any

import torch
from candidates import BASELINE, NETWORKS, candidate, parameters
from measure import Captured, Context, copy_rate, failure, launches, table, timed, waits, write
from torch import Tensor

FORMS = ("triton", "triton 4096 8", "foreach", "paper's form")  # with chunk size and warps
DECAYS = {5e-4: 8 / 5, 0.0: 7 / 5}  # weight decay -> ratio of memory accesses to those of SGD
TARGET, LAUNCHES = 1.25, 10  # at most, of the time as a multiple of that ratio; of one step
Row = dict[str, Any]


def copies(network: str, context: Context) -> list[Tensor]:
    """Fresh copies of the parameters of a network, with gradients."""
    xs = []
    for x in _parameters(network, str(context.device)):
        assert x.grad is not None
        xs.append(torch.nn.Parameter(x.detach().clone()))
        xs[-1].grad = x.grad.clone()
    return xs


@cache
def _parameters(network: str, device: str) -> list[Tensor]:
    return parameters(network, NETWORKS.get(network, 10), device)


def measure_step(name: str, network: str, decay: float, context: Context) -> Row:
    """Eager and captured milliseconds, launches and waits of one form, or the failure."""
    repeats, warm = (2, 1) if context.small else (50, 10)
    row: Row = {"form": name, "weight decay": decay}
    options: dict[str, Any] = {"weight_decay": decay}
    try:
        step = candidate(name, copies(network, context), **options)
        row["eager"] = timed(step, context, repeats, warm)
        row |= counts(step, context)
        if context.cuda:
            options |= {"capturable": True} if name not in (BASELINE, "paper's form") else {}
            step = candidate(name, copies(network, context), **options)
            row["graph"] = timed(Captured(step), context, repeats, warm)
    except Exception as error:  # the other forms may work
        row["failed"] = failure(error)
    return row


def counts(step: Any, context: Context) -> Row:
    """Launches and waits of a step; NaN where the profiler fails, which must not cost the times."""
    row: Row = {}
    for name, count in (("launches", launches), ("waits", waits)):
        try:
            row[name] = count(step, context)
        except Exception as error:
            row[name] = math.nan
            print(f"{name} were not counted: {failure(error)}", flush=True)
    return row


def measure_network(network: str, decay: float, context: Context) -> list[Row]:
    """All forms of one network, each with its ratio to the baseline."""
    rows = [measure_step(name, network, decay, context) for name in (BASELINE, *FORMS)]
    for row in rows:
        for kind in ("eager", "graph"):
            if kind in row and kind in rows[0]:
                row[f"{kind} / {BASELINE}"] = row[kind].median / rows[0][kind].median
    return rows


def meets_target(rows: list[Row], decay: float) -> bool:
    """Whether a Triton step is as fast as memory allows, in few launches, without a wait."""
    captured = [r for r in rows if r["form"].startswith("triton") and "graph" in r]
    most = TARGET * DECAYS[decay]
    return any(
        r.get(f"graph / {BASELINE}", most + 1) <= most
        and r["launches"] <= LAUNCHES
        and r["waits"] == 0
        for r in captured
    )


def run(context: Context) -> bool:
    """Measure all steps; whether the Triton step meets its target on every network."""
    networks: dict[str, list[Row]] = {}
    met = True
    for network in ("resnet8",) if context.small else NETWORKS:
        for decay, ratio in DECAYS.items():
            name = f"{network}, weight decay {decay:g}"
            rows = networks[name] = measure_network(network, decay, context)
            columns = ["form", "eager ms", "x SGD", "graph ms", "x SGD", "launches", "waits"]
            cells = [
                [r["form"], r.get("eager", r.get("failed", "")), _ratio(r, "eager"),
                 r.get("graph", ""), _ratio(r, "graph"), r.get("launches", ""), r.get("waits", "")]
                for r in rows
            ]  # fmt: skip
            target = f"target {TARGET} x {ratio:g} x SGD"
            table(f"Step of {name}: median (min .. max); {target}", columns, cells)
            met = met and (meets_target(rows, decay) or not context.cuda)
            write(context, "step", {"networks": networks})
    rate = copy_rate(context)
    print(f"copy within the device: {rate / 1e12:.2f} TB/s")
    write(context, "step", {"networks": networks, "copy bytes per second": rate})
    return met and (
        context.cuda or not any("failed" in r for rows in networks.values() for r in rows)
    )


def _ratio(row: Row, kind: str) -> str:
    ratio = row.get(f"{kind} / {BASELINE}")
    return "" if ratio is None else f"{ratio:.2f}"
