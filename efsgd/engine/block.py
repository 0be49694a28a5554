"""Some replicates of a run, which step together, with its defaults and schedules resolved."""

from __future__ import annotations

from dataclasses import dataclass

from efsgd.engine.problem import Problem
from efsgd.methods.base import Method
from efsgd.methods.team import Team
from efsgd.schedules import Schedule


@dataclass(frozen=True)
class Block:
    """What the loop and the metrics need to know; the fields are those of :class:`efsgd.Run`.

    Several workers and what belongs to them are a :class:`efsgd.methods.Team`.
    """

    problem: Problem
    method: Method | Team
    schedule: Schedule  # of the step sizes, also where the run has a number or a tuple
    steps: int
    replicates: int
    recorded: tuple[int, ...]  # steps, increasing, from 0 to ``steps``
    batch: int | None
    metrics: tuple[str, ...] | None
