"""What the picture local-steps claims: its limit in closed form, exact bytes, and H = 1."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.claims.extremes import lowest, worse
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.workers.local_steps_work import (
    AGREED,
    DENSE,
    HS,
    IID,
    OF_SPLIT,
    OUTSIDE,
    PLAIN,
    SORTED,
    WORKERS,
)

SOURCE, SEEN = "derived here", "measured here"
HEAD = f"least squares, {WORKERS} workers, full gradients, constant step: "
MANY = 150  # rounds: Nesterov momentum outside needs so many to be at its limit to 1e-9
GOAL = 0.1  # a gap, of the first ones that are about 10


def verdicts(results: Results) -> list[Verdict]:
    """The limits, without disagreement the optimum, plain methods at H = 1, and the bytes."""
    return [
        *(_limit(results, kind) for kind in (SORTED, IID)),
        _outside(results),
        _agreed(results),
        *_growth(results),
        *(_plain(results, name) for name in PLAIN),
        _bytes(results),
        *(_goal(results, name) for name in OF_SPLIT[SORTED]),
    ]


def off_limit(results: Results, kind: str, name: str, H: int) -> float:
    """How far a run ends from the limit in closed form, relative to its length."""
    x, limit = results[f"{kind}, {name}, {H}"]["x_final"][0], limits(results, kind)[HS.index(H)]
    return float(np.linalg.norm(x - limit) / np.linalg.norm(limit))


def limits(results: Results, kind: str, name: str = "x") -> Array:
    """The limits over HS, or the gaps there."""
    return results[f"{kind}, limits"][name]


def _limit(results: Results, kind: str) -> Verdict:
    """The mean of the affine maps of the workers has one fixed point."""
    off = worse(0.0, np.array([off_limit(results, kind, DENSE, H) for H in HS]))
    text = (
        f"{HEAD}{kind}, local SGD, H = {_listed()}: distance from the fixed point of the mean map"
    )
    return claim(text, SOURCE, off, "<=", 1e-9)


def _outside(results: Results) -> Verdict:
    """Where the mean difference is 0 no outer optimiser moves."""
    step = results[f"{SORTED}, {OUTSIDE}, {HS[0]}"]["step"][-1]
    enough = [H for H in HS if step >= MANY * H]
    off = worse(0.0, np.array([off_limit(results, SORTED, OUTSIDE, H) for H in enough]))
    text = f"{HEAD}{SORTED}, DiLoCo, H = {', '.join(map(str, enough))}: distance from the same"
    return claim(text, SOURCE, off, "<=", 1e-9)


def _agreed(results: Results) -> Verdict:
    """One minimiser of all workers, though they differ in curvature."""
    gaps = [results[f"{AGREED}, {DENSE}, {H}"]["gap"][:, 0] for H in HS]
    share = worse(0.0, np.array([abs(gap[-1] / gap[0]) for gap in gaps]))
    text = f"{HEAD}all with the same minimiser, local SGD, H = {_listed()}: last gap over the first"
    return claim(text, SOURCE, share, "<=", 1e-12)


def _growth(results: Results) -> list[Verdict]:
    """What the workers' disagreement costs: more with H, and more where shares are sorted."""
    ends = {
        kind: np.array([results[f"{kind}, {DENSE}, {H}"]["gap"][-1, 0] for H in HS[1:]])
        for kind in (SORTED, IID)
    }
    least = lowest(np.inf, np.array([gap[1:] / gap[:-1] for gap in ends.values()]))
    more = lowest(np.inf, ends[SORTED] / ends[IID])
    text = f"{HEAD}local SGD, last gap"
    return [
        claim(f"{text} from one H > 1 to the next: least ratio", SEEN, least, ">", 1.5),
        claim(f"{text}, sorted over iid, H > 1: least ratio", SEEN, more, ">", 1.5),
        *(
            observation(f"{text}, {kind}, H = {_listed(HS[1:])}", SEEN,
                        ", ".join(f"{gap:.2g}" for gap in of_kind))
            for kind, of_kind in ends.items()
        ),
    ]  # fmt: skip


def _plain(results: Results, name: str) -> Verdict:
    """One local step and an exchange of differences is a step of the method itself."""
    local, plain = results[f"{SORTED}, {name}, 1"], results[f"plain, {name}"]
    off = worse(0.0, abs(local["gap"] - plain["gap"]) / plain["gap"][0])
    text = f"{HEAD}{name}, H = 1 against the method without local steps: gaps, over the first"
    return claim(text, SOURCE, off, "<=", 1e-12)


def _bytes(results: Results) -> Verdict:
    """H times the bytes of H local steps are those of one."""
    off = 0.0
    for kind, names in OF_SPLIT.items():
        for name in names:
            sent = [results[f"{kind}, {name}, {H}"]["bytes_worker"][-1, 0] for H in HS]
            off = worse(off, abs(np.array(sent) * HS - sent[0]))
    text = f"all methods, H = {_listed()}: H times the bytes of a worker less those with H = 1"
    return claim(text, SOURCE, off, "==", 0)


def _goal(results: Results, name: str) -> Verdict:
    """The bytes after which the gap is below GOAL."""
    needed = []
    for H in HS:
        result = results[f"{SORTED}, {name}, {H}"]
        reached = np.flatnonzero(result["gap"][:, 0] <= GOAL)
        sent = result["bytes_worker"][:, 0]
        needed.append(f"{sent[reached[0]] / 1000:.3g}" if reached.size else "never")
    text = f"{HEAD}sorted, {name}, H = {_listed()}: kB that a worker sends until a gap of {GOAL}"
    return observation(text, SEEN, ", ".join(needed))


def _listed(hs: tuple[int, ...] = HS) -> str:
    return ", ".join(map(str, hs))
