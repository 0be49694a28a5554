"""What the picture ``draws`` computes: every training set of section 5, and draws of the data.

The enumeration is run by the engine; labels are drawn many times, and trained in four weights;
``drawn`` are whole draws of the data, and ``tie`` orders of the rows of a tied training set.
"""

from __future__ import annotations

from dataclasses import replace

from efsgd import Run
from efsgd.convex.problems.least_squares import WilsonLeastSquares
from efsgd.convex.problems.wilson_counts import WilsonCount
from efsgd.convex.studies import four_weights
from efsgd.convex.studies.four_weights import LabelDraws
from efsgd.convex.studies.section_five import STEPS, enumerated
from efsgd.convex.studies.vary import Vary
from efsgd.figures.convex.least_squares import METHODS, UNDECAYED, at_paper_step
from efsgd.figures.make import Works

SHARES = (0.5, 0.6, 0.7)  # P(y = 1)
ORDERS = (0, 1, 2)  # of the training rows
TIE, TIE_ORDERS = 50, 20  # y = +1 in training where rounding decides, and orders of its rows
DRAWN = 60  # data draws for each P(y = 1) that the undecayed momentum runs on as they are
KINDS: dict[str, four_weights.Kind] = {  # of the methods in four weights
    "SGD": "gradients",
    "signSGD": "scaled signs",
    "signSGDm": "momentum signs",
    "EF-signSGD": "scaled signs, feedback",
}
DRAWN_KINDS = ("signSGD", "signSGDm")  # whose labels are drawn many times


def work(quick: bool, seed: int) -> Works:
    """Every method on every training set; the paper's momentum on other orders of its rows."""
    works = at_paper_step(quick)
    if quick:
        return works
    for order in ORDERS[1:]:
        works[f"{UNDECAYED} order {order}"] = enumerated(*METHODS[UNDECAYED], order=order)
    drawn_methods = tuple((KINDS[name], METHODS[name][1]) for name in DRAWN_KINDS)
    for p in SHARES:
        works[f"labels, {p}"] = LabelDraws(p, drawn_methods, STEPS, seed=seed)
    data = tuple(
        WilsonLeastSquares(p=p, seed=1000 * seed + i) for p in SHARES for i in range(DRAWN)
    )
    tied = tuple(WilsonCount(TIE, order) for order in range(TIE_ORDERS))
    for name, (method, lr) in METHODS.items():
        run = Run(data[0], method, lr, STEPS, record=(STEPS,), metrics=("test_mse",))
        few = data if name == UNDECAYED else data[:: DRAWN // 6]
        works[f"{name} drawn"] = Vary(run, "problem", few)
        run = replace(run, problem=tied[0], metrics=("positive", "negative"))
        works[f"{name} tie"] = Vary(run, "problem", tied)
    return works
