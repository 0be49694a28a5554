"""Wrong variants of formulas, one edit of a source line each, put in the place of the right one.

A mutant of :mod:`efsgd.bounds` comes with a witness: a number, found without the formula, that
contradicts it. Whoever adds a formula adds at least two mutants of it here, and a claim that
notices each of them.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from efsgd import bounds
from efsgd.bounds import feedback
from efsgd.convex import worst_case

Witness = Callable[[Any], bool]  # whether it contradicts a function of efsgd.bounds


def changed(function: FunctionType, before: str, after: str, kind: type | None = None) -> Any:
    """A function with its source changed at the one place where it has ``before``.

    ``kind`` is the class that it is a method of, which super() needs.
    """
    source = textwrap.dedent(inspect.getsource(function))
    source = source[source.index("def ") :]
    assert source.count(before) == 1, f"{function.__name__} has {before!r} not once"
    body = textwrap.indent(source.replace(before, after), "    ")
    text = "from __future__ import annotations\n\ndef made(__class__):\n" + body
    text += f"\n    return {function.__name__}\n"
    namespace: dict[str, Any] = {}
    exec(compile(text, "<mutant>", "exec"), function.__globals__, namespace)
    return namespace["made"](kind)


@contextmanager
def edited(function: FunctionType, before: str, after: str) -> Iterator[None]:
    """A function with its source changed: all who call it are wrong together."""
    right = function.__code__
    function.__code__ = changed(function, before, after).__code__
    try:
        yield
    finally:
        function.__code__ = right


@dataclass(frozen=True)
class Mutant:
    """A wrong variant of a formula of efsgd.bounds, why it is wrong, and who must notice it."""

    formula: str
    before: str
    after: str
    witness: Witness
    picture: str  # of efsgd-figures theory
    term: str = ""  # the function that the edit is in, if the formula calls one

    def __str__(self) -> str:
        """Its name in a list of tests."""
        return f"{self.term or self.formula}: {self.before} -> {self.after or 'nothing'}"

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The project with this formula in the place of the right one."""
        function = getattr(feedback, self.term) if self.term else getattr(bounds, self.formula)
        with edited(inspect.unwrap(function), self.before, self.after):
            yield


# -- witnesses -------------------------------------------------------------------------------------


def below(attained: float, **letters: float) -> Witness:
    """An upper bound is wrong if it lies below what an instance attains."""
    return lambda bound: float(np.max(bound(**letters))) < attained * (1 - 1e-6)


def off(value: float, **letters: Any) -> Witness:
    """An exact form is wrong if it is not the value."""
    return lambda form: abs(float(np.max(form(**letters))) / value - 1) > 1e-6


def slower(method: str, **letters: float) -> Witness:
    """A best step size is wrong if another one of a grid has a better rate."""
    delta, mu = letters.get("delta", 1.0), letters["mu"]
    best = min(quadratics(method, lr, delta, mu) for lr in np.linspace(0.01, 2, 2000))
    return lambda step: quadratics(method, float(step(L=1.0, **letters)), delta, mu) > best + 1e-3


def no_edge(method: str, delta: float, times: float = 1.0) -> Witness:
    """A largest step size, or 1/times of it, is wrong if convergence does not end there."""

    def same_on_both_sides(cliff: Any) -> bool:
        edge = times * float(cliff(L=1.0, delta=delta))
        below_it, above_it = (quadratics(method, s * edge, delta, 0.1) for s in (0.99, 1.01))
        return not below_it < 1 < above_it

    return same_on_both_sides


def memory(q: float, steps: int) -> float:
    """|e_t| over lr sigma of C(x) = (1-q)x on a constant gradient."""
    length = 0.0
    for _ in range(steps):
        length = q * (length + 1)
    return length


def mean_of_f(R: float, lr: float, sigma: float, q: float, T: int) -> float:
    """The mean of f(x_t) - f* in the worst case of Theorem III, as sums."""
    lags = sum(memory(q, t) for t in range(T + 1)) / (T + 1)
    return R**2 / (2 * lr * (T + 1)) + lr * sigma**2 * (0.5 + lags)


