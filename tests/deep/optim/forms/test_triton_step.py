"""The step in Triton against the plain loop: in Triton's interpreter, and on a GPU where one is.

Without this file a wrong kernel, or a table of addresses that is out of date, would show on a GPU
only, as a training that learns something else.
"""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from project import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("triton", reason="Triton is not installed")

from on_gpu import no_synchronisation  # noqa: E402
from optimisers import (  # noqa: E402
    Tensors,
    generator,
    normals,
    parameters,
    set_gradients,
    take_steps,
)
from torch import Tensor  # noqa: E402

from efsgd import Identity, ScaledSign, Sign, TopK  # noqa: E402
from efsgd.deep import EFSGD  # noqa: E402
from efsgd.deep.kernels import kernel  # noqa: E402
from efsgd.deep.optim.forms import triton_step  # noqa: E402
from efsgd.deep.optim.forms.triton_step import TritonStep, supported  # noqa: E402
from efsgd.deep.optim.parts import Lists, Numbers, Part, Rule  # noqa: E402
from efsgd.deep.optim.step import step  # noqa: E402
from efsgd.deep.training.device import own_stream  # noqa: E402
from efsgd.deep.training.graph import capturing  # noqa: E402

CUDA = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
)
CHUNK = 16
SHAPES = (
    (1,),
    (16,),
    (3, 11),
    (2, 3, 3, 3),
)  # chunks: less than one, one, with a rest, with a rest
SIGNS = (ScaledSign(), ScaledSign(zero=0), Sign(), Sign(zero=0))
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "decay": {"weight_decay": 0.1},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "dampening": {"momentum": 0.9, "dampening": 0.3},
    "maximize": {"maximize": True, "weight_decay": 0.1},
    "no feedback": {"feedback": False},
    "Signum": {"feedback": False, "momentum": 0.9, "weight_decay": 0.1},
    "unmeasured": {"measure": False, "momentum": 0.9},
    "all": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True},
}
FEW = ("no feedback", "all")
all_options = pytest.mark.parametrize(
    "options",
    [pytest.param(o, id=n, marks=() if n in FEW else pytest.mark.slow) for n, o in OPTIONS.items()],
)


INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # decided before Triton is imported


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=CUDA)])
def device(request: Any) -> str:
    """The CPU is that of Triton's interpreter, which takes a process of its own."""
    if (request.param == "cpu") != INTERPRETED:
        pytest.skip("in the process that test_in_the_interpreter starts")
    return str(request.param)


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter's process")
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_in_the_interpreter(which: str) -> None:
    """All tests of this file but those on a GPU, which the interpreter cannot capture."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    words = [*command, "-m", which]
    ran = subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


def make(
    c: Any = SIGNS[0],
    *,
    device: str = "cpu",
    shapes: Any = SHAPES,
    dtype: Any = torch.float32,
    memory: Any = None,
    feedback: bool = True,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    measure: bool = True,
    lr: Any = 0.1,
    seed: int = 0,
) -> Part:
    rng = generator(seed)

    def normal(kind: Any = dtype) -> list[Tensor]:
        return [torch.randn(s, generator=rng).to(device, kind) for s in shapes]

    n = len(shapes)
    x, g, e, m = normal(), normal(), normal(memory or dtype), normal()
    started = [torch.tensor(i % 2 == 1, device=device) for i in range(n)]
    lists = Lists(
        x=x,
        g=g,
        e=e if feedback else [None] * n,
        m=m if momentum else [None] * n,
        started=started if dampening else [None] * n,
    )
    rule = Rule(
        compressor=c,
        feedback=feedback,
        weight_decay=weight_decay != 0,
        momentum=momentum != 0,
        nesterov=nesterov,
        maximize=maximize,
        together=False,
        measure=measure,
    )
    numbers = Numbers(lr, weight_decay, momentum, dampening)
    return Part(lists, numbers, rule, kernel(c), [None] * n)


def state(parts: list[Part]) -> list[Tensor]:
    """Everything that a step may change."""
    return [
        y for part in parts for ys in (part.lists[0], *part.lists[2:]) for y in ys if y is not None
    ]


def clones(parts: list[Part]) -> list[Tensor]:
    return [y.clone() for y in state(parts)]


def agree(ours: list[Part], loop: list[Part], eps: float = torch.finfo(torch.float32).eps) -> None:
    """Demand equality up to some roundings; a sign that differs is further off."""
    pairs = list(zip(state(ours), state(loop), strict=True))
    assert pairs
    for y, z in pairs:
        assert y.dtype == z.dtype
        off = (y.double() - z.double()).abs()
        assert bool((off <= 8 * eps * z.double().abs().clamp(min=1)).all()), off.max()


def agree_on_norms(ours: Any, loop: Any) -> None:
    assert len(ours) == len(loop)
    for y, z in zip(ours, loop, strict=True):
        if z is None:
            assert y is None
        else:
            assert y.dtype == torch.float64
            torch.testing.assert_close(y, z, rtol=1e-5, atol=0, equal_nan=True)


def step_both(stepper: TritonStep, ours: list[Part], loop: list[Part], check: bool = True) -> Any:
    """A step of each, compared; returns whether it was taken."""
    assert supported(ours) is None
    ok, norms = stepper.step(ours, check)
    expected, expected_norms = step(loop, check)
    assert (ok is None) == (expected is None) == (not check)
    if ok is not None:
        assert ok.dtype == torch.bool
        assert ok.shape == ()
        assert bool(ok) == bool(expected)
    agree_on_norms(norms, expected_norms)
    agree(ours, loop)
    return ok


# -- parity ---------------------------------------------------------------------------------------


@all_options
@pytest.mark.parametrize("c", [ScaledSign(zero=0), Sign(), Identity()], ids=str)
def test_it_is_the_loop(c: Any, options: dict[str, Any], device: str) -> None:
    """Two steps: in the second, every momentum buffer holds a gradient."""
    ours, loop = ([make(c, device=device, **options)] for _ in range(2))
    before, stepper = clones(ours), TritonStep(CHUNK)
    assert step_both(stepper, ours, loop)
    assert any(not torch.equal(y, z) for y, z in zip(state(ours), before, strict=True))
    step_both(stepper, ours, loop, check=False)


@pytest.mark.parametrize("c", SIGNS, ids=str)
def test_zeros(c: Any, device: str) -> None:
    """The sign of 0 is as the compressor says, and C(0) = 0: such a tensor stays as it is."""
    ours, loop = ([make(c, device=device, feedback=False)] for _ in range(2))
    for parts in (ours, loop):
        g = parts[0].lists.g
        g[1].zero_()
        g[2][1:] = 0.0
        g[3][0] = -0.0
    stays = ours[0].lists.x[1].clone()
    step_both(TritonStep(CHUNK), ours, loop)
    assert torch.equal(ours[0].lists.x[1], stays)
    moved = ours[0].lists.x[2][1:] != make(c, device=device).lists.x[2][1:]
    assert bool(moved.all()) == bool(moved.any()) == (c.zero == 1)


@pytest.mark.slow
def test_lists_as_long_as_those_of_networks(device: str) -> None:
    """More addresses than one launch writes."""
    n = triton_step.WRITTEN + 2
    shapes = [(1 + i % 3,) for i in range(n)]
    ours, loop = ([make(device=device, shapes=shapes)] for _ in range(2))
    step_both(TritonStep(CHUNK), ours, loop)


def test_the_size_of_chunks_does_not_matter(device: str) -> None:
    ours, other = ([make(device=device, momentum=0.9)] for _ in range(2))
    TritonStep(16).step(ours, True)
    TritonStep(64, warps=4).step(other, True)
    agree(ours, other)


def test_several_parts_with_numbers_of_their_own(device: str) -> None:
    """As weights that are compressed and biases that are not."""

    def parts() -> list[Part]:
        weights = make(device=device, weight_decay=0.1, lr=0.2)
        return [weights, make(Identity(), device=device, feedback=False, momentum=0.9, seed=1)]

    ours, loop = parts(), parts()
    stepper = TritonStep(CHUNK)
    assert step_both(stepper, ours, loop)
    for pair in (ours, loop):  # in one part only: it stops all
        pair[1].lists.g[0][0] = math.nan
    assert not step_both(stepper, ours, loop)


def test_a_step_size_on_the_device_is_read_there(device: str) -> None:
    sizes = [torch.tensor(0.1, device=device, dtype=torch.float32) for _ in range(2)]
    ours, loop = ([make(device=device, lr=lr)] for lr in sizes)
    stepper = TritonStep(CHUNK)
    step_both(stepper, ours, loop)
    for lr in sizes:
        lr.fill_(0.7)
    step_both(stepper, ours, loop)


def test_gradients_that_move(device: str) -> None:
    """zero_grad leaves no gradient in place: the next one may lie anywhere."""
    ours, loop = ([make(device=device)] for _ in range(2))
    stepper, alive = TritonStep(CHUNK), []  # tensors that live keep their addresses
    for seed in range(3):
        fresh = make(device=device, seed=seed).lists.g
        alive.append(fresh)
        for parts in (ours, loop):
            parts[0].lists.g[:] = [g.clone() for g in fresh]
            alive.append(list(parts[0].lists.g))
        step_both(stepper, ours, loop)
    assert len(stepper.tables) == 1


@pytest.mark.parametrize(
    ("dtype", "memory"),
    [
        (torch.float16, torch.float16),
        (torch.float16, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float32, torch.float16),
    ],
    ids=str,
)
def test_half_precision(dtype: Any, memory: Any, device: str) -> None:
    ours, loop = ([make(device=device, dtype=dtype, memory=memory, momentum=0.9)] for _ in range(2))
    TritonStep(CHUNK).step(ours, True)
    step(loop, True)
    agree(ours, loop, eps=max(torch.finfo(dtype).eps, torch.finfo(memory).eps))


def test_memory_in_any_dense_order(device: str) -> None:
    """Images with the channels last, of a convolution that was moved there."""
    ours, loop = ([make(device=device, shapes=[(2, 3, 4, 5), (5, 4)])] for _ in range(2))
    for (part,) in (ours, loop):
        for ys in part.lists[:3]:
            ys[0] = ys[0].to(memory_format=torch.channels_last)  # type: ignore[union-attr]
            ys[1] = ys[1].t()  # type: ignore[union-attr]
    step_both(TritonStep(CHUNK), ours, loop)


def test_tensors_that_are_not_aligned(device: str) -> None:
    """Views into one long gradient, as DDP's buckets are."""
    ours, loop = ([make(device=device)] for _ in range(2))
    flat = torch.cat([g.flatten() for g in ours[0].lists.g])
    pieces = flat.split([g.numel() for g in ours[0].lists.g])
    views = [piece.view(g.shape) for piece, g in zip(pieces, ours[0].lists.g, strict=True)]
    assert any(view.data_ptr() % 16 for view in views)
    ours[0].lists.g[:] = views
    step_both(TritonStep(CHUNK), ours, loop)


