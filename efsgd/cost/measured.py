"""The model against measured steps: constants from the columns at 1 Gbit/s, the others predicted.

Measured once each (n = 1) with torch 2.13 on gloo, 2 and 4 processes on two shared cores, in
network namespaces with tbf on both sides: the gradient of ResNet18 in float32, no backward.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from efsgd.arrays import Array
from efsgd.cost.machines import Link, Machine
from efsgd.cost.schemes import Scheme, step_seconds

SIZE = 44.8e6  # bytes of the gradient
WORKERS, RATES = (2, 4), (1e9, 1e8)  # bits per second
MB_SENT = {  # by a worker in a step, with 2 and 4 workers
    "plain": (45.0, 67.4),
    "fp16": (22.5, 33.7),
    "sign, gather": (1.40, 4.22),
    "sign, two-phase": (1.41, 2.11),
    "top-k 1 %, gather": (0.75, 2.24),
    "PowerSGD 1": (0.19, 0.29),
    "PowerSGD 1 of torch": (0.19, 0.29),
}
SECONDS = {  # of a step: (at 1 Gbit/s, at 100 Mbit/s) with 2 workers, then with 4
    "plain": ((0.389, 3.93), (0.595, 5.97)),
    "fp16": ((0.208, 2.02), (0.342, 3.05)),
    "sign, gather": ((0.094, 0.253), (0.171, 0.501)),
    "sign, two-phase": ((0.113, 0.309), (0.155, 0.346)),
    "top-k 1 %, gather": ((0.144, 0.274), (0.254, 0.430)),
    "PowerSGD 1": ((0.089, 0.116), (0.132, 0.141)),
    "PowerSGD 1 of torch": ((0.162, 0.208), (0.157, 0.292)),
}
SIGN_COPIES = (6.9, 8.8)  # all work for sign, gather, over memcpy, with 2 and 4 workers
# A real step, gradient alone, then with plain DDP; 2 workers at 1 Gbit/s.
ALONE, WITH_PLAIN = 0.208, 0.504

ENTRIES_OF_A_LINE = 16  # float32 numbers in a cache line of 64 bytes: what one scattered add moves
ENTRY, TOPK = 4.0, 0.01  # bytes of an entry; the share that top-k sends


@dataclass(frozen=True)
class Calibration:
    """What the steps at 1 Gbit/s say of the machines that they ran on, each as geometric means.

    payload: bits of payload per bit of the rate. copying: bytes per second of a copy, with two
    processes. crowding: how many times longer the same work takes with four, on two cores.
    schemes: the copies that each method encodes with, from the run with two workers.
    """

    payload: float
    copying: float
    crowding: float
    schemes: dict[str, Scheme]

    def machine(self, n: int) -> Machine:
        """A worker among n; no gradient was computed."""
        return Machine(compute=0.0, copying=self.copying / (self.crowding if n > 2 else 1.0))

    def link(self, rate: float) -> Link:
        """What a link of this many bits per second carries; its latency is not visible."""
        return Link.symmetric(self.payload * rate)

    def predicted(self) -> dict[str, Array]:
        """Seconds of a step for each method, (WORKERS, RATES), as SECONDS has them."""
        seconds = {}
        for name, scheme in self.schemes.items():
            rows = [[self._step(scheme, n, rate) for rate in RATES] for n in WORKERS]
            seconds[name] = np.array(rows)
        return seconds

    def _step(self, scheme: Scheme, n: int, rate: float) -> float:
        return float(
            step_seconds(scheme, n=n, size=SIZE, link=self.link(rate), machine=self.machine(n))
        )


def shapes() -> dict[str, Scheme]:
    """The methods of the table by what they send, before their work of encoding is known.

    Shares follow from the formats, but for top-k (entropy of its indices) and PowerSGD (shapes of
    the layers): theirs are the bytes of two workers. A scattered add moves a line of the cache.
    """
    decode = (SIGN_COPIES[1] - SIGN_COPIES[0]) / (WORKERS[1] - WORKERS[0])
    low_rank = MB_SENT["PowerSGD 1"][0] * 1e6 / SIZE
    top = MB_SENT["top-k 1 %, gather"][0] * 1e6 / SIZE
    return {
        "plain": Scheme("ring"),
        "fp16": Scheme("ring", 1 / 2),
        "sign, gather": Scheme("gather", 1 / 32, decode=decode),
        "sign, two-phase": Scheme("two-phase", 1 / 32, decode=decode),
        "top-k 1 %, gather": Scheme("gather", top, decode=TOPK * ENTRIES_OF_A_LINE),
        "PowerSGD 1": Scheme("ring", low_rank, messages=2),
        "PowerSGD 1 of torch": Scheme("ring", low_rank, messages=2),
    }


def mb_sent() -> dict[str, Array]:
    """MB that a worker sends in a step of each method by the model, with 2 and 4 workers."""
    one_byte_a_second = Link.symmetric(8.0)
    return {
        name: np.array([scheme.exchange_seconds(n, SIZE, one_byte_a_second) for n in WORKERS]) / 1e6
        for name, scheme in shapes().items()
    }


@cache
def calibrate() -> Calibration:
    """The constants, from SECONDS at 1 Gbit/s alone.

    >>> calibrate().schemes["fp16"].share
    0.5
    """
    first = shapes()
    wire = _wire(first, 1.0)
    payload = _mean([wire["plain"][i] / SECONDS["plain"][i][0] for i in (0, 1)])
    wire = _wire(first, payload)
    work = {name: [SECONDS[name][i][0] - wire[name][i] for i in (0, 1)] for name in first}
    copying = SIGN_COPIES[0] * SIZE / work["sign, gather"][0]
    schemes = {"plain": first.pop("plain")}
    for name, scheme in first.items():
        schemes[name] = _with_encode(scheme, work[name][0] * copying / SIZE)
    # two phases are made of the same parts as the gather: nothing of theirs is fitted
    encode = schemes["sign, gather"].encode
    schemes["sign, two-phase"] = replace(first["sign, two-phase"], encode=encode)
    alone = {name: float(schemes[name].copies(WORKERS[1])) * SIZE / copying for name in first}
    crowding = _mean([work[name][1] / alone[name] for name in first])
    return Calibration(payload, copying, crowding, schemes)


def _with_encode(scheme: Scheme, copies: float) -> Scheme:
    """The scheme whose work with two workers is that many copies."""
    of_decoding = scheme.copies(WORKERS[0])  # encode is 0 here
    return replace(scheme, encode=max(0.0, float(copies - of_decoding)))


def _wire(schemes: dict[str, Scheme], payload: float) -> dict[str, list[float]]:
    """Seconds on the wire at 1 Gbit/s for each number of workers."""
    link = Link.symmetric(payload * RATES[0])
    return {
        name: [float(scheme.exchange_seconds(n, SIZE, link)) for n in WORKERS]
        for name, scheme in schemes.items()
    }


def _mean(values: list[float]) -> float:
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


def hidden_share() -> float:
    """Share of the seconds of a gradient in which DDP hid what it sent, in the real step."""
    hidden = ALONE + SECONDS["plain"][0][0] - WITH_PLAIN
    return hidden / ALONE
