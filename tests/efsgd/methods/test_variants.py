"""The descendants of error feedback: references, identities, invariants, whole runs, refusals.

Without this file a variant could differ from the algorithm of its paper in a way that still
converges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from compressor_table import COMPRESSORS
from hypothesis import given
from hypothesis import strategies as st
from project import stable_id
from reused_buffers import ends_with_and_without_reuse
from test_methods import ALLOWED, OPTIONS, REFUSED, D, Echo, follow, frozen, gradients, subclasses

import efsgd
from efsgd.arrays import Array
from efsgd.compressors import (
    Blockwise,
    Compressor,
    Identity,
    RandK,
    Scaled,
    ScaledSign,
    Threshold,
    TopK,
)
from efsgd.engine.runs import Run, run
from efsgd.methods.base import Memory, Method
from efsgd.methods.ef21 import EF21, EF21SGDM, EControl, EF21Plus, Estimates
from efsgd.methods.feedback import EFSGD, Feedback
from efsgd.methods.sgd import SGD
from efsgd.methods.variants import FullyCorrectiveEF, GradientEF, PostMomentumEF
from efsgd.provenance import spec_of
from efsgd.schedules import InverseSqrt, StepDecay

Make = Callable[..., Method]
MAKE: dict[str, Make] = {
    "EF21": EF21,
    "EF21SGDM": EF21SGDM,
    "EF21Plus": EF21Plus,
    "EControl": lambda c, **options: EControl(c, eta=0.25, **options),
    "EControl, eta=0": lambda c, **options: EControl(c, eta=0, **options),
    "EControl, eta=1": lambda c, **options: EControl(c, eta=1, **options),
    "GradientEF": GradientEF,
    "GradientEF, as hooks": lambda c, **options: GradientEF(c, rescaled=False, **options),
    "PostMomentumEF": PostMomentumEF,
    "FullyCorrectiveEF": FullyCorrectiveEF,
}
# With EF21SGDM a mean of gradients, with PostMomentumEF not before compression.
OF_THEIR_OWN = {"EF21SGDM", "PostMomentumEF"}
SUMMING = ("EControl", "GradientEF", "PostMomentumEF", "FullyCorrectiveEF")
RATES = np.random.default_rng(2).uniform(1e-3, 1.0, (30, 3, 1))  # by step and replicate


def fits(name: str, c: Compressor, options: dict[str, Any]) -> bool:
    """Whether the method takes this compressor and these options."""
    if name == "EF21SGDM":
        return not options.get("dampening") and options.get("form", "heavy-ball") == "heavy-ball"
    if name == "PostMomentumEF":
        return not options.get("dampening") and options.get("form") != "undecayed"
    return not (name == "EF21Plus" and c.random)


METHODS = [
    make(c, **options)
    for name, make in MAKE.items()
    for c in (TopK(2), ScaledSign(), RandK(2))
    for options in OPTIONS
    if fits(name, c, options)
]


def test_every_variant_is_tested() -> None:
    """Those of differences and local steps are in test_team_parity.py."""
    modules = ("feedback", "sgd", "differences", "local")
    elsewhere = tuple(f"efsgd.methods.{module}" for module in modules)
    library = {
        cls
        for cls in subclasses(Method)
        if cls.__module__.startswith("efsgd.") and cls.__module__ not in elsewhere
    }
    library -= {Estimates}  # a base
    assert {type(method) for method in METHODS} == library
    assert {cls.__name__ for cls in library} <= set(efsgd.__all__)


# -- references: one vector, entry by entry, as the papers write them ------------------------------


def top_two(v: list[float]) -> list[float]:
    order = sorted(range(len(v)), key=lambda i: abs(v[i]), reverse=True)
    return [v[i] if i in order[:2] else 0.0 for i in range(len(v))]


def distance(a: list[float], b: list[float]) -> float:
    return sum((s - t) ** 2 for s, t in zip(a, b, strict=True))


def ef21(x: list[float], gradients: list[list[float]], lr: Callable[[int], float]) -> list[float]:
    """arXiv 2106.05203, Algorithm 2, whose estimate starts as C of the first gradient."""
    estimate = top_two(gradients[0])
    for t, g in enumerate(gradients):
        if t:
            change = top_two([g[i] - estimate[i] for i in range(len(x))])
            estimate = [estimate[i] + change[i] for i in range(len(x))]
        x = [x[i] - lr(t) * estimate[i] for i in range(len(x))]
    return x


def ef21_sgdm(x: list[float], gradients: list[list[float]], lr: Callable[[int], float]) -> Any:
    """arXiv 2305.15155, Algorithm 1, with eta = 0.1."""
    eta, mean = 0.1, gradients[0]
    means = [mean]
    for g in gradients[1:]:
        mean = [(1 - eta) * mean[i] + eta * g[i] for i in range(len(x))]
        means.append(mean)
    return ef21(x, means, lr)


def ef21_plus(x: list[float], gradients: list[list[float]], lr: Callable[[int], float]) -> Any:
    """arXiv 2106.05203: the better of the compressor and of the compressed change."""
    estimate = top_two(gradients[0])
    for t, g in enumerate(gradients):
        if t:
            change = top_two([g[i] - estimate[i] for i in range(len(x))])
            changed = [estimate[i] + change[i] for i in range(len(x))]
            afresh = top_two(g)
            estimate = afresh if distance(afresh, g) < distance(changed, g) else changed
        x = [x[i] - lr(t) * estimate[i] for i in range(len(x))]
    return x


def econtrol(x: list[float], gradients: list[list[float]], lr: Callable[[int], float]) -> Any:
    """arXiv 2311.05645, Algorithm 2, with eta = 1/4, h_0 = 0 and e in units of x."""
    e, h = [0.0] * len(x), [0.0] * len(x)
    for t, g in enumerate(gradients):
        change = top_two([0.25 * e[i] / lr(t) + g[i] - h[i] for i in range(len(x))])
        for i in range(len(x)):
            h[i] += change[i]
            e[i] += lr(t) * (g[i] - h[i])
        x = [x[i] - lr(t) * h[i] for i in range(len(x))]
    return x


def gradient_ef(rescaled: bool) -> Callable[..., Any]:
    def reference(x: list[float], gradients: list[list[float]], lr: Callable[[int], float]) -> Any:
        e = [0.0] * len(x)
        for t, g in enumerate(gradients):
            factor = lr(t - 1) / lr(t) if t and rescaled else 1.0
            corrected = [g[i] + factor * e[i] for i in range(len(x))]
            compressed = top_two(corrected)
            e = [corrected[i] - compressed[i] for i in range(len(x))]
            x = [x[i] - lr(t) * compressed[i] for i in range(len(x))]
        return x

    return reference


def post_momentum(x: list[float], gradients: list[list[float]], lr: Callable[[int], float]) -> Any:
    e, m = [0.0] * len(x), [0.0] * len(x)
    for t, g in enumerate(gradients):
        p = [lr(t) * g[i] + e[i] for i in range(len(x))]
        sent = top_two(p)
        e = [p[i] - sent[i] for i in range(len(x))]
        m = [0.5 * m[i] + sent[i] for i in range(len(x))]
        x = [x[i] - m[i] for i in range(len(x))]
    return x


def fully_corrective(x: list[float], gradients: list[list[float]], lr: Callable[[int], float]):
    for t, g in enumerate(gradients):
        x = [x[i] - lr(t) * g[i] for i in range(len(x))]
    return x


@pytest.mark.parametrize(
    ("method", "reference"),
    [
        (EF21(TopK(2)), ef21),
        (EF21SGDM(TopK(2)), ef21_sgdm),
        (EF21Plus(TopK(2)), ef21_plus),
        (EControl(TopK(2), eta=0.25), econtrol),
        (GradientEF(TopK(2)), gradient_ef(rescaled=True)),
        (GradientEF(TopK(2), rescaled=False), gradient_ef(rescaled=False)),
        (PostMomentumEF(TopK(2), momentum=0.5), post_momentum),
        (FullyCorrectiveEF(TopK(2)), fully_corrective),
    ],
    ids=stable_id,
)
def test_each_method_is_its_reference(method: Method, reference: Callable[..., Any]) -> None:
    g = gradients(20)
    *_, last = follow(method, g, lambda t: RATES[t])
    answers = method.answer(last.x, last.memory)
    for r in range(3):
        alone = reference([1.0] * D, g[:, r].tolist(), lambda t, r=r: float(RATES[t, r, 0]))
        np.testing.assert_allclose(answers[r], alone, rtol=0, atol=1e-13 * 30)


# -- steps are functions of their arguments --------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_steps_change_no_argument(method: Method) -> None:
    g, x = gradients(3), np.ones((3, D))
    memory, lr = method.start(x), np.array([[0.1], [0.2], [0.3]])
    for t in range(3):
        arguments = frozen(x), frozen(g[t]), frozen(memory), frozen(lr)
        update = method.step(*arguments, np.random.default_rng(t))
        method.advance(*arguments, np.random.default_rng(t))
        assert not np.shares_memory(update.x, arguments[0])
        x, memory = update.x, update.memory


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_advance_is_step_bitwise(method: Method, overwrite: bool) -> None:
    g, x = gradients(6), np.ones((3, D))
    memory, ahead_memory, ahead = method.start(x), method.start(x), x
    rng, ahead_rng = np.random.default_rng(1), np.random.default_rng(1)
    for t in range(6):
        lr = 0.3 if t % 2 else np.array([[0.1], [0.2], [0.3]])
        update = method.step(x, g[t], memory, lr, rng)
        ahead, ahead_memory = method.advance(
            ahead, g[t].copy(), ahead_memory, lr, ahead_rng, overwrite
        )
        np.testing.assert_array_equal(ahead, update.x)
        for ours, expected in zip(ahead_memory, update.memory, strict=True):
            np.testing.assert_array_equal(ours, expected)
        x, memory = update.x, update.memory
    assert rng.bit_generator.state == ahead_rng.bit_generator.state


@pytest.mark.parametrize("method", [make(TopK(2)) for make in MAKE.values()], ids=str)
def test_replicates_do_not_meet(method: Method) -> None:
    g = gradients(10, replicates=4)
    *_, together = follow(method, g, 0.3)
    for r in range(4):
        *_, alone = follow(method, g[:, r : r + 1], 0.3)
        np.testing.assert_array_equal(alone.x[0], together.x[r])


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_a_compressor_may_keep_what_it_is_given(make: Make) -> None:
    """Echo sends at each step what it was given at the one before, and the very array at first."""
    g, x, method = gradients(6), np.ones((3, D)), make(Echo())
    memory, rng = method.start(x), np.random.default_rng(0)
    input_before: Array | None = None
    for t in range(6):
        update = method.step(x, g[t], memory, 0.3, rng)
        assert (update.drawn is None) == (t == 0)
        if input_before is not None:
            np.testing.assert_array_equal(update.drawn, input_before)
        input_before = update.given.copy()
        np.testing.assert_array_equal(update.memory.warm, input_before)
        x, memory = update.x, update.memory


# -- without compression they are SGD --------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", [name for name in MAKE if name not in OF_THEIR_OWN])
def test_without_compression_they_are_sgd(name: str, options: dict[str, Any]) -> None:
    """h + (g - h) rounds, so that only the variants of Algorithm 2 are SGD to the bit."""
    g = gradients(20)
    exact = not name.startswith("E")
    for ours, sgd in zip(
        follow(MAKE[name](Identity(), **options), g, 0.25),
        follow(SGD(**options), g, 0.25),
        strict=True,
    ):
        np.testing.assert_allclose(ours.x, sgd.x, rtol=0, atol=0 if exact else 1e-13)


def test_without_compression_ef21_sgdm_is_dampened_sgd() -> None:
    """v = mu v + (1 - mu) g from v_0 = g_0 is torch's momentum with dampening mu."""
    g = gradients(20)
    ours = follow(EF21SGDM(Identity(), momentum=0.75), g, 0.25)
    for update, sgd in zip(ours, follow(SGD(momentum=0.75, dampening=0.75), g, 0.25), strict=True):
        np.testing.assert_allclose(update.x, sgd.x, rtol=0, atol=1e-13)