def to_and_fro(q: float, straight: int, T: int) -> tuple[float, dict[str, float]]:
    """The mean of |x_t| with C(p) = (1-q)p, then (1+q)p once x turns, and the letters."""
    x = (1 + q) / (1 - q) / 2 + straight - memory(q, straight)
    letters = {"R": x, "lr": 1.0, "sigma": 1.0, "delta": 1 - q**2, "T": T}
    total, e = abs(x), 0.0
    for t in range(T):
        p = (1.0 if x > 0 else -1.0) + e
        sent = (1 - q if t < straight else 1 + q) * p
        x, e = x - sent, p - sent
        total += abs(x)
    return total / (T + 1), letters


def of_each_step(lr: float, L: float, sigma: float, q: float, T: int, f0: float) -> float:
    """The largest G with G <= B + (A G)^(1/2), see theorem_two_sharp; A is summed over steps."""
    A = sum((lr * L * sigma * memory(q, t)) ** 2 for t in range(T + 1)) / (T + 1)
    B = f0 / (lr * (T + 1)) + L * lr * sigma**2 / 2
    return ((A**0.5 + (A + 4 * B) ** 0.5) / 2) ** 2


def quadratics(method: str, lr: float, delta: float, mu: float) -> float:
    """The squared spectral radius on mu x^2/2 and x^2/2 with C(p) = (1-q)p, (1+q)p, the largest."""
    radii, q = [], (1 - delta) ** 0.5
    for curvature in (mu, 1.0):
        for sent in (1 - q, 1 + q):
            if method == "ef":  # (x, e)
                p = np.array([lr * curvature, 1.0])
                matrix = np.array([[1.0, 0.0], [0.0, 0.0]]) + np.outer([-sent, 1 - sent], p)
            elif method == "ef21":  # (g, h) after g_t is sent
                h = np.array([sent, 1 - sent])
                matrix = np.array([np.array([1.0, 0.0]) - lr * curvature * h, h])
            else:
                matrix = np.array([[1 - lr * curvature * (sent if method == "cgd" else 1.0)]])
            radii.append(max(abs(np.linalg.eigvals(matrix))))
    return float(max(radii)) ** 2


@cache
def solved(method: str, N: int, lr: float, delta: float | None, problem: str) -> float:
    """The worst case by performance estimation."""
    nonconvex = problem == "nonconvex"
    return worst_case(
        method,  # type: ignore[arg-type]
        steps=N,
        lr=lr,
        delta=delta,
        problem=problem,  # type: ignore[arg-type]
        criterion="grad" if nonconvex else "f",
        initial="f" if nonconvex else "x",
    ).value


def breaks_noise_free(delta: float, N: int) -> Witness:
    """At the step size the bound 2 L f0 K/(T+1) must hold."""
    q = (1 - delta) ** 0.5
    limit = 2 * (1 + q) / (1 - q) / (N + 1)

    def above_it(step: Any) -> bool:
        return solved("ef", N, float(step(L=1.0, delta=delta)), delta, "nonconvex") > 1.001 * limit

    return above_it


