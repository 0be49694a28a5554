"""Majority vote goes to the median of the gradients, error feedback to their mean.

Three workers with gradients 1, 1 and -3, plus x/10: the vote ends at -10, where the median is 0,
the optimum is 10/3. Where the noise of all workers is symmetric the two are the same, and a vote is
wrong with the probability that the binomial distribution says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from efsgd import EFSGD, MajorityVote, Run, ScaledSign, Sign
from efsgd.arrays import Array
from efsgd.figures.claims.intervals import binomial
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.drawing import style
from efsgd.figures.make import Picture, Results, Works
from efsgd.results import Result, Work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PICTURE", "draw", "verdicts", "work"]

LR, STEPS = 0.05, 3000
LAWS = {"gaussian": 2.0, "laplace": 2.0}  # law of the noise -> its standard deviation, slope 1
NS = (1, 2, 3, 4, 9, 10, 27, 28)
REPLICATES, D = 400, 100
SURE = 0.9999  # of an interval: there are 24 of each law
VOTE, EF = "majority vote", "EF-signSGD"
SOURCE = "derived here"
SEEN = "runs"


def work(quick: bool, seed: int) -> Works:
    """Both methods on the three workers, and votes under symmetric noise."""
    from efsgd.convex.problems.several_workers import NoisySlope, OneAgainstTwo
    from efsgd.convex.studies.several_workers import Votes

    steps, replicates = (300, 10) if quick else (STEPS, REPLICATES)
    methods = {VOTE: MajorityVote(Sign()), EF: EFSGD(ScaledSign())}
    options: dict[str, Any] = {"seed": seed, "workers": 3, "metrics": ("largest", "least")}
    works: dict[str, Work] = {
        name: Run(OneAgainstTwo(), method, LR, steps, record=10, **options)
        for name, method in methods.items()
    }
    for law, sigma in LAWS.items():
        problem = NoisySlope(law, sigma, D)  # type: ignore[arg-type]
        works[law] = Votes(problem, NS, replicates, seed)
    return works


def right_sign(law: str, sigma: float) -> float:
    """The probability that 1 and symmetric noise is above 0: 0.69 for these laws or more."""
    from scipy import stats

    noise = stats.norm(scale=sigma) if law == "gaussian" else stats.laplace(scale=sigma / 2**0.5)
    return float(noise.cdf(1.0))


def probabilities(p: float, n: int) -> dict[str, float]:
    """Of a vote of n signs, each right with probability p; as many right as wrong is a tie."""
    from scipy import stats

    right = stats.binom(n, p)
    tie = float(right.pmf(n // 2)) if n % 2 == 0 else 0.0
    wrong = float(right.cdf((n - 1) // 2))
    return {"wrong": wrong, "tie": tie, "right": 1.0 - wrong - tie}


def verdicts(results: Results) -> list[Verdict]:
    """Where both end, and how often a vote is wrong."""
    from efsgd.convex.problems.several_workers import OneAgainstTwo

    problem = OneAgainstTwo()
    return [
        _ends_at(results[VOTE], f"{VOTE} from the median's zero -10", problem.median, SOURCE),
        _ends_at(results[EF], f"{EF} from the mean's zero 10/3", problem.optimum.x[0], SEEN),
        *(_binomial(results[law], law) for law in LAWS),
        *(_wrong(results[law], law) for law in LAWS),
    ]


def _ends_at(result: Result, name: str, place: float, source: str) -> Verdict:
    """Within one step. Of a vote it is proven: below -10 at least two signs of three are
    negative,
    above it two are positive, so that each step of lr goes towards -10 and passes it by lr at most.
    """
    ends = np.array([result[side][-1] for side in ("largest", "least")])
    off, lr = float(abs(ends - place).max()), float(result.spec["lr"])
    text = "3 workers with gradients 1, 1, -3, plus x/10: largest distance of a coordinate of "
    found = f"{text}{name}, lr = {lr}"
    return claim(found, source, off, "<=", lr * (1 + 1e-9))


def _binomial(result: Result, law: str) -> Verdict:
    """Every probability lies in the interval of its count."""
    outside, votes = 0, _votes(result)
    for i, n in enumerate(result["n"]):
        for name, exact in probabilities(_p(result), int(n)).items():
            low, high = binomial(int(result[name][i]), votes, SURE)
            outside += not low <= exact <= high
    text = f"{law} noise, {len(result['n'])} numbers of workers: probabilities of a right vote, a "
    text += f"wrong one and a tie outside the interval of {votes} votes"
    return claim(text, f"binomial distribution, {100 * SURE:g} %", outside, "==", 0)


def _wrong(result: Result, law: str) -> Verdict:
    """How often a vote is wrong, of odd numbers of workers."""
    odd = result["n"] % 2 == 1
    wrong = result["wrong"][odd] / _votes(result)
    text = f"{law} noise: share of wrong votes of {', '.join(map(str, result['n'][odd]))} workers"
    return observation(text, SEEN, ", ".join(f"{share:.4f}" for share in wrong))


def _votes(result: Result) -> int:
    """How many votes there were for each n: one an entry."""
    return int(result.spec["replicates"] * result.spec["problem"]["d"])


def _p(result: Result) -> float:
    return right_sign(result.spec["problem"]["law"], result.spec["problem"]["sigma"])


def draw(results: Results) -> Figure:
    """The coordinates over the steps, and the share of wrong votes over n."""
    figure, axes = style.panels(1, 2, height=2.9)
    _draw_places(axes[0, 0], results)
    _draw_votes(axes[0, 1], results)
    return figure


def _draw_places(ax: Axes, results: Results) -> None:
    from efsgd.convex.problems.several_workers import OneAgainstTwo

    looks: dict[str, Any] = {VOTE: (style.VERMILION, style.DASHDOT), EF: (style.BLUE, style.SOLID)}
    for name, (colour, dashes) in looks.items():
        result = results[name]
        step, coordinate = result["step"], result["largest"][:, 0]
        ax.plot(step, coordinate, color=colour, linestyle=dashes, label=name)
    problem = OneAgainstTwo()
    ends = {"optimum 10/3: mean gradient 0": problem.optimum.x[0],
            "-10: median gradient 0": problem.median}  # fmt: skip
    for (name, value), line in zip(ends.items(), (style.DOTTED, style.DASHED), strict=True):
        ax.axhline(value, color="0.5", linestyle=line, linewidth=0.9, label=name)
    ax.set(xlabel="step", ylabel="largest coordinate of $x$", ylim=(-12, 6))
    ax.set_title(f"gradients 1, 1, -3, plus x/10, lr = {LR}")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


def _draw_votes(ax: Axes, results: Results) -> None:
    looks: dict[str, Any] = {"gaussian": (style.BLUE, "o"), "laplace": (style.ORANGE, "s")}
    names = {"gaussian": "Gaussian", "laplace": "Laplace"}
    many = np.arange(1, NS[-1] + 1)
    for law, (colour, marker) in looks.items():
        result = results[law]
        p = _p(result)
        for name, parity, line in (("wrong", 1, style.SOLID), ("tie", 0, style.DOTTED)):
            ns = many[many % 2 == parity]
            exact = [probabilities(p, int(n))[name] for n in ns]
            ax.plot(ns, exact, color=colour, linestyle=line, linewidth=0.9)
            at = result["n"] % 2 == parity
            share: Array = result[name][at] / _votes(result)
            filled: dict[str, Any] = {} if parity else {"markerfacecolor": "white"}
            label = f"{names[law]}: {'wrong, odd n' if parity else 'tie, even n'}"
            ax.plot(result["n"][at], share, marker, color=colour, label=label, **filled)
    ax.set(yscale="log", xlabel="workers n", ylabel="share of votes")
    ax.set_title("noise of deviation 2 at a slope of 1")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2)


PICTURE = Picture(
    "vote",
    "A vote of signs goes to the median of the gradients, error feedback to their mean",
    work,
    draw,
    verdicts,
)