@pytest.mark.parametrize("form", ["heavy-ball", "nesterov"])
@pytest.mark.parametrize("decay", [0.0, 0.125])
def test_without_compression_momentum_after_is_momentum_before(form: Any, decay: float) -> None:
    """Bit for bit at a constant lr = 1/4: scaling by a power of two does not round."""
    g = gradients(20)
    options: dict[str, Any] = {"momentum": 0.5, "form": form, "weight_decay": decay}
    after = follow(PostMomentumEF(Identity(), **options), g, 0.25)
    for ours, sgd in zip(after, follow(SGD(**options), g, 0.25), strict=True):
        np.testing.assert_array_equal(ours.x, sgd.x)


# -- invariants ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUMMING)
@pytest.mark.parametrize("c", [TopK(2), ScaledSign(), RandK(2), Scaled(RandK(2), 0.5)], ids=str)
@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("form", ["heavy-ball", "nesterov"])
def test_the_virtual_iterate_is_sgd(name: str, c: Compressor, momentum: float, form: Any) -> None:
    """For step sizes that vary from step to step and from replicate to replicate."""
    options: dict[str, Any] = {"momentum": momentum, "form": form} if momentum else {}
    method, g = MAKE[name](c, **options), gradients(30)
    assert method.has_virtual
    virtual = np.ones((3, D))
    np.testing.assert_array_equal(method.virtual(virtual, method.start(virtual)), virtual)
    for t, update in enumerate(follow(method, g, lambda t: RATES[t])):
        virtual = virtual - RATES[t] * update.direction
        from_memory = method.virtual(update.x, update.memory)
        np.testing.assert_allclose(from_memory, virtual, rtol=0, atol=1e-11)


