"""What the picture when-to-compress claims: the model against the table, and closed boundaries.

A closed form takes the letters of the map (n, rate, b, latency, the shares of the methods) and
none of the formulas of :mod:`efsgd.cost`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.workers.when_to_compress_work import (
    A_STEP,
    AWAITED,
    DOWN,
    IMPATIENT,
    NAMES,
    SERVER,
    SHARE,
    STEP_SIZES,
    STRAGGLERS,
    STRAGGLING,
    TABLE,
    TO_A_LOSS,
    UNEVEN,
    WORKERS,
)
from efsgd.results import Result

HALF_OF_TWO = math.sqrt(2)  # what is off by less is nearer to right than to a forgotten factor 2
TCP_OF_A_FRAME = 1460 / 1514  # bytes: an Ethernet frame, less the headers of Ethernet, IP and TCP
ROUNDED = 0.02  # of the bytes in the table, which has two or three digits
CLOSE = 0.02  # of a closed form that neglects computing and latency
SOME_RATES = (1e7, 1e8, 1e9, 1e10, 1e11, 4e11)  # bits per second, of observations
SOURCE, SEEN = "derived here", "measured here"


def verdicts(results: Results) -> list[Verdict]:
    """The table, then what closed forms say of the maps of a step and of the steps to a loss."""
    of_a_step, to_a_loss = results[A_STEP], results[TO_A_LOSS]
    return [
        *_table(results[TABLE]),
        *_regions(of_a_step),
        *_at_the_slowest_link(of_a_step),
        *_on_faster_links(of_a_step),
        *_phases_keep_on(of_a_step),
        *_to_a_loss(to_a_loss),
        _edges(to_a_loss),
        *_steps(to_a_loss),
        *_others(results),
    ]


def _steps(result: Result) -> list[Verdict]:
    """How many steps the methods need: counted, of a few runs, and no claim."""
    rows = []
    for name, steps, factor in zip(NAMES, result["steps"], result["factor"], strict=True):
        every = result.spec["needed"]["runs"][0]["record"]
        text = f"{name}: steps to {SHARE:.0%} of the first gap, {len(steps)} runs, all looked at "
        text += f"every {every} steps, over plain SGD's"
        least, most = f"{steps.min():g}", f"{steps.max():g}"
        measured = (
            f"median {np.median(steps):g}, from {least} to {most}: counted as {factor:.2f} times"
        )
        rows.append(observation(text, SEEN, measured))
    return rows


def _table(result: Result) -> list[Verdict]:
    """What was measured at 100 Mbit/s was not fitted to, nor the bytes of four workers."""
    ratio = np.exp(abs(np.log(result["predicted"] / result["seconds"])))
    predicted = ratio[..., 1]
    off = float(abs(result["predicted_mb"] / result["mb"] - 1)[:, 1].max())
    text = "a measured step over the model's or the inverse, 7 methods, 2 and 4 workers, "
    held_out = f"{text}100 Mbit/s, fitted at 1 Gbit/s: "
    bytes_sent = "MB that a worker sends, 7 methods, 4 workers: off the table relatively"
    everything = f"{np.median(ratio):.3f} and {ratio.max():.3f}"
    two = (result["predicted"] / result["seconds"])[:, 0, 1]
    signed = f"{two.min():.3f} to {two.max():.3f}, {(two > 1).sum()} of {two.size} above 1"
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
        observation("the model's step over the measured one, 7 methods, 2 workers, 100 Mbit/s",
                    SOURCE, signed),
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
    fast, slow = first[:, -1], first[several, 0]
    return [
        claim(f"{first.size} {text}", SOURCE, int(((first == 0) != hides).sum()), "==", 0),
        claim(f"400 Gbit/s, n to {spec['ns'][-1]}: n at which plain SGD is not first", SOURCE,
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


def _at_the_slowest_link(
    result: Result, more: Sequence[float] = (1.0,) * len(NAMES), head: str = "10 Mbit/s, "
) -> list[Verdict]:
    """What gathers stops paying at n = 2 b/b_c; two phases keep b/b_c, local steps their number.

    Each divided by how many times ``more`` steps the method needs.
    """
    spec, rows = result.spec.get("map", result.spec), list[Verdict]()
    n, times = np.array(spec["ns"]), result["seconds"][0, :, 0] / result["seconds"][:, :, 0]
    some = (n >= 2) & (n <= 1000)
    divided = "" if set(more) == {1.0} else " over the counted factor"
    over = f"plain SGD over it, n from 2 to 1000, off {{}}{divided} relatively"
    for name, scheme, over_n, steps in zip(NAMES, spec["schemes"], times, more, strict=True):
        text, share = f"{head}{name}: ", scheme["share"] * steps
        if scheme["exchange"] == "gather":
            off = abs(_crossing(n, over_n) * share / 2 - 1)
            text += f"n where it is as fast as plain SGD, off 2 b/b_c{divided} relatively"
        elif scheme["exchange"] == "two-phase":
            off = float(abs(over_n[some] * share - 1).max())
            text += over.format("b/b_c")
        elif scheme["local"] > 1:
            off = float(abs(over_n[some] / scheme["local"] * steps - 1).max())
            text += over.format("their number")
        else:
            continue
        rows.append(claim(text, SOURCE, off, "<=", CLOSE))
    return rows


def _on_faster_links(result: Result) -> list[Verdict]:
    """What gathers pays at no rate longer than at the slowest one: its work counts, too."""
    spec, rows = result.spec, list[Verdict]()
    n, seconds = np.array(spec["ns"]), result["seconds"]
    some = [int(np.argmin(abs(np.array(spec["rates"]) - rate))) for rate in SOME_RATES]
    rates = ", ".join(f"{rate / 1e9:g}" for rate in SOME_RATES)
    few = int(np.argmin(abs(n - WORKERS)))
    for i, (name, scheme) in enumerate(zip(NAMES, spec["schemes"], strict=True)):
        times = seconds[0] / seconds[i]
        if scheme["exchange"] == "gather":
            last = np.where(times < 1, 0, n[:, None]).max(axis=0)  # and where it is NaN
            text = f"{name}: last n at which it is as fast as plain SGD"
            largest = float(last.max() * scheme["share"] / 2)
            rows += [
                claim(f"{text}, over 2 b/b_c, largest at any rate", SOURCE, largest, "<=", 1.0),
                observation(f"{text}, at {rates} Gbit/s", SOURCE, ", ".join(map(str, last[some]))),
            ]
        elif scheme["exchange"] == "two-phase":
            found = ", ".join(f"{value:.1f}" for value in times[few, some])
            text = f"{name}, n = {n[few]}: plain SGD over it at {rates} Gbit/s"
            rows.append(observation(text, SOURCE, found))
    return rows


def _phases_keep_on(result: Result) -> list[Verdict]:
    """In two phases it never stops paying, if steps are as many."""
    n, rows = result.spec["ns"][-1], []
    for i, (name, scheme) in enumerate(zip(NAMES, result.spec["schemes"], strict=True)):
        if scheme["exchange"] == "two-phase":
            least = float((result["seconds"][0, 1:, 0] / result["seconds"][i, 1:, 0]).min())
            text = f"10 Mbit/s, {name}: plain SGD over it, least for n from 2 to {n}"
            rows.append(claim(text, SOURCE, least, ">", 1.0))
    return rows


def _to_a_loss(result: Result) -> list[Verdict]:
    """The same boundaries, moved by the steps that were counted: medians over plain SGD's."""
    middle = np.median(result["steps"], axis=1)
    more = [max(float(steps / middle[0]), 1.0) for steps in middle]
    return _at_the_slowest_link(result, more, f"10 Mbit/s, to {SHARE:.0%} of the first gap, ")