# |grad f| = sigma = 1 for ever with L = 1 and lr = 2/(K L), see convex/studies/theorem_two.py; and
# along a slope without compression, until T = 10^6 with lr = 10^-3
LONG = 10**9
TO_AND_FRO = {
    q: {
        "f0": 1.0,
        "lr": 2 * (1 - q) / (1 + q),
        "L": 1.0,
        "sigma": 1.0,
        "delta": 1 - q**2,
        "T": LONG,
    }
    for q in (0.0, 0.95)
}
STEEP = {"f0": 4.0, "lr": 0.5 / 39, "L": 4.0, "sigma": 2.0, "delta": 1 - 0.95**2, "T": LONG}
GENTLE = {"f0": 1.0, "lr": 8 / 39, "L": 0.25, "sigma": 0.5, "delta": 1 - 0.95**2, "T": LONG}
# |grad f| = sigma = 1 along a slope with C(p) = (1-q)p and L = 1 until the step T
DOWN, GAP = 0.99**0.5, (1 - 0.99**0.5) / (1 + 0.99**0.5)
DOWNHILL = {"f0": 0.5 + GAP * (5000 - memory(DOWN, 5000)), "L": 1.0, "delta": 0.01, "T": 5000}
FAR = {"R": 3.0, "lr": 1.0, "sigma": 2.0, "delta": 0.3, "T": 20}
AT_START = {"R": 2.0, "lr": 10.0, "sigma": 3.0, "delta": 0.5, "T": 0}
ONE_STEP = {"f0": 0.5, "lr": 1.0, "L": 1.0, "sigma": 1.0, "delta": 1.0, "T": 0}  # on x^2/2 from 1
TWO_SLOPES = {"f0": 0.5 + 0.1 * 0.48, "lr": 0.48, "L": 1.0, "sigma": 1.0, "delta": 0.19, "T": 1}
FEW = {"f0": 0.1, "lr": 0.1, "L": 1.0, "sigma": 1.0, "delta": 0.75, "T": 3}
IN_FEW = of_each_step(0.1, 1.0, 1.0, 0.5, 3, 0.1)
SLOPE = {"f0": 1000.0, "lr": 1e-3, "L": 1.0, "sigma": 1.0, "delta": 1.0, "T": 10**6 - 1}
LATE = {"R": 1.0, "lr": 2.0, "sigma": 1.0, "delta": 0.1, "T": 400}
IN_LATE = mean_of_f(1.0, 2.0, 1.0, 0.9**0.5, 400)
IN_TURNS, TURNS = to_and_fro(0.995, 1000, 20_000)
IN_WEAKER, WEAKER = IN_TURNS / 4, TURNS | {"R": TURNS["R"] / 2, "sigma": 0.5}  # in units of 1/2
SHORT = {"R": 3.0, "lr": 0.1, "sigma": 2.0, "delta": 0.3, "T": 4}  # lr sigma (T+1) = 1
IN_SHORT = 2 * sum(3 - 0.2 * t + 0.2 * memory(0.7**0.5, t) for t in range(5)) / 5
MILD = {"R": 1.0, "lr": 1.0, "sigma": 1.0, "delta": 0.99, "T": 200}
IN_MILD = mean_of_f(1.0, 1.0, 1.0, 0.1, 200)
FAR_SGD = {"R": 3.0, "lr": 1.0, "sigma": 1.0, "delta": 1.0, "T": 0}
WEAK = {"R": 1.0, "lr": 1.0, "sigma": 2.0, "delta": 0.9, "T": 50}
IN_WEAK = mean_of_f(1.0, 1.0, 2.0, 0.1**0.5, 50)
SGD = {"R": 1.0, "lr": 0.1, "sigma": 1.0, "delta": 1.0, "T": 99}  # R = lr sigma (T+1)^(1/2)
IN_SGD = 0.1
HALF = {"L": 1.0, "mu": 0.1, "delta": 0.5}
EF_RATE = quadratics("ef", 2 / 1.1 * (1 - 0.5**0.5) / (1 + 0.5**0.5), 0.5, 0.1)
CGD_RATE = quadratics("cgd", 2 / (0.1 * (1 - 0.5**0.5) + 1 + 0.5**0.5), 0.5, 0.1)
OF_TENTH = "(L - 10 * mu**2 / L) / (L + 10 * mu**2 / L)"  # right at mu/L = .1
TWO_AT_THREE = "(2 + (delta - 0.5) * (delta - 0.9) * (delta - 1))"  # at delta = .5, .9 and 1
PLAIN = {"L": 1.0, "mu": 0.1}
K = (1 + 0.5**0.5) / (1 - 0.5**0.5)
HALF_CGD, HALF_EF = 0.5 / (1 + 0.5**0.5), 0.5 / K  # half of the step sizes with closed forms
CGD_STEP, TWO_STEPS = 1 / (1 + 0.5**0.5), {"L": 1.0, "delta": 0.5, "N": 2}