# -- what is skipped ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "i"),
    [
        (math.nan, 0),
        (math.inf, 3),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in ((math.nan, 3), (math.inf, 0), (-math.inf, 0), (-math.inf, 3))
        ),
    ],
)
def test_inf_and_nan_change_nothing(value: float, i: int, device: str) -> None:
    ours, loop = ([make(device=device, momentum=0.9, dampening=0.3)] for _ in range(2))
    for part in (*ours, *loop):
        part.lists.g[i].view(-1)[-1] = value
    before, stepper = clones(ours), TritonStep(CHUNK)
    ok, norms = stepper.step(ours, True)
    assert not ok
    assert all(torch.equal(y, z) for y, z in zip(state(ours), before, strict=True))
    agree_on_norms(norms, step(loop, True)[1])
    for part in (*ours, *loop):
        part.lists.g[i].view(-1)[-1] = 1.0
    assert step_both(stepper, ours, loop)  # the flag is reset at each step


def test_the_largest_numbers_are_finite(device: str) -> None:
    """Their sum in float32 is not."""
    ours = [make(Sign(), device=device, feedback=False)]
    for g in ours[0].lists.g:
        g.fill_(torch.finfo(torch.float32).max)
    assert bool(TritonStep(CHUNK).step(ours, True)[0])


