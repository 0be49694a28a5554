"""A run repeated with one of its fields varied, certified optima, and what to record of signs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.signs import ScaledSign
from efsgd.convex.problems.optima import Certifiable, certify
from efsgd.engine.runs import Run, run
from efsgd.methods.base import Method


def densities(method: Method) -> tuple[str, ...]:
    """The metrics to record so that the delta of scaled signs can be compared with phi(p_t)."""
    return ("achieved_delta", "phi_p") if isinstance(method.compresses, ScaledSign) else ()


@dataclass(frozen=True)
class Vary:
    """``run`` once for each of ``values`` in place of one of its fields.

    Replicates that diverge go on as inf and NaN beside the others.
    """

    run: Run
    field: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        """Refuse a field that a run does not have."""
        if not self.values or self.field not in Run.__dataclass_fields__:
            raise ValueError(f"a run cannot vary {self.field!r} over {len(self.values)} values")

    @property
    def cost(self) -> float:
        """The steps of all runs together."""
        return float(self.run.steps * len(self.values))

    def compute(self) -> dict[str, Array]:
        """ "step" (T,), and each metric as (T, V, R) with V values and R replicates."""
        histories = [
            run(replace(self.run, **{self.field: value}), diverged="keep") for value in self.values
        ]
        names = [name for name in histories[0] if name not in ("step", "x_final")]
        stacked = {name: np.stack([h[name] for h in histories], axis=1) for name in names}
        return {"step": histories[0]["step"], **stacked}


@dataclass(frozen=True)
class Certified:
    """The certificates of several problems; see :func:`efsgd.convex.certify`."""

    problems: tuple[Certifiable, ...]
    cost: ClassVar[float] = 1e6  # starts first: importing cvxpy takes seconds

    def compute(self) -> dict[str, Array]:
        """ "f", "dual" and "gap" of each problem, (P,)."""
        certificates = [certify(problem) for problem in self.problems]
        return {
            name: np.array([getattr(certificate, name) for certificate in certificates])
            for name in ("f", "dual", "gap")
        }
