"""What the picture when-to-compress claims: the model against the table, and closed boundaries.

A closed form takes the letters of the map (n, rate, b, latency, the shares of the methods) and
none of the formulas of :mod:`efsgd.cost`.
"""

from __future__ import annotations

import math

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.workers.when_to_compress_work import (
    A_STEP,
    NAMES,
    SHARE,
    TABLE,
    TO_A_LOSS,
)
from efsgd.results import Result

HALF_OF_TWO = math.sqrt(2)  # what is off by less is nearer to right than to a forgotten factor 2
TCP_OF_A_FRAME = 1460 / 1514  # bytes: an Ethernet frame, less the headers of Ethernet, IP and TCP
ROUNDED = 0.02  # of the bytes in the table, which has two or three digits
CLOSE = 0.02  # of a closed form that neglects computing and latency
SOURCE = "derived here"


def verdicts(results: Results) -> list[Verdict]:
    """The table, then what closed forms say of the map of a step."""
    of_a_step = results[A_STEP]
    closed = [*_regions(of_a_step), *_at_the_slowest_link(of_a_step)]
    return [*_table(results[TABLE]), *closed, *_steps(results[TO_A_LOSS])]


def _steps(result: Result) -> list[Verdict]:
    """How many steps the methods need: counted, of a few runs, and no claim."""
    rows = []
    for name, steps, factor in zip(NAMES, result["steps"], result["factor"], strict=True):
        text = f"{name}: steps to {SHARE:.0%} of the first gap, {len(steps)} runs, over plain SGD's"
        least, most = f"{steps.min():g}", f"{steps.max():g}"
        measured = (
            f"median {np.median(steps):g}, from {least} to {most}: counted as {factor:.2f} times"
        )
        rows.append(observation(text, "measured here", measured))
    return rows


def _table(result: Result) -> list[Verdict]:
    """What was measured at 100 Mbit/s was not fitted to; of the bytes two of seven shares were."""
    ratio = np.exp(abs(np.log(result["predicted"] / result["seconds"])))
    predicted = ratio[..., 1]
    off = float(abs(result["predicted_mb"] / result["mb"] - 1).max())
    text = "a measured step over the model's or the inverse, 7 methods, 2 and 4 workers, "
    held_out = f"{text}100 Mbit/s, fitted at 1 Gbit/s: "
    bytes_sent = "MB that a worker sends, 7 methods, 2 and 4 workers: off the table relatively"
    everything = f"{np.median(ratio):.3f} and {ratio.max():.3f}"
    payload, crowding = float(result["payload"]), float(result["crowding"])
    return [
        claim(f"{held_out}largest", SOURCE, float(predicted.max()), "<=", HALF_OF_TWO),
        claim(bytes_sent, SOURCE, off, "<=", ROUNDED),
        claim("fitted share of the rate that carries payload: at most that of TCP on Ethernet",
              "1460 of 1514 bytes", payload, "<=", TCP_OF_A_FRAME),
        claim("the same: its inverse", SOURCE, 1 / payload, "<=", HALF_OF_TWO),
        claim("fitted slowdown by 4 processes on 2 cores", SOURCE, crowding, "<=", 2.0),
        claim("the same: at least none", SOURCE, crowding, ">=", 1.0),
        observation(f"{held_out}median", SOURCE, f"{np.median(predicted):.3f}"),
        observation(f"{text}both rates: median, largest", SOURCE, everything),
    ]  # fmt: skip


def _regions(result: Result) -> list[Verdict]:
    """Where plain SGD is first, cell by cell, and what is at both ends.

    Plain SGD takes W on the wire less what hides behind the gradient, H local steps W/H, and what
    compresses has work besides: plain SGD is first where W (1 - 1/H) is hidden.
    """
    spec, first = result.spec, result["seconds"].argmin(axis=0)
    several = np.array(spec["ns"]) > 1
    longest = max(scheme["local"] for scheme in spec["schemes"])
    hidden = spec["schemes"][0]["overlap"] * spec["machine"]["compute"]
    hides = _on_the_wire(result) * (1 - 1 / longest) <= hidden
    text = "pairs of n and rate: plain SGD is first, but not where W (1 - 1/H) hides, or conversely"
    compresses = np.array([scheme["share"] < 1 for scheme in spec["schemes"]])
    fast, slow = first[np.array(spec["ns"]) <= 8, -1], first[several, 0]
    return [
        claim(f"{first.size} {text}", SOURCE, int(((first == 0) != hides).sum()), "==", 0),
        claim("400 Gbit/s, n <= 8: n at which plain SGD is not first", SOURCE,
              int((fast != 0).sum()), "==", 0),
        claim("10 Mbit/s, n >= 2: n at which nothing that compresses is first", SOURCE,
              int((~compresses[slow]).sum()), "==", 0),
    ]  # fmt: skip


def _on_the_wire(result: Result) -> Array:
    """W = 16 b (n-1)/(n rate) + 2 ceil(log2 n) latency, (N, R): partners at 1, 2, 4, ..."""
    spec = result.spec
    n, rate = np.array(spec["ns"])[:, None], np.array(spec["rates"])
    rounds = np.array([[2 * (n - 1).bit_length()] for n in spec["ns"]])
    seconds: Array = 16 * spec["size"] * (n - 1) / (n * rate) + rounds * spec["latency"]
    return seconds


def _at_the_slowest_link(result: Result) -> list[Verdict]:
    """What gathers stops paying at n = 2 b/b_c; two phases keep b/b_c, local steps their number."""
    n, rows = np.array(result.spec["ns"]), []
    times = result["seconds"][0, :, 0] / result["seconds"][:, :, 0]
    some = (n >= 2) & (n <= 1000)
    for name, scheme, over_n in zip(NAMES, result.spec["schemes"], times, strict=True):
        text = f"10 Mbit/s, {name}: "
        if scheme["exchange"] == "gather":
            off = abs(_crossing(n, over_n) * scheme["share"] / 2 - 1)
            rows.append(claim(f"{text}n where it is as fast as plain SGD, off 2 b/b_c relatively",
                              SOURCE, off, "<=", CLOSE))  # fmt: skip
        elif scheme["exchange"] == "two-phase":
            off = float(abs(over_n[some] * scheme["share"] - 1).max())
            rows += [
                claim(f"{text}plain SGD over it, n from 2 to 1000, off b/b_c relatively",
                      SOURCE, off, "<=", CLOSE),
                claim(f"{text}plain SGD over it, least for n from 2 to {n[-1]}",
                      SOURCE, float(over_n[1:].min()), ">", 1.0),
            ]  # fmt: skip
        elif scheme["local"] > 1:
            off = float(abs(over_n[some] / scheme["local"] - 1).max())
            rows.append(claim(f"{text}plain SGD over it, n from 2 to 1000, off their number "
                              "relatively", SOURCE, off, "<=", CLOSE))  # fmt: skip
    return rows


def _crossing(n: Array, times: Array) -> float:
    """Where the last value of at least 1 goes below it, a straight line in both logarithms."""
    last = int(np.flatnonzero(times >= 1)[-1])
    if last + 1 == n.size:
        return math.inf
    x, y = np.log(n[last : last + 2]), np.log(times[last : last + 2])
    return float(np.exp(x[0] + (x[1] - x[0]) * y[0] / (y[0] - y[1])))