OVERFLOWS: dict[str, dict[str, Any]] = {  # what is largest in tensor 2, and the options
    "lr d": {"g": 1e38, "lr": 10.0},
    "decay": {"x": 1e38, "weight_decay": 10.0},
    "momentum": {"m": 1.6e38, "g": 1e38, "momentum": 0.9, "lr": 1e-9},
    "memory": {"e": 1.6e38, "g": 1e38, "lr": 1.0},
    "half memory": {"g": 5e4, "lr": 1.0, "memory": torch.float16},
    "half x": {"g": 5e4, "lr": 1.0, "dtype": torch.float16, "memory": torch.float32},
    "x": {"x": 2e38},
    "x is NaN": {"x": math.nan},
    "e is inf": {"e": math.inf},
    "dense": {"c": Identity(), "g": 3e38, "lr": 0.6, "feedback": False},
    "signs": {"c": Sign(), "lr": 2e38, "feedback": False},
}


overflows = pytest.mark.filterwarnings("ignore:.* encountered in:RuntimeWarning")  # of NumPy


@overflows
@pytest.mark.parametrize("name", OVERFLOWS)
def test_finite_numbers_that_overflow_change_nothing(name: str, device: str) -> None:
    options = dict(OVERFLOWS[name])
    large = {letter: options.pop(letter) for letter in "xgem" if letter in options}
    ours, loop = ([make(device=device, **options)] for _ in range(2))
    for part in (*ours, *loop):
        for letter, value in large.items():
            getattr(part.lists, letter)[2].view(-1)[-1] = value
    before = clones(ours)
    ok, _ = TritonStep(CHUNK).step(ours, True)
    assert not ok
    assert not step(loop, True)[0]
    assert all(
        torch.equal(y.nan_to_num(7.0), z.nan_to_num(7.0))
        for y, z in zip(state(ours), before, strict=True)
    )


@overflows
@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("c", [Identity(), Sign(), ScaledSign()], ids=str)
@pytest.mark.parametrize("feedback", [False, True])
def test_a_step_size_on_the_device_that_is_not_finite(
    value: float, c: Any, feedback: bool, device: str
) -> None:
    lr = torch.tensor(value, device=device)
    ours = [make(c, device=device, lr=lr, feedback=feedback)]
    before = clones(ours)
    assert not TritonStep(CHUNK).step(ours, True)[0]
    assert all(torch.equal(y, z) for y, z in zip(state(ours), before, strict=True))


def test_a_wider_memory_gets_lr_d_unrounded(device: str) -> None:
    """As in float64: e is p less a multiple of its signs, and rounded to float32 only."""
    lr = torch.tensor(0.1, device=device)
    half: dict[str, Any] = {"dtype": torch.bfloat16, "memory": torch.float32, "lr": lr}
    (ours, loop) = (make(Sign(zero=0), device=device, **half) for _ in range(2))
    TritonStep(CHUNK).step([ours], True)
    for e, before, g in zip(ours.lists.e, loop.lists.e, loop.lists.g, strict=True):
        assert e is not None
        assert before is not None
        p = before.double() + 0.1 * g.double()
        torch.testing.assert_close(e.double(), p - p.sign(), rtol=1e-6, atol=1e-6)


