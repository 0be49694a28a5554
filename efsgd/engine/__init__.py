"""The engine: a method on a problem, for many replicates at once, recorded as a history."""

from efsgd.engine.keys import METRICS
from efsgd.engine.loop import Diverged
from efsgd.engine.problem import Optimum, Problem
from efsgd.engine.runs import Run, run
from efsgd.engine.split import Split

__all__ = ["METRICS", "Diverged", "Optimum", "Problem", "Run", "Split", "run"]
