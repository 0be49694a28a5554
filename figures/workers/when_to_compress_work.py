"""The methods, machines and maps of the picture when-to-compress."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from efsgd import EFSGD, SGD, Blockwise, PowerSGD, Run, ScaledSign, TopK
from efsgd.convex import LeastSquares
from efsgd.convex.studies import CostToLoss, StepsToLoss
from efsgd.cost import CostMap, Machine, MeasuredSteps, Scheme, calibrate
from efsgd.cost.measured import SIZE, hidden_share
from efsgd.figures.make import Works
from efsgd.results import Work

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

NS = tuple(int(n) for n in np.unique(np.round(10 ** np.linspace(0, 5, 101))))
RATES = tuple(10 ** (i / 20) for i in range(140, 233))  # bits per second: 10 M to 400 G
MACHINE = Machine(compute=0.01, copying=2e12)  # an accelerator, assumed
LATENCY = 1e-5  # seconds, assumed

D, ROWS, WORKERS, BATCH = 64, 1024, 8, 8  # of the runs that count steps; batches are a worker's
STEPS, QUICK_STEPS, SHARE = 450, 270, 0.01
EVERY = LOCAL_STEPS  # steps between records of all runs: all have as many chances to be there
STEP_SIZES = (2.0, 1.4, 1.0, 0.7, 0.5, 0.35, 0.25)  # over 1/L
REPLICATES, QUICK_REPLICATES = 16, 2  # of each; half of them choose the step size

A_STEP, TO_A_LOSS, TABLE = "a step", "to a loss", "table"
SERVER, UNEVEN = "a step, by a server", "a step, by a server, slow up"
STRAGGLERS, IMPATIENT = "a step, stragglers", "a step, stragglers, first 90 %"
STRAGGLING = 0.2  # a worker takes compute (1 + 0.2 E), E exponential with mean 1
AWAITED, DOWN = 0.9, 10.0  # of the workers; the rate down over that up


def schemes() -> dict[str, Scheme]:
    """The methods by NAMES: work and bytes as measured."""
    known = calibrate().schemes
    found = {name: known[of] for name, of in MEASURED.items()}
    found[PLAIN] = replace(found[PLAIN], overlap=hidden_share())
    return found | {LOCAL: Scheme("ring", local=LOCAL_STEPS)}


def cost_map() -> CostMap:
    """The map of all methods of the picture."""
    every = tuple(schemes().values())
    return CostMap(every, NS, RATES, size=SIZE, latency=LATENCY, machine=MACHINE)


def others() -> dict[str, Work]:
    """The same map if all go through one server with such a link, and if some workers are slow.

    Then once more with links that are slow up, and with steps that do not wait for all.
    """
    plain = cost_map()
    served = replace(plain, schemes=tuple(replace(s, exchange="server") for s in plain.schemes))
    slow = replace(MACHINE, spread=STRAGGLING)
    return {
        SERVER: served,
        UNEVEN: replace(served, down=DOWN),
        STRAGGLERS: replace(plain, machine=slow),
        IMPATIENT: replace(plain, machine=replace(slow, wait=AWAITED)),
    }


def needed(quick: bool, seed: int) -> StepsToLoss:
    """The steps of all methods to SHARE of the first gap, on least squares with small batches."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((ROWS, D)) / np.sqrt(np.arange(1, D + 1))
    problem = LeastSquares(X, X @ rng.standard_normal(D) + rng.standard_normal(ROWS))
    in_chunks = EFSGD(Blockwise(ScaledSign(), D // WORKERS))
    options: dict[str, dict[str, Any]] = {
        PLAIN: {"method": SGD()},
        "signs, gathered": {"method": EFSGD()},
        "signs, in two phases": {"method": EFSGD(), "downlink": in_chunks},
        "top 1 %, gathered": {"method": EFSGD(TopK(0.01))},
        "PowerSGD, rank 1": {"method": EFSGD(PowerSGD(1))},
        LOCAL: {"method": SGD(), "local_steps": LOCAL_STEPS},
    }
    replicates = QUICK_REPLICATES if quick else REPLICATES
    unit = 1 / problem.smoothness()
    lr = tuple(unit * share for share in STEP_SIZES for _ in range(replicates))
    shared: dict[str, Any] = {"lr": lr, "replicates": len(lr), "workers": WORKERS, "batch": BATCH}
    shared |= {"steps": QUICK_STEPS if quick else STEPS, "record": EVERY, "seed": seed}
    return StepsToLoss(tuple(Run(problem, **options[name], **shared) for name in NAMES), SHARE)


def work(quick: bool, seed: int) -> Works:
    """The map of a step, that of the steps to a loss, four others, and the table."""
    to_a_loss = CostToLoss(cost_map(), needed(quick, seed))
    return {A_STEP: cost_map(), TO_A_LOSS: to_a_loss, TABLE: MeasuredSteps(), **others()}
