"""What the picture vote claims: where votes end, their walk, and how often they are wrong."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.claims.extremes import worse
from efsgd.figures.claims.intervals import binomial, decision, of_mean
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.figures.workers.vote_work import EF, LAWS, LR, STEPS, SYMMETRIC, VOTE
from efsgd.results import Result

SURE = 0.9999  # of an interval: there are 24 of each law
ROUNDED = 1e-9
NEAR = 0.05  # of the first gap
SOURCE = "derived here"
SEEN = "measured here"


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
    """Where both end, a vote under symmetric noise, and how often a vote is wrong."""
    from efsgd.convex.problems.several_workers import OneAgainstTwo

    problem = OneAgainstTwo()
    return [
        _ends_at_the_median(results[VOTE], problem.median),
        _ends_at_the_mean(results[EF], problem.optimum.x[0]),
        _walk(results[SYMMETRIC]),
        _near_the_optimum(results[SYMMETRIC]),
        *(_binomial(results[law], law) for law in LAWS),
        *(_wrong(results[law], law) for law in LAWS),
    ]


def _off(result: Result, place: float) -> float:
    """The largest distance of a coordinate, at the last step."""
    ends = np.array([result[side][-1] for side in ("largest", "least")])
    return float(abs(ends - place).max())


def _ends_at_the_median(result: Result, place: float) -> Verdict:
    """At a multiple of lr, which -10 is: below it at least two signs of three are negative, above
    it two are positive, so that each step of lr goes towards -10; from there on every second step
    is at -10.
    """
    text = f"3 workers with gradients 1, 1, -3, plus x/10, {VOTE}, lr = {result.spec['lr']}: "
    text += f"largest distance of a coordinate from the median's zero -10 at step {STEPS}"
    return claim(text, SOURCE, _off(result, place), "<=", ROUNDED)


def _ends_at_the_mean(result: Result, place: float) -> Verdict:
    text = f"3 workers with gradients 1, 1, -3, plus x/10, {EF}, lr = {result.spec['lr']}: "
    text += "largest distance of a coordinate from the mean's zero 10/3 at the end"
    return claim(text, SEEN, _off(result, place), "<=", LR)


def walk(lr: float, steps: int, voters: int, spread: float) -> Array:
    """E |x|^2/2 of a coordinate from 1 for t = 0, ..., steps, exactly (derived here).

    A step of lr up or down: up if most of an odd number of gaussian gradients of mean x are
    negative. The law of x is on 1 + lr times -steps, ..., steps.
    """
    from scipy import stats

    x = 1.0 + lr * np.arange(-steps, steps + 1)
    up = stats.binom(voters, stats.norm.cdf(-x / spread)).sf(voters // 2)
    law, gap = np.zeros(x.size), []
    law[steps] = 1.0
    for _ in range(steps + 1):
        gap.append(0.5 * law @ x**2)
        law = np.roll(law * up, 1) + np.roll(law * (1 - up), -1)
    return np.array(gap)


def _walk(result: Result) -> Verdict:
    """The runs of MajorityVote against the walk that a coordinate is."""
    spec = result.spec
    d = spec["problem"]["d"]
    spread = spec["problem"]["sigma"] / d**0.5
    exact = d * walk(spec["lr"], spec["steps"], spec["workers"], spread)[result["step"][1:]]
    gap = result["gap"][1:]
    error = gap.std(axis=1, ddof=1) / np.sqrt(gap.shape[1])
    away = worse(0.0, abs(gap.mean(1) - exact) / error)
    text = f"{_symmetric(result)}: mean gap off that of the walk of a coordinate, in standard "
    return claim(f"{text}errors, {len(gap)} times", SOURCE, away, "<=", 4.0)


def _near_the_optimum(result: Result) -> Verdict:
    """Where the mean and the median of the gradients vanish at the same place."""
    share = result["gap"][-1] / result["gap"][0]
    text = f"{_symmetric(result)}: mean of the last gap over the first"
    return decision(text, SEEN, of_mean(share), most=NEAR)


def _symmetric(result: Result) -> str:
    spec = result.spec
    return f"{VOTE} of {spec['workers']}, |x|^2/2, gaussian noise, {spec['steps']} steps"


def _binomial(result: Result, law: str) -> Verdict:
    """Every probability lies in the interval of its count."""
    outside, drawn = 0, votes(result)
    for i, n in enumerate(result["n"]):
        for name, exact in probabilities(of_right(result), int(n)).items():
            low, high = binomial(int(result[name][i]), drawn, SURE)
            outside += not low <= exact <= high
    text = f"{law} noise, {len(result['n'])} numbers of workers: probabilities of a right vote, a "
    text += f"wrong one and a tie outside the interval of {drawn} votes"
    return claim(text, f"binomial distribution, {100 * SURE:g} %", outside, "==", 0)


def _wrong(result: Result, law: str) -> Verdict:
    """How often a vote is wrong, of odd numbers of workers."""
    odd = result["n"] % 2 == 1
    wrong = result["wrong"][odd] / votes(result)
    text = f"{law} noise: share of wrong votes of {', '.join(map(str, result['n'][odd]))} workers"
    return observation(text, SEEN, ", ".join(f"{share:.4f}" for share in wrong))


def votes(result: Result) -> int:
    """How many votes there were for each n: one an entry."""
    return int(result.spec["replicates"] * result.spec["problem"]["d"])


def of_right(result: Result) -> float:
    """The probability that the sign of one worker is right."""
    return right_sign(result.spec["problem"]["law"], result.spec["problem"]["sigma"])
