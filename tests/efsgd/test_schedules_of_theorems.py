"""The step sizes of theorems: where they are attained, what they bound, what they refuse.

Without this file a step size could be too long for its theorem, or shorter than the best one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import stable_id

from efsgd.arrays import Array, Generator
from efsgd.compressors import QSGD, Compressor, Identity, RandK, Scaled, ScaledSign, TopK
from efsgd.engine.runs import Run, run
from efsgd.methods.base import Memory, Method
from efsgd.methods.differences import DASHA, DIANA, MARINA
from efsgd.methods.ef21 import EF21, EF21SGDM, EControl, EF21Plus
from efsgd.methods.feedback import EFSGD
from efsgd.methods.sgd import SGD, CompressedSGD
from efsgd.methods.variants import FullyCorrectiveEF, GradientEF, PostMomentumEF
from efsgd.provenance import spec_of
from efsgd.schedules import Constant, Theorem

DELTAS = [0.02, 0.3, 0.5, 0.9, 1.0]
MUS = [0.01, 0.1, 0.7]
share, positive = st.floats(1e-3, 1.0), st.floats(1e-3, 1e3)


# -- strongly convex: tight on f = curvature x^2/2 with C(p) = (1 -+ q) p --------------------------


def matrix(method: Method, curvature: float, lr: float) -> Array:
    """One step of the method on f = curvature x^2/2, which is linear, in its own coordinates.

    They are (x, e) for EFSGD, and (x, h) for EF21, which knows h from the step before.
    """
    rng, columns = np.random.default_rng(0), []
    for x, second in ((1.0, 0.0), (0.0, 1.0)):
        at, other = np.array([[x]]), np.array([[second]])
        e, h = (None, other) if isinstance(method, EF21) else (other, None)
        update = method.step(at, curvature * at, Memory(e=e, h=h), lr, rng)
        after = update.memory.h if isinstance(method, EF21) else update.memory.e
        columns.append([update.x.item(), np.asarray(after).item()])
    return np.array(columns).T


def worst_rate(make: Any, delta: float, mu: float, lr: float) -> float:
    """The largest squared spectral radius over the two ends of the spectrum and both messages."""
    q = math.sqrt(1 - delta)
    rates = [
        np.abs(np.linalg.eigvals(matrix(make(Scaled(Identity(), a)), curvature, lr))).max() ** 2
        for curvature in (mu, 1.0)
        for a in (1 - q, 1 + q)
        if a > 0
    ]
    return float(max(rates))


def best_rate(delta: float, mu: float, L: float = 1.0) -> float:
    """rho* of theory.md, section 3 (arXiv 2506.05271)."""
    q = math.sqrt(1 - delta)
    root = math.sqrt((1 + q) ** 2 + 16 * q * L * mu / (L - mu) ** 2)
    return q + (1 - q) / 2 * ((L - mu) / (L + mu)) ** 2 * (1 - q + root)


@pytest.mark.parametrize("delta", [0.02, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("mu", MUS)
@pytest.mark.parametrize(("name", "make"), [("ef", EFSGD), ("ef21", EF21)])
def test_the_best_rate_is_attained(name: str, make: Any, delta: float, mu: float) -> None:
    lr = Theorem(name, L=1.0, mu=mu, delta=delta)(0)
    assert math.isclose(worst_rate(make, delta, mu, lr), best_rate(delta, mu), rel_tol=1e-9)


@pytest.mark.parametrize("make", [EFSGD, EF21])
@pytest.mark.parametrize(
    ("factor", "rate"), [(0.8, 0.951), (1.0, 0.939), (1.05, 0.969), (1.1, 1.0)]
)
def test_there_is_a_cliff_just_above_the_best_step(make: Any, factor: float, rate: float) -> None:
    """theory.md, section 3, delta = 1/2, mu = 1/10: the rates, and 1.1 eta* no longer converges."""
    lr = factor * Theorem("ef", L=1.0, mu=0.1, delta=0.5)(0)
    assert round(worst_rate(make, 0.5, 0.1, lr), 3) == rate


def test_the_cliff_is_where_the_step_no_longer_fits_the_steepest_direction() -> None:
    """On f = L x^2/2, C(p) = (1+q) p, an eigenvalue is -1 at lr = 2 (1-q)/((1+q) L)."""
    gap = Theorem("ef", L=1.0, delta=0.5).gap
    for make in (EFSGD, EF21):
        c = Scaled(Identity(), 1 + math.sqrt(0.5))
        values = np.linalg.eigvals(matrix(make(c), 1.0, 2 * gap))
        assert math.isclose(min(values.real), -1, rel_tol=1e-12)


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("mu", MUS)
def test_the_rate_without_feedback_is_attained_at_both_ends(delta: float, mu: float) -> None:
    """(k-1)/(k+1) with k = K L/mu, for x as for sqrt(f)."""
    lr, q = Theorem("cgd", L=1.0, mu=mu, delta=delta)(0), math.sqrt(1 - delta)
    k = (1 + q) / (1 - q) / mu
    for curvature, factor in ((mu, 1 - q), (1.0, 1 + q)):
        method, x = CompressedSGD(Scaled(Identity(), factor)), np.ones((1, 1))
        update = method.step(x, curvature * x, Memory(), lr, np.random.default_rng(0))
        assert math.isclose(abs(update.x.item()), (k - 1) / (k + 1), rel_tol=1e-12)


# -- strongly convex: the Lyapunov functions shrink at every step ----------------------------------


@dataclass(frozen=True)
class Bowl:
    """f(x) = <x, H x>/2 with the spectrum of H in [mu, 1], its ends included, from |x_i| ~ 1."""

    mu: float
    d: int = 10

    @property
    def hessian(self) -> Array:
        basis, _ = np.linalg.qr(np.random.default_rng(5).standard_normal((self.d, self.d)))
        return (basis * np.linspace(self.mu, 1.0, self.d)) @ basis.T

    def x0(self, rng: Generator, replicates: int) -> Array:
        return rng.standard_normal((replicates, self.d))

    def loss(self, x: Array) -> Array:
        return np.vecdot(x @ self.hessian, x) / 2

    def gradient(self, x: Array, rng: Generator) -> Array:
        return x @ self.hessian


def square(v: Array) -> Array:
    return np.vecdot(v, v)


@pytest.mark.parametrize("c", [TopK(1), TopK(5), ScaledSign()], ids=str)
@pytest.mark.parametrize("mu", [0.05, 0.5])
@pytest.mark.parametrize(
    "make", [EFSGD, EF21, EF21Plus, GradientEF, FullyCorrectiveEF], ids=lambda m: m.__name__
)
def test_the_lyapunov_function_shrinks_at_the_rate(make: Any, c: Compressor, mu: float) -> None:
    """EF |x - e|^2 + |e|^2/q, EF21 |g - h|^2 + q |g|^2 with h before the step: theory.md, 3."""
    problem, rng, method = Bowl(mu), np.random.default_rng(0), make(c)
    delta = c.delta(problem.d)
    q, rho = math.sqrt(1 - delta), best_rate(delta, mu)
    lr = Theorem("ef21" if isinstance(method, EF21) else "ef", L=1.0, mu=mu, delta=delta)(0)
    x = problem.x0(rng, 50)
    memory, values = method.start(x), []
    for _ in range(60):
        g = problem.gradient(x, rng)
        x, memory = method.advance(x, g, memory, lr, rng)
        if isinstance(method, EF21):  # h has taken in g, and x has moved along it: |g - h| = |e|
            assert memory.e is not None
            values.append(square(memory.e) + q * square(g))
        else:
            virtual = method.virtual(x, memory)
            values.append(square(virtual) + square(x - virtual) / q)
    for before, after in pairwise(values):
        assert (after <= rho * before * (1 + 1e-12) + 1e-300).all()


# -- smooth, not convex ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Valleys:
    """f(x) = sum_i (1 - cos(y_i))/2 + y_i^2/20 with y = Q x, an orthogonal Q: |f''| <= L = 0.6."""

    d: int = 10
    L: float = 0.6

    @property
    def basis(self) -> Array:
        return np.linalg.qr(np.random.default_rng(5).standard_normal((self.d, self.d)))[0]

    def x0(self, rng: Generator, replicates: int) -> Array:
        return 4 * rng.standard_normal((replicates, self.d))

    def loss(self, x: Array) -> Array:
        y = x @ self.basis
        return ((1 - np.cos(y)) / 2 + y**2 / 20).sum(-1)

    def gradient(self, x: Array, rng: Generator) -> Array:
        y = x @ self.basis
        return (np.sin(y) / 2 + y / 10) @ self.basis.T


GAINS: list[tuple[str, Any, dict[str, float]]] = [
    ("ef21", EF21, {}),
    ("ef21", EF21Plus, {}),
    ("ef21-sgdm-exact", EF21SGDM, {"momentum": 0.5}),
    ("ef21-sgdm-exact", EF21SGDM, {"momentum": 0.9}),
    ("ef21-sgdm", EF21SGDM, {"momentum": 0.9}),
    ("econtrol", EControl, {"eta": 0.0}),
    ("econtrol", EControl, {"eta": 0.02}),
    ("econtrol", EControl, {"eta": 0.05}),
]
GRADIENTS = 150


def followed(method: Method, lr: float) -> tuple[Array, Array, Array]:
    """f(x_0) (R,), and the sums of |grad f|^2 over the steps at x_t and at the virtual iterates."""
    problem, rng = Valleys(), np.random.default_rng(0)
    x = problem.x0(rng, 20)
    memory, first = method.start(x), problem.loss(x)
    total, virtual = np.zeros(20), np.zeros(20)
    for _ in range(GRADIENTS):
        g = problem.gradient(x, rng)
        total += square(g)
        virtual += square(problem.gradient(method.virtual(x, memory), rng))
        x, memory = method.advance(x, g, memory, lr, rng)
    return first, total, virtual


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize(("name", "make", "options"), GAINS, ids=str)
def test_gradients_are_summable(name: str, make: Any, options: dict[str, float], k: int) -> None:
    """sum |grad f(x_t)|^2 <= 2 L (1 + A) f_0 + A^2 (1 + A) |grad f(x_0)|^2, L lr = 1/(1 + A).

    Derived here. With sequences in l2 over the steps and D = |(x_(t+1) - x_t)/lr|, what moves x
    differs from the gradients by at most A (|g_0| + L lr D), |g_0| because h_0 = 0, so summing
    f(x+) <= f - lr/2 |g|^2 - (1 - L lr)/(2 lr) |x+ - x|^2 + lr/2 |(x - x+)/lr - g|^2 gives
    sum |g|^2 <= 2 f_0/lr + A^2 (|g_0| + L lr D)^2 - (1 - L lr) D^2, the largest over D of which is
    A^2 (1 - s)/(1 - s - A^2 s^2) |g_0|^2 = A^2 (1 + A) |g_0|^2 at s = L lr = 1/(1 + A).
    """
    problem, c = Valleys(), TopK(k)
    theorem = Theorem(name, L=problem.L, delta=c.delta(problem.d), **options)
    first, total, _ = followed(make(c, **options), theorem(0))
    gain = 1 / (problem.L * theorem(0)) - 1
    start = square(problem.gradient(problem.x0(np.random.default_rng(0), 20), None))  # type: ignore[arg-type]
    assert (total <= 2 * problem.L * (1 + gain) * first + gain**2 * (1 + gain) * start).all()


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("make", [EFSGD, GradientEF], ids=lambda m: m.__name__)
def test_the_bound_of_error_feedback_holds(make: Any, k: int) -> None:
    """min_t |grad f(x_t)|^2 <= mean <= 2 L f_0 K/(T+1), K = (1+q)/(1-q): theory.md, section 3."""
    problem, c = Valleys(), TopK(k)
    theorem = Theorem("ef", L=problem.L, delta=c.delta(problem.d))
    first, total, _ = followed(make(c), theorem(0))
    assert (total <= 2 * problem.L * first / theorem.gap).all()


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("form", ["heavy-ball", "nesterov"])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_the_bound_of_momentum_after_compression(momentum: float, form: Any, k: int) -> None:
    """sum |grad f(virtual x_t)|^2 <= 2 f_0 (1 - mu)/lr, derived here.

    Virtual steps are lr g/(1 - mu), and the virtual iterate stays within lr/(1 - mu) B |g| of x,
    in l2 over the steps, B = q/(1-q) + mu/(1-mu) (1+q)/(1-q): |e| <= lr q/(1-q) |g|, and |m| is
    at most 1/(1-mu) times |C(p)| <= (1+q) |p| <= (1+q)/(1-q) lr |g|. Then the descent lemma.
    """
    problem, c = Valleys(), TopK(k)
    lr = Theorem("post-momentum", problem.L, None, c.delta(problem.d), momentum)(0)
    method = PostMomentumEF(c, momentum=momentum, form=form if momentum else "heavy-ball")
    first, _, virtual = followed(method, lr)
    assert (virtual <= 2 * first * (1 - momentum) / lr).all()


@pytest.mark.parametrize("k", [2, 5])
def test_the_bound_without_feedback(k: int) -> None:
    """sum |g|^2 <= 2 L f_0/delta, as f(x+) <= f - delta/(2 L) |g|^2 at lr = 1/L; derived here."""
    problem, c = Valleys(), TopK(k)
    theorem = Theorem("cgd", L=problem.L, delta=c.delta(problem.d))
    first, total, _ = followed(CompressedSGD(c), theorem(0))
    assert (total <= 2 * problem.L * first / theorem.delta).all()


@pytest.mark.parametrize("delta", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_econtrol_is_stable_below_the_largest_eta_and_not_above(delta: float, share: float) -> None:
    """With C(p) = (1+q) p and g = 0 an eigenvalue of (e, h) is -1 at eta = 2 (1-q)/(1+q)."""
    q, most = math.sqrt(1 - delta), 2 * Theorem("ef", L=1.0, delta=delta).gap
    for eta, stable in ((share * most, True), (min(1.0, 1.05 * most), most * 1.05 > 1)):
        method = EControl(Scaled(Identity(), 1 + q), eta=eta)
        columns = []
        for e, h in ((1.0, 0.0), (0.0, 1.0)):
            memory, still = Memory(np.array([[e]]), h=np.array([[h]])), np.zeros((1, 1))
            after = method.step(still, still, memory, 1.0, np.random.default_rng(0)).memory
            columns.append([np.asarray(after.e).item(), np.asarray(after.h).item()])
        radius = np.abs(np.linalg.eigvals(np.array(columns))).max()
        assert (radius <= 1 + 1e-9) == stable


# -- formulas --------------------------------------------------------------------------------------


@given(L=positive, share=share)
def test_without_compression_they_are_gradient_descent(L: float, share: float) -> None:
    mu = share * L
    for name in ("gd", "cgd", "ef", "ef21"):
        assert math.isclose(Theorem(name, L, mu)(0), 2 / (L + mu), rel_tol=1e-15)
    for name in ("gd", "cgd", "ef", "ef21", "ef21-sgdm-exact", "econtrol", "post-momentum"):
        assert Theorem(name, L)(0) == 1 / L
    assert Theorem("ef21-pl", L, mu)(0) == min(1 / L, 1 / (2 * mu))


@given(L=positive, share=share, delta=share, momentum=st.floats(0, 0.99))
def test_how_the_steps_compare(L: float, share: float, delta: float, momentum: float) -> None:
    """Feedback shortens steps, tight ones are longest, and the paper's 20 and 7 are generous."""
    mu, q = share * L, math.sqrt(1 - delta)
    ef, ef21 = (Theorem(name, L, delta=delta)(0) for name in ("ef", "ef21"))
    slack = 1 + 1e-12
    assert ef <= ef21 * slack
    assert math.isclose(ef21, (1 - q) / L, rel_tol=1e-9)
    assert math.isclose(ef21, (1 + q) * ef, rel_tol=1e-9)
    tight = Theorem("ef", L, mu, delta)(0)
    assert tight == Theorem("ef21", L, mu, delta)(0)
    assert tight <= Theorem("cgd", L, mu, delta)(0) * slack <= 2 / (L + mu) * slack**2 / (1 - q)
    assert Theorem("ef21-pl", L, mu, delta)(0) <= ef21 * slack
    exact = Theorem("ef21-sgdm-exact", L, delta=delta, momentum=momentum)(0)
    assert Theorem("ef21-sgdm", L, delta=delta, momentum=momentum)(0) <= exact <= ef21 * slack


