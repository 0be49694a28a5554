"""What the picture ``draws`` claims: the enumeration is right, and so are its probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.least_squares import WilsonLeastSquares
from efsgd.convex.studies import four_weights
from efsgd.convex.studies.section_five import ROWS, STEPS, chances, test_loss
from efsgd.figures.claims.intervals import binomial, span
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.convex.all_draws import (
    GOOD,
    claim_good,
    counts,
    losses,
    predictions,
    quantiles,
    weights,
)
from efsgd.figures.convex.draws_work import (
    DRAWN_KINDS,
    KINDS,
    ORDERS,
    SHARES,
    TIE,
    TIE_ORDERS,
)
from efsgd.figures.convex.least_squares import METHODS, MINE, UNDECAYED
from efsgd.figures.make import Results
from efsgd.results import Result

BAD = 0.5  # a final test loss above
ALL_GOOD = (10, 78)  # of 100 y = +1 in training: with so many feedback is good in any test
FAIL = (*DRAWN_KINDS, UNDECAYED)
SURE = 0.999  # of the intervals of counts


def verdicts(results: Results) -> list[Verdict]:
    """The enumeration beside other ways to the same numbers, and the probabilities of failure."""
    return [
        *_enumeration(results),
        _reduced(results),
        claim_good(results["EF-signSGD"], "EF-signSGD", *ALL_GOOD, MINE),
        *(row for p in SHARES for row in _probabilities(results, p)),
        *_exactly(results),
    ]


def _enumeration(results: Results) -> list[Verdict]:
    """The number of y = +1 decides; where a sum is 0 but for rounding, the order of rows does."""
    rows = []
    for name in METHODS:
        measured = results[f"{name} drawn"]
        training, test = _labels(measured)
        apart = training.sum(axis=1) != TIE
        told = _told(results[name], training, test)
        off = abs(measured["test_mse"][-1, :, 0] - told)[apart]
        text = f"{name}, of {len(apart)} data draws those without a tie of labels in training: "
        if name == UNDECAYED:
            text += "those where the order of the rows leads to another loss than enumerated"
            rows.append(observation(text, MINE, f"{(off > 1e-9).sum()} of {len(off)}"))
            continue
        text += "largest distance of the final test loss from that of the training set with as "
        text += "many y = +1"
        rows.append(claim(text, MINE, float(off.max()), "<=", 1e-12))
    differ = counts(results[UNDECAYED])[_ordered(results)]
    text = f"{UNDECAYED}: numbers of y = +1 for which the order of the training rows matters, of "
    text += f"101, by {len(ORDERS)} orders"
    rows.append(observation(text, MINE, f"{len(differ)}: {', '.join(map(str, differ))}"))
    for name in METHODS:
        positive, negative = predictions(results[f"{name} tie"])
        text = f"{name}, {TIE} of 100 y = +1: predictions of y = +1 and -1, least to largest over "
        text += f"{TIE_ORDERS} orders of the training rows"
        spans = [f"{v.min():.3g} to {v.max():.3g}" for v in (positive, negative)]
        rows.append(observation(text, MINE, " and ".join(spans)))
    return rows


def _reduced(results: Results) -> Verdict:
    """The same predictions from four weights, where rounding does not decide."""
    off = []
    for name, kind in KINDS.items():
        k = counts(results[name])
        found = four_weights.trained(kind, k, METHODS[name][1], STEPS)
        apart = abs(np.array(found) - predictions(results[name])).max(axis=0)
        off.append(float(apart[k != TIE].max()))
    text = f"{', '.join(KINDS)}, any training set but that with {TIE} of 100 y = +1: largest "
    text += "distance of the final predictions from those of four weights instead of 1200"
    return claim(text, MINE, float(np.max(off)), "<=", 1e-12)


def _labels(drawn: Result) -> tuple[Array, Array]:
    """Which labels of these data draws are +1, in training and in the test, (V, 100) each."""
    values = drawn.spec["values"]
    labels = [WilsonLeastSquares(v["rows"], v["p"], v["seed"]).labels > 0 for v in values]
    training, test = np.split(np.array(labels), [ROWS], axis=1)
    return training, test


def _told(enumerated: Result, training: Array, test: Array) -> Array:
    """What the enumeration says of the final test loss where these labels are +1, (V,)."""
    found = np.searchsorted(counts(enumerated), training.sum(axis=1))
    told: Array = losses(enumerated)[found, (~test).sum(axis=1)]
    return told


def _ordered(results: Results) -> Array:
    """On which training sets the order of the rows changes the undecayed momentum, (V,)."""
    paths = [results[UNDECAYED], *(results[f"{UNDECAYED} order {i}"] for i in ORDERS[1:])]
    both = np.array([predictions(path, slice(None)) for path in paths])  # (orders, 2, T, V)
    differ: Array = np.ptp(both, axis=0).max(axis=(0, 1)) > 1e-9
    return differ


def _probabilities(results: Results, p: float) -> list[Verdict]:
    """Probabilities by the enumeration over both halves of the data, and counts of draws."""
    rows = []
    for name in METHODS:
        low, median, high = quantiles(results[name], p, (0.1, 0.5, 0.9))
        bad = chance_range(results, name, p, lambda loss: loss > BAD)
        good = chance_range(results, name, p, lambda loss: loss < GOOD)
        if name in FAIL:
            rows.append(_counted(results, name, p, bad))
        text = f"P(y=1) = {p}: {name}, probability of a final test loss > {BAD} and of one "
        text += f"< {GOOD}, from the least to the largest over orders of the rows; 10 %, median "
        text += "and 90 % of the loss"
        measured = f"{span(*bad)} and {span(*good)}; {low:.3g}, {median:.3g}, {high:.3g}"
        rows.append(observation(text, MINE, measured))
    return rows


def _counted(results: Results, name: str, p: float, told: tuple[float, float]) -> Verdict:
    """The enumerated probability of a bad draw lies in the interval of fresh draws of the data.

    Where rounding does not decide, every label is drawn and four weights are trained; the undecayed
    momentum is run by the engine on the data themselves.
    """
    if name in KINDS:
        loss, how = results[f"labels, {p}"]["loss"][DRAWN_KINDS.index(name)], "trained in 4 weights"
    else:
        drawn = results[f"{name} drawn"]
        of_p = [value["p"] == p for value in drawn.spec["values"]]
        loss, how = drawn["test_mse"][-1, of_p, 0], "run as they are"
    low, high = binomial(int((loss > BAD).sum()), len(loss), SURE)
    text = f"P(y=1) = {p}: {name}, enumerated probability of a final test loss > {BAD}, least to "
    text += f"largest over orders of the rows; {len(loss)} data draws, {how}"
    return Verdict(
        claim=text,
        source=f"{MINE}, {100 * SURE:g} %",
        expected=f"{low:.4f} to {high:.4f}",
        measured=span(*told, 4),
        passed=bool(low <= told[1] and told[0] <= high),
    )


def _exactly(results: Results) -> list[Verdict]:
    """What rounding does to the undecayed momentum, whose buffer would be 0 at each turn."""
    final = four_weights.undecayed_exactly(counts(results[UNDECAYED]), 20, STEPS)
    bad = test_loss(*final) > BAD
    exact = ", ".join(f"{float((weights(results[UNDECAYED], p) * bad).sum()):.3f}" for p in SHARES)
    text = (
        f"{UNDECAYED}: probability of a final test loss > {BAD} in exact arithmetic, at P(y=1) = "
    )
    return [observation(f"{text}{', '.join(map(str, SHARES))}", MINE, exact)]


def chance_range(
    results: Results, name: str, p: float, event: Callable[[Array], Array]
) -> tuple[float, float]:
    """The least and the largest probability of an event of the final test loss over the orders.

    At a tie of the labels any of 20 orders of the rows counts, elsewhere that of the enumeration,
    and for the undecayed momentum each of its three.
    """
    orders = [f"{name} order {i}" for i in ORDERS[1:]] if name == UNDECAYED else []
    tied = event(losses(results[f"{name} tie"])) @ chances(1 - p)
    found = []
    for history in (results[name], *(results[order] for order in orders)):
        chance, is_tie = weights(history, p), counts(history) == TIE
        elsewhere = float((chance * event(losses(history)))[~is_tie].sum())
        found.append(elsewhere + float(chance[is_tie].sum()) * tied)
    return float(np.min(found)), float(np.max(found))