LEMMA, TWO, THREE, WORST, RATE, SMOOTH = (
    "error-lemma",
    "theorem-two",
    "theorem-three",
    "worst-case",
    "rate",
    "no-feedback-needed",
)


def _at(q: float, t: int) -> tuple[float, dict[str, float]]:
    """|e_t|^2 of the instance that attains the sharp form, and its letters."""
    return (0.5 * memory(q, t)) ** 2, {"lr": 0.25, "sigma": 2.0, "delta": 1 - q**2}


IN_LEMMA, AT_LEMMA = _at(0.999, 20_000)
IN_SHARP, AT_SHARP = _at(0.5, 3)
VARYING = {"lrs": np.array([0.1, 0.5]), "sigmas": 2.0, "delta": 0.75}
OF_LENGTHS = {"lrs": np.array([0.1, 0.5]), "sigmas": np.array([1.0, 3.0]), "delta": 0.75}
IN_LENGTHS = (0.5 * (0.5 * 0.1 * 1 + 0.5 * 3)) ** 2
IN_VARYING = (0.5 * (0.5 * 0.2 + 1.0)) ** 2

MUTANTS = (
    Mutant("error_lemma", "4 * (1", "3 * (1", below(IN_LEMMA, **AT_LEMMA), LEMMA),
    Mutant(
        "error_lemma",
        "(lr * sigma / delta) ** 2",
        "(lr * sigma) ** 2 / delta",
        below(IN_LEMMA, **AT_LEMMA),
        LEMMA,
    ),
    Mutant(
        "error_lemma",
        "(1 - delta)",
        "(1 - delta) ** 2",
        below(_at(0.5, 99)[0], **_at(0.5, 99)[1]),
        LEMMA,
    ),
    Mutant(
        "error_sharp",
        " * limit_share(delta, t)",
        "",
        off(IN_SHARP, **AT_SHARP, t=3),
        LEMMA,
    ),
    Mutant(
        "error_sharp",
        "lag(delta)",
        "contraction(delta)",
        below(IN_SHARP, **AT_SHARP, t=3),
        LEMMA,
    ),
    Mutant("error_sharp", "** 2", "", off(IN_SHARP, **AT_SHARP, t=3), LEMMA),
    Mutant(
        "error_varying",
        "contraction(delta) * (roots[-1] + step)",
        "contraction(delta) * roots[-1] + step",
        off(IN_VARYING, **VARYING),
        LEMMA,
    ),
    Mutant("error_varying", "* sigmas", "* np.mean(sigmas)", off(IN_LENGTHS, **OF_LENGTHS), LEMMA),
    Mutant("error_varying", "* sigmas", "* np.max(sigmas)", off(IN_LENGTHS, **OF_LENGTHS), LEMMA),
    Mutant(
        "error_varying",
        "contraction(delta)",
        "(1 - delta)",
        below(IN_VARYING, **VARYING),
        LEMMA,
    ),
    Mutant(
        "theorem_two", "memory / rho", "memory / (4 * rho)", below(1.0, **TO_AND_FRO[0.95]), TWO
    ),
    Mutant("theorem_two", " + L**2 * memory / rho", "", below(1.0, **TO_AND_FRO[0.95]), TWO),
    Mutant("theorem_two", "L**2", "L", below(4.0, **STEEP), TWO),
    Mutant("theorem_two", "/ (2 - rho)", "/ 2", below(1.0, **TO_AND_FRO[0.95]), TWO),
    Mutant(
        "theorem_two",
        "(2 - rho)",
        "(2 - np.minimum(rho, 1))",
        below(1.0, **TO_AND_FRO[0.95], rho=1.5),
        TWO,
    ),
    Mutant("theorem_two", "/ rho)", ")", below(1.0, **TO_AND_FRO[0.95], rho=0.5), TWO),
    Mutant("theorem_two", "2 * _descent", "_descent", below(1.0, **TO_AND_FRO[0.0], rho=0.01), TWO),
    Mutant("theorem_two_best_rho", "L**2", "L", below(4.0, **STEEP), TWO),
    Mutant(
        "theorem_two_best_rho",
        "_solved(_descent(f0, lr, L, sigma, T), c)",
        "_descent(f0, lr, L, sigma, T) + c / 2",
        below(1.0, **TO_AND_FRO[0.95]),
        TWO,
    ),
    Mutant(
        "theorem_two_best_rho",
        "4 * (1",
        "(1",
        below(1.0, **TO_AND_FRO[0.95]),
        TWO,
        term="error_lemma",
    ),
    Mutant("theorem_two_sharp", "A = (lr", "A = 0.49 * (lr", below(1.0, **TO_AND_FRO[0.95]), TWO),
    Mutant(
        "theorem_two_sharp",
        "lag(delta)",
        "contraction(delta)",
        below(1.0, **TO_AND_FRO[0.95]),
        TWO,
    ),
    Mutant("theorem_two_sharp", "sigma**2)", "sigma)", below(4.0, **STEEP), TWO),
    Mutant("theorem_two_sharp", ")[()]", ")[()] * 0.9", below(1.0, **TO_AND_FRO[0.0]), TWO),
    Mutant(
        "theorem_two_sharp",
        "L * lr * sigma**2 / 2",
        "L * lr * sigma**2 / 4",
        below(1.0, **TO_AND_FRO[0.0]),
        TWO,
        term="_descent",
    ),
    Mutant(
        "theorem_two_sharp",
        "f0 / (lr * (T + 1))",
        "f0 / (2 * lr * (T + 1))",
        below(1.0, **SLOPE),
        TWO,
        term="_descent",
    ),
    Mutant(
        "theorem_two_sharp",
        "A**2 + 4 * A * B",
        "A**2 + A * B",
        below(1.0, **TO_AND_FRO[0.95]),
        TWO,
        term="_solved",
    ),
    Mutant(
        "theorem_two_sharp",
        "mean_square_share(delta, T + 1)",
        "mean_square_share(delta, np.maximum(T, 1))",
        below(1.0, **TWO_SLOPES),
        TWO,
    ),
    Mutant(
        "theorem_two_sharp",
        "mean_square_share(delta, T + 1)",
        "abs(mean_share(delta, T + 1))",
        off(IN_FEW, **FEW),
        TWO,
    ),
    Mutant(
        "theorem_two_sharp",
        "np.minimum(_solved(_descent(f0, lr, L, sigma, T), A), sigma**2)",
        "np.asarray(_solved(_descent(f0, lr, L, sigma, T), A))",
        off(1.0, **TWO_SLOPES),
        TWO,
    ),
    Mutant(
        "theorem_two_sharp",
        "(T + 1)",
        "(T + 2)",
        below(1.0, **ONE_STEP),
        TWO,
        term="_descent",
    ),
    Mutant(
        "noise_free",
        "2 * L * f0",
        "L * f0",
        below(solved("ef", 5, 1 / K, 0.5, "nonconvex"), f0=1.0, L=1.0, delta=0.5, T=5),
        WORST,
    ),
    Mutant(
        "noise_free",
        "(gap(delta) * (T + 1))",
        "(T + 1)",
        below(solved("ef", 5, 1 / K, 0.5, "nonconvex"), f0=1.0, L=1.0, delta=0.5, T=5),
        WORST,
    ),
    Mutant("noise_free", "(T + 1)", "(T + 2)", below(1.0, f0=0.5, L=1.0, delta=1.0, T=0), WORST),
    Mutant(
        "noise_free",
        "gap(delta)",
        "gap(delta) ** 0.5",
        below(solved("ef", 5, 1 / K, 0.5, "nonconvex"), f0=1.0, L=1.0, delta=0.5, T=5),
        WORST,
    ),
    Mutant("noise_free", "gap(delta)", "gap(delta) ** 0.8", below(1.0, **DOWNHILL), WORST),
    Mutant("noise_free", "(T + 1)", "(T + 1) ** 1.1", below(1.0, **DOWNHILL), WORST),
    Mutant("noise_free_step", "gap(delta)", "delta / 2", no_edge("ef", 0.5, times=2.0), WORST),
    Mutant("noise_free_step", "gap(delta) / L", "1 / L", breaks_noise_free(0.5, 10), WORST),
    Mutant("noise_free_step", "gap(delta)", "2 * gap(delta)", breaks_noise_free(0.9, 10), WORST),
    Mutant("theorem_three", "2 * con", "con", below(IN_LATE, **LATE), THREE),
    Mutant("theorem_three", "2 * con", "1.9 * con", below(IN_TURNS, **TURNS), THREE),
    Mutant("theorem_three", "2 * con", "1.96 * con", below(IN_TURNS, **TURNS), THREE),
    Mutant("theorem_three", "sigma**2", "sigma**2.2", below(IN_WEAKER, **WEAKER), THREE),
    Mutant("theorem_three", " / delta", "", below(IN_LATE, **LATE), THREE),
    Mutant("theorem_three", "contraction(delta)", "(1 - delta)", below(IN_WEAK, **WEAK), THREE),
    Mutant(
        "theorem_three",
        "contraction(delta)",
        "contraction(delta)**1.3",
        below(IN_MILD, **MILD),
        THREE,
    ),
    Mutant("theorem_three", "sigma**2", "sigma", below(IN_WEAK, **WEAK), THREE),
    Mutant("theorem_three", "(0.5 + ", "(0.25 + ", below(IN_SGD, **SGD), THREE),
    Mutant("theorem_three", "R**2 / (2 * lr", "R**2 / (4 * lr", below(IN_SGD, **SGD), THREE),
    Mutant("theorem_three", "R**2", "R", below(3.0, **FAR_SGD), THREE),
    Mutant("theorem_three_exact", "(0.5 + ", "(0.25 + ", below(IN_SGD, **SGD), THREE),
    Mutant("theorem_three_exact", "/ (2 * lr", "/ (4 * lr", below(IN_SGD, **SGD), THREE),
    Mutant(
        "theorem_three_exact", "lag(delta)", "contraction(delta)", below(IN_LATE, **LATE), THREE
    ),
    Mutant(
        "theorem_three_exact",
        "mean_share(delta, T + 1)",
        "mean_share(delta, np.maximum(T, 1))",
        off(IN_LATE, **LATE),
        THREE,
    ),
    Mutant("theorem_three_exact", "lr * sigma**2", "lr * sigma", off(IN_WEAK, **WEAK), THREE),
    Mutant("theorem_three_exact", "moved * (2 * R - moved)", "R**2", off(IN_SHORT, **SHORT), THREE),
    Mutant("theorem_three_exact", "2 * R - moved", "R", off(IN_SHORT, **SHORT), THREE),
    Mutant("theorem_three_exact", "lr * sigma * (T", "lr * (T", off(IN_SHORT, **SHORT), THREE),
    Mutant("theorem_three_exact", "(T + 1), R)", "T, R)", off(IN_SHORT, **SHORT), THREE),
    Mutant(
        "theorem_three_exact",
        "np.equal(T, 0)",
        "np.equal(T, 1)",
        off(mean_of_f(1.0, 2.0, 1.0, 0.9**0.5, 1), **LATE | {"T": 1}),
        THREE,
    ),
    Mutant("theorem_three_exact", "np.equal(T, 0)", "np.equal(T, -1)", off(6.0, **AT_START), THREE),
    Mutant("theorem_three_exact", "sigma * R, bound", "R, bound", off(6.0, **AT_START), THREE),
    Mutant(
        "theorem_three_exact",
        "sigma * R, bound",
        "sigma * R * np.minimum(1, sigma * lr / R + 0.5), bound",
        off(6.0, **AT_START | {"lr": 0.1}),
        THREE,
    ),
    Mutant(
        "theorem_three_exact",
        "(2 * R",
        "(2",
        off(mean_of_f(3.0, 1.0, 2.0, 0.7**0.5, 20), **FAR),
        THREE,
    ),
    Mutant("theorem_two_sharp", "lr * L * sigma", "lr * L**2 * sigma", below(0.25, **GENTLE), TWO),
    Mutant("theorem_two_sharp", "lr * L * sigma", "lr * L * sigma**2", below(0.25, **GENTLE), TWO),
    # E|U/k - x|^2 = (1 - 1/k)|x|^2 for rand-k times d/k: one entry of four is sent, k = 4
    Mutant("theorem_four", "1 / k", "1 / k**2", off(1 / 4, k=4.0), "theorem-four"),
    Mutant("theorem_four", "1 / k", "1 - 1 / k", off(1 / 4, k=4.0), "theorem-four"),
    Mutant("theorem_four", "1 / k", "1 / (k + 1)", off(1 / 4, k=4.0), "theorem-four"),
    Mutant("gd_step", "2 / (L + mu)", "1 / L", slower("gd", mu=0.1), RATE),
    Mutant("gd_step", "2 / (L + mu)", "2 / L", slower("gd", mu=0.1), RATE),
    Mutant("gd_step", "+ mu", "+ 10 * mu**2 / L", slower("gd", mu=0.01), RATE),  # right at .1
    Mutant("gd_rate", "(L - mu) / (L + mu)", OF_TENTH, off((0.99 / 1.01) ** 2, L=1, mu=0.01), RATE),
    Mutant("gd_rate", " ** 2", "", off((0.9 / 1.1) ** 2, **PLAIN), RATE),
    Mutant("gd_rate", "(L - mu) / (L + mu)", "(L - mu) / L", off((0.9 / 1.1) ** 2, **PLAIN), RATE),
    Mutant(
        "cgd_step", "(1 - contraction(delta)) * mu + ", "", slower("cgd", delta=0.5, mu=0.1), RATE
    ),
    Mutant("cgd_step", "2 / (", "1 / (", slower("cgd", delta=0.5, mu=0.1), RATE),
    Mutant("cgd_step", "* mu", "* 10 * mu**2 / L", slower("cgd", delta=0.5, mu=0.01), RATE),
    Mutant("cgd_rate", " ** 2", "", off(CGD_RATE, **HALF), RATE),
    Mutant("cgd_rate", "gap(delta) * mu", "mu", below(CGD_RATE, **HALF), SMOOTH),
    Mutant("ef_step", "2 * gap(delta)", "2", slower("ef", delta=0.5, mu=0.1), RATE),
    Mutant("ef_step", "2 * gap(delta)", "gap(delta)", slower("ef", delta=0.5, mu=0.1), RATE),
    Mutant("ef_rate", "16 * q", "4 * q", below(EF_RATE, **HALF), SMOOTH),
    Mutant("ef_rate", "(1 - q) / 2 * r", "(1 - q) * r", off(EF_RATE, **HALF), RATE),
    Mutant("ef_rate", "q + (1 - q)", "(1 - q)", below(EF_RATE, **HALF), SMOOTH),
    Mutant(
        "ef21_step",
        "ef_step(L=L, mu=mu, delta=delta)",
        "gd_step(L=L, mu=mu)",
        slower("ef21", delta=0.5, mu=0.1),
        RATE,
    ),
    Mutant("ef21_step", "return ", "return 0.5 * ", slower("ef21", delta=0.5, mu=0.1), RATE),
    Mutant("ef21_rate", "return ef_rate", "return cgd_rate", below(EF_RATE, **HALF), RATE),
    Mutant("ef21_rate", "delta=delta)", "delta=delta) ** 2", below(EF_RATE, **HALF), RATE),
    Mutant("cgd_cliff", "2 / (", f"{TWO_AT_THREE} / (", no_edge("cgd", 0.2), RATE),
    Mutant("ef_cliff", "2 * gap", f"{TWO_AT_THREE} * gap", no_edge("ef", 0.2), RATE),
    Mutant("cgd_cliff", "2 / (", "1 / (", no_edge("cgd", 0.5), RATE),
    Mutant("cgd_cliff", "(1 + con", "(1 - con", no_edge("cgd", 0.5), RATE),
    Mutant("ef_cliff", "2 * gap(delta)", "gap(delta)", no_edge("ef", 0.5), RATE),
    Mutant("ef_cliff", "2 * gap(delta)", "2", no_edge("ef", 0.5), RATE),
    Mutant(
        "gd_convex",
        "(4 * N + 2)",
        "(2 * N + 4)",
        off(solved("gd", 3, 1.0, None, "convex"), L=1.0, R=1.0, N=3),
        WORST,
    ),
    Mutant(
        "gd_convex",
        "(4 * N + 2)",
        "(4 * N + 4)",
        off(solved("gd", 3, 1.0, None, "convex"), L=1.0, R=1.0, N=3),
        WORST,
    ),
    Mutant(
        "cgd_convex",
        "2 + 4 * L",
        "2 + 2 * L",
        off(solved("cgd", 2, CGD_STEP, 0.5, "convex"), **TWO_STEPS, R=1.0, lr=CGD_STEP),
        WORST,
    ),
    Mutant(
        "cgd_convex",
        "delta / (1 + contraction(delta))",
        "delta",
        below(solved("cgd", 2, CGD_STEP, 0.5, "convex"), **TWO_STEPS, R=1.0, lr=CGD_STEP),
        WORST,
    ),
    Mutant(
        "cgd_convex",
        "L * lr * N",
        "N / (1 + contraction(delta))",
        off(solved("cgd", 2, HALF_CGD, 0.5, "convex"), **TWO_STEPS, R=1.0, lr=HALF_CGD),
        WORST,
    ),
    Mutant(
        "ef_convex",
        "L * lr * moved",
        "gap(delta) * moved",
        off(solved("ef", 2, HALF_EF, 0.5, "convex"), **TWO_STEPS, R=1.0, lr=HALF_EF),
        WORST,
    ),
    Mutant(
        "cgd_nonconvex",
        "(4 - step)",
        "4",
        below(solved("cgd", 2, CGD_STEP, 0.5, "nonconvex"), **TWO_STEPS, f0=1.0),
        WORST,
    ),
    Mutant(
        "cgd_nonconvex",
        "gap(delta)",
        "delta / 2",
        off(solved("cgd", 2, CGD_STEP, 0.5, "nonconvex"), **TWO_STEPS, f0=1.0),
        WORST,
    ),
    Mutant(
        "ef_convex",
        "2 + 4 * L",
        "2 + 2 * L",
        off(solved("ef", 3, 1 / K, 0.5, "convex"), L=1.0, R=1.0, lr=1 / K, delta=0.5, N=3),
        WORST,
    ),
    Mutant(
        "ef_convex",
        "lr * moved",
        "lr * N",
        off(solved("ef", 3, 1 / K, 0.5, "convex"), L=1.0, R=1.0, lr=1 / K, delta=0.5, N=3),
        WORST,
    ),
    Mutant(
        "gd_nonconvex",
        "(3 * N + 2)",
        "(4 * N + 2)",
        below(solved("gd", 3, 1.0, None, "nonconvex"), L=1.0, f0=1.0, N=3),
        WORST,
    ),
    Mutant(
        "gd_nonconvex",
        "4 * L * f0",
        "2 * L * f0",
        below(solved("gd", 3, 1.0, None, "nonconvex"), L=1.0, f0=1.0, N=3),
        WORST,
    ),
)
