"""The methods, problems and runs of the picture vote."""

from __future__ import annotations

from typing import Any

from efsgd import EFSGD, MajorityVote, Run, ScaledSign, Sign
from efsgd.figures.make import Works
from efsgd.results import Work

LR, STEPS = 0.05, 3000
LAWS = {"gaussian": 2.0, "laplace": 2.0}  # law of the noise -> its standard deviation, slope 1
NS = (1, 2, 3, 4, 9, 10, 27, 28)
REPLICATES, D = 400, 100
VOTE, EF, SYMMETRIC = "majority vote", "EF-signSGD", "majority vote, symmetric noise"
VOTERS, SPREAD, RUN_STEPS, RUNS = 9, 2.0, 300, 60  # on |x|^2/2 from (1, ..., 1), D coordinates


def work(quick: bool, seed: int) -> Works:
    """Both methods on the three workers, and votes under symmetric noise."""
    from efsgd.convex.problems.several_workers import NoisySlope, OneAgainstTwo
    from efsgd.convex.studies import NoisyQuadratic, Votes

    steps, replicates = (300, 10) if quick else (STEPS, REPLICATES)
    methods = {VOTE: MajorityVote(Sign()), EF: EFSGD(ScaledSign())}
    options: dict[str, Any] = {"seed": seed, "workers": 3, "metrics": ("largest", "least")}
    works: dict[str, Work] = {
        name: Run(OneAgainstTwo(), method, LR, steps, record=10, **options)
        for name, method in methods.items()
    }
    quadratic = NoisyQuadratic(D, mu=1.0, sigma=SPREAD * D**0.5)  # curvature 1 in all coordinates
    works[SYMMETRIC] = Run(
        quadratic,
        methods[VOTE],
        LR,
        steps if quick else RUN_STEPS,
        seed=seed,
        replicates=2 if quick else RUNS,
        record=50,
        metrics=("gap",),
        workers=VOTERS,
    )
    for law, sigma in LAWS.items():
        problem = NoisySlope(law, sigma, D)  # type: ignore[arg-type]
        works[law] = Votes(problem, NS, replicates, seed)
    return works
