"""The claims of the picture disagreement."""

from __future__ import annotations

import numpy as np

from efsgd.figures.claims.intervals import decision, of_mean
from efsgd.figures.claims.slopes import log_slope
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.workers.disagreement_work import (
    EF21_STEP,
    FACTORS,
    FROM_OPTIMUM,
    GRID,
    LOOP,
    METHODS,
    MU,
    PAST,
    STALL,
    STEPS,
    TOP,
    ZETAS,
    D,
    N,
    floors,
    predicted,
    step_sizes,
    swept,
    tuned,
    zetas,
)
from efsgd.results import Result

SMALL = 1e-12
SMALL_STEP = 1 / 16
SOURCE = "derived here"
SEEN = "measured here"


def verdicts(results: Results) -> list[Verdict]:
    """The gap of EF is proportional to zeta^2 at any step, no step ends it, others leave none."""
    text = f"{N} workers, full gradients, zeta = {ZETAS[0]} to {ZETAS[-1]:g}"
    end = f"largest gap after {STEPS} steps, at the step of its theorem,"
    best = f"largest gap after {STEPS} steps, at the best of {len(GRID)} step sizes,"
    return [
        _proportional(results[FROM_OPTIMUM]),
        _first_memories(results[FROM_OPTIMUM]),
        _as_the_loop(results),
        _size(results, text),
        _slope(results["EF"], text),
        _above(results),
        *(claim(f"{text}: {end} of {name}", METHODS[name][1].source,
                float(results[name]["loss"][-1].max()), "<=", SMALL) for name in PAST),
        *(claim(f"{text}: {best} of {name}", SEEN, _last_tuned(results[swept(name)]), "<=", SMALL)
          for name in PAST),
        _explained(results, text),
        _never_less(results, text),
        *(observation(f"{text}: mean gap of {name} over the last third of the steps, over zeta^2",
                      SEEN, _ends(results[name])) for name in STALL),
        *(observation(f"{text}: best of {len(GRID)} step sizes for each zeta: mean gap of {name}",
                      SEEN, _best(results[swept(name)])) for name in STALL),
    ]  # fmt: skip


def _proportional(result: Result) -> Verdict:
    """To the bit, at each step, for zeta times powers of 2."""
    gap, factor = result["loss"][1:, :, 0], zetas(result) ** 2
    off = float(abs(gap / factor / gap[:, :1] - 1).max())
    text = (
        f"EF with top-k from x*, {len(gap)} steps, zeta times {', '.join(map(_plain, FACTORS[1:]))}"
    )
    return claim(f"{text}: gap over zeta^2, relative change at any step", SOURCE, off, "==", 0.0)


def _first_memories(result: Result) -> Verdict:
    """At x* worker i has the gradient zeta s_i and keeps what is not among its own largest k."""
    from efsgd.convex.problems.several_workers import Disagreement

    slopes = Disagreement(1.0, N, D, MU, seed=result.spec["runs"][0]["seed"]).slopes
    small = np.sort(abs(slopes), axis=1)[:, : D - int(TOP.k)]
    kept = float(EF21_STEP.lr) * zetas(result) * np.sqrt((small**2).sum(1)).mean()
    off = float(abs(result["memory_norm"][1, :, 0] / kept - 1).max())
    text = "EF with top-k from x*: mean |e_i| after a step, off what the workers do not send of "
    return claim(f"{text}lr grad f_i(x*), relatively", SOURCE, off, "<=", 1e-12)


def _as_the_loop(results: Results) -> Verdict:
    """From x* at zeta = 1: a memory for each worker, the mean of what is sent, downwards."""
    gap = results[FROM_OPTIMUM]["loss"][1:, 0, 0]
    off = float(abs(gap / results[LOOP]["gap"][1 : len(gap) + 1] - 1).max())
    text = (
        f"EF with top-k from x*, {len(gap)} steps: gap off that of a plain loop over the workers, "
    )
    return claim(f"{text}relatively", SOURCE, off, "<=", 1e-12)


def _size(results: Results, text: str) -> Verdict:
    """The gap that is left does not remember where the run began."""
    plain, ef = results[LOOP]["gap"], results["EF"]
    over = floors(ef) / zetas(ef)[:, None] ** 2 / plain[2 * len(plain) // 3 :].mean()
    mean = over.mean(0)
    found = f"{text}: mean gap of EF over the last third, over zeta^2 and that of a plain loop "
    found += f"from x*, {mean.size} starts"
    return decision(found, SEEN, of_mean(mean), 0.8, 1.25)


def _slope(result: Result, text: str) -> Verdict:
    """From elsewhere, after the start is forgotten."""
    slopes = log_slope(zetas(result), floors(result))
    found = f"{text}: slope over log zeta of the log of EF's mean gap over the last third, from "
    found += f"{slopes.size} starts"
    return decision(found, SOURCE, of_mean(slopes), 1.95, 2.05)


def _above(results: Results) -> Verdict:
    """CGD is worse than EF."""
    over = floors(results["compressed SGD"]).min(1) / floors(results["EF"]).max(1)
    text = f"{N} workers, full gradients, any zeta, at EF21's step: least mean gap "
    return claim(
        f"{text}of compressed SGD over the largest of EF", SEEN, float(over.min()), ">", 100.0
    )


def _last_tuned(result: Result) -> float:
    """The largest last gap of the starts at the step that is best for their zeta."""
    best, _ = tuned(result)
    chosen = step_sizes(result) == best[:, None]
    return float(result["loss"][-1][chosen].max())


def _explained(results: Results, text: str) -> Verdict:
    """At small steps EF leaves what gradient descent does, and c (lr zeta)^2."""
    ef = results[swept("EF")]
    small = step_sizes(ef) <= SMALL_STEP
    off = float(abs(floors(ef) / predicted(results) - 1)[:, small].max())
    found = f"{text}, steps up to {_plain(SMALL_STEP)}: gap of EF, off that of gradient descent "
    found += "from the same start plus c (lr zeta)^2 with the c of lr -> 0, relatively"
    return claim(found, SEEN, off, "<=", 0.25)


def _never_less(results: Results, text: str) -> Verdict:
    """No step of the grid brings EF where the others are."""
    ef = results[swept("EF")]
    _, gap = tuned(ef)
    found = f"{text}: mean gap of EF over the last third of {STEPS} steps, over zeta^2, least for "
    found += f"any zeta and of {len(GRID)} step sizes"
    return claim(found, SEEN, float((gap / zetas(ef) ** 2).min()), ">", 1e-6)


def _best(result: Result) -> str:
    best, gap = tuned(result)
    slope = log_slope(zetas(result), gap)
    found = [f"{_plain(lr)}: {left:.2g}" for lr, left in zip(best, gap, strict=True)]
    return f"{', '.join(found)}; slope {slope:.2f} over log zeta"


def _ends(result: Result) -> str:
    over = floors(result).mean(1) / zetas(result) ** 2
    return f"{over.min():.3g} to {over.max():.3g}"


def _plain(value: float) -> str:
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
