"""Worst cases: closed forms, reference values, the real methods run on them, what is refused.

"Reference value" is one found with a 512-bit solver, which agreed with PEPit to 3e-8.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from efsgd import EFSGD, Run, TopK, bounds, run
from efsgd.convex import worst_case
from efsgd.convex.pep import dual, engine_check
from efsgd.convex.pep.estimation import WorstCase, replay
from efsgd.convex.pep.paths import paths
from efsgd.convex.pep.setting import Setting, step_sizes
from efsgd.engine.problem import Optimum

MU = 0.1
METHODS = ("gd", "cgd", "ef", "ef21", "ef21-sgdm", "econtrol")


def q_of(delta: float) -> float:
    return math.sqrt(1 - delta)


def best_step(method: str, delta: float = 1.0) -> float:
    """The optimal steps for L = 1 and mu = MU."""
    if method == "gd":
        return bounds.gd_step(L=1.0, mu=MU)
    rule = bounds.cgd_step if method == "cgd" else bounds.ef_step
    return rule(L=1.0, mu=MU, delta=delta)


def slow_step(delta: float) -> float:
    """1/(K L) with L = 1."""
    return (1 - q_of(delta)) / (1 + q_of(delta))


def options(method: str, delta: float) -> dict[str, float]:
    """What the method needs beside its step size."""
    if method == "gd":
        return {}
    if method == "ef21-sgdm":
        return {"delta": delta, "momentum": 0.5}
    if method == "econtrol":
        return {"delta": delta, "eta": 0.5 * slow_step(delta)}
    return {"delta": delta}


# -- values ----------------------------------------------------------------------------------------


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
    sent = sum(1 - q_of(delta) ** t for t in range(1, steps + 1))
    worst = worst_case(
        method, steps=steps, lr=lr, problem="convex", initial="x", **options(method, delta)
    )
    assert worst.value == pytest.approx(1 / (2 + 4 * lr * sent), rel=1e-5)


def test_smooth_convex_beyond_the_closed_form():
    worst = worst_case("ef", steps=5, lr=slow_step(0.9), delta=0.9, problem="convex", initial="x")
    assert worst.value == pytest.approx(0.0875036422, rel=1e-5)  # reference value


@pytest.mark.parametrize(("method", "steps"), [("ef", 5), ("ef21", 2)])
def test_smooth_convex_beyond_the_closed_form_it_is_exceeded(method, steps):
    lr = slow_step(0.9)
    worst = worst_case(method, steps=steps, lr=lr, delta=0.9, problem="convex", initial="x")
    assert worst.value > 1.0003 * bounds.ef_convex(L=1.0, R=1.0, lr=lr, delta=0.9, N=steps)


@pytest.mark.parametrize("method", ["ef", "ef21"])
@pytest.mark.parametrize(("delta", "steps"), [(0.5, 1), (0.5, 5), (0.9, 4)])
def test_the_noise_free_bound_holds_in_the_worst_case(method, delta, steps):
    """min_t |grad f|^2 <= 2 L f0 K/(N+1) at lr = 1/(K L), derived for EF; EF21 keeps to it too."""
    lr = bounds.noise_free_step(L=1.0, delta=delta)
    asked: dict[str, Any] = {"problem": "nonconvex", "criterion": "grad"}
    worst = worst_case(method, steps=steps, lr=lr, delta=delta, **asked)
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
    ("delta", "steps", "lr", "sigma"), [(0.5, 3, 0.5, 1.0), (0.9, 4, 0.3, 2.0), (0.2, 2, 1.0, 1.0)]
)
def test_nonsmooth_is_theorem_three_exactly(delta, steps, lr, sigma):
    """R^2/(2 lr (T+1)) + lr sigma^2 (1/2 + S_T), attained where lr sigma (T+1) >= R (derived)."""
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
    exact = 1 / (2 * lr * (steps + 1)) + lr * sigma**2 * (0.5 + S)
    assert worst.value == pytest.approx(exact, rel=1e-5)


def test_step_sizes_of_their_own():
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
    lr = best_step("ef", 0.5)
    few, many = (
        worst_case("ef", steps=n, lr=1.3 * lr, delta=0.5, mu=MU, criterion="x", initial="x").value
        for n in (6, 10)
    )
    assert many > few > 1
    few, many = (
        worst_case("ef", steps=n, lr=lr, delta=0.5, mu=MU, criterion="x", initial="x").value
        for n in (6, 10)
    )
    assert many < few < 1


# -- what must agree -------------------------------------------------------------------------------


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
        ("nonsmooth", "grad", "f", 2, 2),
    ],
)
def test_units(problem, criterion, initial, power, step):
    L, mu = 7.0, MU if problem == "strongly-convex" else 0.0
    asked: dict[str, Any] = {"problem": problem, "criterion": criterion, "initial": initial}
    one = worst_case("ef", steps=2, lr=0.3, delta=0.5, mu=mu, **asked)
    other = worst_case("ef", steps=2, lr=0.3 / L**step, delta=0.5, L=L, mu=L * mu, **asked)
    assert other.value == pytest.approx(L**power * one.value, rel=1e-6)


@pytest.mark.parametrize(
    ("initial", "criterion", "power", "steeper"),
    [  # value ~ L^power with lr ~ 1/L and zeta ~ L^steeper
        *(("x", "f", 1, 1), ("x", "x", 0, 1), ("x", "grad", 2, 1), ("x", "average-f", 1, 1)),
        *(("f", "f", 0, 0.5), ("f", "x", -1, 0.5), ("f", "grad", 1, 0.5)),
    ],
)
def test_units_of_several_workers(initial, criterion, power, steeper):
    L, asked = 7.0, {"steps": 2, "delta": 0.8, "workers": 2, "criterion": criterion}
    one = worst_case("ef21", lr=0.3, mu=MU, initial=initial, zeta=0.6, **asked)
    other = worst_case(
        *("ef21",),
        **asked,
        **{"lr": 0.3 / L, "mu": L * MU, "L": L, "initial": initial, "zeta": 0.6 * L**steeper},
    )
    assert other.value == pytest.approx(L**power * one.value, rel=1e-6)


def test_several_workers_that_agree_are_no_better_than_one():
    """f_1 = f_2 and equal messages are among the cases of two workers."""
    one = worst_case("ef", steps=2, lr=0.2, delta=0.5, mu=MU)
    two = worst_case("ef", steps=2, lr=0.2, delta=0.5, mu=MU, workers=2)
    assert two.value >= one.value * (1 - 1e-6)


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


# -- the proof -------------------------------------------------------------------------------------


@pytest.mark.parametrize("initial", ["f", "x"])
def test_the_multipliers_are_a_proof_in_the_units_asked_for(initial):
    """Their sum times the right-hand sides is the value; each f_i(x_t) but those asked cancels."""
    L, zeta = 3.0, 0.7
    worst = worst_case(
        "ef21", steps=2, lr=0.1, delta=0.8, L=L, mu=0.3, initial=initial, workers=2, zeta=zeta
    )
    y = worst.multipliers
    assert min(y.values()) >= 0
    right = y["initial"] + zeta**2 * (y["zeta1"] + y["zeta2"])
    assert right == pytest.approx(worst.value, rel=1e-6)
    for worker in "12":
        for t in "012":
            others = [s for s in "012*" if s != t]
            balance = sum(y[f"f{worker}({s},{t})"] - y[f"f{worker}({t},{s})"] for s in others)
            if t == "0" and initial == "f":
                balance += y["initial"] / 2
            assert balance == pytest.approx(0.5 if t == "2" else 0.0, abs=1e-6)


@pytest.mark.parametrize(("method", "lr"), [("ef", 0.04), ("ef21", 0.04), ("cgd", 0.1)])
@pytest.mark.parametrize("seed", range(3))
def test_the_multipliers_bound_any_vectors(method, lr, seed):
    """|x_1|^2 <= sum y (left-hand sides) for all vectors: the certificate, read by its names."""
    L, mu, delta = 3.0, 0.3, 0.8
    worst = worst_case(method, steps=1, lr=lr, delta=delta, L=L, mu=mu, criterion="x", initial="x")
    y, rng = worst.multipliers, np.random.default_rng(seed)
    x0, g0, g1 = rng.standard_normal((3, 3))
    p = lr * g0 if method == "ef" else g0
    c = p + 0.3 * np.linalg.norm(p) * rng.standard_normal(3)
    x1 = x0 - (c if method == "ef" else lr * c)
    x, g = {"0": x0, "1": x1, "*": 0 * x0}, {"0": g0, "1": g1, "*": 0 * g0}
    f = {"0": rng.normal(), "1": rng.normal(), "*": 0.0}
    total = y["initial"] * (x0 @ x0) + y["C(0)"] * ((c - p) @ (c - p) - (1 - delta) * p @ p)
    for a, b in ((a, b) for a in x for b in x if a != b):
        step, d = x[a] - x[b], g[a] - g[b] - mu * (x[a] - x[b])
        below = f[b] + g[b] @ step + mu / 2 * step @ step + d @ d / (2 * (L - mu))
        total += y[f"f({a},{b})"] * (below - f[a])
    assert x1 @ x1 <= total + 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_the_instance_satisfies_what_it_is_said_to(method):
    worst = worst_case(method, steps=3, lr=0.05, L=3.0, mu=0.3, **options(method, 0.6))
    found = worst.instance
    assert found.f[0, 0] <= 1 + 1e-6
    assert found.f[0, -1] == pytest.approx(worst.value, rel=1e-6)
    missed = np.linalg.norm(found.sent - found.given, axis=2)
    assert np.all(missed <= q_of(worst.setting.delta) * np.linalg.norm(found.given, axis=2) + 1e-6)
    rows = np.vstack([found.x[:1], found.g[0]])
    assert rows @ rows.T == pytest.approx(found.gram[: len(rows), : len(rows)], abs=1e-9)


@pytest.mark.parametrize("zeta", [0.5, 4.0])
def test_several_workers_have_gradients_that_cancel_at_the_minimiser(zeta):
    worst = worst_case("ef", steps=2, lr=0.3, delta=0.9, mu=MU, initial="x", workers=3, zeta=zeta)
    found = worst.instance
    assert found.g_star.sum(0) == pytest.approx(0.0, abs=1e-9)
    assert np.linalg.norm(found.g_star, axis=1).max() == pytest.approx(zeta, rel=1e-4)
    assert np.linalg.norm(found.x[0]) == pytest.approx(1.0, rel=1e-4)
    assert found.f[:, -1].mean() == pytest.approx(worst.value, rel=1e-5)


def written_out(method, lr, g, c, t, kept):
    """What one worker's compressor is given at step t, and the step, from what it ``kept``."""
    if method in ("gd", "cgd"):
        return g, lr * c
    if method == "ef":
        p = lr * g + kept.get("e", 0)
        kept["e"] = p - c
        return p, c
    if method == "ef21-sgdm":
        g = g if t == 0 else 0.5 * kept["v"] + 0.5 * g
        kept["v"] = g
    given = g - kept.get("h", 0)
    if method == "econtrol":
        given = given + 0.2 * kept.get("e", 0) / lr
    kept["h"] = kept.get("h", 0) + c
    kept["e"] = kept.get("e", 0) + lr * (g - kept["h"])
    return given, lr * kept["h"]


