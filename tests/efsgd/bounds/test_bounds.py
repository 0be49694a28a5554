"""Bounds as functions: their limits, how they compare, what attains them, what they refuse.

Without this file a formula of a theorem could lose a factor, and figures, verdicts and step sizes
would agree with the wrong one.
"""

import inspect
import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from itertools import product

import numpy as np
import pytest

import efsgd
from efsgd import bounds
from efsgd.bounds.letters import _DOMAINS
from efsgd.schedules import Theorem

GOOD = {
    "lr": 0.1,
    "sigma": 2.0,
    "delta": 0.3,
    "L": 3.0,
    "mu": 0.2,
    "f0": 1.5,
    "R": 0.7,
    "t": 5,
    "T": 40,
    "N": 6,
    "rho": 0.8,
    "k": 4.0,
    "lrs": np.array([0.1, 0.2]),
    "sigmas": np.array([2.0, 1.0]),
}
BY_NAME = {f.__name__: f for f in bounds.BOUNDS}
DELTAS = (1e-9, 0.01, 0.19, 0.5, 0.9, 0.999, 1.0)


def letters(f) -> list[str]:
    return list(inspect.signature(f).parameters)


def at_good(f, **changed):
    return f(**{name: GOOD[name] for name in letters(f)} | changed)


each_bound = pytest.mark.parametrize("f", bounds.BOUNDS, ids=lambda f: f.__name__)


def test_nothing_is_missing():
    """BOUNDS are all functions of the module that have a source."""
    sourced = [v for v in vars(bounds).values() if hasattr(v, "source")]
    assert {f.__name__ for f in sourced} == set(BY_NAME)
    assert len(set(BY_NAME)) == len(bounds.BOUNDS)
    assert efsgd.bounds is bounds


@each_bound
def test_each_says_where_it_comes_from_and_what_it_is(f):
    assert f.source
    assert f.__doc__
    assert all(p.kind is p.KEYWORD_ONLY for p in inspect.signature(f).parameters.values())
    assert np.all(np.isfinite(at_good(f)))
    assert np.all(at_good(f) >= 0)


OUTSIDE = {
    **dict.fromkeys(("lr", "lrs", "L", "mu"), (0.0, -1.0, math.inf, math.nan)),
    **dict.fromkeys(("sigma", "sigmas", "f0", "R"), (-1.0, math.inf, math.nan)),
    **dict.fromkeys(("t", "T", "N"), (-1, 2.5, math.inf, math.nan)),
    "delta": (0.0, -0.1, 1.1, math.nan),
    "rho": (0.0, 2.0, math.nan),
    "k": (0.9, math.inf),
}


@each_bound
def test_each_refuses_what_lies_outside_its_domain(f):
    for name in letters(f):
        for value in OUTSIDE[name]:
            bad = np.array([GOOD["lrs"][0], value]) if name in ("lrs", "sigmas") else value
            with pytest.raises(ValueError, match=rf"^{name} must be .*, not {value:g}") as refusal:
                at_good(f, **{name: bad})
            assert _DOMAINS[name] in str(refusal.value)
        for value in ("0.5", None, True):
            with pytest.raises(TypeError, match=f"{name} must be a number"):
                at_good(f, **{name: value})
    if "mu" in letters(f):
        with pytest.raises(ValueError, match="mu must lie in"):
            at_good(f, mu=4.0)


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"lrs must be \(T,\), sigmas \(\) or \(T,\)"):
        bounds.error_varying(lrs=np.ones(3), sigmas=np.ones(2), delta=0.5)
    with pytest.raises(ValueError, match="lrs must be"):
        bounds.error_varying(lrs=0.1, sigmas=1.0, delta=0.5)


@pytest.mark.parametrize(
    ("letter", "value", "error", "words"),
    [
        ("lr", [[0.1], [0.2, 0.3]], TypeError, "lr must be a number or an array of numbers"),
        ("lr", np.ma.array([0.1, 0.2], mask=[0, 1]), TypeError, "lr must be a number or an array"),
        ("lr", 10**400, TypeError, "lr must be a number or an array"),
        ("lr", {}, TypeError, "lr must be a number or an array"),
        ("lr", np.ones((2, 3)), ValueError, r"lr \(2, 3\), delta \(2,\) do not broadcast"),
        ("lr", 1e200, ValueError, r"lr = 1e\+200, sigma = 2.0.* leave the range of float64"),
    ],
)
def test_what_is_no_number_or_too_large_is_refused_in_one_sentence(letter, value, error, words):
    """Never a warning and infinity, nor the words of numpy."""
    asked = {"lr": 0.1, "sigma": 2.0, "delta": np.array([0.3, 0.4])} | {letter: value}
    with pytest.raises(error, match=words) as refusal:
        bounds.error_lemma(**asked)
    assert len(str(refusal.value)) < 160


