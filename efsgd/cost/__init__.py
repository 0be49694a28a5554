"""What a step of n workers costs: the seconds of computing, waiting, compressing and sending.

:class:`Link` and :class:`Machine` say what a worker has (rates of links in BITS per second,
everything else in bytes and seconds), a :class:`Scheme` what a method does with it;
:func:`step_seconds` and :func:`seconds_to_loss` give the time. The formulas are derived in
:mod:`efsgd.cost.collectives`, :mod:`efsgd.cost.machines` and :meth:`Scheme.copies`, and held to
measured steps in :mod:`efsgd.cost.measured`.
"""

from efsgd.cost.collectives import around, by_server, doubling, fastest
from efsgd.cost.machines import Link, Machine, harmonic
from efsgd.cost.maps import CostMap, MeasuredSteps
from efsgd.cost.measured import Calibration, calibrate
from efsgd.cost.schemes import Scheme, seconds_to_loss, step_seconds

__all__ = [
    "Calibration",
    "CostMap",
    "Link",
    "Machine",
    "MeasuredSteps",
    "Scheme",
    "around",
    "by_server",
    "calibrate",
    "doubling",
    "fastest",
    "harmonic",
    "seconds_to_loss",
    "step_seconds",
]