@given(L=positive, share=share, delta=share)
def test_special_cases_meet(L: float, share: float, delta: float) -> None:
    ef21 = Theorem("ef21", L, delta=delta)(0)
    for name in ("ef21-sgdm-exact", "econtrol", "post-momentum"):
        assert math.isclose(Theorem(name, L, delta=delta)(0), ef21, rel_tol=1e-12)
    most = Theorem("ef", L, delta=delta).gap * 2
    shorter = Theorem("econtrol", L, delta=delta, eta=share * 0.99 * most)(0)
    assert 0 < shorter <= ef21 * (1 + 1e-12)


@given(L=positive, delta=st.floats(1e-3, 0.99))
def test_units(L: float, delta: float) -> None:
    """lr is 1/L times a number, and grows with delta."""
    for name in ("ef", "ef21", "ef21-sgdm", "econtrol", "post-momentum"):
        lr = Theorem(name, L, delta=delta)(0)
        assert math.isclose(lr * L, Theorem(name, 1.0, delta=delta)(0), rel_tol=1e-14)
        assert lr < Theorem(name, L, delta=delta + 0.01)(0)


def test_values_by_hand() -> None:
    """delta = 3/4: q = 1/2, (1-q)/(1+q) = 1/3, q/(1-q) = 1."""
    expected = {
        ("ef", None): 1 / 3,
        ("ef21", None): 1 / 2,
        ("cgd", None): 1.0,
        ("ef", 0.5): 2 / 1.5 / 3,
        ("cgd", 0.5): 2 / (0.5 * 0.5 + 1.5),
        ("ef21-pl", 0.5): min(1 / (1 + math.sqrt(2)), 0.5),
        ("ef21-pl", 1.0): 1 / 4,
    }
    for (name, mu), lr in expected.items():
        assert math.isclose(Theorem(name, 1.0, mu, 0.75)(0), lr, rel_tol=1e-15)
    assert Theorem("ef21-sgdm", 2.0, None, 0.75, 0.9)(7) == min(0.75 / 20, (1 - 0.9) / 7) / 2
    assert math.isclose(Theorem("ef21-sgdm-exact", 2.0, None, 0.75, 0.5)(7), 1 / 6, rel_tol=1e-15)
    assert math.isclose(Theorem("econtrol", 2.0, None, 0.75, eta=0.5)(7), 1 / 10, rel_tol=1e-12)
    lr = Theorem("post-momentum", 2.0, None, 0.75, 0.5)(7)  # B = 1 + 1 * 3
    assert math.isclose(lr, 0.5 / (2 * 5), rel_tol=1e-15)

    diana = Theorem("diana", 2.0, 1.0, omega=3.0, workers=9)  # 6 omega/n = 2
    assert math.isclose(diana(0), 1 / 6, rel_tol=1e-15)
    marina = Theorem("marina", 2.0, omega=3.0, workers=9, probability=0.25)  # 3 * 3/9 = 1
    assert math.isclose(marina(0), 1 / 4, rel_tol=1e-15)
    dasha = Theorem("dasha", 2.0, omega=4.0, workers=16)  # 16 * 4 * 9/16 = 36
    assert math.isclose(dasha(0), 1 / 14, rel_tol=1e-15)