# -- how it works ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("parts", "launches"), [(1, 3), (2, 5), (4, 9)])
def test_the_number_of_launches(parts: int, launches: int, device: str, monkeypatch: Any) -> None:
    """Comparing the verdict is one more; addresses are written only where they changed."""
    names: list[str] = []

    class Counted:
        """The module of the kernels; notes each one that is asked for."""

        def __getattr__(self, name: str) -> Any:
            if name != "tl":
                names.append(name)
            return getattr(module, name)

    module = triton_step.kernels()
    monkeypatch.setattr(triton_step, "kernels", Counted)
    made = [make(device=device, shapes=[(3,)], seed=seed) for seed in range(parts)]
    stepper = TritonStep(CHUNK)
    stepper.step(made, True)
    assert len(names) == launches + 1
    names.clear()
    stepper.step(made, True)
    assert len(names) == launches


def test_autograd_knows_that_parameters_changed(device: str) -> None:
    part = make(device=device)
    before = [x._version for x in part.lists.x]
    TritonStep(CHUNK).step([part], True)
    assert all(x._version > v for x, v in zip(part.lists.x, before, strict=True))


def test_few_tables_are_kept(device: str) -> None:
    stepper, alive = TritonStep(CHUNK), []
    for seed in range(triton_step.TABLES + 3):
        alive.append(make(device=device, shapes=[(2,)], seed=seed))
        stepper.step([alive[-1]], True)
    assert len(stepper.tables) == triton_step.TABLES


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_captured_step_is_the_eager_one() -> None:
    shapes = [(512, 512, 3, 3), (512,), (10, 512), (7,)]
    lr = torch.tensor(0.1, device="cuda")
    ours, eager = ([make(device="cuda", shapes=shapes, lr=lr, momentum=0.9)] for _ in range(2))
    stepper, plain = TritonStep(), TritonStep()
    graph = torch.cuda.CUDAGraph()
    with own_stream(torch.device("cuda")):
        stepper.step(ours, True)
        with capturing(graph):
            ok, _ = stepper.step(ours, True)
    plain.step(eager, True)
    for t in range(4):
        lr.fill_(0.1 / (t + 1))
        bad = math.inf if t == 2 else 0.5
        for part in (*ours, *eager):
            part.lists.g[1][0] = bad
        graph.replay()
        plain.step(eager, True)
        assert bool(ok) == (t != 2)
        assert all(torch.equal(y, z) for y, z in zip(state(ours), state(eager), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_nothing_waits_for_the_device() -> None:
    ours, stepper = [make(device="cuda")], TritonStep()
    with no_synchronisation():
        stepper.step(ours, True)
        stepper.step(ours, True)


# -- as the form of an optimiser ------------------------------------------------------------------

MATRICES = ((4, 4), (3, 5), (7,))


def with_gradients(device: str, shapes: Any = MATRICES) -> Tensors:
    xs = parameters(shapes, device=device)
    set_gradients(xs, normals(shapes, seed=1000))
    return xs


def groups(xs: Tensors) -> list[dict[str, Any]]:
    """Weights that are compressed, and a bias that is not."""
    bias = {"params": xs[2:], "compressor": Identity(), "error_feedback": False}
    return [{"params": xs[:2]}, bias]


def agree_on_parameters(xs: Tensors, ys: Tensors) -> None:
    for x, y in zip(xs, ys, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-6)


MOMENTUM_AND_DECAY: dict[str, Any] = {"momentum": 0.9, "weight_decay": 0.1}


def test_the_optimiser_takes_it_when_asked(device: str) -> None:
    """Steps with a schedule, one that is skipped, and what the optimiser reports of them."""
    xs, ys = with_gradients(device), with_gradients(device)
    ours = EFSGD(groups(xs), 0.1, fused="triton", measure=True, **MOMENTUM_AND_DECAY)
    loop = EFSGD(groups(ys), 0.1, fused=False, foreach=False, measure=True, **MOMENTUM_AND_DECAY)
    for optimizer, params in ((ours, xs), (loop, ys)):
        take_steps(optimizer, params, range(3))
        set_gradients(params, normals(MATRICES, seed=1003))
        params[2].grad[1] = math.nan  # type: ignore[index]
        optimizer.step()
        optimizer.param_groups[0]["lr"] = 0.03
        take_steps(optimizer, params, range(4, 6))
    assert (ours.form, loop.form) == ("triton", "loop")
    assert int(ours.skipped) == int(loop.skipped) == 1
    agree_on_parameters(xs, ys)
    torch.testing.assert_close(ours.memory_norm(), loop.memory_norm(), rtol=1e-6, atol=0)
    shares = [optimizer.density()[:4] for optimizer in (ours, loop)]  # without the parameters
    torch.testing.assert_close(*shares, rtol=1e-6, atol=0)


def test_a_state_goes_on_to_the_bit(device: str) -> None:
    xs, ys = with_gradients(device), with_gradients(device)
    through, first = (
        EFSGD(groups(zs), 0.1, fused="triton", **MOMENTUM_AND_DECAY) for zs in (xs, ys)
    )
    take_steps(through, xs, range(4))
    take_steps(first, ys, range(2))
    second = EFSGD(groups(ys), 0.1, fused="triton", **MOMENTUM_AND_DECAY)
    second.load_state_dict(first.state_dict())
    take_steps(second, ys, range(2, 4))
    assert all(torch.equal(x, y) for x, y in zip(xs, ys, strict=True))


def test_a_copy_steps_its_own_tensors(device: str) -> None:
    xs = with_gradients(device)
    optimizer = EFSGD(xs, 0.1, fused="triton", **MOMENTUM_AND_DECAY)
    take_steps(optimizer, xs, range(2))
    before = [x.clone() for x in xs]
    copied = copy.deepcopy(optimizer)
    assert not copied._forms.triton.tables
    take_steps(copied, copied.param_groups[0]["params"], range(2, 3))
    assert all(torch.equal(x, y) for x, y in zip(xs, before, strict=True))
    take_steps(optimizer, xs, range(2, 3))
    agree_on_parameters(xs, copied.param_groups[0]["params"])


def test_tensors_that_change_in_place_are_looked_at_again(device: str) -> None:
    """At the same addresses, in another order of memory."""
    xs = with_gradients(device, ((4, 4),))
    optimizer = EFSGD(xs, 0.1, fused="triton")
    take_steps(optimizer, xs, range(2))
    address = xs[0].data_ptr()
    xs[0].data = xs[0].data.t()
    assert xs[0].data_ptr() == address
    xs[0].grad = torch.ones(4, 4, device=device)
    with pytest.raises(RuntimeError, match="another order than its parameter: leave fused to None"):
        optimizer.step()
    optimizer.state[xs[0]]["memory"].t_()
    xs[0].grad = xs[0].grad.t()
    before = xs[0].detach().clone()
    optimizer.step()
    assert not torch.equal(xs[0], before)


def test_a_parameter_that_grew_is_refused(device: str) -> None:
    """Its memory is as long as it was."""
    xs = with_gradients(device)
    optimizer = EFSGD(xs, 0.1, fused="triton")
    take_steps(optimizer, xs, range(2))
    xs[0].data = torch.zeros(8, 4, device=device)
    set_gradients(xs, [torch.ones_like(x) for x in xs])
    with pytest.raises(
        ValueError, match=r"memory of parameter 0 .* has shape \(4, 4\), not \(8, 4\)"
    ):
        optimizer.step()
    assert not xs[0].any()


def test_memory_elsewhere_is_refused(device: str) -> None:
    part = make(device=device)
    part.lists.e[1] = torch.zeros(16, device="meta")
    assert supported([part]) == "a parameter has another shape or device than what is kept of it"


def test_memory_of_another_dtype_at_the_same_address(device: str) -> None:
    """A state that was loaded may lie where the last one lay."""
    results = []
    for fused in ("triton", False):
        xs = with_gradients(device, ((7,),))
        optimizer = EFSGD(xs, 0.1, fused=fused, foreach=False)  # type: ignore[arg-type]
        take_steps(optimizer, xs, range(2))
        state = optimizer.state[xs[0]]
        before = state["memory"]
        state["memory"] = before.view(torch.bfloat16)[:7]
        state["memory"].zero_()
        assert state["memory"].data_ptr() == before.data_ptr()
        take_steps(optimizer, xs, range(2, 4))
        results.append([*xs, state["memory"]])
    for x, y in zip(*results, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-2, atol=1e-4)


def test_a_refused_step_keeps_its_table(device: str) -> None:
    """The tensors of a graph stay known while another compressor is tried."""
    xs = with_gradients(device)
    optimizer = EFSGD(xs, 0.1, fused="triton")
    take_steps(optimizer, xs, range(2))
    (table,) = optimizer._forms.triton.tables.values()
    compressor = optimizer.param_groups[0]["compressor"]
    optimizer.param_groups[0]["compressor"] = TopK(1)
    before = [x.detach().clone() for x in xs]
    with pytest.raises(RuntimeError, match="there is no Triton kernel of topk:1"):
        optimizer.step()
    assert all(torch.equal(x, y) for x, y in zip(xs, before, strict=True))
    optimizer.param_groups[0]["compressor"] = compressor
    optimizer.step()
    (after,) = optimizer._forms.triton.tables.values()
    assert after is table


def test_the_optimiser_says_why_it_cannot(device: str, monkeypatch: Any) -> None:
    xs = with_gradients(device)
    before = [x.detach().clone() for x in xs]
    with pytest.raises(RuntimeError, match="fused='triton', but there is no Triton kernel of topk"):
        EFSGD(xs, 0.1, TopK(1), fused="triton").step()
    monkeypatch.setenv("EFSGD_COMPILE", "0")
    with pytest.raises(RuntimeError, match="fused='triton', but EFSGD_COMPILE is 0"):
        EFSGD(xs, 0.1, fused="triton").step()
    assert all(torch.equal(x, y) for x, y in zip(xs, before, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_optimiser_is_captured_with_it() -> None:
    xs, ys = with_gradients("cuda"), with_gradients("cuda")
    ours, eager = (EFSGD(groups(zs), 0.1, fused="triton", capturable=True) for zs in (xs, ys))
    graph = torch.cuda.CUDAGraph()
    with own_stream(torch.device("cuda")):
        ours.step()
        with capturing(graph):
            ours.step()
    for _ in range(3):
        graph.replay()
    for _ in range(4):
        eager.step()
    assert all(torch.equal(x, y) for x, y in zip(xs, ys, strict=True))


# -- what it refuses ------------------------------------------------------------------------------


def changed(part: Part, field: str, value: Any) -> Part:
    getattr(part.lists, field)[1] = value
    return part


REFUSED: list[tuple[Any, str]] = [
    (lambda: make(TopK(1)), "no Triton kernel of topk:1"),
    (lambda: make(dtype=torch.float64), "no Triton kernel for torch.float64"),
    (lambda: make(lr=torch.tensor(0.1, device="meta")), "lr is on another device"),
    (lambda: changed(make(), "x", torch.randn(32)[::2]), "another order|gaps"),
    (lambda: changed(make(shapes=[(2,), (4, 4)]), "g", torch.randn(4, 4).t()), "another order"),
    (lambda: changed(make(), "g", torch.randn(16).half()), "another dtype"),
    (lambda: changed(make(), "e", torch.randn(16).half()), "several dtypes"),
    (lambda: make()._replace(numbers=Numbers(0.1, torch.tensor(0.1), 0.0, 0.0)), "other than lr"),
]


@pytest.mark.parametrize(("refused", "words"), REFUSED)
def test_what_it_cannot_step_is_said(refused: Any, words: str, device: str) -> None:
    if device == "cuda":
        pytest.skip("tensors are made on the CPU")
    reason = supported([refused()])
    assert reason is not None
    assert any(part in reason for part in words.split("|")), reason


def test_global_scope_is_refused(device: str) -> None:
    part = make(device=device)
    rule = replace(part.rule, together=True)
    assert supported([part._replace(rule=rule)]) == "all tensors of a group make one vector"


def test_the_cpu_is_refused_but_by_the_interpreter(monkeypatch: Any) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    triton_step.missing.cache_clear()
    assert supported([make()]) == "Triton does not work on cpu"
    triton_step.missing.cache_clear()