@pytest.mark.parametrize("method", METHODS[1:])
def test_the_coordinates_are_those_of_the_method(method):
    """Each method once more, for two workers, from the gradients and messages of the paths."""
    extra = {"ef21-sgdm": {"momentum": 0.5}, "econtrol": {"eta": 0.2}}.get(method, {})
    asked = {"momentum": None, "eta": None, "problem": "strongly-convex", "criterion": "f"}
    setting = Setting(
        method=method,
        steps=3,
        lr=(0.3, 0.2, 0.1),
        delta=0.7,
        L=1.0,
        mu=MU,
        initial="x",
        workers=2,
        zeta=1.0,
        **(asked | extra),
    )
    found = paths(setting)
    x, kept = found.x[0], ({}, {})
    for t, lr in enumerate(setting.lr):
        moves = []
        for i in range(2):
            given, move = written_out(method, lr, found.g[i, t], found.sent[i, t], t, kept[i])
            assert found.given[i, t] == pytest.approx(given, abs=1e-12)
            moves.append(move)
        x = x - (moves[0] + moves[1]) / 2
        assert found.x[t + 1] == pytest.approx(x, abs=1e-12)
    independent = np.vstack([found.x[:1], *found.g, found.star[:1], *found.sent])
    assert np.linalg.matrix_rank(independent) == len(found.names) == setting.rows