@pytest.mark.parametrize("form", ["heavy-ball", "nesterov"])
def test_momentum_after_compression_delivers_each_gradient_in_the_end(form: Any) -> None:
    """x - c m - e/(1-mu) = x_0 - sum lr g/(1-mu): a gradient moves x by lr g/(1-mu) in all."""
    g, mu = gradients(30), 0.5
    *_, last = follow(PostMomentumEF(TopK(2), momentum=mu, form=form), g, lambda t: RATES[t])
    assert last.memory.m is not None
    assert last.memory.e is not None
    c = {"heavy-ball": mu, "nesterov": mu**2}[form] / (1 - mu)
    point = last.x - c * last.memory.m - last.memory.e / (1 - mu)
    np.testing.assert_allclose(point, 1 - (RATES * g).sum(0) / (1 - mu), rtol=0, atol=1e-12)


PATHWISE = [c for c in ALLOWED if c.guarantee == "pathwise"]


@pytest.mark.parametrize("c", PATHWISE, ids=str)
def test_the_estimate_contracts_to_the_gradient(c: Compressor) -> None:
    """|g - h| <= sqrt(1-delta) |g - h before|; EF21+ also sqrt(1-delta) |g|."""
    g, q = gradients(30), np.sqrt(1 - c.delta(D))
    for method in (EF21(c), EF21Plus(c)):
        h = np.zeros((3, D))
        for t, update in enumerate(follow(method, g, 0.3)):
            assert update.memory.h is not None
            lag = np.linalg.norm(g[t] - update.memory.h, axis=-1)
            most = np.linalg.norm(g[t] - h, axis=-1)
            if isinstance(method, EF21Plus):
                most = np.minimum(most, np.linalg.norm(g[t], axis=-1))
            assert (lag <= q * most + 1e-12).all()
            np.testing.assert_allclose(update.memory.e, g[t] - update.memory.h, atol=1e-12)
            h = update.memory.h


