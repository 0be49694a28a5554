"""What the picture real-data claims: who reaches the certified optimum of a real problem."""

from __future__ import annotations

import math

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.claims.extremes import lowest, worse
from efsgd.figures.claims.intervals import Interval, decision, of_mean
from efsgd.figures.claims.slopes import log_slope
from efsgd.figures.claims.verdicts import Verdict, claim, claim_between, observation
from efsgd.figures.make import Results
from efsgd.figures.workers.real_data_work import (
    BATCHES,
    FULL,
    GRID,
    METHODS,
    SHARES,
    WORKERS,
    last,
    long_run,
)

SEEN = "measured here"
HEAD = f"breast cancer, {WORKERS} workers, shares by "
REACHING = ("EF21", "EF21-SGDM", "DIANA")
FAST = tuple(i for i, lr in enumerate(GRID) if 0.125 <= lr <= 0.5)  # step sizes that suit all
SETTLED = tuple(i for i, lr in enumerate(GRID) if lr >= 0.125)  # with which EF is at its floor
NONE, FEEDBACK = "compressed SGD", "EF"


def verdicts(results: Results) -> list[Verdict]:
    """Full gradients, then batches, for both kinds of shares."""
    return [
        *(row for by in SHARES for row in _full(results, by)),
        *(row for by in SHARES for row in _batches(results, by)),
        _apart(results),
        _bytes(results),
    ]


def _full(results: Results, by: str) -> list[Verdict]:
    """Who ends at the optimum, and how far from it the others stay."""
    head = f"{HEAD}{by}, full gradients"
    none, ef = (long_run(results, by, FULL, name) for name in (NONE, FEEDBACK))
    ends = worse(0.0, np.array([last(results, by, name)[list(FAST)] for name in REACHING]))
    least = lowest(np.inf, last(results, by, NONE))
    reached = f"{', '.join(REACHING)}, {len(FAST)} step sizes: largest last gap over the first"
    floor = f"compression without memory, {len(GRID)} step sizes: least last gap over the first"
    slope = f"EF: slope of its long-run gap over the step size, {len(SETTLED)} of them, logarithms"
    return [
        claim(f"{head}, {reached}", SEEN, ends, "<=", 1e-10),
        claim(f"{head}, {floor}", SEEN, least, ">=", 0.004),
        claim(f"{head}, long-run gap of EF over that without memory, largest over the step sizes",
              SEEN, worse(0.0, ef / none), "<=", 0.12),
        claim_between(f"{head}, {slope}", "derived here: e is of the order of lr", _slope(ef),
                      1.5, 2.5),
    ]  # fmt: skip


def _slope(gaps: Array) -> float:
    """Of the logarithm of the gap against that of the step size, where EF is at its floor."""
    at = list(SETTLED)
    if not (gaps[at] > 0).all():
        return math.nan
    return float(log_slope(np.array(GRID)[at], gaps[at]))


def ratio(results: Results, by: str, name: str, over: str) -> Interval:
    """The long-run gap with batches over that of another method on the same batches.

    The mean of the logarithms over replicates; the interval is as wide as its wider side.
    """
    logs = np.log(long_run(results, by, BATCHES, name) / long_run(results, by, BATCHES, over))
    mean = of_mean(logs)
    middle = float(np.exp(mean.middle))
    return Interval(middle, float(middle * np.expm1(mean.half)))


def _batches(results: Results, by: str) -> list[Verdict]:
    """What feedback and momentum are worth with noise, each method at its tuned step size."""
    head = f"{HEAD}{by}, batches, tuned, same steps: long-run gap of "
    return [
        decision(f"{head}EF over SGD", SEEN, ratio(results, by, FEEDBACK, "SGD"), most=1.15),
        decision(f"{head}compression without memory over EF", SEEN,
                 ratio(results, by, NONE, FEEDBACK), 20.0),
        decision(f"{head}EF21 over EF21-SGDM", SEEN,
                 ratio(results, by, "EF21", "EF21-SGDM"), 3.0),
        _gaps(results, by),
    ]  # fmt: skip


def _gaps(results: Results, by: str) -> Verdict:
    """The gap, the step size and the bytes of every method."""
    rows = []
    for name in METHODS:
        result = results[f"{by}, {BATCHES}, {name}"]
        gap, sent = long_run(results, by, BATCHES, name).mean(), result["bytes_worker"][-1].max()
        rows.append(f"{name} {gap:.2g} ({float(result['lr']):g}, {sent / 1000:.3g})")
    text = f"{HEAD}{by}, batches: long-run gap (tuned step size, kB that a worker sends)"
    return observation(text, SEEN, ", ".join(rows))


def _bytes(results: Results) -> Verdict:
    """What EF saves: indices take their part of the bytes."""
    sent = {
        name: np.array([results[f"{by}, {BATCHES}, {name}"]["bytes_worker"][-1] for by in SHARES])
        for name in (FEEDBACK, "SGD")
    }
    most = worse(0.0, sent[FEEDBACK] / sent["SGD"])
    text = "breast cancer, batches: bytes of a worker, EF over SGD, largest"
    return claim(text, SEEN, most, "<=", 0.2)


def _apart(results: Results) -> Verdict:
    """What sorted labels cost error feedback."""
    label, iid = (long_run(results, by, FULL, FEEDBACK)[list(SETTLED)] for by in SHARES)
    text = f"breast cancer, full gradients, EF, {len(SETTLED)} step sizes: long-run gap with "
    text += "shares by label over that with shares at random, least"
    return claim(text, SEEN, lowest(np.inf, label / iid), ">", 1.0)