# -- the replay ------------------------------------------------------------------------------------

CASES = [("strongly-convex", "f", "f"), ("strongly-convex", "x", "x"), ("convex", "f", "x")]
CASES += [("convex", "average-f", "x"), ("nonconvex", "grad", "f"), ("nonconvex", "x", "x")]
CASES += [("nonsmooth", "average-f", "x"), ("nonsmooth", "f", "x")]


@pytest.mark.parametrize(("steps", "delta", "L"), [(1, 0.9, 1.0), (5, 0.5, 4.0)])
@pytest.mark.parametrize(("problem", "criterion", "initial"), CASES)
@pytest.mark.parametrize("method", METHODS)
def test_the_engine_meets_the_worst_case(method, problem, criterion, initial, steps, delta, L):
    mu = MU if problem == "strongly-convex" else 0.0
    worst = worst_case(
        method,
        steps=steps,
        lr=1.1 * best_step("ef", delta) / L,
        L=L,
        mu=L * mu,
        problem=problem,
        criterion=criterion,
        initial=initial,
        **options(method, delta),
    )
    replayed = replay(worst)
    assert replayed.holds(1e-5), replayed


def test_step_sizes_of_their_own_are_replayed():
    assert replay(worst_case("ef", steps=3, lr=(0.4, 0.2, 0.1), delta=0.5, mu=MU)).holds()