def _edges(result: Result) -> Verdict:
    """Whether the grid of step sizes is wide enough."""
    chosen = result["lr"]
    grid = [lr for run in result.spec["needed"]["runs"] for lr in (min(run["lr"]), max(run["lr"]))]
    ends = int(np.isin(chosen, grid).sum())
    text = f"step sizes chosen at an end of the grid of {len(STEP_SIZES)}, of {chosen.size}"
    return claim(text, SEEN, ends, "==", 0)


def _others(results: Results) -> list[Verdict]:
    """How much of the map of a step is another's if what it assumes is otherwise."""
    first, rows = results[A_STEP]["seconds"].argmin(axis=0), []
    server = "all through one server with the same link, whose replies are as short as messages "
    server += "and which works in no time"
    slow = f"a gradient takes 1 + {STRAGGLING:g} E times as long, E exponential of mean 1"
    texts = {
        SERVER: server,
        UNEVEN: f"{server}, all links {DOWN:g} times as fast down",
        STRAGGLERS: slow,
        IMPATIENT: f"{slow}, and a step waits for the first {AWAITED:.0%} of the workers",
    }
    for name, text in texts.items():
        other = results[name]["seconds"].argmin(axis=0)
        shares = f"{(first == 0).mean():.1%} and {(other == 0).mean():.1%}, {{}}"
        changed = f"{(first != other).mean():.1%}"
        rows.append(observation(f"{text}: share of pairs of n and rate where plain SGD is first, "
                                "before and then, and where another is", SEEN,
                                shares.format(changed)))  # fmt: skip
    return rows


def _crossing(n: Array, times: Array) -> float:
    """Where the last value of at least 1 goes below it, a straight line in both logarithms."""
    above = np.flatnonzero(times >= 1)
    if not above.size or above[-1] + 1 == n.size:
        return math.inf
    last = int(above[-1])
    x, y = np.log(n[last : last + 2]), np.log(times[last : last + 2])
    return float(np.exp(x[0] + (x[1] - x[0]) * y[0] / (y[0] - y[1])))