def test_rates_beyond_float64_are_refused():
    with pytest.raises(ValueError, match=r"L = 1e\+300, mu = 0.2, delta = 0.3 leave the range"):
        bounds.ef_rate(L=1e300, mu=0.2, delta=0.3)


@each_bound
def test_arrays_broadcast(f):
    """A grid of numbers gives what each of them gives, in the shape of the grid."""
    grids = {"delta": np.array(DELTAS[1:]), "lr": np.array([[0.1], [0.2]])}
    grids |= {"T": np.array([0, 1, 7]), "t": np.array([0, 1, 7]), "N": np.array([0, 1, 7])}
    for name in set(letters(f)) & set(grids) if f is not bounds.error_varying else ():
        on_grid = at_good(f, **{name: grids[name]})
        assert on_grid.shape == grids[name].shape
        alone = [at_good(f, **{name: value}) for value in grids[name].ravel()]
        np.testing.assert_array_equal(on_grid.ravel(), alone)
        assert isinstance(alone[0], float)


# -- limits ----------------------------------------------------------------------------------------


def test_without_compression_they_are_sgds():
    """delta = 1: no memory, and SGD's own bounds."""
    lr, L, sigma, f0, R, T = (GOOD[name] for name in ("lr", "L", "sigma", "f0", "R", "T"))
    assert at_good(bounds.error_lemma, delta=1) == at_good(bounds.error_sharp, delta=1) == 0
    np.testing.assert_array_equal(at_good(bounds.error_varying, delta=1), np.zeros(3))
    sgd = f0 / (lr * (T + 1)) + L * lr * sigma**2 / 2
    for f in (bounds.theorem_two_best_rho, bounds.theorem_two_sharp):
        assert math.isclose(at_good(f, delta=1), sgd, rel_tol=1e-14)
    assert math.isclose(at_good(bounds.theorem_two, delta=1, rho=1.0), 2 * sgd, rel_tol=1e-14)
    subgradient = R**2 / (2 * lr * (T + 1)) + lr * sigma**2 / 2
    for f in (bounds.theorem_three, bounds.theorem_three_exact):
        assert math.isclose(at_good(f, delta=1), subgradient, rel_tol=1e-14)
    for kind, quantity in product(("cgd", "ef", "ef21"), ("step", "rate")):
        compressed, gd = BY_NAME[f"{kind}_{quantity}"], BY_NAME[f"gd_{quantity}"]
        assert math.isclose(at_good(compressed, delta=1), at_good(gd), rel_tol=1e-14)
    for f in (bounds.ef_convex, bounds.cgd_convex):
        assert math.isclose(at_good(f, delta=1, lr=1 / 3), at_good(bounds.gd_convex))
    nonconvex = (at_good(bounds.cgd_nonconvex, delta=1), at_good(bounds.gd_nonconvex))
    assert math.isclose(*nonconvex, rel_tol=1e-14)


def test_at_mu_equal_to_L():
    """One GD step solves it; with compression the share that is lost is q, and q^2 on f."""
    for delta in DELTAS:
        q = math.sqrt(1 - delta)
        at = {"L": 3.0, "mu": 3.0, "delta": delta}
        assert math.isclose(bounds.ef_rate(**at), q, rel_tol=1e-14)
        assert math.isclose(bounds.cgd_rate(**at), q**2, rel_tol=1e-13)


@each_bound
def test_less_compression_is_never_worse(f):
    """Bounds and rates fall as delta grows, step sizes grow."""
    if "delta" not in letters(f):
        return
    values = np.array([at_good(f, delta=delta) for delta in DELTAS])
    signs = np.diff(values, axis=0)
    grows = f.__name__.endswith(("_step", "_cliff"))
    assert (signs >= 0).all() if grows else (signs <= 0).all()
    assert np.any(signs != 0)


