"""What the picture equal-bytes claims: two errors exactly, and what feedback gains on SGD."""

from __future__ import annotations

import numpy as np

from efsgd.figures.claims.extremes import worse
from efsgd.figures.claims.intervals import Interval, decision, student
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.workers.equal_bytes_work import (
    ALL,
    DENSE,
    EACH,
    FEEDBACK,
    GRID,
    METHODS,
    NS,
    PLAIN,
    SHARED,
    exact,
    gaps,
    numbers,
    spent,
)

SOURCE, SEEN = "derived here", "measured here"
MOST_OF_SGD = {"EF, top-k": 0.3, "EF, signs": 0.3, "EF21-SGDM, top-k": 0.6}  # n = 64
BUDGETS = {
    EACH: f"each worker sends the bytes of {DENSE[EACH]} dense gradients",
    ALL: f"all together send the bytes of {DENSE[ALL]} dense gradients",
}
ONCE, MOST = NS[0], NS[-1]


def verdicts(results: Results) -> list[Verdict]:
    """The exact errors, the budgets, and how the others compare with SGD."""
    return [
        *(_exact(results, name) for name in (PLAIN, SHARED)),
        *_budget(results),
        *(_against_sgd(results, kind, MOST, name) for kind in DENSE for name in FEEDBACK),
        _workers_help(results),
        _edges(results),
        *(_gaps(results, kind, n) for kind in DENSE for n in numbers(results)),
    ]


def _exact(results: Results, name: str) -> Verdict:
    """The mean over replicates against the recursion of the second moments."""
    off = 0.0
    for kind in DENSE:
        for n in numbers(results):
            gap = gaps(results, kind, n, name)
            error = gap.std(ddof=1) / np.sqrt(gap.size)
            off = worse(off, abs(gap.mean() - exact(results, kind, n, name)) / error)
    text = f"{name}, {len(DENSE)} budgets, n from 1 to {MOST}: mean gap off the exact expectation"
    return claim(f"{text}, in standard errors", SOURCE, off, "<=", 4.0)


def _budget(results: Results) -> list[Verdict]:
    """Nobody sends more than the budget, and nobody much less."""
    shares = np.array(
        [
            spent(results, kind, n, name)
            for kind in DENSE
            for n in numbers(results)
            for name in METHODS
        ]
    )
    text = f"{shares.size} tuned runs: share of the bytes of the budget that was sent"
    return [
        claim(f"{text}, most", SEEN, worse(0.0, shares), "<=", 1.0),
        claim(f"{text}, the inverse of the least", SEEN, worse(0.0, 1 / shares), "<=", 1.05),
    ]


def ratio(results: Results, kind: str, n: int, name: str) -> Interval:
    """The mean gap of a method over that of SGD, with an interval from both spreads."""
    logs, error, freedom = [], 0.0, np.inf
    for one in (name, PLAIN):
        gap = gaps(results, kind, n, one)
        logs.append(np.log(gap.mean()))
        error += float(gap.var(ddof=1) / gap.size / gap.mean() ** 2)
        freedom = min(freedom, gap.size - 1)
    middle = float(np.exp(logs[0] - logs[1]))
    return Interval(middle, float(middle * np.expm1(student(freedom) * np.sqrt(error))))


def _against_sgd(results: Results, kind: str, n: int, name: str) -> Verdict:
    """Where the noise is averaged over many workers, steps are what is short."""
    text = f"{BUDGETS[kind]}, n = {n}: gap of {name} over that of SGD, both tuned"
    return decision(text, SEEN, ratio(results, kind, n, name), most=MOST_OF_SGD[name])


def _workers_help(results: Results) -> Verdict:
    """With a budget each, more workers average more noise."""
    text = f"{BUDGETS[EACH]}, n = {MOST} over n = 1: largest ratio of mean gaps, {len(METHODS)} "
    shares = [
        gaps(results, EACH, MOST, name).mean() / gaps(results, EACH, ONCE, name).mean()
        for name in METHODS
    ]
    return claim(f"{text}methods", SEEN, worse(0.0, np.array(shares)), "<", 0.25)


def _edges(results: Results) -> Verdict:
    """Whether the grid is wide enough."""
    chosen = np.array([float(result["lr"]) for result in results.values()])
    ends = int(((chosen == GRID[0]) | (chosen == GRID[-1])).sum())
    text = f"step sizes chosen at an end of the grid, of {chosen.size}"
    return claim(text, SEEN, ends, "==", 0)


def _gaps(results: Results, kind: str, n: int) -> Verdict:
    """The mean gap of every method."""
    means = [f"{name} {gaps(results, kind, n, name).mean():.3g}" for name in METHODS]
    return observation(f"{BUDGETS[kind]}, n = {n}: mean gap", SEEN, ", ".join(means))
