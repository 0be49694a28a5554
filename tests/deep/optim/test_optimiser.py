"""EFSGD in torch: the engine's steps, torch's own SGD to the bit, its reports, its refusals.

Without this file the torch optimiser could take other steps than the method in NumPy that the
theorems are checked on.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from compressor_table import COMPRESSORS as ALL
from optimisers import (
    SHAPES,
    Fed,
    Tensors,
    copies,
    in_numpy,
    loop_and_foreach,
    normals,
    parameters,
    same,
    scopes,
    set_gradients,
    states,
    take_steps,
)
from torch import Tensor, nn

from efsgd.arrays import density
from efsgd.compressors import (
    QSGD,
    Blockwise,
    Identity,
    Natural,
    RandK,
    ScaledSign,
    Sign,
    TernGrad,
    TopK,
)
from efsgd.compressors.base import Compressor
from efsgd.deep import EFSGD, ef_signsgd, sgdm, signsgd, signsgdm
from efsgd.methods.base import Method
from efsgd.methods.feedback import EFSGD as FeedbackMethod
from efsgd.methods.feedback import check_feedback
from efsgd.methods.sgd import SGD, CompressedSGD, SignSGD, Signum

COMPRESSORS = [c for c in ALL if not c.warm]
MOMENTA: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3},
    {"momentum": 0.5, "dampening": 1.0},
    {"momentum": 0.9, "form": "nesterov"},
]
COMBINATIONS = [
    (options | {"weight_decay": decay}, maximize)
    for options in MOMENTA
    for decay in (0.0, 0.05)
    for maximize in (False, True)
]
STEPS = 8


# -- the engine's steps ----------------------------------------------------------------------------


def agrees_with_engine(method: Method, scope: Any, foreach: bool, maximize: bool = False) -> None:
    """Eight float64 steps with a decaying step size, in torch and in NumPy: 1e-12 apart."""
    xs = parameters(dtype=torch.float64)
    start = [x.detach().numpy().copy() for x in xs]
    gs = [normals(seed=100 + t) for t in range(STEPS)]
    lrs = [0.2 * 0.9**t for t in range(STEPS)]
    options: dict[str, Any] = {"maximize": maximize, "seed": 3, "measure": True}
    optimizer = EFSGD.of(method, xs, 1.0, scope=scope, foreach=foreach, **options)
    for lr, g in zip(lrs, gs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        set_gradients(xs, g)
        optimizer.step()
    signed = ([-g if maximize else g for g in gs_of_step] for gs_of_step in gs)
    dense = method.compresses == Identity()
    if hasattr(method, "compressor"):
        method = replace(method, compressor=Fed(method.compressor))
    if scope == "global":
        start = [np.concatenate([x.ravel() for x in start])]
        signed = ([torch.cat([g.flatten() for g in gs_of_step])] for gs_of_step in signed)
    ys, memories, updates = in_numpy(method, start, signed, lrs, seed=3)
    close(torch.cat([x.detach().flatten() for x in xs]), ys)
    if method.feeds_back and not dense:
        es = torch.cat([s["memory"].flatten() for s in states(optimizer)])
        close(es, [m.e for m in memories])
    if method.momentum:
        momenta = torch.cat([s["momentum_buffer"].flatten() for s in states(optimizer)])
        close(momenta, [m.m for m in memories])
    if scope == "tensor":
        expected = [density(u.p[0]) for u in updates]
        np.testing.assert_allclose(optimizer.density().each_p, expected, rtol=1e-8)


def close(x: Tensor, ys: list[Any]) -> None:
    y = np.concatenate([part.ravel() for part in ys])
    np.testing.assert_allclose(x.numpy(), y, rtol=0, atol=1e-12 * max(1.0, np.abs(y).max()))


def behind_feedback(c: Compressor, scope: str) -> Compressor:
    """The compressor, or what it takes for error feedback to allow it at these sizes."""
    sizes = [18] if scope == "global" else [12, 5, 1]
    try:
        for d in sizes:
            check_feedback(c, d)
    except ValueError:
        if c.guarantee != "unbiased":
            pytest.skip(f"error feedback refuses {c}")
        return c.contractive(max(sizes))
    return c


@scopes
@pytest.mark.parametrize("i", range(len(COMPRESSORS)), ids=[str(c) for c in COMPRESSORS])
def test_the_steps_of_every_compressor_are_the_engines(i: int, scope: str) -> None:
    c, (options, maximize) = COMPRESSORS[i], COMBINATIONS[i % len(COMBINATIONS)]
    agrees_with_engine(CompressedSGD(compressor=c, **options), scope, i % 2 == 0, maximize)
    c = behind_feedback(c, scope)
    agrees_with_engine(FeedbackMethod(compressor=c, **options), scope, i % 2 == 1, maximize)


@loop_and_foreach
@pytest.mark.parametrize(("options", "maximize"), COMBINATIONS, ids=str)
def test_the_steps_of_every_method_are_the_engines(
    options: dict[str, Any], maximize: bool, foreach: bool
) -> None:
    methods = [
        SGD(**options),
        SignSGD(**options),
        Signum(**{"momentum": 0.9} | options),
        CompressedSGD(compressor=TopK(2), **options),
        FeedbackMethod(**options),
        FeedbackMethod(compressor=Natural(), **options),
    ]
    for method in methods:
        agrees_with_engine(method, "tensor", foreach, maximize)


@loop_and_foreach
@pytest.mark.parametrize(
    ("dtype", "nonfinite"),
    [(torch.float32, "skip"), (torch.float32, "raise"), (torch.bfloat16, "skip")],
    ids=str,
)
def test_identity_without_feedback_is_torchs_sgd_to_the_bit(
    dtype: torch.dtype, nonfinite: Any, foreach: bool
) -> None:
    for options, maximize in COMBINATIONS:
        options = options | {"maximize": maximize, "nesterov": "form" in options}
        options.pop("form", None)
        xs = parameters(dtype=dtype)
        ys = copies(xs)
        ours = EFSGD(
            xs,
            0.1,
            Identity(),
            error_feedback=False,
            foreach=foreach,
            nonfinite=nonfinite,
            **options,
        )
        # in bfloat16 torch's two forms differ; ours do not
        their_foreach = foreach and dtype != torch.bfloat16
        theirs = torch.optim.SGD(ys, 0.1, foreach=their_foreach, **options)
        for t in range(8):
            take_steps(ours, xs, range(t, t + 1))
            take_steps(theirs, ys, range(t, t + 1))
            assert same(xs, ys), (options, t)
        if options.get("momentum"):
            theirs_too = [theirs.state[y]["momentum_buffer"] for y in ys]
            assert same([s["momentum_buffer"] for s in states(ours)], theirs_too)


# -- the algebra -----------------------------------------------------------------------------------


@loop_and_foreach
@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_what_is_sent_and_what_is_kept_make_p(c: Compressor, foreach: bool) -> None:
    if c == Identity():
        pytest.skip("it keeps nothing")
    c = behind_feedback(c, "tensor")
    xs = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    optimizer = EFSGD(xs, 0.25, c, foreach=foreach)
    gs = normals(dtype=torch.float32)
    set_gradients(xs, gs)
    optimizer.step()
    for x, g, state in zip(xs, gs, states(optimizer), strict=True):
        sent = -x.detach()  # exact: x was 0, and so was e
        assert torch.equal(state["memory"], 0.25 * g - sent)


@loop_and_foreach
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_x_minus_e_is_the_sgd_iterate(momentum: float, foreach: bool) -> None:
    xs = parameters(dtype=torch.float64)
    ys = copies(xs)
    optimizer = EFSGD(xs, 0.1, TopK(1), momentum, foreach=foreach)
    theirs = torch.optim.SGD(ys, 0.1, momentum)
    take_steps(optimizer, xs, STEPS)
    take_steps(theirs, ys, STEPS)
    assert not torch.allclose(xs[0], ys[0])
    with optimizer.virtual_iterate():
        for x, y in zip(xs, ys, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=1e-13)


@loop_and_foreach
@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_gradients_are_left_alone(c: Compressor, foreach: bool) -> None:
    for options in ({}, {"weight_decay": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}):
        xs = parameters()
        optimizer = EFSGD(xs, 0.1, c, error_feedback=False, foreach=foreach, **options)
        set_gradients(xs, normals())
        gradients = [x.grad for x in xs]
        before = [(g.clone(), g._version) for g in gradients if g is not None]
        optimizer.step()
        optimizer.step()
        for x, g, (value, version) in zip(xs, gradients, before, strict=True):
            assert g is not None
            assert x.grad is g
            assert same(g, value)
            assert g._version == version


def test_a_new_step_size_never_rescales_the_memory() -> None:
    xs = parameters(dtype=torch.float64)
    optimizer = EFSGD(xs, 0.1)
    take_steps(optimizer, xs, 3)
    before = states(optimizer)
    optimizer.param_groups[0]["lr"] = 0.001
    assert same(states(optimizer), before)
    set_gradients(xs, [torch.zeros(shape) for shape in SHAPES])
    iterates = [x.detach().clone() for x in xs]
    optimizer.step()  # without a gradient p is e itself, whatever the step size
    for x, y, old, now in zip(xs, iterates, before, states(optimizer), strict=True):
        torch.testing.assert_close(y - x + now["memory"], old["memory"], rtol=0, atol=1e-15)


@loop_and_foreach
def test_memory_layout_does_not_matter(foreach: bool) -> None:
    shape = (4, 3, 2, 2)
    for c, scope in itertools.product(
        (TopK(5), Blockwise(Sign(), 7), ScaledSign()), ("tensor", "global")
    ):
        xs = [nn.Parameter(torch.randint(-2, 3, shape, generator=torch.Generator()).float())]
        ys = [nn.Parameter(xs[0].detach().clone(memory_format=torch.channels_last))]
        pair = [EFSGD(p, 0.5, c, 0.5, foreach=foreach, scope=scope) for p in (xs, ys)]  # type: ignore[arg-type]
        for t in range(5):
            g = (normals([shape], t)[0] * 2).round()  # many ties
            for optimizer, p in zip(pair, (xs, ys), strict=True):
                set_gradients(p, [g])
                optimizer.step()
        assert same(xs, ys)
        assert ys[0].is_contiguous(memory_format=torch.channels_last)
        assert states(pair[1])[0]["memory"].is_contiguous(memory_format=torch.channels_last)


# -- the virtual iterate, the norm of the memory, the densities ------------------------------------


class Stop(Exception):
    pass


def test_the_virtual_iterate_comes_and_goes() -> None:
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
    model[1].eval()
    optimizer = EFSGD(model.parameters(), 0.1, memory_dtype=torch.bfloat16)
    xs = list(model.parameters())
    take_steps(optimizer, xs, 3)
    before, modes = [x.detach().clone() for x in xs], [m.training for m in model.modules()]
    es = [state["memory"] for state in states(optimizer)]
    with pytest.raises(Stop), optimizer.virtual_iterate():  # noqa: PT012
        assert same([x.detach() for x in xs], [x - e for x, e in zip(before, es, strict=True)])
        assert [m.training for m in model.modules()] == modes
        with pytest.raises(RuntimeError, match="inside virtual_iterate"):
            optimizer.step()
        with (
            pytest.raises(RuntimeError, match="leave the first block"),
            optimizer.virtual_iterate(),
        ):
            pass
        raise Stop
    assert same([x.detach() for x in xs], before)
    assert same([state["memory"] for state in states(optimizer)], es)
    optimizer.step()
    with torch.inference_mode(), optimizer.virtual_iterate():
        pass
    take_steps(optimizer, xs, 1)


def test_without_memory_the_virtual_iterate_is_the_iterate() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, error_feedback=False)
    take_steps(optimizer, xs, 2)
    before = [x.detach().clone() for x in xs]
    with optimizer.virtual_iterate():
        assert same([x.detach() for x in xs], before)
    assert optimizer.memory_norm() == 0


@loop_and_foreach
@scopes
@pytest.mark.parametrize("measure", [False, True])
def test_norm_and_densities_are_numpys(measure: bool, scope: Any, foreach: bool) -> None:
    xs = parameters(dtype=torch.float64)
    groups = [{"params": xs[:2]}, {"params": xs[2:], "compressor": Identity()}]
    options: dict[str, Any] = {"weight_decay": 0.1, "scope": scope, "foreach": foreach}
    optimizer = EFSGD(groups, 0.1, TopK(1), measure=measure, **options)
    take_steps(optimizer, xs, 2)
    iterates = [x.detach().numpy().copy() for x in xs]
    es = [state.get("memory") for state in states(optimizer)]
    set_gradients(xs, normals(seed=1002))
    ahead = None if measure else optimizer.density()  # what the next step will send
    optimizer.step()
    gs = [x.grad.numpy() for x in xs if x.grad is not None]
    ps = [
        (0.1 * (g + 0.1 * x) + (0 if e is None else e.numpy())).ravel()
        for g, x, e in zip(gs, iterates, es, strict=True)
    ]
    phi = ahead or optimizer.density()
    for shares, total, vs in ((phi.each_g, phi.g, gs), (phi.each_p, phi.p, ps)):
        flat = [v.ravel() for v in vs]
        np.testing.assert_allclose(shares, [density(v) for v in flat], rtol=1e-12)
        explained = sum(np.abs(v).sum() ** 2 / v.size for v in flat)
        np.testing.assert_allclose(total, explained / sum(v @ v for v in flat), rtol=1e-12)
    e = np.concatenate([s["memory"].numpy().ravel() for s in states(optimizer) if "memory" in s])
    np.testing.assert_allclose(optimizer.memory_norm(), np.linalg.norm(e), rtol=1e-12)
    assert all(a is b for a, b in zip(phi.parameters, xs, strict=True))


@loop_and_foreach
def test_the_density_of_nothing_is_one(foreach: bool) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, foreach=foreach, measure=True)
    set_gradients(xs, [torch.zeros(shape) for shape in SHAPES])
    optimizer.step()
    for phi in (optimizer.density(), EFSGD(xs, 0.1).density()):
        assert phi.g == phi.p == 1
        assert torch.equal(phi.each_g, torch.ones(3, dtype=torch.float64))
        assert torch.equal(phi.each_p, torch.ones(3, dtype=torch.float64))


def test_there_must_be_something_to_measure() -> None:
    xs = parameters()
    with pytest.raises(RuntimeError, match="no step has been measured: take one first"):
        EFSGD(xs, 0.1, measure=True).density()
    with pytest.raises(RuntimeError, match="no gradients: call backward"):
        EFSGD(xs, 0.1).density()


def test_to_ask_for_densities_changes_nothing() -> None:
    """Neither the draws nor the buffers of the steps that follow."""
    xs = parameters()
    ys = copies(xs)
    asked, plain = (EFSGD(ps, 0.1, RandK(1), momentum=0.9) for ps in (xs, ys))
    for t in range(3):
        for ps in (xs, ys):
            set_gradients(ps, normals(seed=t))
        asked.density()
        for optimizer in (asked, plain):
            optimizer.step()
    assert same(states(asked), states(plain))
    assert same([x.detach() for x in xs], [y.detach() for y in ys])


# -- the paper's methods, and what is refused ------------------------------------------------------


@pytest.mark.parametrize(
    ("constructor", "method"),
    [
        (sgdm, SGD(momentum=0.9)),
        (signsgd, CompressedSGD(compressor=ScaledSign(zero=0))),
        (signsgdm, Signum(Sign(zero=0))),
        (ef_signsgd, FeedbackMethod(compressor=ScaledSign(zero=0))),
    ],
)
def test_the_papers_methods(constructor: Any, method: Method) -> None:
    xs = parameters()
    ys = copies(xs)
    ours = constructor(xs, 0.1, weight_decay=5e-4)
    theirs = EFSGD.of(replace(method, weight_decay=5e-4), ys, 0.1)
    groups = [dict(optimizer.param_groups[0], params=None) for optimizer in (ours, theirs)]
    assert groups[0] == groups[1]
    take_steps(ours, xs, 3)
    take_steps(theirs, ys, 3)
    assert same(xs, ys)


class Odd(SGD):
    def step(self, *args: Any) -> Any:
        raise NotImplementedError


class Unknown(Compressor):
    def apply(self, x: Any, drawn: Any = None) -> Any:
        return x


def zeros(**kind: Any) -> Tensors:
    return [nn.Parameter(torch.zeros(4, **kind))]


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: EFSGD(zeros(), -0.1), ValueError, "lr must be at least 0 and finite, not -0.1"),
    (lambda: EFSGD(zeros(), torch.nan), ValueError, "lr must be at least 0 and finite, not nan"),
    (lambda: EFSGD(zeros(), torch.inf), ValueError, "lr must be at least 0 and finite, not inf"),
    (lambda: EFSGD(zeros(), "fast"), TypeError, "lr must be a real number .* not 'fast'"),
    (
        lambda: EFSGD(zeros(), torch.ones(2)),
        TypeError,
        "lr must be a real number or a tensor of one",
    ),
    (lambda: EFSGD(zeros(), 0.1, 0.9), ValueError, "expected a compressor, not 0.9"),
    (lambda: EFSGD(zeros(), 0.1, ScaledSign), ValueError, "an instance"),
    (lambda: EFSGD(zeros(), 0.1, "topp:3"), ValueError, "no compressor is called 'topp'"),
    (lambda: EFSGD(zeros(), 0.1, Unknown()), ValueError, "no torch kernel of its own: register"),
    (
        lambda: EFSGD(zeros(), 0.1, momentum=1.0),
        ValueError,
        r"momentum must lie in \[0, 1\), not 1",
    ),
    (lambda: EFSGD(zeros(), 0.1, momentum=None), TypeError, "momentum must be a number, not None"),
    (
        lambda: EFSGD(zeros(), 0.1, momentum=torch.tensor(0.9)),
        TypeError,
        "momentum must be a number",
    ),
    (
        lambda: EFSGD(zeros(), 0.1, momentum=0.9, dampening=1.5),
        ValueError,
        r"dampening must lie in",
    ),
    (lambda: EFSGD(zeros(), 0.1, weight_decay=-1), ValueError, "weight_decay must be at least 0"),
    (lambda: EFSGD(zeros(), 0.1, nesterov=True), ValueError, "Nesterov momentum needs"),
    (
        lambda: EFSGD(zeros(), 0.1, momentum=0.9, dampening=0.1, nesterov=True),
        ValueError,
        "Nesterov momentum needs",
    ),
    (lambda: EFSGD(zeros(), 0.1, scope="layer"), ValueError, "scope must be 'tensor' or 'global'"),
    (lambda: EFSGD(zeros(), 0.1, nonfinite="ignore"), ValueError, "nonfinite must be 'skip' or"),
    (
        lambda: EFSGD(zeros(), 0.1, nonfinite="raise", capturable=True),
        ValueError,
        "capturable rules out: use 'skip'",
    ),
    (
        lambda: EFSGD(zeros(), 0.1, memory_dtype=torch.int8),
        ValueError,
        "memory_dtype must be a float",
    ),
    (
        lambda: EFSGD(zeros(), 0.1, memory_dtype="bf16"),
        TypeError,
        "memory_dtype must be a torch.dtype",
    ),
    (
        lambda: EFSGD(zeros(), 0.1, memory_dtype=torch.float8_e4m3fn),
        ValueError,
        "of 16 bits or more, not torch.float8_e4m3fn",
    ),
    (lambda: EFSGD(zeros(), 0.1, seed=1.5), ValueError, "seed must be a whole number 0, 1, .*1.5"),  # type: ignore[arg-type]
    (lambda: EFSGD(zeros(), 0.1, seed=-1), ValueError, "seed must be a whole number 0, 1, .*-1"),
    (lambda: EFSGD([], 0.1), ValueError, "empty parameter list"),
    (lambda: EFSGD(zeros(), 0.1, fused="cuda"), ValueError, "a bool or 'triton', not 'cuda'"),  # type: ignore[arg-type]
    (lambda: EFSGD(zeros(), 0.1, fused=1), ValueError, "a bool or 'triton', not 1"),  # type: ignore[arg-type]
    (lambda: EFSGD(zeros(), 0.1, fused=True, capturable=True), ValueError, "leave fused to None"),
    (lambda: EFSGD(zeros(dtype=torch.complex64), 0.1), TypeError, "is torch.complex64: only real"),
    (
        lambda: EFSGD([torch.zeros(2, dtype=torch.int64)], 0.1),
        TypeError,
        r"shape \(2,\) is torch.int64: only real",
    ),
    (
        lambda: EFSGD([nn.Parameter(torch.eye(2).to_sparse())], 0.1),
        TypeError,
        "is sparse: convert it with .to_dense()",
    ),
    (
        lambda: EFSGD([nn.Parameter(torch.zeros(10**6))], 0.1, QSGD(4)),
        ValueError,
        "can diverge: use contractive,qsgd:4, whose delta",
    ),
    (
        lambda: EFSGD(
            [nn.Parameter(torch.zeros(2)) for _ in range(50)], 0.1, QSGD(4), scope="global"
        ),
        ValueError,
        r"at d = 100 \(all parameters of the group .* use contractive,qsgd:4",
    ),
    (lambda: EFSGD.of(Odd(), zeros(), 0.1), ValueError, "no torch optimiser is known for Odd"),
    (lambda: EFSGD.of("ef", zeros(), 0.1), ValueError, "no torch optimiser is known for 'ef'"),  # type: ignore[arg-type]
    (
        lambda: EFSGD.of(SGD(momentum=0.9, form="undecayed"), zeros(), 0.1),
        ValueError,
        "undecayed momentum exists in NumPy only",
    ),
]


@pytest.mark.parametrize(("make", "kind", "words"), WRONG, ids=[row[2] for row in WRONG])
def test_refusals(make: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_parameter_that_is_listed_twice_is_refused() -> None:
    tied = nn.Linear(2, 2)
    twice = [*tied.named_parameters(), ("tied", tied.weight)]
    with (
        pytest.warns(UserWarning, match="duplicate parameters"),
        pytest.raises(ValueError, match="tied is there twice: list a tied parameter once"),
    ):
        EFSGD(twice, 0.1)
    EFSGD(nn.ModuleList([tied, tied]).parameters(), 0.1)  # torch lists it once


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("lr", torch.nan, "lr must be at least 0 and finite, not nan"),
        ("lr", -0.1, "lr must be at least 0 and finite, not -0.1"),
        ("lr", torch.ones(2), "lr must be a real number or a tensor of one element"),
        ("weight_decay", torch.nan, "weight_decay must be at least 0 and finite, not nan"),
        ("momentum", torch.nan, r"momentum must lie in \[0, 1\), not nan"),
        ("momentum", 1.5, r"momentum must lie in \[0, 1\), not 1.5"),
        ("momentum", None, "momentum must be a number, not None"),
        ("dampening", 2, r"dampening must lie in \[0, 1\], not 2"),
        ("nesterov", "yes", "nesterov must be True or False, not 'yes'"),
    ],
    ids=str,
)
def test_a_number_that_a_schedule_has_broken_is_refused(name: str, value: Any, words: str) -> None:
    xs = parameters()
    optimizer = EFSGD([{"params": xs[:1]}, {"params": xs[1:]}], 0.1, RandK(1), momentum=0.9)
    take_steps(optimizer, xs, 2)
    before = [x.detach().clone() for x in xs], optimizer.state_dict()["state"]
    good, optimizer.param_groups[1][name] = optimizer.param_groups[1][name], value
    for _ in range(2):  # until it is mended
        with pytest.raises((ValueError, TypeError), match=f"{words}.*: mend .* param_groups.1."):
            optimizer.step()
    after = [x.detach() for x in xs], optimizer.state_dict()["state"]
    assert same(before, after)  # the draws of the group that is whole too
    optimizer.param_groups[1][name] = good
    optimizer.step()


def test_a_compressor_put_into_a_group_is_looked_at() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1)
    set_gradients(xs, normals())
    for wrong, words in (("topk:-3", "k must be"), (TernGrad(), "use contractive,terngrad")):
        optimizer.param_groups[0]["compressor"] = wrong
        with pytest.raises(ValueError, match=words):
            optimizer.step()
        assert states(optimizer) == [{}, {}, {}]
    optimizer.param_groups[0]["compressor"] = "topk:3"
    optimizer.step()
    assert optimizer.param_groups[0]["compressor"] == TopK(3)


@pytest.mark.parametrize("c", [c for c in ALL if c.warm], ids=str)
def test_what_starts_warm_is_refused(c: Compressor) -> None:
    """The optimiser keeps no state of a compressor: a cold start every step is not PowerSGD."""
    words = re.escape(f"{c} starts each step from what it sent before")
    with pytest.raises(ValueError, match=words):
        EFSGD(parameters(), 0.1, c)
    optimizer = EFSGD(parameters(), 0.1)
    optimizer.param_groups[0]["compressor"] = c
    with pytest.raises(ValueError, match=words):
        optimizer.step()


@pytest.mark.parametrize(
    ("c", "name", "before", "after"),
    [
        (TernGrad(), "error_feedback", False, True),
        (RandK(2, unbiased=True), "scope", "tensor", "global"),  # omega(3) < 1 < omega(6)
    ],
)
def test_a_switch_after_which_feedback_diverges_is_refused(
    c: Any, name: str, before: Any, after: Any
) -> None:
    xs = parameters([(3,), (3,)] if name == "scope" else SHAPES)
    optimizer = EFSGD(xs, 0.1, c, **{name: before})
    take_steps(optimizer, xs, 2)
    optimizer.param_groups[0][name] = after
    iterates = [x.detach().clone() for x in xs]
    with pytest.raises(ValueError, match="use contractive,"):
        optimizer.step()
    assert same([x.detach() for x in xs], iterates)


@pytest.mark.parametrize("foreach", [False, True])
def test_sparse_gradients_are_refused_before_anything_changes(foreach: bool) -> None:
    dense = parameters([(4,)])
    table = nn.Embedding(4, 2, sparse=True)
    optimizer = EFSGD(
        [{"params": dense}, {"params": table.parameters()}], 0.1, RandK(1), 0.9, foreach=foreach
    )
    set_gradients(dense, normals([(4,)]))
    table(torch.tensor([1])).sum().backward()
    before = [x.detach().clone() for x in (*dense, table.weight)]
    with pytest.raises(TypeError, match="is sparse: make its layer with sparse=False"):
        optimizer.step()
    assert same(before, [x.detach() for x in (*dense, table.weight)])
    assert states(optimizer) == [{}, {}]
    assert optimizer.generators == {}


def test_sharded_parameters_are_refused() -> None:
    distributed = pytest.importorskip("torch.distributed.tensor")
    dist = torch.distributed
    if not dist.is_available():
        pytest.skip("this torch has no distributed")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = dist.init_device_mesh("cpu", (1,))
        x = nn.Parameter(distributed.distribute_tensor(torch.ones(4), mesh))
        with pytest.raises(TypeError, match=r"is sharded \(DTensor\)"):
            EFSGD([x], 0.1)
    finally:
        dist.destroy_process_group()


def test_a_refused_compressor_comes_with_the_parameter_and_a_cure_for_all() -> None:
    """One scaling cannot serve two sizes: that of the smaller was named, and then refused."""
    named = [("small", nn.Parameter(torch.zeros(4))), ("large", nn.Parameter(torch.zeros(64, 64)))]
    with pytest.raises(ValueError, match=r"at d = 4096 \(large\).*: use contractive,qsgd:7, "):
        EFSGD(named, 0.1, "qsgd:7")
    with pytest.raises(ValueError, match=r"at d = 4100 \(all parameters of the group together\)"):
        EFSGD(named, 0.1, "qsgd:7", scope="global")
    for scope in ("tensor", "global"):
        EFSGD(named, 0.1, "contractive,qsgd:7", scope=scope)