def doctored(worst: WorstCase, **arrays: Any) -> WorstCase:
    return replace(worst, instance=replace(worst.instance, **arrays))


def test_a_replay_finds_what_is_not_so():
    worst = worst_case("ef", steps=3, lr=0.2, delta=0.5, mu=MU)
    found = worst.instance
    assert replay(worst).holds()
    assert not replay(replace(worst, value=1.0001 * worst.value)).holds()
    assert not replay(doctored(worst, f=1.0001 * found.f)).holds()
    with pytest.raises(
        ValueError, match=r"the function is asked .* from the nearest of its points"
    ):
        replay(doctored(worst, sent=1.001 * found.sent))
    with pytest.raises(ValueError, match="the run is not the one that was stored"):
        replay(doctored(worst, given=found.given + 0.01))
    further = replace(
        worst,
        value=1.01 * worst.value,
        instance=replace(
            found,
            **{
                name: math.sqrt(1.01) * getattr(found, name) for name in ("x", "g", "given", "sent")
            },
            f=1.01 * found.f,
        ),
    )
    longer = replay(further)  # all is as it should be, but that it starts from f(x_0) - f* = 1.01
    assert longer.difference == pytest.approx(0.0, abs=1e-9)
    assert max(longer.violation, longer.excess) < 1e-6
    assert longer.start == pytest.approx(1.01)
    assert not longer.holds()
    bolder = replace(worst, setting=replace(worst.setting, delta=0.6))
    assert replay(bolder).excess > 1e-3
    assert not replay(bolder).holds()


@pytest.mark.parametrize("method", ["ef", "ef21"])
def test_a_replay_tells_methods_apart(method):
    worst = worst_case(method, steps=3, lr=0.2, delta=0.5, mu=MU)
    other = {"ef": "ef21", "ef21": "cgd"}[method]
    with pytest.raises(ValueError, match="the run is not the one that was stored"):
        replay(replace(worst, setting=replace(worst.setting, method=other)))


@pytest.mark.parametrize("asked", [{"steps": 6}, {"steps": 2, "workers": 2}])
def test_a_replay_refuses_what_it_cannot_run(asked):
    with pytest.raises(TypeError, match="replay takes what worst_case returns, not 3"):
        replay(3)
    worst = worst_case("cgd", lr=0.2, delta=0.5, mu=MU, **asked)
    with pytest.raises(ValueError, match="only one worker and at most 5 steps"):
        replay(worst)


