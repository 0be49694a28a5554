"""The certificate and the instance of a worst case, each checked without the solver's matrices.

Without this file multipliers under wrong names or in wrong units would pass, and so would a method
whose coordinates are wrong.
"""

from __future__ import annotations

import numpy as np
import pytest
from pep_settings import METHODS, MU, options, q_of

from efsgd.convex import worst_case
from efsgd.convex.pep.paths import paths
from efsgd.convex.pep.setting import Setting


@pytest.mark.parametrize("initial", ["f", "x"])
def test_the_multipliers_are_a_proof_in_the_units_asked_for(initial):
    """Weighted by them, right-hand sides sum to the value, and the f_i(x_t) to the criterion."""
    L, zeta = 3.0, 0.7
    worst = worst_case(
        "ef21", steps=2, lr=0.1, delta=0.8, L=L, mu=0.3, initial=initial, workers=2, zeta=zeta
    )
    y = worst.multipliers
    assert min(y.values()) >= 0
    weighted = y["initial"] + zeta**2 * (y["zeta1"] + y["zeta2"])
    assert weighted == pytest.approx(worst.value, rel=1e-6)
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
def test_the_instance_attains_the_value_within_its_conditions(method):
    worst = worst_case(method, steps=3, lr=0.05, L=3.0, mu=0.3, **options(method, 0.6))
    instance = worst.instance
    assert instance.f[0, 0] <= 1 + 1e-6
    assert instance.f[0, -1] == pytest.approx(worst.value, rel=1e-6)
    error = np.linalg.norm(instance.sent - instance.given, axis=2)
    length = np.linalg.norm(instance.given, axis=2)
    assert np.all(error <= q_of(worst.setting.delta) * length + 1e-6)
    rows = np.vstack([instance.x[:1], instance.g[0]])
    assert rows @ rows.T == pytest.approx(instance.gram[: len(rows), : len(rows)], abs=1e-9)


@pytest.mark.parametrize("zeta", [0.5, 4.0])
def test_several_workers_have_gradients_that_cancel_at_the_minimiser(zeta):
    worst = worst_case("ef", steps=2, lr=0.3, delta=0.9, mu=MU, initial="x", workers=3, zeta=zeta)
    instance = worst.instance
    assert instance.g_star.sum(0) == pytest.approx(0.0, abs=1e-9)
    assert np.linalg.norm(instance.g_star, axis=1).max() == pytest.approx(zeta, rel=1e-4)
    assert np.linalg.norm(instance.x[0]) == pytest.approx(1.0, rel=1e-4)
    assert instance.f[:, -1].mean() == pytest.approx(worst.value, rel=1e-5)


def written_out(method, lr, g, c, t, state):
    """One worker's compressor input at step t, and the step of x; changes its ``state``."""
    if method in ("gd", "cgd"):
        return g, lr * c
    if method == "ef":
        p = lr * g + state.get("e", 0)
        state["e"] = p - c
        return p, c
    if method == "ef21-sgdm":
        g = g if t == 0 else 0.5 * state["v"] + 0.5 * g
        state["v"] = g
    p = g - state.get("h", 0)
    if method == "econtrol":
        p = p + 0.2 * state.get("e", 0) / lr
    state["h"] = state.get("h", 0) + c
    state["e"] = state.get("e", 0) + lr * (g - state["h"])
    return p, lr * state["h"]


@pytest.mark.parametrize("method", METHODS[1:])
def test_the_coordinates_are_those_of_the_method(method):
    """Each method written out again, for two workers, from gradients and messages of the run."""
    setting = Setting(
        method=method,
        steps=3,
        lr=(0.3, 0.2, 0.1),
        delta=0.7,
        L=1.0,
        mu=MU,
        problem="strongly-convex",
        criterion="f",
        initial="x",
        workers=2,
        zeta=1.0,
        momentum=0.5 if method == "ef21-sgdm" else None,
        eta=0.2 if method == "econtrol" else None,
    )
    run = paths(setting)
    x, states = run.x[0], ({}, {})
    for t, lr in enumerate(setting.lr):
        moves = []
        for i in range(2):
            p, move = written_out(method, lr, run.g[i, t], run.messages[i, t], t, states[i])
            assert run.inputs[i, t] == pytest.approx(p, abs=1e-12)
            moves.append(move)
        x = x - (moves[0] + moves[1]) / 2
        assert run.x[t + 1] == pytest.approx(x, abs=1e-12)
    independent = np.vstack([run.x[:1], *run.g, run.star[:1], *run.messages])
    assert np.linalg.matrix_rank(independent) == len(run.names) == setting.rows
