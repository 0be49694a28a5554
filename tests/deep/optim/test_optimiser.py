"""EFSGD in torch: the engine's steps, torch's own SGD to the bit, its reports, its refusals."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from compressor_table import COMPRESSORS
from optimisers import (
    SHAPES,
    Fed,
    Tensors,
    copies,
    give,
    in_numpy,
    kept,
    normals,
    parameters,
    same,
    take,
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

MOMENTA: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3},
    {"momentum": 0.5, "dampening": 1.0},
    {"momentum": 0.9, "form": "nesterov"},
]
COMBINATIONS = [
    (more | {"weight_decay": decay}, maximize)
    for more in MOMENTA
    for decay in (0.0, 0.05)
    for maximize in (False, True)
]
STEPS = 20
either = pytest.mark.parametrize("foreach", [False, True], ids=["loop", "foreach"])
scopes = pytest.mark.parametrize("scope", ["tensor", "global"])


# -- the engine's steps ----------------------------------------------------------------------------


def agrees_with_engine(method: Method, scope: Any, foreach: bool, maximize: bool = False) -> None:
    """Twenty float64 steps with a decaying step size, in torch and in NumPy: 1e-12 apart."""
    xs = parameters(dtype=torch.float64)
    start = [x.detach().numpy().copy() for x in xs]
    gs = [normals(seed=100 + t) for t in range(STEPS)]
    lrs = [0.2 * 0.9**t for t in range(STEPS)]
    more: dict[str, Any] = {"maximize": maximize, "seed": 3, "measure": True}
    optimizer = EFSGD.of(method, xs, 1.0, scope=scope, foreach=foreach, **more)
    for lr, g in zip(lrs, gs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        give(xs, g)
        optimizer.step()
    signed = ([-g if maximize else g for g in own] for own in gs)
    dense = method.compresses == Identity()
    if hasattr(method, "compressor"):
        method = replace(method, compressor=Fed(method.compressor))
    if scope == "global":
        start = [np.concatenate([x.ravel() for x in start])]
        signed = ([torch.cat([g.flatten() for g in own])] for own in signed)
    ys, memories, updates = in_numpy(method, start, signed, lrs, seed=3)
    close(torch.cat([x.detach().flatten() for x in xs]), ys)
    if method.feeds_back and not dense:
        close(torch.cat([s["memory"].flatten() for s in kept(optimizer)]), [m.e for m in memories])
    if method.momentum:
        now = torch.cat([s["momentum_buffer"].flatten() for s in kept(optimizer)])
        close(now, [m.m for m in memories])
    if scope == "tensor":
        expected = [density(u.p[0]) for u in updates]
        np.testing.assert_allclose(optimizer.density().each_p, expected, rtol=1e-8)


def close(x: Tensor, ys: list[Any]) -> None:
    y = np.concatenate([own.ravel() for own in ys])
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
def test_twenty_steps_of_every_compressor_are_the_engines(i: int, scope: str) -> None:
    c, (more, maximize) = COMPRESSORS[i], COMBINATIONS[i % len(COMBINATIONS)]
    agrees_with_engine(CompressedSGD(compressor=c, **more), scope, i % 2 == 0, maximize)
    c = behind_feedback(c, scope)
    agrees_with_engine(FeedbackMethod(compressor=c, **more), scope, i % 2 == 1, maximize)


@either
@pytest.mark.parametrize(("more", "maximize"), COMBINATIONS, ids=str)
def test_twenty_steps_of_every_method_are_the_engines(
    more: dict[str, Any], maximize: bool, foreach: bool
) -> None:
    methods = [
        SGD(**more),
        SignSGD(**more),
        Signum(**({"momentum": 0.9} | more)),
        CompressedSGD(compressor=TopK(2), **more),
        FeedbackMethod(**more),
        FeedbackMethod(compressor=Natural(), **more),
    ]
    for method in methods:
        agrees_with_engine(method, "tensor", foreach, maximize)


@either
@pytest.mark.parametrize(
    ("dtype", "nonfinite"),
    [(torch.float32, "skip"), (torch.float32, "raise"), (torch.bfloat16, "skip")],
    ids=str,
)
def test_identity_without_feedback_is_torchs_sgd_to_the_bit(
    dtype: torch.dtype, nonfinite: Any, foreach: bool
) -> None:
    for more, maximize in COMBINATIONS:
        more = more | {"maximize": maximize, "nesterov": "form" in more}
        more.pop("form", None)
        xs = parameters(dtype=dtype)
        ys = copies(xs)
        ours = EFSGD(
            *(xs, 0.1, Identity()),
            error_feedback=False,
            foreach=foreach,
            nonfinite=nonfinite,
            **more,
        )
        many = foreach and dtype != torch.bfloat16  # there torch's two forms differ; ours do not
        theirs = torch.optim.SGD(ys, 0.1, foreach=many, **more)
        for t in range(8):
            take(ours, xs, range(t, t + 1))
            take(theirs, ys, range(t, t + 1))
            assert same(xs, ys), (more, t)
        if more.get("momentum"):
            theirs_too = [theirs.state[y]["momentum_buffer"] for y in ys]
            assert same([s["momentum_buffer"] for s in kept(ours)], theirs_too)


# -- the algebra -----------------------------------------------------------------------------------


@either
@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_what_is_sent_and_what_is_kept_make_p(c: Compressor, foreach: bool) -> None:
    if c == Identity():
        pytest.skip("it keeps nothing")
    c = behind_feedback(c, "tensor")
    xs = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    optimizer = EFSGD(xs, 0.25, c, foreach=foreach)
    gs = normals(dtype=torch.float32)
    give(xs, gs)
    optimizer.step()
    for x, g, state in zip(xs, gs, kept(optimizer), strict=True):
        sent = -x.detach()  # exact: x was 0, and so was e
        assert torch.equal(state["memory"], 0.25 * g - sent)


@either
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_x_minus_e_is_the_sgd_iterate(momentum: float, foreach: bool) -> None:
    xs = parameters(dtype=torch.float64)
    ys = copies(xs)
    optimizer = EFSGD(xs, 0.1, TopK(1), momentum, foreach=foreach)
    theirs = torch.optim.SGD(ys, 0.1, momentum)
    take(optimizer, xs, STEPS)
    take(theirs, ys, STEPS)
    assert not torch.allclose(xs[0], ys[0])
    with optimizer.virtual_iterate():
        for x, y in zip(xs, ys, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=1e-13)


@either
@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_gradients_are_left_alone(c: Compressor, foreach: bool) -> None:
    for more in ({}, {"weight_decay": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}):
        xs = parameters()
        optimizer = EFSGD(xs, 0.1, c, error_feedback=False, foreach=foreach, **more)
        give(xs, normals())
        own = [x.grad for x in xs]
        before = [(g.clone(), g._version) for g in own if g is not None]
        optimizer.step()
        optimizer.step()
        for x, g, (value, version) in zip(xs, own, before, strict=True):
            assert g is not None
            assert x.grad is g
            assert same(g, value)
            assert g._version == version


def test_a_new_step_size_never_rescales_the_memory() -> None:
    xs = parameters(dtype=torch.float64)
    optimizer = EFSGD(xs, 0.1)
    take(optimizer, xs, 3)
    before = kept(optimizer)
    optimizer.param_groups[0]["lr"] = 0.001
    assert same(kept(optimizer), before)
    give(xs, [torch.zeros(shape) for shape in SHAPES])
    held = [x.detach().clone() for x in xs]
    optimizer.step()  # without a gradient p is e itself, whatever the step size
    for x, y, old, now in zip(xs, held, before, kept(optimizer), strict=True):
        torch.testing.assert_close(y - x + now["memory"], old["memory"], rtol=0, atol=1e-15)


@either
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
                give(p, [g])
                optimizer.step()
        assert same(xs, ys)
        assert ys[0].is_contiguous(memory_format=torch.channels_last)
        assert kept(pair[1])[0]["memory"].is_contiguous(memory_format=torch.channels_last)


# -- the virtual iterate, the norm of the memory, the densities ------------------------------------


class Stop(Exception):
    pass


def test_the_virtual_iterate_comes_and_goes() -> None:
    with torch.random.fork_rng(devices=[]):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
    model[1].eval()
    optimizer = EFSGD(model.parameters(), 0.1, memory_dtype=torch.bfloat16)
    xs = list(model.parameters())
    take(optimizer, xs, 3)
    before, modes = [x.detach().clone() for x in xs], [m.training for m in model.modules()]
    es = [state["memory"] for state in kept(optimizer)]
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
    assert same([state["memory"] for state in kept(optimizer)], es)
    optimizer.step()
    with torch.inference_mode(), optimizer.virtual_iterate():
        pass
    take(optimizer, xs, 1)


def test_without_memory_the_virtual_iterate_is_the_iterate() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, error_feedback=False)
    take(optimizer, xs, 2)
    before = [x.detach().clone() for x in xs]
    with optimizer.virtual_iterate():
        assert same([x.detach() for x in xs], before)
    assert optimizer.memory_norm() == 0


@either
@scopes
@pytest.mark.parametrize("measure", [False, True])
def test_norm_and_densities_are_numpys(measure: bool, scope: Any, foreach: bool) -> None:
    xs = parameters(dtype=torch.float64)
    groups = [{"params": xs[:2]}, {"params": xs[2:], "compressor": Identity()}]
    more: dict[str, Any] = {"weight_decay": 0.1, "scope": scope, "foreach": foreach}
    optimizer = EFSGD(groups, 0.1, TopK(1), measure=measure, **more)
    take(optimizer, xs, 2)
    held, es = [x.detach().numpy().copy() for x in xs], [s.get("memory") for s in kept(optimizer)]
    give(xs, normals(seed=1002))
    at_hand = None if measure else optimizer.density()  # what the next step will send
    optimizer.step()
    gs = [x.grad.numpy() for x in xs if x.grad is not None]
    ps = [
        (0.1 * (g + 0.1 * x) + (0 if e is None else e.numpy())).ravel()
        for g, x, e in zip(gs, held, es, strict=True)
    ]
    phi = at_hand or optimizer.density()
    for each, total, vs in ((phi.each_g, phi.g, gs), (phi.each_p, phi.p, ps)):
        flat = [v.ravel() for v in vs]
        np.testing.assert_allclose(each, [density(v) for v in flat], rtol=1e-12)
        explained = sum(np.abs(v).sum() ** 2 / v.size for v in flat)
        np.testing.assert_allclose(total, explained / sum(v @ v for v in flat), rtol=1e-12)
    e = np.concatenate([s["memory"].numpy().ravel() for s in kept(optimizer) if "memory" in s])
    np.testing.assert_allclose(optimizer.memory_norm(), np.linalg.norm(e), rtol=1e-12)
    assert all(a is b for a, b in zip(phi.parameters, xs, strict=True))


@either
def test_the_density_of_nothing_is_one(foreach: bool) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, foreach=foreach, measure=True)
    give(xs, [torch.zeros(shape) for shape in SHAPES])
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
    asked, plain = (EFSGD(own, 0.1, RandK(1), momentum=0.9) for own in (xs, ys))
    for t in range(3):
        for own in (xs, ys):
            give(own, normals(seed=t))
        asked.density()
        for optimizer in (asked, plain):
            optimizer.step()
    assert same(kept(asked), kept(plain))
    assert same([x.detach() for x in xs], [y.detach() for y in ys])


# -- the paper's methods, and what is refused ------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "method"),
    [
        (sgdm, SGD(momentum=0.9)),
        (signsgd, CompressedSGD(compressor=ScaledSign(zero=0))),
        (signsgdm, Signum(Sign(zero=0))),
        (ef_signsgd, FeedbackMethod(compressor=ScaledSign(zero=0))),
    ],
)
def test_the_papers_methods(made: Any, method: Method) -> None:
    xs = parameters()
    ys = copies(xs)
    ours = made(xs, 0.1, weight_decay=5e-4)
    theirs = EFSGD.of(replace(method, weight_decay=5e-4), ys, 0.1)
    groups = [dict(optimizer.param_groups[0], params=None) for optimizer in (ours, theirs)]
    assert groups[0] == groups[1]
    take(ours, xs, 3)
    take(theirs, ys, 3)
    assert same(xs, ys)


class Odd(SGD):
    def step(self, *args: Any) -> Any:
        raise NotImplementedError


class Unknown(Compressor):
    def apply(self, x: Any, drawn: Any = None) -> Any:
        return x


def one(**kind: Any) -> Tensors:
    return [nn.Parameter(torch.zeros(4, **kind))]


WRONG: list[tuple[Any, type[Exception], str]] = [
    (lambda: EFSGD(one(), -0.1), ValueError, "lr must be at least 0 and finite, not -0.1"),
    (lambda: EFSGD(one(), torch.nan), ValueError, "lr must be at least 0 and finite, not nan"),
    (lambda: EFSGD(one(), torch.inf), ValueError, "lr must be at least 0 and finite, not inf"),
    (lambda: EFSGD(one(), "fast"), TypeError, "lr must be a number .* not 'fast'"),
    (lambda: EFSGD(one(), torch.ones(2)), TypeError, "lr must be a number or a tensor of one"),
    (lambda: EFSGD(one(), 0.1, 0.9), ValueError, "expected a compressor, not 0.9"),
    (lambda: EFSGD(one(), 0.1, ScaledSign), ValueError, "an instance"),
    (lambda: EFSGD(one(), 0.1, "topp:3"), ValueError, "no compressor is called 'topp'"),
    (lambda: EFSGD(one(), 0.1, Unknown()), ValueError, "no torch kernel of its own: register"),
    (lambda: EFSGD(one(), 0.1, momentum=1.0), ValueError, r"momentum must lie in \[0, 1\), not 1"),
    (lambda: EFSGD(one(), 0.1, momentum=None), TypeError, "momentum must be a number, not None"),
    (lambda: EFSGD(one(), 0.1, momentum=torch.tensor(0.9)), TypeError, "momentum must be a number"),
    (lambda: EFSGD(one(), 0.1, momentum=0.9, dampening=1.5), ValueError, r"dampening must lie in"),
    (lambda: EFSGD(one(), 0.1, weight_decay=-1), ValueError, "weight_decay must be at least 0"),
    (lambda: EFSGD(one(), 0.1, nesterov=True), ValueError, "Nesterov momentum needs"),
    (
        lambda: EFSGD(one(), 0.1, momentum=0.9, dampening=0.1, nesterov=True),
        ValueError,
        "Nesterov momentum needs",
    ),
    (lambda: EFSGD(one(), 0.1, scope="layer"), ValueError, "scope must be 'tensor' or 'global'"),
    (lambda: EFSGD(one(), 0.1, nonfinite="ignore"), ValueError, "nonfinite must be 'skip' or"),
    (
        lambda: EFSGD(one(), 0.1, nonfinite="raise", capturable=True),
        ValueError,
        "capturable rules out: use 'skip'",
    ),
    (
        lambda: EFSGD(one(), 0.1, memory_dtype=torch.int8),
        ValueError,
        "memory_dtype must be a float",
    ),
    (
        lambda: EFSGD(one(), 0.1, memory_dtype="bf16"),
        TypeError,
        "memory_dtype must be a torch.dtype",
    ),
    (
        lambda: EFSGD(one(), 0.1, memory_dtype=torch.float8_e4m3fn),
        ValueError,
        "of 16 bits or more, not torch.float8_e4m3fn",
    ),
    (lambda: EFSGD(one(), 0.1, seed=1.5), ValueError, "seed must be a whole number 0, 1, .*1.5"),  # type: ignore[arg-type]
    (lambda: EFSGD(one(), 0.1, seed=-1), ValueError, "seed must be a whole number 0, 1, .*-1"),
    (lambda: EFSGD([], 0.1), ValueError, "empty parameter list"),
    (lambda: EFSGD(one(), 0.1, fused="cuda"), ValueError, "a bool or 'triton', not 'cuda'"),  # type: ignore[arg-type]
    (lambda: EFSGD(one(), 0.1, fused=1), ValueError, "a bool or 'triton', not 1"),  # type: ignore[arg-type]
    (lambda: EFSGD(one(), 0.1, fused=True, capturable=True), ValueError, "leave fused to None"),
    (lambda: EFSGD(one(dtype=torch.complex64), 0.1), TypeError, "is torch.complex64: only real"),
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
        r"can diverge: use its \.contractive\(1000000\), which is scaled:",
    ),
    (
        lambda: EFSGD(
            [nn.Parameter(torch.zeros(2)) for _ in range(50)], 0.1, QSGD(4), scope="global"
        ),
        ValueError,
        r"\.contractive\(100\)",
    ),
    (lambda: EFSGD.of(Odd(), one(), 0.1), ValueError, "no torch optimiser is known for Odd"),
    (lambda: EFSGD.of("ef", one(), 0.1), ValueError, "no torch optimiser is known for 'ef'"),  # type: ignore[arg-type]
    (
        lambda: EFSGD.of(SGD(momentum=0.9, form="undecayed"), one(), 0.1),
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


@pytest.mark.parametrize("name", ["lr", "weight_decay", "momentum"])
def test_a_number_that_a_schedule_has_broken_is_refused(name: str) -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1, momentum=0.9)
    take(optimizer, xs, 2)
    before = [x.detach().clone() for x in xs], kept(optimizer)
    optimizer.param_groups[0][name] = float("nan")
    with pytest.raises(ValueError, match=f"{name} is nan at this step: mend the schedule"):
        optimizer.step()
    assert same(([x.detach() for x in xs], kept(optimizer)), before)


def test_a_compressor_put_into_a_group_is_looked_at() -> None:
    xs = parameters()
    optimizer = EFSGD(xs, 0.1)
    give(xs, normals())
    for wrong, words in (("topk:-3", "k must be"), (TernGrad(), r"contractive\(12\)")):
        optimizer.param_groups[0]["compressor"] = wrong
        with pytest.raises(ValueError, match=words):
            optimizer.step()
        assert kept(optimizer) == [{}, {}, {}]
    optimizer.param_groups[0]["compressor"] = "topk:3"
    optimizer.step()
    assert optimizer.param_groups[0]["compressor"] == TopK(3)


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
    take(optimizer, xs, 2)
    optimizer.param_groups[0][name] = after
    held = [x.detach().clone() for x in xs]
    with pytest.raises(ValueError, match=r"\.contractive\("):
        optimizer.step()
    assert same([x.detach() for x in xs], held)


@pytest.mark.parametrize("foreach", [False, True])
def test_sparse_gradients_are_refused_before_anything_changes(foreach: bool) -> None:
    dense = parameters([(4,)])
    table = nn.Embedding(4, 2, sparse=True)
    optimizer = EFSGD(
        [{"params": dense}, {"params": table.parameters()}], 0.1, RandK(1), 0.9, foreach=foreach
    )
    give(dense, normals([(4,)]))
    table(torch.tensor([1])).sum().backward()
    before = [x.detach().clone() for x in (*dense, table.weight)]
    with pytest.raises(TypeError, match="is sparse: make its layer with sparse=False"):
        optimizer.step()
    assert same(before, [x.detach() for x in (*dense, table.weight)])
    assert kept(optimizer) == [{}, {}]
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