@pytest.mark.parametrize("delta", [1e-12, 1e-17, 1e-300])
def test_tiny_deltas_divide_by_no_zero(delta: float) -> None:
    """q rounds to 1, and the steps keep their leading order: delta/4 and delta/2."""
    assert math.isclose(Theorem("ef", 1.0, delta=delta)(0), delta / 4, rel_tol=1e-5)
    assert math.isclose(Theorem("ef21", 1.0, delta=delta)(0), delta / 2, rel_tol=1e-5)
    assert math.isclose(Theorem("econtrol", 1.0, delta=delta)(0), delta / 2, rel_tol=1e-5)


# -- as schedules ----------------------------------------------------------------------------------


def test_it_is_a_constant_schedule_with_a_source_and_a_spec() -> None:
    theorem = Theorem("ef", L=4.0, mu=1.0, delta=0.75)
    assert {theorem(t) for t in (0, 1, 10**9)} == {theorem.lr} == {2 / 5 / 3}
    assert theorem.adapt(3, np.ones((2, 2)), None) == (theorem.lr, None)
    assert "2506.05271" in theorem.source
    assert "derived here" in Theorem("ef", L=4.0).source
    assert spec_of(theorem) == {
        "type": "efsgd.schedules.Theorem",
        "method": "ef",
        "L": 4.0,
        "mu": 1.0,
        "delta": 0.75,
        "momentum": 0.0,
        "eta": 0.0,
    }