def test_a_constant_gradient_is_learnt_at_the_rate_of_the_worst_case() -> None:
    """C(p) = (1-q) p attains |g - h_t| = q^(t+1) |g|."""
    g, q = np.repeat(gradients(1), 12, axis=0), 0.5
    for t, update in enumerate(follow(EF21(Scaled(Identity(), 1 - q)), g, 0.3)):
        np.testing.assert_allclose(update.memory.e, q ** (t + 1) * g[0], rtol=1e-11)


def test_ef21_plus_takes_either_message() -> None:
    """At h = (2, 2, 2) with top-1: g = (5, 0, 0) is sent itself, g = (2, 3, 2) as a change."""
    memory = Memory(e=np.zeros((2, 3)), h=np.full((2, 3), 2.0))
    g = np.array([[5.0, 0.0, 0.0], [2.0, 3.0, 2.0]])
    update = EF21Plus(TopK(1)).step(g * 0, g, memory, 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(update.given, [[5, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(update.memory.h, g)


@pytest.mark.parametrize("c", PATHWISE, ids=str)
def test_the_three_recursions_of_econtrol(c: Compressor) -> None:
    """With r = u - C(u), u = eta e + g - h in units of g, the theorem's step rests on these."""
    g, eta, lr = gradients(30), 0.25, 0.5
    e, before, r = np.zeros((3, D)), np.zeros((3, D)), None
    for t, update in enumerate(follow(EControl(c, eta=eta), g, lr)):
        assert update.memory.e is not None
        assert update.memory.h is not None
        if r is not None:  # u in terms of the r, e and g of the step before
            u = (1 + eta) * r - eta**2 * before + g[t] - g[t - 1]
            np.testing.assert_allclose(update.given, u, rtol=0, atol=1e-11)
        r = (update.p - update.sent) / lr
        np.testing.assert_allclose(update.memory.h, g[t] + eta * e - r, rtol=0, atol=1e-11)
        before, e = e, update.memory.e / lr
        np.testing.assert_allclose(e, (1 - eta) * before + r, rtol=0, atol=1e-11)


# -- where they are one another --------------------------------------------------------------------


@pytest.mark.parametrize("c", ALLOWED, ids=str)
@pytest.mark.parametrize("options", OPTIONS[:3], ids=str)
def test_econtrol_without_control_is_ef21(c: Compressor, options: dict[str, Any]) -> None:
    g = gradients(20)
    pairs = zip(
        follow(EControl(c, eta=0, **options), g, lambda t: RATES[t]),
        follow(EF21(c, **options), g, lambda t: RATES[t]),
        strict=True,
    )
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(ours.given, theirs.given)


@pytest.mark.parametrize("c", ALLOWED, ids=str)
def test_full_econtrol_is_feedback_around_a_shifted_compressor(c: Compressor) -> None:
    """eta = 1: with p = lr g + e, what moves x is lr h + lr C(p/lr - h), and e keeps the rest."""
    g, rng, lr = gradients(20), np.random.default_rng(1), 0.25
    x, e, h, warm = np.ones((3, D)), np.zeros((3, D)), np.zeros((3, D)), None
    for t, update in enumerate(follow(EControl(c, eta=1), g, lr)):
        p = lr * g[t] + e
        difference, drawn = p / lr - h, c.draw(p.shape, rng, warm)
        h, warm = h + c.apply(difference, drawn), c.next_state(difference, drawn)
        x, e = x - lr * h, p - lr * h
        atol = 1e-9 if c.warm else 1e-11  # a power iteration enlarges the roundings before it
        np.testing.assert_allclose(update.x, x, rtol=0, atol=atol)
        np.testing.assert_allclose(update.memory.e, e, rtol=0, atol=atol)


@pytest.mark.parametrize("c", ALLOWED, ids=str)
def test_ef21_sgdm_is_ef21_with_dampening(c: Compressor) -> None:
    g = gradients(20)
    pairs = zip(
        follow(EF21SGDM(c, momentum=0.75), g, 0.3),
        follow(EF21(c, momentum=0.75, dampening=0.75), g, 0.3),
        strict=True,
    )
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours.x, theirs.x)
    *_, ours = follow(EF21SGDM(c, momentum=0.0), g, 0.3)
    *_, theirs = follow(EF21(c), g, 0.3)
    np.testing.assert_array_equal(ours.x, theirs.x)


@dataclass(frozen=True)
class Linear(Compressor):
    """C(p) = A p with a symmetric A, |I - A| <= q = 1/2, that is no multiple of a projection."""

    guarantee = "pathwise"

    def _delta(self, d: int) -> float:
        return 0.75

    def apply(self, x: Array, drawn: Any = None) -> Array:
        d = x.shape[-1]
        basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))
        return x @ (basis * np.linspace(0.5, 1.5, d)) @ basis.T


LINEAR = [Linear(), Scaled(Identity(), 0.5), Scaled(Identity(), 1.5)]
NONLINEAR = [TopK(2), ScaledSign()]


def last_x(method: Method, lr: Any, g: Array) -> Array:
    *_, last = follow(method, g, lr)
    return last.x


@pytest.mark.parametrize("c", LINEAR, ids=str)
def test_for_linear_compressors_ef21_is_error_feedback(c: Compressor) -> None:
    """Both deliver sum_s (I-A)^(t-s) A g_s, EFSGD with lr_s inside the sum and EF21 with lr_t."""
    g, varying = gradients(30), lambda t: RATES[t]
    np.testing.assert_allclose(last_x(EF21(c), 0.3, g), last_x(EFSGD(c), 0.3, g), atol=1e-12)
    hooks = GradientEF(c, rescaled=False)
    np.testing.assert_allclose(last_x(EF21(c), varying, g), last_x(hooks, varying, g), atol=1e-12)
    assert np.abs(last_x(EF21(c), varying, g) - last_x(EFSGD(c), varying, g)).max() > 0.01


@pytest.mark.parametrize("c", NONLINEAR, ids=str)
def test_for_others_it_is_not(c: Compressor) -> None:
    g = gradients(30)
    assert np.abs(last_x(EF21(c), 0.3, g) - last_x(EFSGD(c), 0.3, g)).max() > 0.01


# -- a memory that knows the step size -------------------------------------------------------------

POWERS = [2.0**-k for k in (2, 2, 5, 3, 3, 1, 4, 2)]  # scaling by them does not round
HALVED = [0.5 if t < 10 else 0.25 for t in range(30)]


@pytest.mark.parametrize("c", [TopK(2), ScaledSign(), Blockwise(ScaledSign(), 3)], ids=str)
def test_a_rescaled_memory_is_that_of_algorithm_two_bitwise(c: Compressor) -> None:
    g = gradients(8)
    pairs = zip(
        follow(GradientEF(c), g, lambda t: POWERS[t]),
        follow(EFSGD(c), g, lambda t: POWERS[t]),
        strict=True,
    )
    for t, (ours, theirs) in enumerate(pairs):
        np.testing.assert_array_equal(ours.x, theirs.x)
        np.testing.assert_array_equal(POWERS[t] * ours.memory.e, theirs.memory.e)


@pytest.mark.parametrize("c", [TopK(2), ScaledSign(), *LINEAR], ids=str)
def test_a_rescaled_memory_is_that_of_algorithm_two_for_any_steps(c: Compressor) -> None:
    g = gradients(30)
    ours, theirs = (last_x(m, lambda t: RATES[t], g) for m in (GradientEF(c), EFSGD(c)))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


@pytest.mark.parametrize("c", [TopK(2), ScaledSign(), RandK(2)], ids=str)
def test_the_rescaling_matters_only_where_the_step_size_changes(c: Compressor) -> None:
    g = gradients(30)
    both = [GradientEF(c, rescaled=rescaled) for rescaled in (True, False)]
    constant = [list(follow(m, g, 0.5)) for m in both]
    dropping = [list(follow(m, g, HALVED.__getitem__)) for m in both]
    for t in range(30):
        ours, theirs = (steps[t] for steps in constant)
        np.testing.assert_array_equal(ours.x, theirs.x)
        ours, theirs = (steps[t] for steps in dropping)
        assert (ours.x == theirs.x).all() == (t < 10)


@pytest.mark.parametrize("c", [TopK(2), ScaledSign(), RandK(2)], ids=str)
def test_without_rescaling_a_drop_loses_half_of_the_memory(c: Compressor) -> None:
    """x - lr e is off by (lr_9 - lr_10) e_10 = e_10/4 from step 10 on, and by nothing before."""
    g, virtual, lost = gradients(30), np.ones((3, D)), np.zeros((3, D))
    method, e = GradientEF(c, rescaled=False), np.zeros((3, D))
    assert not method.has_virtual
    for t, update in enumerate(follow(method, g, HALVED.__getitem__)):
        virtual = virtual - HALVED[t] * g[t]
        if t == 10:
            lost = 0.25 * e
            assert np.abs(lost).max() > 0.1
        from_memory = method.virtual(update.x, update.memory)
        np.testing.assert_allclose(from_memory, virtual + lost, rtol=0, atol=1e-12)
        assert update.memory.e is not None
        e = update.memory.e


def test_a_threshold_on_gradients_is_no_threshold_on_updates() -> None:
    """C(a p) = a C(p) fails, so even a constant step size tells the two apart."""
    g, c = gradients(30), Threshold(abs=0.5)
    assert np.abs(last_x(GradientEF(c), 0.25, g) - last_x(EFSGD(c), 0.25, g)).max() > 0.01
    np.testing.assert_allclose(  # until the threshold is scaled with them
        last_x(GradientEF(c), 0.25, g), last_x(EFSGD(Threshold(abs=0.125)), 0.25, g), atol=1e-13
    )


# -- what the fully corrective one answers ---------------------------------------------------------


def test_the_fully_corrective_answer_is_the_sgd_iterate() -> None:
    g = gradients(20)
    both = zip(
        follow(FullyCorrectiveEF(TopK(2)), g, 0.3),
        follow(EFSGD(TopK(2)), g, 0.3),
        follow(SGD(), g, 0.3),
        strict=True,
    )
    method = FullyCorrectiveEF(TopK(2))
    for ours, plain, sgd in both:
        np.testing.assert_array_equal(ours.x, plain.x)
        np.testing.assert_allclose(method.answer(ours.x, ours.memory), sgd.x, atol=1e-13)


def test_memory_added_instead_of_subtracted_is_no_answer() -> None:
    """The paper's train loss is taken at x + e, which is 2 e away from the SGD iterate."""
    g = gradients(20)
    *_, ours = follow(FullyCorrectiveEF(TopK(2)), g, 0.3)
    *_, sgd = follow(SGD(), g, 0.3)
    assert ours.memory.e is not None
    np.testing.assert_allclose(ours.x + ours.memory.e - sgd.x, 2 * ours.memory.e, atol=1e-13)
    assert np.abs(ours.memory.e).max() > 0.1


# -- whole runs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quadratic:
    """f(x) = sum_i a_i (x_i - 1)^2/2 with a from 0.2 to 1, and noise sigma on the gradient."""

    d: int = 10
    sigma: float = 0.0

    @property
    def a(self) -> Array:
        return np.linspace(0.2, 1.0, self.d)

    @property
    def optimum(self) -> efsgd.Optimum:
        return efsgd.Optimum(np.ones(self.d), 0.0)

    def loss(self, x: Array) -> Array:
        return (self.a * (x - 1) ** 2).sum(-1) / 2

    def gradient(self, x: Array, rng: efsgd.Generator) -> Array:
        return self.a * (x - 1) + self.sigma * rng.standard_normal(x.shape)


RUNS = [
    make(c)
    for name, make in MAKE.items()
    for c in (TopK(2), ScaledSign(), RandK(2))
    if fits(name, c, {})
]


@pytest.mark.parametrize("method", RUNS, ids=str)
@pytest.mark.parametrize("lr", [0.05, InverseSqrt(0.3), StepDecay(0.2, at=(7, 20))], ids=str)
def test_a_run_keeps_the_books(method: Method, lr: Any) -> None:
    problem, steps = Quadratic(sigma=0.3), 40
    history = run(Run(problem, method, lr, steps, replicates=3))
    message = len(method.compresses.encode(np.ones(problem.d), np.random.default_rng(0)))
    sent = np.repeat(message * history["step"][:, None], 3, axis=1)
    np.testing.assert_array_equal(history["bytes"], sent)
    assert ("virtual_residual" in history) == method.has_virtual
    if method.has_virtual:
        assert history["virtual_residual"].max() < 1e-12
    assert (history["memory_norm"][1:] > 0).all()
    assert (history["memory_norm"][0] == 0).all()
    if not method.compresses.random:
        assert np.nanmin(history["achieved_delta"]) >= method.compresses.delta(problem.d) - 1e-12
    np.testing.assert_array_equal(history["loss"][-1], problem.loss(history["x_final"]))
    spec = spec_of(Run(problem, method, lr, steps))["method"]
    assert spec["type"].endswith(type(method).__name__)
    assert spec["compressor"] == str(method.compresses)


def test_a_run_takes_its_losses_at_the_answer() -> None:
    problem, record = Quadratic(sigma=0.3), (5, 17)
    ours, plain, sgd = (
        run(Run(problem, method, 0.1, 40, replicates=3, record=record))
        for method in (FullyCorrectiveEF(TopK(2)), EFSGD(TopK(2)), SGD())
    )
    assert np.abs(ours["loss"][1:] - plain["loss"][1:]).min() > 0
    np.testing.assert_array_equal(ours["memory_norm"], plain["memory_norm"])
    moved = np.linalg.norm(ours["x_final"] - plain["x_final"], axis=-1)
    np.testing.assert_allclose(moved, ours["memory_norm"][-1], rtol=1e-12)
    constant = Run(Constant(), FullyCorrectiveEF(TopK(2)), 0.1, 40, replicates=3)
    same = run(constant)["x_final"], run(Run(Constant(), SGD(), 0.1, 40, replicates=3))["x_final"]
    np.testing.assert_allclose(*same, atol=1e-12)  # whose gradients do not depend on x
    assert sgd["loss"].shape == ours["loss"].shape


@dataclass(frozen=True)
class Constant:
    """f(x) = sum_i i x_i: the same gradient everywhere."""

    d: int = 10

    def loss(self, x: Array) -> Array:
        return x @ np.arange(self.d)

    def gradient(self, x: Array, rng: efsgd.Generator) -> Array:
        return np.tile(np.arange(float(self.d)), (len(x), 1))


@pytest.mark.parametrize("method", RUNS, ids=str)
def test_a_run_that_diverges_says_so(method: Method) -> None:
    diverging = Run(Quadratic(), method, (1e6, 0.01), 400, replicates=2, metrics=("loss",))
    with pytest.raises(efsgd.Diverged, match="replicate 0 is not finite"):
        run(diverging)
    finals = run(diverging, diverged="keep")["x_final"]
    alone = run(Run(Quadratic(), method, 0.01, 400, metrics=("loss",)))["x_final"]
    assert np.isnan(finals[0]).all()
    if not method.compresses.random:
        np.testing.assert_array_equal(finals[1], alone[0])


@dataclass(frozen=True)
class Careful(Compressor):
    """1.5 x, which will not be given NaN or inf."""

    def apply(self, x: Array, drawn: Any = None) -> Array:
        if not np.isfinite(x).all():
            raise ValueError("not finite")
        return 1.5 * x


@dataclass(frozen=True)
class Huge:
    """The gradient 1e308 at x = 0 and -2e307 elsewhere."""

    d: int = 2

    def loss(self, x: Array) -> Array:
        return np.zeros(len(x))

    def gradient(self, x: Array, rng: efsgd.Generator) -> Array:
        return np.where(x == 0, 1e308, -2e307)


@pytest.mark.parametrize("make", [EF21, MAKE["EControl, eta=0"]], ids=["EF21", "EControl"])
def test_a_compressor_never_meets_an_estimate_that_overflowed(make: Make) -> None:
    """h_1 = 1.5e308, and what changes it, -1.5*1.7e308, is -inf: the replicate is dead."""
    history = run(Run(Huge(), make(Careful()), 1e-8, 5, metrics=("loss",)), diverged="keep")
    assert np.isnan(history["x_final"]).all()


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_a_gradient_may_come_in_a_buffer_that_is_used_again(method: Method) -> None:
    assert np.array_equal(*ends_with_and_without_reuse(method, D))


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKE)
def test_they_refuse_the_compressors_that_error_feedback_refuses(name: str) -> None:
    for c in COMPRESSORS:
        if not fits(name, c, {}):
            continue
        method = MAKE[name](c)
        assert isinstance(method, Feedback)
        if str(c) not in REFUSED:
            method.check(D)
            continue
        with pytest.raises(ValueError, match=r"can diverge: use contractive,"):
            method.check(D)
        with pytest.raises(ValueError, match="can diverge"):
            Run(Quadratic(d=D), method, 0.1, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EF21("topk:1"), r"write efsgd\.compressor\('topk:1'\)"),
        (lambda: EF21(TopK(1), momentum=1.0), r"momentum must lie in \[0, 1\), not 1.0"),
        (lambda: EF21SGDM(TopK(1), momentum=-0.1), r"momentum must lie in \[0, 1\), not -0.1"),
        (lambda: EF21SGDM(TopK(1), dampening=0.5), "use EF21 for .* dampening=0.5"),
        (lambda: EF21SGDM(TopK(1), form="nesterov"), "use EF21 for nesterov=True"),
        (lambda: EF21Plus(RandK(1)), "randk:1 is random: use EF21"),
        (lambda: EF21Plus(Scaled(RandK(1), 0.5)), "is random: use EF21"),
        (lambda: EControl(TopK(1), eta=-0.1), r"eta must lie in \[0, 1\], not -0.1"),
        (lambda: EControl(TopK(1), eta=1.1), r"eta must lie in \[0, 1\], not 1.1"),
        (lambda: EControl(TopK(1), eta=float("nan")), r"eta must lie in \[0, 1\], not nan"),
        (
            lambda: PostMomentumEF(TopK(1), momentum=0.5, form="undecayed"),
            "heavy-ball, or nesterov=True, without dampening, not 'undecayed'",
        ),
        (lambda: PostMomentumEF(TopK(1), momentum=0.5, dampening=0.1), "with dampening=0.1"),
    ],
    ids=stable_id,
)
def test_impossible_methods_are_refused(make: Callable[[], Method], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@given(eta=st.floats(0, 1))
def test_any_share_of_the_memory_keeps_the_virtual_iterate(eta: float) -> None:
    g = gradients(15)
    method = EControl(TopK(4), eta=eta)
    *_, last = follow(method, g, 0.25)
    scale = max(1.0, np.abs(last.x).max())
    sgd = 1 - 0.25 * g.sum(0)
    np.testing.assert_allclose(method.virtual(last.x, last.memory), sgd, atol=1e-12 * scale)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_the_torch_optimiser_refuses_what_it_cannot_do(make: Make) -> None:
    torch = pytest.importorskip("torch", reason="the deep track needs torch")
    from efsgd.deep import EFSGD as TorchEFSGD

    with pytest.raises(ValueError, match="no torch optimiser is known"):
        TorchEFSGD.of(make(TopK(2)), [torch.zeros(3, requires_grad=True)], 0.1)
