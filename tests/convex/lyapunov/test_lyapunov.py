"""The Lyapunov search against closed forms, against quadratics, and along runs of the methods.

Without this file a rate above the least, or one that a run of the method exceeds, would pass.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import get_args

import numpy as np
import pytest
from exact_certificates import closed_rate

from efsgd.convex.lyapunov.one_step import Name
from efsgd.convex.lyapunov.rate import lyapunov_rate, quadratic_rate

METHODS = get_args(Name)
COMPRESSED = tuple(method for method in METHODS if method != "gd")
FEEDBACK = ("ef", "ef21")


def best_step(delta: float, mu: float) -> float:
    """eta* of EF and EF21 for L = 1 (arXiv 2506.05271)."""
    q = math.sqrt(1 - delta)
    return 2 / (1 + mu) * (1 - q) / (1 + q)


def best_rate(delta: float, mu: float) -> float:
    """rho* of EF and EF21 for L = 1 (arXiv 2506.05271)."""
    q = math.sqrt(1 - delta)
    root = math.sqrt((1 + q) ** 2 + 16 * q * mu / (1 - mu) ** 2)
    return q + (1 - q) / 2 * ((1 - mu) / (1 + mu)) ** 2 * (1 - q + root)


@pytest.mark.parametrize("method", FEEDBACK)
@pytest.mark.parametrize(
    ("delta", "mu"), [(0.5, 0.1), (0.9, 0.1), (0.1, 0.1), (0.5, 0.01), (0.01, 0.5), (0.99, 0.9)]
)
def test_the_rate_at_the_optimal_step_size(method, delta, mu):
    rate = lyapunov_rate(method, lr=best_step(delta, mu), delta=delta, mu=mu)
    assert rate.value == pytest.approx(best_rate(delta, mu), rel=1e-5)
    assert rate.residual <= 1e-9


def test_the_closed_form_is_the_exact_one():
    exact = float(closed_rate(Fraction(3, 5), Fraction(1, 10)))
    assert best_rate(1 - 0.36, 0.1) == pytest.approx(exact, rel=1e-14)


# reference values, agreed to the digits given between two solvers: delta = .5, mu = .1
@pytest.mark.parametrize("method", FEEDBACK)
@pytest.mark.parametrize(
    ("factor", "value"), [(0.8, 0.951), (1.0, 0.939), (1.05, 0.969), (1.1, 1.0)]
)
def test_the_cliff_above_the_optimal_step_size(method, factor, value):
    rate = lyapunov_rate(method, lr=factor * best_step(0.5, 0.1), delta=0.5, mu=0.1)
    assert rate.value == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize("delta", [0.1, 0.5, 0.9])
def test_compressed_gradient_descent_at_its_optimal_step_size(delta):
    # ((k-1)/(k+1))^2 with k = K L/mu at 2/((1-q)mu + (1+q)L) (arXiv 2506.05271)
    q, mu = math.sqrt(1 - delta), 0.1
    k = (1 + q) / (1 - q) / mu
    rate = lyapunov_rate("cgd", lr=2 / ((1 - q) * mu + 1 + q), delta=delta, mu=mu)
    assert rate.value == pytest.approx(((k - 1) / (k + 1)) ** 2, rel=1e-5)


@pytest.mark.parametrize("lr", [0.5, 2 / 1.1, 1.9, 2.5])
def test_gradient_descent(lr):
    # max(|1 - lr mu|, |1 - lr L|)^2, textbook
    expected = max(abs(1 - lr * 0.1), abs(1 - lr)) ** 2
    assert lyapunov_rate("gd", lr=lr, mu=0.1).value == pytest.approx(expected, rel=1e-5)
    assert quadratic_rate("gd", lr=lr, mu=0.1) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("method", COMPRESSED)
@pytest.mark.parametrize("factor", [0.3, 0.9, 1.02, 1.6])
@pytest.mark.parametrize(("delta", "mu"), [(0.3, 0.05), (0.8, 0.4)])
def test_no_lyapunov_function_proves_more_than_two_quadratics_allow(method, factor, delta, mu):
    lr = factor * best_step(delta, mu)
    rate = lyapunov_rate(method, lr=lr, delta=delta, mu=mu).value
    bound = quadratic_rate(method, lr=lr, delta=delta, mu=mu)
    assert rate >= bound - 2e-6
    assert rate == pytest.approx(bound, rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_quadratic_rate_is_reached_by_a_run(method):
    # The largest eigenvalue shows in |x| after many steps of f = h x^2/2, C(p) = (1-s)p.
    delta, mu, lr, steps = (1.0 if method == "gd" else 0.4), 0.2, 0.3, 400
    q, rates = math.sqrt(1 - delta), []
    for s in (-q, q):
        for h in (mu, 1.0):
            x, e, d = 1.0, 0.0, (1 - s) * h
            for _ in range(steps):
                if method == "ef":
                    p = lr * h * x + e
                    x, e = x - (1 - s) * p, s * p
                elif method == "ef21":
                    x -= lr * d
                    d += (1 - s) * (h * x - d)
                else:
                    x -= lr * (1 - s) * h * x
            rates.append(abs(x) ** (2 / steps))
    expected = quadratic_rate(method, lr=lr, delta=delta, mu=mu)
    assert max(rates) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("method", COMPRESSED)
def test_the_lyapunov_function_contracts_along_runs(method):
    # any step of the class is a test: random quadratics, adversarial compressors, random states
    rng = np.random.default_rng(7)
    delta, mu, d = 0.6, 0.15, 5
    lr, q = 0.9 * best_step(delta, mu), math.sqrt(1 - delta)
    rate = lyapunov_rate(method, lr=lr, delta=delta, mu=mu)
    for _ in range(200):
        h = np.concatenate([[mu, 1.0], rng.uniform(mu, 1, d - 2)])
        x, memory, u = rng.standard_normal((3, d))
        u *= q / np.linalg.norm(u)

        def compressed(p, u=u):
            return p - np.linalg.norm(p) * u

        g, x_next = h * x, x
        if method == "cgd":
            x_next = x - lr * compressed(g)
            states = [(x,), (x_next,)]
        elif method == "ef":
            p = lr * g + memory
            x_next = x - compressed(p)
            states = [(x, memory), (x_next, p - compressed(p))]
        else:
            g_next = h * (x - lr * memory)
            states = [(g, memory), (g_next, memory + compressed(g_next - memory))]
        before, after = (
            float(np.sum(rate.P * (np.array(s) @ np.array(s).T)) + rate.f * (h * y * y).sum() / 2)
            for s, y in zip(states, (x, x_next), strict=True)
        )
        assert after <= rate.value * before * (1 + 1e-8)


@pytest.mark.parametrize("method", COMPRESSED)
def test_the_rate_depends_on_L_by_scaling_only(method):
    unit = lyapunov_rate(method, lr=0.2, delta=0.5, mu=0.1).value
    scaled = lyapunov_rate(method, lr=0.05, delta=0.5, L=4.0, mu=0.4).value
    assert scaled == pytest.approx(unit, rel=1e-7)
    quadratic = quadratic_rate(method, lr=0.05, delta=0.5, L=4.0, mu=0.4)
    assert quadratic == pytest.approx(unit, rel=1e-5)


def test_coefficients_name_every_term():
    rate = lyapunov_rate("ef", lr=best_step(0.5, 0.1), delta=0.5, mu=0.1)
    terms = rate.coefficients
    assert list(terms) == ["<x,x>", "<x,e>", "<e,e>", "f"]
    assert terms["<x,e>"] == pytest.approx(2 * rate.P[0, 1])
    assert terms["<x,x>"] + terms["<e,e>"] + terms["f"] == pytest.approx(1)
    # |x-e|^2 + |e|^2/q of arXiv 2506.05271, unique up to its size: 1 - 2 + (1 + 1/q)
    q = math.sqrt(0.5)
    assert terms["<x,e>"] / terms["<x,x>"] == pytest.approx(-2, rel=1e-3)
    assert terms["<e,e>"] / terms["<x,x>"] == pytest.approx(1 + 1 / q, rel=1e-3)
    assert rate.multipliers.keys() == {"f(0,*)+f(*,0)", "C"}
    assert min(rate.multipliers.values()) > 0


@pytest.mark.parametrize("method", COMPRESSED)
def test_without_compression_all_are_gradient_descent(method):
    rate = lyapunov_rate(method, lr=1.0, delta=1.0, mu=0.1)
    assert rate.value == pytest.approx(0.81, rel=1e-5)
    assert rate.method == "gd"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "sgd"}, "method must be one of gd, cgd, ef, ef21, not 'sgd'"),
        ({"lr": 0}, "lr must be positive and finite, not 0"),
        ({"delta": 1.5}, r"delta must be in \(0, 1\], not 1.5"),
        ({"L": math.inf}, "L must be positive and finite"),
        ({"mu": 0.0}, r"mu must lie in \(0, L = 1\), not 0.0"),
        ({"mu": 1.0}, "a rate needs strong convexity"),
        ({"method": "gd"}, "leave delta=0.5 out"),
        ({"lr": 3e3}, "take a smaller step size"),
        ({"method": np.array([1.0, 2.0])}, "method must be one of gd, cgd"),
        ({"lr": "0.1"}, "lr must be a single number, not '0.1'"),
        ({"lr": None}, "lr must be a single number, not None"),
        ({"delta": [0.5]}, r"delta must be a single number, not \[0.5\]"),
        ({"L": np.ones(2)}, "L must be a single number"),
        ({"mu": 1j}, "mu must be a single number, not 1j"),
        ({"lr": 1e300}, "lr L must lie in"),
        ({"lr": 1e-300}, "lr L must lie in"),
        ({"mu": 1 - 1e-12}, "mu/L must be at most"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, message):
    arguments = {"method": "ef", "lr": 0.1, "delta": 0.5, "mu": 0.1} | changes
    error = RuntimeError if "smaller" in message else ValueError
    with pytest.raises(error, match=message):
        lyapunov_rate(arguments.pop("method"), **arguments)


@pytest.mark.parametrize("method", FEEDBACK)
@pytest.mark.parametrize("changes", [{"lr": 1e-6}, {"delta": 1 - 1e-12}])
def test_a_rate_that_rounding_made_is_refused(method, changes):
    """It would lie below that of a quadratic, which no rate can."""
    with pytest.raises(RuntimeError, match="by rounding, where no rate is below"):
        lyapunov_rate(method, **({"lr": 0.1, "delta": 0.5, "mu": 0.1} | changes))


def test_fractions_are_numbers():
    rate = lyapunov_rate("ef", lr=Fraction(1, 8), delta=Fraction(1, 2), mu=Fraction(1, 4))
    assert rate.value == lyapunov_rate("ef", lr=0.125, delta=0.5, mu=0.25).value