CONVERGING: list[tuple[str, Any, dict[str, float], bool]] = [
    ("gd", lambda c: SGD(), {}, True),
    ("cgd", CompressedSGD, {}, True),
    ("cgd", CompressedSGD, {}, False),
    ("ef", EFSGD, {}, True),
    ("ef", EFSGD, {}, False),
    ("ef", GradientEF, {}, True),
    ("ef", FullyCorrectiveEF, {}, True),
    ("ef21", EF21, {}, True),
    ("ef21", EF21, {}, False),
    ("ef21", EF21Plus, {}, True),
    ("ef21-pl", EF21, {}, True),
    ("ef21-sgdm", EF21SGDM, {"momentum": 0.5}, False),
    ("ef21-sgdm-exact", EF21SGDM, {"momentum": 0.5}, False),
    ("econtrol", EControl, {"eta": 0.05}, False),
    ("post-momentum", PostMomentumEF, {"momentum": 0.5}, False),
]


@pytest.mark.parametrize(("name", "make", "options", "convex"), CONVERGING, ids=stable_id)
@pytest.mark.parametrize("c", [TopK(3), RandK(3)], ids=str)
def test_a_run_at_the_step_of_the_theorem_converges(
    name: str, make: Any, options: dict[str, float], convex: bool, c: Compressor
) -> None:
    if make is EF21Plus and c.random:
        return
    problem = Bowl(mu=0.3)
    delta, mu = c.delta(problem.d) if name != "gd" else 1.0, problem.mu if convex else None
    theorem = Theorem(name, L=1.0, mu=mu, delta=delta, **options)
    steps = 4000 if name == "ef21-sgdm" else 600
    recorded = {"record": 100, "metrics": ("loss",)}
    work = Run(problem, make(c, **options), theorem, steps, replicates=4, **recorded)
    loss = run(work)["loss"]
    assert (loss[-1] < 1e-9 * loss[0]).all()
    constant = run(replace(work, lr=Constant(theorem.lr)))["loss"]
    np.testing.assert_array_equal(loss, constant)


