"""Values of worst cases: closed forms, reference values, and equalities between settings.

"Reference value" is one from a 512-bit solver, which agreed with PEPit to 3e-8. Without this file
a condition that is too strict would pass: the value is then too small, and its instance replays
without fault.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pep_settings import MU, best_step, options, q_of, slow_step

from efsgd import EFSGD, Run, TopK, bounds, run
from efsgd.convex import worst_case
from efsgd.engine.problem import Optimum


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
@pytest.mark.parametrize(("method", "delta"), [("gd", 1.0), ("cgd", 0.5), ("cgd", 0.9)])
def test_strongly_convex_without_feedback(method, delta, steps):
    lr = best_step(method, delta)
    worst = worst_case(method, steps=steps, lr=lr, mu=MU, **options(method, delta))
    if method == "gd":
        rate = bounds.gd_rate(L=1.0, mu=MU)
    else:
        rate = bounds.cgd_rate(L=1.0, mu=MU, delta=delta)
    assert worst.value == pytest.approx(rate**steps, rel=1e-5)


@pytest.mark.parametrize(
    ("method", "delta", "steps", "initial", "value"),
    [  # reference values
        ("ef", 0.5, 5, "f", 0.8348479602),
        ("ef", 0.5, 10, "f", 0.6613191974),
        ("ef", 0.9, 5, "x", 0.0587286593),
        ("ef21", 0.5, 5, "x", 0.2129818962),
    ],
)
def test_strongly_convex_with_feedback(method, delta, steps, initial, value):
    lr = best_step(method, delta)
    worst = worst_case(method, steps=steps, lr=lr, delta=delta, mu=MU, initial=initial)
    assert worst.value == pytest.approx(value, rel=1e-5)


CLOSED = [("gd", 1.0, steps) for steps in (1, 2, 5, 10)]
CLOSED += [("ef", 0.1, 10), ("ef", 0.25, 4), ("ef", 0.5, 10), ("ef", 0.9, 2), ("ef", 0.9, 3)]
CLOSED += [("ef21", 0.1, 10), ("ef21", 0.25, 5), ("ef21", 0.5, 2), ("ef21", 0.9, 1)]


@pytest.mark.parametrize(("method", "delta", "steps"), CLOSED)
def test_smooth_convex_closed_form(method, delta, steps):
    """L R^2/(2 + 4 L lr sum_{t=1..N} (1-q^t)), which is 1/(4N+2) for GD (derived here)."""
    lr = slow_step(delta)
    effective_steps = sum(1 - q_of(delta) ** t for t in range(1, steps + 1))
    worst = worst_case(
        method, steps=steps, lr=lr, problem="convex", initial="x", **options(method, delta)
    )
    assert worst.value == pytest.approx(1 / (2 + 4 * lr * effective_steps), rel=1e-5)


def test_smooth_convex_beyond_the_closed_form():
    worst = worst_case("ef", steps=5, lr=slow_step(0.9), delta=0.9, problem="convex", initial="x")
    assert worst.value == pytest.approx(0.0875036422, rel=1e-5)  # reference value


@pytest.mark.parametrize(("method", "steps"), [("ef", 5), ("ef21", 2)])
def test_smooth_convex_exceeds_the_closed_form_beyond_its_range(method, steps):
    lr = slow_step(0.9)
    worst = worst_case(method, steps=steps, lr=lr, delta=0.9, problem="convex", initial="x")
    assert worst.value > 1.0003 * bounds.ef_convex(L=1.0, R=1.0, lr=lr, delta=0.9, N=steps)


@pytest.mark.parametrize("method", ["ef", "ef21"])
@pytest.mark.parametrize(("delta", "steps"), [(0.5, 1), (0.5, 5), (0.9, 4)])
def test_the_noise_free_bound_holds_in_the_worst_case(method, delta, steps):
    """min_t |grad f|^2 <= 2 L f0 K/(N+1) at lr = 1/(K L), derived for EF; EF21 keeps to it too."""
    lr = bounds.noise_free_step(L=1.0, delta=delta)
    worst = worst_case(
        method, steps=steps, lr=lr, delta=delta, problem="nonconvex", criterion="grad"
    )
    bound = bounds.noise_free(f0=1.0, L=1.0, delta=delta, T=steps)
    assert 0.3 * bound < worst.value <= bound


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
def test_nonconvex_gradient_descent(steps):
    """4/(3N+2): N steps and the gradient at x_N, from f(x_0) - f* <= 1."""
    worst = worst_case("gd", steps=steps, lr=1.0, problem="nonconvex", criterion="grad")
    assert worst.value == pytest.approx(4 / (3 * steps + 2), rel=1e-5)


@pytest.mark.parametrize(("method", "value"), [("ef", 1.0130382590), ("ef21", 1.0075513105)])
def test_nonconvex_with_feedback(method, value):
    lr = slow_step(0.5)
    worst = worst_case(method, steps=5, lr=lr, delta=0.5, problem="nonconvex", criterion="grad")
    assert worst.value == pytest.approx(value, rel=1e-5)  # reference values


@pytest.mark.parametrize(
    ("method", "values"),
    [  # reference values, to the digits given
        ("cgd", (0.302, 0.278, 0.350, 0.468)),
        ("ef", (0.302, 0.447, 0.713, 0.842)),
        ("ef21", (0.302, 0.206, 0.114, 0.073)),
    ],
)
def test_two_workers(method, values):
    lr = best_step("ef", 0.9)
    for steps, value in zip((1, 2, 5, 8), values, strict=True):
        worst = worst_case(
            method, steps=steps, lr=lr, delta=0.9, mu=MU, initial="x", workers=2, zeta=1.0
        )
        assert worst.value == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize(
    ("delta", "steps", "lr", "sigma"),
    [(0.5, 3, 0.5, 1.0), (0.9, 4, 0.3, 2.0), (0.2, 2, 1.0, 1.0), (0.3, 3, 0.1, 2.0)],
)
def test_nonsmooth_is_theorem_three_exactly(delta, steps, lr, sigma):
    """m (2R-m)/(2 lr (T+1)) + lr sigma^2 (1/2 + S_T), m = min(lr sigma (T+1), R) (derived)."""
    q = q_of(delta)
    S = np.mean([q * (1 - q**t) / (1 - q) for t in range(steps + 1)])
    worst = worst_case(
        "ef",
        steps=steps,
        lr=lr,
        delta=delta,
        L=sigma,
        problem="nonsmooth",
        criterion="average-f",
        initial="x",
    )
    m = min(lr * sigma * (steps + 1), 1)
    exact = m * (2 - m) / (2 * lr * (steps + 1)) + lr * sigma**2 * (0.5 + S)
    assert worst.value == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("delta", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_f_at_the_mean_iterate_is_at_most_the_mean_of_f(delta, steps):
    """By Jensen; for sigma-Lipschitz f equal for delta = 1, T = 1 and at lr sigma (T+1) = R."""
    for lr in (1 / (steps + 1), (steps + 1) ** -0.5, 1.0):
        at_mean, mean = (
            worst_case(
                "ef",
                steps=steps,
                lr=lr,
                delta=delta,
                problem="nonsmooth",
                criterion=criterion,
                initial="x",
            ).value
            for criterion in ("f-average", "average-f")
        )
        assert at_mean <= mean * (1 + 1e-6)
        if delta == 1 or steps == 1 or lr == 1 / (steps + 1):
            assert at_mean == pytest.approx(mean, rel=1e-6)
        else:
            assert at_mean < mean * (1 - 1e-5)


def test_one_step_size_a_step():
    """GD with steps up to 2/(L+mu) contracts by 1 - mu lr each, and mu x^2/2 attains it."""
    lrs = (0.5, 1.0, 1.5)
    worst = worst_case("gd", steps=3, lr=lrs, mu=MU, criterion="x", initial="x")
    assert worst.value == pytest.approx(math.prod((1 - MU * lr) ** 2 for lr in lrs), rel=1e-5)
    same = worst_case("ef", steps=3, lr=np.full(3, 0.2), delta=0.5, mu=MU)
    assert same.value == worst_case("ef", steps=3, lr=0.2, delta=0.5, mu=MU).value


def test_the_rate_bounds_every_worst_case():
    """|x_N - x*|^2 <= (1+q) rho^N R^2, as V = |x-x*-e|^2 + |e|^2/q >= |x-x*|^2/(1+q)."""
    delta, steps = 0.5, 10
    q, lr = q_of(delta), best_step("ef", delta)
    rho = bounds.ef_rate(L=1.0, mu=MU, delta=delta)
    worst = worst_case("ef", steps=steps, lr=lr, delta=delta, mu=MU, criterion="x", initial="x")
    assert 0.5 * (1 + q) * rho**steps < worst.value <= (1 + q) * rho**steps


def test_beyond_the_cliff_nothing_falls():
    """ef_cliff is (1 + mu/L) times the best step; the worst case grows beyond it."""

    def after(steps: int, factor: float) -> float:
        lr = factor * best_step("ef", 0.5)
        return worst_case(
            "ef", steps=steps, lr=lr, delta=0.5, mu=MU, criterion="x", initial="x"
        ).value

    assert after(10, factor=1.3) > after(6, factor=1.3) > 1
    assert after(10, factor=1.0) < after(6, factor=1.0) < 1


# -- equalities and inequalities between worst cases ----------------------------------------------


@pytest.mark.parametrize("method", ["cgd", "ef", "ef21"])
def test_delta_one_is_gradient_descent(method):
    plain = worst_case("gd", steps=3, lr=0.7, mu=MU)
    assert worst_case(method, steps=3, lr=0.7, mu=MU, delta=1.0).value == plain.value


@pytest.mark.parametrize(("method", "extra"), [("ef21-sgdm", "momentum"), ("econtrol", "eta")])
def test_ef21_is_a_special_case(method, extra):
    plain = worst_case("ef21", steps=3, lr=0.2, delta=0.6, mu=MU)
    other = worst_case(method, steps=3, lr=0.2, delta=0.6, mu=MU, **{extra: 0.0})
    assert other.value == pytest.approx(plain.value, rel=1e-6)


def test_econtrol_with_eta_one_sends_what_ef_would():
    """At eta = 1 and one step h_1 = C(g_0), as in CGD and EF."""
    values = [
        worst_case(name, steps=1, lr=0.3, delta=0.6, mu=MU, **extra).value
        for name, extra in (("econtrol", {"eta": 1.0}), ("cgd", {}), ("ef", {}), ("ef21", {}))
    ]
    assert values == pytest.approx([values[0]] * 4, rel=1e-6)


@pytest.mark.parametrize(
    ("problem", "criterion", "initial", "power", "step"),
    [  # value ~ L^power with lr ~ L^-step
        ("strongly-convex", "f", "f", 0, 1),
        ("strongly-convex", "x", "f", -1, 1),
        ("nonconvex", "grad", "f", 1, 1),
        ("convex", "f", "x", 1, 1),
        ("convex", "x", "x", 0, 1),
        ("convex", "grad", "x", 2, 1),
        ("nonsmooth", "average-f", "x", 1, 1),
        ("nonsmooth", "f-average", "x", 1, 1),
        ("nonsmooth", "grad", "f", 2, 2),
    ],
)
def test_units(problem, criterion, initial, power, step):
    L, mu = 7.0, MU if problem == "strongly-convex" else 0.0
    same: dict[str, Any] = {"problem": problem, "criterion": criterion, "initial": initial}
    unit = worst_case("ef", steps=2, lr=0.3, delta=0.5, mu=mu, **same)
    scaled = worst_case("ef", steps=2, lr=0.3 / L**step, delta=0.5, L=L, mu=L * mu, **same)
    assert scaled.value == pytest.approx(L**power * unit.value, rel=1e-6)


@pytest.mark.parametrize(
    ("initial", "criterion", "power", "steeper"),
    [  # value ~ L^power with lr ~ 1/L and zeta ~ L^steeper
        ("x", "f", 1, 1),
        ("x", "x", 0, 1),
        ("x", "grad", 2, 1),
        ("x", "average-f", 1, 1),
        ("f", "f", 0, 0.5),
        ("f", "x", -1, 0.5),
        ("f", "grad", 1, 0.5),
    ],
)
def test_units_of_several_workers(initial, criterion, power, steeper):
    L = 7.0
    same: dict[str, Any] = {"steps": 2, "delta": 0.8, "workers": 2}
    same |= {"criterion": criterion, "initial": initial}
    unit = worst_case("ef21", lr=0.3, mu=MU, zeta=0.6, **same)
    scaled = worst_case("ef21", lr=0.3 / L, mu=L * MU, L=L, zeta=0.6 * L**steeper, **same)
    assert scaled.value == pytest.approx(L**power * unit.value, rel=1e-6)


def test_several_workers_that_agree_are_no_better_than_one():
    """f_1 = f_2 and equal messages are among the cases of two workers."""
    alone = worst_case("ef", steps=2, lr=0.2, delta=0.5, mu=MU)
    two = worst_case("ef", steps=2, lr=0.2, delta=0.5, mu=MU, workers=2)
    assert two.value >= alone.value * (1 - 1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_no_run_is_worse(seed):
    """Error feedback with a real compressor on quadratics, from |x_0 - x*| = 1."""
    rng, lr, steps = np.random.default_rng(seed), 0.3, 4
    curvature = np.array([MU, 1.0])
    x0 = rng.standard_normal(2)
    problem = SimpleNamespace(
        d=2,
        optimum=Optimum(np.zeros(2), 0.0),
        loss=lambda x: (curvature * x**2).sum(1) / 2,
        gradient=lambda x, rng: curvature * x,
        x0=lambda rng, replicates: np.tile(x0 / np.linalg.norm(x0), (replicates, 1)),
    )
    history = run(Run(problem, EFSGD(TopK(1)), lr, steps))
    worst = worst_case("ef", steps=steps, lr=lr, delta=0.5, mu=MU, initial="x")
    assert 0 < history["loss"][-1, 0] <= worst.value