@pytest.mark.parametrize("delta", [1e-12, 1e-9, 1e-6])
def test_small_deltas_lose_no_digits(delta):
    """For delta t -> 0 the memory is the sum of what was put in, lr sigma t (1 - O(t delta))."""
    sharp = bounds.error_sharp(lr=1.0, sigma=1.0, delta=delta, t=10)
    assert math.isclose(sharp, 100.0, rel_tol=12 * delta + 1e-14)
    assert 100.0 - sharp > 0.5 * 1000 * delta / 10


@pytest.mark.parametrize("delta", [1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("N", [0, 1, 9, 10, 300])
def test_the_means_over_the_memory_lose_no_digits(delta, N):
    """Against the sums in 60 decimal digits: Theorem III's S_T, and how far EF has moved."""
    with localcontext() as context:
        context.prec = 60
        q = (1 - Decimal(delta)).sqrt()
        powers = [q**t if q or t else Decimal(1) for t in range(N + 1)]
        memory = sum(q * (1 - power) / (1 - q) for power in powers) / (N + 1)
        theorem_three = Decimal(1) / (2 * (N + 1)) + Decimal(1) / 2 + memory
        squares = sum((q * (1 - power) / (1 - q)) ** 2 for power in powers) / (N + 1)
        A, B = squares / 10**8, Decimal(1) / 10**4 + Decimal(1) / (2 * 10**4)
        theorem_two = B + A / 2 + (A**2 + 4 * A * B).sqrt() / 2
        convex = 1 / (2 + 4 * 10**6 * sum(1 - power for power in powers))
    exact = bounds.theorem_three_exact(R=1.0, lr=1.0, sigma=1.0, delta=delta, T=N)
    assert math.isclose(exact, float(theorem_three), rel_tol=2e-14)
    at = {"f0": 1e-8 * (N + 1), "lr": 1e-4, "L": 1.0, "sigma": 1.0}
    sharp = bounds.theorem_two_sharp(**at, delta=delta, T=N)
    assert math.isclose(sharp, min(1.0, float(theorem_two)), rel_tol=1e-13)
    loss = bounds.ef_convex(L=1.0, R=1.0, lr=1e6, delta=delta, N=N)
    assert math.isclose(loss, float(convex), rel_tol=2e-14)


# -- how they compare ------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
DRAWN = {
    "f0": RNG.exponential(1, 500),
    "lr": RNG.exponential(0.3, 500),
    "L": RNG.exponential(1, 500),
    "sigma": RNG.exponential(1, 500),
    "delta": RNG.uniform(1e-4, 1, 500),
    "T": RNG.integers(0, 1000, 500),
}


def test_the_sharp_forms_are_the_smaller_ones():
    two = [f(**DRAWN) for f in (bounds.theorem_two_sharp, bounds.theorem_two_best_rho)]
    assert (two[0] <= two[1] * (1 + 1e-14)).all()
    for rho in np.linspace(0.01, 1.99, 25):
        assert (two[1] <= bounds.theorem_two(**DRAWN, rho=rho) * (1 + 1e-14)).all()
    three = {name: DRAWN[name] for name in ("lr", "sigma", "delta", "T")} | {"R": 1.0}
    exact = bounds.theorem_three_exact(**three)
    assert (exact <= bounds.theorem_three(**three) * (1 + 1e-14)).all()
    memory = {name: DRAWN[name] for name in ("lr", "sigma", "delta")}
    lemma = bounds.error_lemma(**memory)
    assert (bounds.error_sharp(**memory, t=DRAWN["T"]) <= lemma * (1 + 1e-14)).all()
    ratio = bounds.error_sharp(**memory, t=10**9) / lemma
    np.testing.assert_allclose(ratio, (1 + np.sqrt(1 - DRAWN["delta"])) ** 2 / 4, rtol=1e-12)


@pytest.mark.parametrize("delta", DELTAS[1:-1])
def test_the_best_rho_is_that_of_a_grid(delta):
    """A fine grid over rho comes as close as its spacing allows, and never below."""
    grid = np.linspace(0, 2, 200_001)[1:-1]
    on_grid = at_good(bounds.theorem_two, delta=delta, rho=grid)
    best = at_good(bounds.theorem_two_best_rho, delta=delta)
    assert best <= on_grid.min() * (1 + 1e-14)
    assert math.isclose(best, on_grid.min(), rel_tol=1e-6)
    c = GOOD["L"] ** 2 * at_good(bounds.error_lemma, delta=delta)
    B = (  # and the rho of the docstring
        GOOD["f0"] / (GOOD["lr"] * (GOOD["T"] + 1))
        + GOOD["L"] * GOOD["lr"] * GOOD["sigma"] ** 2 / 2
    )
    rho = 2 * c / (c + math.sqrt(c**2 + 4 * B * c))
    assert 0 < rho < 1
    assert math.isclose(at_good(bounds.theorem_two, delta=delta, rho=rho), best, rel_tol=1e-13)


def test_the_sharper_theorem_two_solves_its_inequality():
    """It is the largest G with G <= B + (A G)^(1/2), or sigma^2, with the memory of each step."""
    lr, L, sigma, T = (DRAWN[name] for name in ("lr", "L", "sigma", "T"))
    memories = [
        np.mean(bounds.error_sharp(lr=a, sigma=s, delta=delta, t=np.arange(t + 1)))
        for a, s, delta, t in zip(lr, sigma, DRAWN["delta"], T, strict=True)
    ]
    A, B = L**2 * np.array(memories), DRAWN["f0"] / (lr * (T + 1)) + L * lr * sigma**2 / 2
    G = bounds.theorem_two_sharp(**DRAWN)
    capped = sigma**2 < B + np.sqrt(A) * sigma
    assert 50 < capped.sum() < 450
    np.testing.assert_array_equal(G[capped], sigma[capped] ** 2)
    np.testing.assert_allclose(G, np.where(capped, G, B + np.sqrt(A * G)), rtol=1e-9)


def test_a_short_run_has_less_memory_than_the_limit():
    """With the memory at t -> oo in the place of the mean over the steps the bound would be 180
    times as large here, and sigma^2 is smaller than both.
    """
    at = {"f0": 1.0, "lr": 0.1, "L": 1.0, "sigma": 1.0, "delta": 0.01}
    memory = bounds.error_sharp(lr=0.1, sigma=1.0, delta=0.01, t=np.array([*range(21), 10**9]))
    B, (short, limit) = 1 / (0.1 * 21) + 0.05, (memory[:-1].mean(), memory[-1])
    solved = [B + A / 2 + math.sqrt(A**2 + 4 * A * B) / 2 for A in (short, limit)]
    assert solved[1] / solved[0] > 180
    assert bounds.theorem_two_sharp(**at, T=20) == 1.0 < solved[0]


@pytest.mark.parametrize("delta", [0.01, 0.3, 0.9, 1.0])
def test_without_noise_the_bound_is_that_of_the_best_step(delta):
    """sigma^2 := mean |grad f|^2 in the sharper form, M <= B + (A M)^(1/2) with lr in both, gives
    M (lr - L lr^2 (1/2 + Q)) <= f0/(T+1); a grid over lr finds its best step and its value.
    """
    L, f0, T, q = 3.0, 1.5, 40, math.sqrt(1 - delta)
    Q = q / (1 - q)
    lr = np.linspace(0, 2 / L, 2_000_001)[1:]
    decrease = lr - L * lr**2 * (0.5 + Q)
    step = bounds.noise_free_step(L=L, delta=delta)
    assert math.isclose(lr[decrease.argmax()], step, rel_tol=1e-3)
    value = bounds.noise_free(f0=f0, L=L, delta=delta, T=T)
    assert math.isclose(value, f0 / ((T + 1) * decrease.max()), rel_tol=1e-5)


def test_constant_steps_are_a_case_of_steps_that_vary():
    t = np.arange(61)
    varying = bounds.error_varying(lrs=np.full(60, 0.1), sigmas=2.0, delta=0.3)
    np.testing.assert_allclose(
        varying, bounds.error_sharp(lr=0.1, sigma=2.0, delta=0.3, t=t), rtol=1e-12
    )


def test_steps_that_vary_are_their_sum():
    lrs, sigmas = np.array([0.5, 0.1, 2.0]), np.array([1.0, 3.0, 0.25])
    q = math.sqrt(0.4)
    sums = [sum(q ** (t - s) * lrs[s] * sigmas[s] for s in range(t)) for t in range(4)]
    varying = bounds.error_varying(lrs=lrs, sigmas=sigmas, delta=0.6)
    np.testing.assert_allclose(varying, np.square(sums), rtol=1e-13)


def test_the_exact_theorem_three_is_its_sum():
    for delta, T in product((0.01, 0.4, 0.99), (0, 1, 7, 300)):
        memory = [
            math.sqrt(bounds.error_sharp(lr=1.0, sigma=1.0, delta=delta, t=t)) for t in range(T + 1)
        ]
        sgd = bounds.theorem_three_exact(R=0.7, lr=0.2, sigma=3.0, delta=1.0, T=T)
        exact = bounds.theorem_three_exact(R=0.7, lr=0.2, sigma=3.0, delta=delta, T=T)
        assert math.isclose(exact, sgd + 0.2 * 9.0 * sum(memory) / (T + 1), rel_tol=1e-12)


# -- what attains them -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Huber:
    """L x^2/2 near 0, and straight with slope G beyond |x| = G/L; from x = 1."""

    L: float
    G: float
    d: int = 1

    def x0(self, rng, replicates):
        return np.ones((replicates, 1))

    def loss(self, x):
        near = self.L * x[:, 0] ** 2 / 2
        far = self.G * abs(x[:, 0]) - self.G**2 / (2 * self.L)
        return np.where(abs(x[:, 0]) <= self.G / self.L, near, far)

    def gradient(self, x, rng):
        return np.clip(self.L * x, -self.G, self.G)


@pytest.mark.parametrize("method", [efsgd.EFSGD, efsgd.EF21], ids=lambda m: m.__name__)
@pytest.mark.parametrize("delta", [0.1, 0.5, 0.9])
def test_a_huber_function_attains_the_convex_form(method, delta):
    """With slope L/(1 + 2 L lr S), S = sum_{t=1..N}(1 - q^t), all iterates stay on the slope."""
    L, N, q = 2.0, 6, math.sqrt(1 - delta)
    lr = float(bounds.noise_free_step(L=L, delta=delta))
    S = sum(1 - q**t for t in range(1, N + 1))
    shrink = efsgd.Scaled(efsgd.Identity(), 1 - q)
    problem = Huber(L, L / (1 + 2 * L * lr * S))
    history = efsgd.run(efsgd.Run(problem, method(shrink), lr, N, metrics=("loss",)))
    expected = bounds.ef_convex(L=L, R=1.0, lr=lr, delta=delta, N=N)
    assert math.isclose(history["loss"][-1, 0], expected, rel_tol=1e-12)


@pytest.mark.parametrize("lr", [0.05, 0.4])
def test_a_huber_function_attains_the_convex_form_of_compressed_gd(lr):
    """With slope L/(1 + 2 L lr (1-q) N) all iterates stay on the slope, as for GD."""
    L, N, q, delta = 2.0, 6, math.sqrt(0.3), 0.7
    problem = Huber(L, L / (1 + 2 * L * lr * (1 - q) * N))
    shrink = efsgd.CompressedSGD(efsgd.Scaled(efsgd.Identity(), 1 - q))
    history = efsgd.run(efsgd.Run(problem, shrink, lr, N, metrics=("loss",)))
    expected = bounds.cgd_convex(L=L, R=1.0, lr=lr, delta=delta, N=N)
    assert math.isclose(history["loss"][-1, 0], expected, rel_tol=1e-12)


@pytest.mark.parametrize("method", [efsgd.EFSGD, efsgd.EF21, efsgd.CompressedSGD])
@pytest.mark.parametrize("delta", [0.1, 0.5, 0.9])
def test_above_the_cliff_a_quadratic_diverges_and_below_it_does_not(method, delta):
    """C(x) = (1+q)x overshoots by as much as delta allows."""
    kind = "cgd" if method is efsgd.CompressedSGD else "ef"
    cliff = float(BY_NAME[f"{kind}_cliff"](L=2.0, delta=delta))
    over = Overshoot(1 + math.sqrt(1 - delta), delta)
    ends = {}
    for share in (0.9, 1.1):
        run = efsgd.Run(Huber(2.0, 1e100), method(over), share * cliff, 3000, metrics=("loss",))
        ends[share] = efsgd.run(run)["loss"][-1, 0]
    assert ends[0.9] < 1e-6
    assert ends[1.1] > 1e6


@dataclass(frozen=True)
class Overshoot(efsgd.Compressor):
    """(1+q)x."""

    factor: float
    claimed: float

    @property
    def guarantee(self):
        return "pathwise"

    def apply(self, x, drawn=None):
        return self.factor * x

    def _delta(self, d):
        return self.claimed


@pytest.mark.parametrize("delta", DELTAS[1:-1])
def test_the_strongly_convex_rate_is_the_certificates(delta):
    """rho = q + (1+q)(1-m) lam/4, the form in the one-step certificate of EF, L = 1 and mu = m."""
    q = math.sqrt(1 - delta)
    for m in (1e-3, 0.1, 0.7):
        eta = 2 / (1 + m) * (1 - q) / (1 + q)
        root = math.sqrt((1 - m) ** 2 + 16 * m * q / (1 + q) ** 2)
        lam = eta / (1 + m) * ((1 - q) * (1 - m) + (1 + q) * root)
        rate = bounds.ef_rate(L=1.0, mu=m, delta=delta)
        assert math.isclose(rate, q + (1 + q) * (1 - m) * lam / 4, rel_tol=1e-12)
        assert rate == bounds.ef21_rate(L=1.0, mu=m, delta=delta) <= 1
        assert bounds.cgd_rate(L=1.0, mu=m, delta=delta) < rate


def test_rates_and_steps_scale():
    """Only mu/L counts; a step is an inverse curvature."""
    for kind in ("gd", "cgd", "ef", "ef21"):
        step, rate = BY_NAME[f"{kind}_step"], BY_NAME[f"{kind}_rate"]
        assert math.isclose(at_good(rate), at_good(rate, L=30.0, mu=2.0), rel_tol=1e-13)
        assert math.isclose(at_good(step), 10 * at_good(step, L=30.0, mu=2.0), rel_tol=1e-13)
    scaled = at_good(bounds.gd_nonconvex, L=30.0)
    assert math.isclose(scaled, 10 * at_good(bounds.gd_nonconvex), rel_tol=1e-14)


@pytest.mark.parametrize("delta", [0.1, 0.5, 0.9, 1.0])
def test_the_best_step_of_compressed_gd_is_that_of_a_search(delta):
    """On mu x^2/2 and L x^2/2 with C(x) = (1-q)x, (1+q)x the larger factor is least there."""
    L, mu, q = 1.0, 0.1, math.sqrt(1 - delta)
    steps = np.linspace(0, 2, 200_001)
    factors = np.maximum(abs(1 - steps * (1 - q) * mu), abs(1 - steps * (1 + q) * L))
    at = {"L": L, "mu": mu, "delta": delta}
    assert abs(steps[factors.argmin()] - bounds.cgd_step(**at)) <= 2e-5
    assert math.isclose(factors.min() ** 2, bounds.cgd_rate(**at), rel_tol=1e-4)


@pytest.mark.parametrize("delta", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("theorem", "mu", "step"),
    [
        ("gd", 0.2, bounds.gd_step),
        ("cgd", 0.2, bounds.cgd_step),
        ("ef", 0.2, bounds.ef_step),
        ("ef21", 0.2, bounds.ef21_step),
        ("ef", None, bounds.noise_free_step),
    ],
)
def test_the_schedules_have_the_same_steps(theorem, mu, step, delta):
    numbers = {"L": 3.0, "mu": mu, "delta": delta}
    arguments = {name: numbers[name] for name in letters(step)}
    assert math.isclose(Theorem(theorem, **numbers).lr, step(**arguments), rel_tol=1e-14)


def test_the_delta_of_theorem_four_is_what_compressors_use():
    """U/k with k = 1 + omega."""
    for spec, d in product(("qsgd:2", "terngrad", "natural", "randk:2,unbiased"), (4, 64)):
        c = efsgd.compressor(spec)
        delta = bounds.theorem_four(k=1 + c.omega(d))
        assert math.isclose(c.contractive(d).delta(d), delta, rel_tol=1e-12)


def test_reference_rate_and_cliff():
    """Reference values, 512-bit solver, agreed with PEPit: .939 at eta*, 1.0 at 1.1 eta*."""
    at = {"L": 1.0, "mu": 0.1, "delta": 0.5}
    assert round(float(bounds.ef_rate(**at)), 3) == 0.939
    ratio = bounds.ef_cliff(L=1.0, delta=0.5) / bounds.ef_step(**at)
    assert math.isclose(ratio, 1.1, rel_tol=1e-14)


def test_the_nonconvex_form_of_gd():
    """At N = 0 it is |grad f|^2 <= 2 L f0, an equality on L x^2/2.

    4/(3N+2) at L = f0 = 1 is a reference value, 512-bit solver, agreed with PEPit.
    """
    x, L = 0.7, 3.0
    assert math.isclose(bounds.gd_nonconvex(L=L, f0=L * x**2 / 2, N=0), (L * x) ** 2)
    assert math.isclose(bounds.gd_nonconvex(L=1.0, f0=1.0, N=5), 4 / 17)