# -- several workers that disagree, unbiased compressors -------------------------------------------


class Bowls:
    """f_i = sum_j a_ij (x_j - b_ij)^2/2 of n workers, in dimension 6; convex, 1-smooth each."""

    d, workers, L = 6, 5, 1.0
    rng = np.random.default_rng(1)
    a, b = rng.uniform(0.1, 1.0, (workers, d)), rng.standard_normal((workers, d))
    x_star = (a * b).mean(0) / a.mean(0)
    mu = float(a.mean(0).min())

    def loss(self, x: Array) -> Array:
        return (self.a.mean(0) * (x - self.x_star) ** 2).sum(-1) / 2

    def worker_gradients(self, x: Array, rng: Generator) -> Array:
        return self.a * ((x[:, None] if x.ndim == 2 else x) - self.b)

    def gradient(self, x: Array, rng: Generator) -> Array:
        return self.worker_gradients(x, rng).mean(1)

    def measure(self, x: Array) -> dict[str, Array]:
        g = self.a.mean(0) * (x - self.x_star)
        return {"slope": (g**2).sum(-1), "away": ((x - self.x_star) ** 2).sum(-1)}


def at_the_step(
    method: Method, theorem: Theorem, steps: int, replicates: int = 400
) -> dict[str, Array]:
    names = ("loss", "slope", "away")
    return run(
        Run(Bowls(), method, theorem, steps, replicates=replicates, workers=5, metrics=names)
    )


