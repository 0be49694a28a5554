"""The methods, machines and maps of the picture when-to-compress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from efsgd.cost import CostMap, Machine, MeasuredSteps, Scheme, calibrate
from efsgd.cost.measured import SIZE, hidden_share
from efsgd.figures.make import Works
from efsgd.results import Work

Factors = Mapping[str, tuple[float, str]]

PLAIN, LOCAL = "plain SGD", "30 local steps"
LOCAL_STEPS = 30
MEASURED = {  # name here -> name in the table
    PLAIN: "plain",
    "signs, gathered": "sign, gather",
    "signs, in two phases": "sign, two-phase",
    "top 1 %, gathered": "top-k 1 %, gather",
    "PowerSGD, rank 1": "PowerSGD 1",
}
NAMES = (*MEASURED, LOCAL)
# Steps to the loss over those of plain SGD, and where the number is from; 1 where none is known.
FACTORS: Factors = {}

NS = tuple(int(n) for n in np.unique(np.round(10 ** np.linspace(0, 5, 101))))
RATES = tuple(10 ** (i / 20) for i in range(140, 233))  # bits per second: 10 M to 400 G
MACHINE = Machine(compute=0.01, copying=2e12)  # an accelerator, assumed
LATENCY = 1e-5  # seconds, assumed

A_STEP, TO_A_LOSS, TABLE = "a step", "to a loss", "table"


def schemes(factors: Factors) -> dict[str, Scheme]:
    """The methods by NAMES: work and bytes as measured, steps by these factors.

    ValueError for a factor of a method that the picture does not have.
    """
    unknown = sorted(set(factors) - set(NAMES))
    if unknown:
        raise ValueError(f"factors must be of {', '.join(NAMES)}, not of {unknown[0]!r}")
    known = calibrate().schemes
    found = {name: known[of] for name, of in MEASURED.items()}
    found[PLAIN] = replace(found[PLAIN], overlap=hidden_share())
    found[LOCAL] = Scheme("ring", local=LOCAL_STEPS)
    for name, (steps, source) in factors.items():
        found[name] = replace(found[name], steps=steps, source=source)
    return found


def cost_map(factors: Factors) -> CostMap:
    """The map of all methods of the picture."""
    every = tuple(schemes(factors).values())
    return CostMap(every, NS, RATES, size=SIZE, latency=LATENCY, machine=MACHINE)


def work(quick: bool, seed: int) -> Works:
    """The map of a step, that of the steps to a loss where factors are known, and the table."""
    works: dict[str, Work] = {A_STEP: cost_map({}), TABLE: MeasuredSteps()}
    return works | ({TO_A_LOSS: cost_map(FACTORS)} if FACTORS else {})