def test_the_violation_is_that_of_the_class():
    """f = x^2/2 has none with L = 1. With L = 1/2 it is 2 x^2/2 of L = 1, mu = .2: by hand."""
    worst = worst_case("gd", steps=1, lr=1.0, mu=MU, initial="x")
    parabola = replace(
        worst.instance,
        x=np.array([[1.0], [0.0]]),
        g=np.array([[[1.0], [0.0]]]),
        f=np.array([[0.5, 0.0]]),
    )
    assert engine_check.violation(worst.setting, parabola) == pytest.approx(0.0, abs=1e-15)
    narrow = replace(worst.setting, L=0.5)
    by_hand = 1 - 2 + 0.2 / 2 + (2 - 0.2) ** 2 / (2 * 0.8)
    assert engine_check.violation(narrow, parabola) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("problem", "point", "by_hand"),
    [  # one point (x, g, f) that has nothing wrong but what is named
        ("nonconvex", (0.0, 1.0, 0.3), 0.5 - 0.3),  # f >= f* + |g|^2/2
        ("nonsmooth", (1.0, 1.2, 1.2), 1.2**2 - 1),  # |g| <= 1
    ],
)
def test_the_violation_of_one_point(problem, point, by_hand):
    criterion, initial = ("grad", "f") if problem == "nonconvex" else ("f", "x")
    worst = worst_case("gd", steps=1, lr=1.0, problem=problem, criterion=criterion, initial=initial)
    x, g, f = (np.array([[v], [v]]) for v in point)
    alone = replace(worst.instance, x=x, g=g[None], f=f.T)
    assert engine_check.violation(worst.setting, alone) == pytest.approx(by_hand)


# -- what is refused -------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"method": "ef", "steps": 2, "lr": 0.3, "delta": 0.5, "mu": MU}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "adam"}, "method must be one of gd, cgd"),
        ({"problem": "quadratic"}, "problem must be one of strongly-convex"),
        ({"criterion": "loss"}, "criterion must be one of f, x, grad, average-f"),
        ({"initial": "grad"}, "initial must be one of f, x"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"steps": 61}, "is the most that takes a minute"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"lr": -1}, "lr must be positive"),
        ({"lr": math.nan}, "lr must be positive"),
        ({"lr": "0.3"}, "lr must be a number or one number a step"),
        ({"lr": True}, "lr must be a number or one number a step"),
        ({"lr": (0.1, 0.2, 0.3)}, "lr names 3 step sizes for 2 steps"),
        ({"lr": (0.1, -0.2)}, "lr must be positive"),
        ({"delta": 0.0}, "delta must be in"),
        ({"delta": 1.5}, "delta must be in"),
        ({"delta": None}, "'ef' needs the delta of its compressor"),
        ({"method": "gd"}, "leave delta=0.5 out"),
        ({"L": 0.0}, "L must be positive"),
        ({"mu": 0.0}, "problem='convex' is mu = 0"),
        ({"mu": 1.0}, "mu must lie in"),
        ({"mu": -0.1}, "mu must lie in"),
        ({"problem": "convex"}, "mu=0.1 is for problem='strongly-convex' only"),
        ({"problem": "nonsmooth"}, "mu=0.1 is for problem='strongly-convex' only"),
        ({"workers": 0}, "workers must be a whole number"),
        ({"zeta": 1.0}, "needs workers=2 or more"),
        ({"workers": 2, "zeta": -1.0}, "zeta must be at least 0"),
        ({"workers": 2, "zeta": math.inf}, "zeta must be at least 0"),
        ({"workers": 2, "problem": "nonconvex", "mu": 0.0}, "needs a convex problem"),
        ({"momentum": 0.9}, "momentum=0.9 is for 'ef21-sgdm' only"),
        ({"eta": 0.1}, "eta=0.1 is for 'econtrol' only"),
        ({"method": "ef21-sgdm"}, "needs momentum"),
        ({"method": "econtrol"}, "needs eta"),
        ({"method": "ef21-sgdm", "momentum": 1.0}, "momentum must lie in"),
        ({"method": "econtrol", "eta": 1.5}, "eta must lie in"),
        ({"problem": "convex", "mu": 0.0}, "take initial='x'"),
        ({"method": np.array([1.0, 2.0])}, "method must be one of gd, cgd"),
        ({"criterion": np.array([1.0, 2.0])}, "criterion must be one of f, x"),
        ({"steps": 10**15}, "steps must be a whole number 1, 2, ..., 64"),
        ({"lr": [[0.1], [0.2, 0.3]]}, "lr must be a number or one number a step"),
        ({"workers": 10**15}, "is the most that takes a minute"),
        ({"lr": np.array(0.1)}, "lr must be a number or one number a step"),
        ({"lr": np.full((2, 2), 0.1)}, "lr must be a number or one number a step"),
        ({"lr": 1e-300}, r"lr must lie in \[1e-12, 1e\+12\] for L = 1, not 1e-300"),
        ({"lr": 1e300}, "lr must lie in"),
        ({"delta": "0.5"}, "delta must be a single number, not '0.5'"),
        ({"delta": np.array([0.1, 0.2])}, "delta must be a single number"),
        ({"method": "gd", "delta": np.array([1.0, 1.0])}, "delta must be a single number"),
        ({"L": None}, "L must be a single number, not None"),
        ({"L": 1j}, "L must be a single number, not 1j"),
        ({"L": 1e200, "lr": 1e-200}, "L must lie in"),
        ({"mu": "0.1"}, "mu must be a single number, not '0.1'"),
        ({"workers": 2, "zeta": None}, "zeta must be a single number, not None"),
        ({"workers": 2, "zeta": True}, "zeta must be a single number, not True"),
        ({"workers": 2, "zeta": 1e300}, "zeta must lie in"),
        ({"method": "ef21-sgdm", "momentum": {}}, "momentum must be a single number"),
        ({"method": "ef21-sgdm", "momentum": "0.5"}, "momentum must be a single number"),
        ({"method": "econtrol", "eta": []}, "eta must be a single number"),
        ({"problem": "nonsmooth", "mu": 0.0, "criterion": "average-f"}, "take initial='x'"),
    ],
)
def test_refused_in_one_sentence(changes, words):
    asked = GOOD | changes
    with pytest.raises(ValueError, match=words):
        worst_case(asked.pop("method"), **asked)