@pytest.mark.parametrize("c", [QSGD(2), RandK(2, unbiased=True)], ids=str)
def test_diana_at_its_step_shrinks_the_lyapunov_function(c: Compressor) -> None:
    """E |x - x*|^2 + 8 omega lr^2/(alpha n) mean |h_i - grad f_i(x*)|^2 falls by 1 - min(mu lr,
    alpha/2) a step (arXiv 1905.11261, Corollary on DIANA): within 4 standard errors after 60 steps.
    """
    omega, bowls = c.omega(6), Bowls()
    theorem = Theorem("diana", 1.0, bowls.mu, omega=omega, workers=5)
    lr, alpha, steps = theorem.lr, 1 / (1 + omega), 60
    away = at_the_step(DIANA(c), theorem, steps)["away"]
    at_optimum = bowls.a * (bowls.x_star - bowls.b)
    start = (bowls.x_star**2).sum() + 8 * omega * lr**2 / alpha / 5 * (at_optimum**2).sum(-1).mean()
    bound = (1 - min(bowls.mu * lr, alpha / 2)) ** steps * start
    assert away[-1].mean() + 4 * away[-1].std() / 20 <= bound < 0.9 * start


@pytest.mark.parametrize("c", [QSGD(2), RandK(2, unbiased=True)], ids=str)
def test_marina_at_its_step_keeps_its_bound(c: Compressor) -> None:
    """The mean of E |grad f(x_t)|^2 is at most 2 (f_0 - f*)/(lr T) (2102.07845, Theorem 2.1)."""
    theorem = Theorem("marina", 1.0, omega=c.omega(6), workers=5, probability=0.3)
    history = at_the_step(MARINA(c, probability=0.3), theorem, 80)
    slope, gap = history["slope"][:-1].mean(0), history["loss"][0, 0]
    assert slope.mean() + 4 * slope.std() / 20 <= 2 * gap / (theorem.lr * 80)


