"""What a picture of costs shows, as values with a method ``compute()``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.cost import measured
from efsgd.cost.machines import Link, Machine
from efsgd.cost.schemes import Scheme, step_seconds
from efsgd.provenance import optional


@dataclass(frozen=True)
class CostMap:
    """Seconds per gradient of plain SGD that several schemes take, over workers and rates.

    ``ns`` (N,) are numbers of workers, ``rates`` (R,) bits per second that a worker sends and,
    times ``down``, receives, ``latency`` seconds, ``size`` bytes of the dense gradient. A server
    has the same link as a worker.
    """

    schemes: tuple[Scheme, ...]
    ns: tuple[int, ...]
    rates: tuple[float, ...]
    size: float
    latency: float
    machine: Machine
    down: float = optional(1.0)

    def compute(self) -> dict[str, Array]:
        """``seconds`` (S, N, R): those of a step times the steps that the scheme needs.

        >>> machine = Machine(compute=0.1, copying=1e9)
        >>> tiny = CostMap((Scheme("ring"),), (1, 2), (1e8, 1e9), 1e7, 0.0, machine)
        >>> tiny.compute()["seconds"]
        array([[[0.1 , 0.1 ],
                [0.9 , 0.18]]])
        """
        n = np.array(self.ns)[:, None]
        up = np.array(self.rates)
        link = Link(up, self.down * up, self.latency)
        seconds = [
            scheme.steps
            * step_seconds(scheme, n=n, size=self.size, link=link, machine=self.machine)
            for scheme in self.schemes
        ]
        return {"seconds": np.array(seconds)}


@dataclass(frozen=True)
class MeasuredSteps:
    """The table of :mod:`efsgd.cost.measured` and what the model says of it."""

    def compute(self) -> dict[str, Array]:
        """``seconds``, ``predicted`` (M, workers, rates), ``mb``, ``predicted_mb`` (M, workers).

        Besides the constants ``payload`` and ``crowding`` of the fit, ().
        """
        names = list(measured.SECONDS)
        fitted, sent = measured.calibrate(), measured.mb_sent()
        predicted = fitted.predicted()
        return {
            "seconds": np.array([measured.SECONDS[name] for name in names]),
            "predicted": np.array([predicted[name] for name in names]),
            "mb": np.array([measured.MB_SENT[name] for name in names]),
            "predicted_mb": np.array([sent[name] for name in names]),
            "payload": np.array(fitted.payload),
            "crowding": np.array(fitted.crowding),
        }