def test_an_unbounded_worst_case_says_so():
    with pytest.raises(RuntimeError, match="the worst case is unbounded"):
        worst_case("ef", steps=2, lr=0.3, delta=0.5, problem="nonconvex", criterion="x")


@pytest.mark.parametrize("field", ["x", "z"])
def test_a_solution_that_does_not_hold_is_refused(field, monkeypatch):
    """Multipliers or a Gram matrix that are 1e-4 off, from a solver that says "Solved"."""
    solver = dual._clarabel

    def careless(*given):
        raw = solver(*given)
        found = {"status": raw.status, "x": np.array(raw.x), "z": np.array(raw.z)}
        found[field] = found[field] * (1 + 1e-4)
        return SimpleNamespace(**found)

    monkeypatch.setattr(dual, "_clarabel", careless)
    with pytest.raises(RuntimeError, match="from exact, and"):
        worst_case("ef", steps=2, lr=0.3, delta=0.5, mu=MU)


@pytest.mark.parametrize("status", ["AlmostSolved", "MaxIterations", "NumericalError"])
def test_no_other_status_is_accepted(status, monkeypatch):
    monkeypatch.setattr(dual, "_clarabel", lambda *given: SimpleNamespace(status=status))
    with pytest.raises(RuntimeError, match=f"with status {status}, not optimal"):
        worst_case("ef", steps=2, lr=0.3, delta=0.5, mu=MU)


def test_step_sizes_are_one_number_a_step():
    assert step_sizes(0.5, 3) == (0.5, 0.5, 0.5)
    assert step_sizes(np.array([1, 2]), 2) == (1.0, 2.0)


def test_the_setting_is_a_value():
    worst = worst_case("gd", steps=1, lr=1, mu=MU)
    assert isinstance(worst.setting, Setting)
    assert hash(worst.setting) == hash(replace(worst.setting))
    assert worst.seconds > 0