@pytest.mark.parametrize(
    ("name", "make"), [("diana", DIANA), ("marina", MARINA), ("dasha", DASHA)], ids=str
)
def test_disagreeing_workers_end_at_the_optimum(name: str, make: Any) -> None:
    c, more = QSGD(2), {"probability": 0.3} if name == "marina" else {}
    mu = Bowls.mu if name == "diana" else None
    theorem = Theorem(name, 1.0, mu, omega=c.omega(6), workers=5, **more)
    loss = at_the_step(make(c, **more), theorem, 2000, replicates=3)["loss"]
    assert (loss[-1] < 1e-20 * loss[0]).all()


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "adam", "L": 1.0}, "about 'adam': known are cgd dasha diana econtrol ef ef21"),
        ({"method": "ef", "L": 0.0}, "L must be positive and finite, not 0.0"),
        ({"method": "ef", "L": float("nan")}, "L must be positive and finite, not nan"),
        ({"method": "ef", "L": 1.0, "mu": 2.0}, r"mu must be in \(0, 1\], not 2.0"),
        ({"method": "ef", "L": 1.0, "mu": 0.0}, r"mu must be in \(0, 1\], not 0.0"),
        ({"method": "ef", "L": 1.0, "delta": 0.0}, r"delta must be in \(0, 1\], not 0.0"),
        ({"method": "ef", "L": 1.0, "delta": 1.5}, r"delta must be in \(0, 1\], not 1.5"),
        ({"method": "ef", "L": 1.0, "momentum": 0.9}, "gives 'ef' momentum: leave it out"),
        ({"method": "ef", "L": 1.0, "eta": 0.1}, "gives 'ef' eta: leave it out"),
        (
            {"method": "ef21-sgdm", "L": 1.0, "momentum": 1.0},
            r"momentum must lie in \[0, 1\), not 1.0",
        ),
        (
            {"method": "ef21-sgdm", "L": 1.0, "mu": 0.5},
            "of that kind for 'ef21-sgdm': leave mu=0.5 out",
        ),
        ({"method": "ef21-pl", "L": 1.0}, "of that kind for 'ef21-pl': give mu"),
        (
            {"method": "econtrol", "L": 1.0, "delta": 0.75, "eta": 0.7},
            r"eta must lie in \[0, 0.6667\) at delta = 0.75, not 0.7",
        ),
        ({"method": "ef", "L": 1.0, "omega": 2.0}, "gives 'ef' omega: leave it out"),
        ({"method": "ef", "L": 1.0, "workers": 2}, "gives 'ef' workers: leave it out"),
        ({"method": "dasha", "L": 1.0, "delta": 0.5}, "'dasha' takes omega, not delta"),
        ({"method": "dasha", "L": 1.0, "omega": -1.0}, "omega must be at least 0 and finite"),
        ({"method": "marina", "L": 1.0, "probability": 0.0}, r"probability must be in \(0, 1\]"),
        ({"method": "diana", "L": 1.0}, "of that kind for 'diana': give mu"),
        (
            {"method": "econtrol", "L": 1.0, "eta": float("nan")},
            r"eta must lie in \[0, 2\) at delta = 1.0, not nan",
        ),
    ],
    ids=str,
)
def test_what_no_theorem_speaks_of_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refusal:
        Theorem(**options)
    assert "\n" not in str(refusal.value)
