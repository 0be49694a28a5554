"""What a run with several workers needs beyond one: its checks, its team, its memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from efsgd.checks import positive, whole
from efsgd.engine.split import Split
from efsgd.engine.theorems import check_theorem
from efsgd.methods.base import Method
from efsgd.methods.faults import Faults
from efsgd.methods.local import LocalSteps
from efsgd.methods.team import Team
from efsgd.methods.team_checks import check_team
from efsgd.schedules import Theorem

if TYPE_CHECKING:
    from efsgd.engine.runs import Run


def check_workers(run: Run) -> None:
    """Refuse impossible numbers of workers and what belongs to them."""
    for name in ("workers", "local_steps"):
        whole(name, getattr(run, name))
    positive("participation", run.participation, 1.0)
    downlink = run.downlink
    if downlink is not None and (
        not isinstance(downlink, Method) or isinstance(downlink, LocalSteps)
    ):
        cure = f": write efsgd.compressor({downlink!r})" if isinstance(downlink, str) else ""
        raise ValueError(f"downlink must be a method such as efsgd.EFSGD(), not {downlink!r}{cure}")
    if run.faults is not None and not isinstance(run.faults, Faults):
        raise ValueError(f"faults must be efsgd.Faults(...), not {run.faults!r}")
    _check_problem(run)
    what = stepper(run)
    if isinstance(what, Team):
        check_team(what, run.problem.d)
        _check_local_steps(run, what)
    else:
        what.check(run.problem.d)
    if run.batch is not None and what.worker.needs_full_gradients:
        raise ValueError(
            f"{type(what.worker).__name__} is for full gradients, and noise adds up in what it "
            "remembers: leave batch out, or use DIANA or EF21"
        )
    if isinstance(run.lr, Theorem):
        check_theorem(run.lr, run.method, what, run.problem.d, run.batch)


def _check_problem(run: Run) -> None:
    """Refuse a problem of other workers, and batches that it cannot give each of them."""
    problem = run.problem
    of_problem = getattr(problem, "workers", None)
    if of_problem is not None and of_problem != run.workers:
        raise ValueError(
            f"the problem is split over {of_problem} workers: use workers={of_problem}, not "
            f"{run.workers}"
        )
    if run.batch is None:
        return
    if isinstance(problem, Split):
        problem.check_batch(run.batch)
    if hasattr(problem, "worker_gradients") and not hasattr(problem, "worker_batches"):
        raise ValueError(
            f"batch={run.batch} needs worker_batches where a problem has worker_gradients: else "
            "each worker would draw from the rows of all"
        )


def _check_local_steps(run: Run, team: Team) -> None:
    """Refuse local steps under a constraint, and so many that nothing is sent."""
    if team.local is None:
        return
    if hasattr(run.problem, "project"):
        raise ValueError("local steps know no constraints: use a problem without project")
    if run.local_steps // team.local.fragments > run.steps:  # the first exchange
        raise ValueError(
            f"local_steps={run.local_steps} are more than the {run.steps} steps of the run, so "
            "that nothing would be sent: use fewer"
        )


def stepper(run: Run) -> Method | Team:
    """What steps: the method of a run, or the team of workers that run it."""
    assert run.downlink is None or isinstance(run.downlink, Method)  # see Run
    team = Team(
        run.method,
        run.workers,
        run.participation,
        run.local_steps,
        run.downlink,
        run.faults or Faults(),
        _weights(run),
    )
    alone = team.workers == 1 and team.downlink is None and team.local is None
    return run.method if alone and team.faults == Faults() else team


def refuse_too_much(run: Run) -> None:
    """ValueError, before it is taken, where several workers need more memory than there is."""
    needed, there = run.memory(), total_memory()
    if run.workers > 1 and there is not None and needed > there:
        raise ValueError(
            f"{run.workers} workers in dimension {run.problem.d} take about "
            f"{needed / 2**30:.3g} GiB, and this machine has {there / 2**30:.3g}: use fewer workers"
        )


def total_memory() -> int | None:
    """Bytes of memory of this machine; None where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _weights(run: Run) -> tuple[float, ...] | None:
    """What each worker counts in the mean; None for 1/n."""
    weights = getattr(run.problem, "worker_weights", None)
    if weights is None or run.workers == 1:
        return None
    weights = np.asarray(weights, np.float64)
    if weights.shape != (run.workers,) or weights.min() < 0 or abs(weights.sum() - 1) > 1e-9:
        raise ValueError(
            f"worker_weights must be {run.workers} numbers with the sum 1, one a worker, not of "
            f"shape {weights.shape} with the sum {weights.sum():.6g}"
        )
    return None if np.ptp(weights) == 0 else tuple(weights.tolist())
