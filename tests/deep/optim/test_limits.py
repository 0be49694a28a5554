"""Nothing that is not finite is ever stored: not in x, not in e, not in m, in any form of the step.

Without this file a sum that overflows, of finite gradients, would leave inf in the memory, which
stays there and reaches the parameters at every later step.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from compressor_table import COMPRESSORS, LIBRARY
from optimisers import generator, same, states, without_compiler
from torch import Tensor, nn

from efsgd import QSGD, Identity, Natural, RandK, Scaled, ScaledSign, Sign, Threshold, TopK
from efsgd.compressors.base import Compressor
from efsgd.deep import EFSGD
from efsgd.deep.kernels import apply, draw
from efsgd.deep.optim.limits import reach

# -- the largest entry that a compressor can send --------------------------------------------------


@pytest.mark.parametrize("c", COMPRESSORS, ids=str)
def test_no_compressor_sends_more_than_its_reach(c: Compressor) -> None:
    rng = generator()
    for d in (1, 2, 5, 30):
        peak = torch.zeros(d, dtype=torch.float64)
        peak[-1] = -1.0
        vectors = [peak, torch.ones(d, dtype=torch.float64)]
        vectors += [torch.randn(d, generator=rng, dtype=torch.float64) for _ in range(5)]
        a, b = reach(c, d)
        for x in vectors:
            sent = apply(c, x, draw(c, (d,), rng, "cpu") if c.random else None)
            assert float(sent.abs().max()) <= (a * float(x.abs().max()) + b) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("c", "x"),
    [
        (ScaledSign(), [1.0, -1, 1]),
        (QSGD(1), [1.0, 1, 1, 1]),
        (RandK(1, unbiased=True), [1.0, 1, 1, 1]),
        (Sign(), [0.5]),
    ],
    ids=str,
)
def test_the_reach_is_reached(c: Compressor, x: list[float]) -> None:
    vector, rng = torch.tensor(x, dtype=torch.float64), generator()
    a, b = reach(c, len(x))
    draws = [draw(c, (len(x),), rng, "cpu") if c.random else None for _ in range(50)]
    most = max(float(apply(c, vector, drawn).abs().max()) for drawn in draws)
    assert most == pytest.approx(a * max(map(abs, x)) + b, rel=1e-12)


def test_a_contraction_of_ones_own_is_within_the_default() -> None:
    @dataclass(frozen=True)
    class Mine(Compressor):
        def apply(self, x: Any, drawn: Any = None) -> Any:
            return x

    assert Mine not in LIBRARY
    # |C(p)| <= |C(p)|_2 <= |p|_2 + |C(p) - p|_2 <= 2 |p|_2 <= 2 sqrt(d) |p|
    assert reach(Mine(), 9) == (6.0, 0.0)


# -- what overflows --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """Steps of one parameter; only the last of them does not fit."""

    x: list[float]
    gs: list[list[float]]
    c: Compressor = field(default_factory=ScaledSign)
    lr: Any = 1.0
    dtype: torch.dtype = torch.float32
    options: dict[str, Any] = field(default_factory=dict)


HUGE = 3e38  # the largest float32 is 3.4e38, the largest float16 65504
PLAIN = {"error_feedback": False}
CASES = {
    "lr d": Case([0.0, 1.0], [[HUGE, 1.0]], lr=10.0),
    "the weight decay": Case([1e38, 1.0], [[1.0, 1.0]], options={"weight_decay": 10.0}),
    "the momentum": Case([0.0, 1.0], [[1.5e38, 1.0]] * 2, lr=1e-9, options={"momentum": 0.9}),
    "dampened": Case(
        [0.0], [[1.5e38]] * 2, lr=1e-9, options={"momentum": 0.9, "dampening": 0.3}
    ),
    "Nesterov": Case(
        [0.0], [[1e38], [1.6e38]], lr=1.0, options={"momentum": 0.5, "nesterov": True}
    ),
    "the memory": Case([0.0, 0.0], [[1.6e38, 1.5e38], [0.0, 1.5e38]], TopK(1)),
    "float16": Case([1.0, 2.0], [[3e4, 1.0], [6e4, 1.0]], lr=1.0, dtype=torch.float16),
    "a float16 memory": Case(
        [1.0, 2.0], [[1.0, 2.0], [1e5, 1.0]], options={"memory_dtype": torch.float16}
    ),
    "float16 x": Case(
        [1.0], [[1.0], [6e4]], Threshold(abs=1.0), 1.0, torch.float16,
        {"memory_dtype": torch.float32},
    ),
    "the weight decay in float16": Case(
        [2e4, 1.0], [[6e4, 1.0]], lr=0.01, dtype=torch.float16,
        options={"weight_decay": 0.5, "memory_dtype": torch.float32},
    ),
    "a little of it": Case(
        [3000.0, 1.0], [[65504.0, 1.0]], lr=0.01, dtype=torch.float16,
        options={"weight_decay": 0.01},
    ),
    "that of signs": Case(
        [2e4, 1.0], [[6e4, 1.0]], Sign(), 0.01, torch.float16, {"weight_decay": 0.5} | PLAIN
    ),
    "below a wider memory": Case(
        [1e38, 1.0], [[3.3e38, 1.0]], lr=0.01,
        options={"weight_decay": 0.5, "memory_dtype": torch.float64},
    ),
    "a constant": Case([1.0] * 4, [[1.0] * 4], Scaled(Sign(), 1e5), 0.1, torch.float16),
    "a norm as a factor": Case([0.0] * 9, [[1.2e38] * 9], QSGD(255), 1e-9, options=PLAIN),
    "C(d), a power of two": Case([0.0], [[HUGE]], Natural(), 1e-9, options=PLAIN),
    "C(d), a norm": Case([0.0] * 4, [[HUGE] * 4], QSGD(1), 1e-9, options=PLAIN),
    "C(d), unbiased": Case([0.0] * 4, [[HUGE] * 4], RandK(1, unbiased=True), 1e-9, options=PLAIN),
    "inside of a wrapper": Case([0.0] * 4, [[1.6e38] * 4], Scaled(RandK(1, unbiased=True), 0.25)),
    "x": Case([HUGE, 1.0], [[-1e38, 1.0]]),
    "x, dense": Case([HUGE, 1.0], [[-1e38, 1.0]], Identity(), options=PLAIN),
    "x is inf": Case([math.inf, 1.0], [[1.0, 1.0]]),
    "x is NaN": Case([math.nan, 1.0], [[1.0, 1.0]], Sign(), options=PLAIN),
    "lr is inf": Case([1.0, 1.0], [[0.0, 1.0]], lr=torch.tensor(math.inf)),
    "lr is NaN": Case([1.0, 1.0], [[1.0, 1.0]], lr=torch.tensor(math.nan)),
    "lr is inf, signs": Case([1.0], [[1.0]], Sign(), torch.tensor(math.inf), options=PLAIN),
    "lr is NaN, signs": Case([1.0], [[1.0]], Sign(), torch.tensor(math.nan), options=PLAIN),
    "lr is NaN, dense": Case([1.0], [[0.0]], Identity(), torch.tensor(math.nan), options=PLAIN),
    "lr is huge, signs": Case([1.0], [[1.0]], Sign(), torch.tensor(HUGE), options=PLAIN),
}  # fmt: skip


@pytest.fixture(params=["loop", "foreach", "compiled"])
def form(request: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of a form; of the compiled one without its compiler."""
    if request.param != "compiled":
        return {"fused": False, "foreach": request.param == "foreach"}

    without_compiler(monkeypatch)
    return {"fused": True}


def of_case(case: Case, **options: Any) -> tuple[EFSGD, list[Tensor]]:
    """The optimiser, whose second parameter is an ordinary one."""
    xs = [
        nn.Parameter(torch.tensor(case.x, dtype=case.dtype)),
        nn.Parameter(torch.ones(3, dtype=case.dtype)),
    ]
    lr = 1.0 if isinstance(case.lr, Tensor) else case.lr
    optimizer = EFSGD(xs, lr, case.c, **case.options, **options)
    optimizer.param_groups[0]["lr"] = case.lr
    return optimizer, xs


def take(optimizer: EFSGD, xs: list[Tensor], g: list[float]) -> None:
    xs[0].grad = torch.tensor(g).to(xs[0].dtype)
    xs[1].grad = torch.full((3,), 0.25, dtype=xs[1].dtype)
    optimizer.step()


def kept(optimizer: EFSGD, xs: list[Tensor]) -> list[dict[str, Tensor]]:
    """A copy of e and m of each parameter that has them; what the first step makes is zero."""
    names = ("memory", "momentum_buffer")
    pairs = [[(name, optimizer.state[x].get(name)) for name in names] for x in xs]
    return [{name: y.clone() for name, y in of_x if y is not None} for of_x in pairs]


@pytest.mark.parametrize("scope", ["tensor", "global"])
@pytest.mark.parametrize("name", CASES)
def test_what_would_overflow_is_skipped(name: str, scope: Any, form: dict[str, Any]) -> None:
    case = CASES[name]
    optimizer, xs = of_case(case, scope=scope, **form)
    for g in case.gs[:-1]:
        take(optimizer, xs, g)
    assert int(optimizer.skipped) == 0
    before = [x.detach().clone() for x in xs], kept(optimizer, xs)
    take(optimizer, xs, case.gs[-1])
    assert int(optimizer.skipped) == 1
    assert same([x.detach() for x in xs], before[0])
    for now, then in zip(kept(optimizer, xs), before[1], strict=True):
        assert all(torch.equal(y, then.get(name, torch.zeros_like(y))) for name, y in now.items())


@pytest.mark.parametrize("name", CASES)
def test_raise_names_the_parameter_that_would_overflow(name: str) -> None:
    case = CASES[name]
    optimizer, xs = of_case(case, nonfinite="raise", fused=False)
    for g in case.gs[:-1]:
        take(optimizer, xs, g)
    before = [x.detach().clone() for x in xs], states(optimizer)
    generators = {k: v.get_state() for k, v in optimizer.generators.items()}
    words = f"the step of parameter 0 of its group, shape ({len(case.x)},) leaves half the range"
    with pytest.raises(FloatingPointError, match=re.escape(words)):
        take(optimizer, xs, case.gs[-1])
    assert same([x.detach() for x in xs], before[0])
    assert same(states(optimizer), before[1])
    assert same({k: v.get_state() for k, v in optimizer.generators.items()}, generators)


def test_a_vector_of_several_dtypes_fits_into_each(form: dict[str, Any]) -> None:
    """The mean of all three is sent: 2/3 of 3e4 fits into float16, 2/3 of 3e5 does not."""
    for size, skipped in ((3e4, 0), (3e5, 1)):
        xs = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1, dtype=torch.float16))]
        optimizer = EFSGD(xs, 1.0, ScaledSign(), scope="global", **form)
        xs[0].grad, xs[1].grad = torch.full((2,), size), torch.ones(1, dtype=torch.float16)
        optimizer.step()
        assert int(optimizer.skipped) == skipped
        assert bool(xs[1].isfinite().all())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_lies_within_half_the_range_is_a_step(
    dtype: torch.dtype, form: dict[str, Any]
) -> None:
    """Each bound is met exactly: g by the weight of lr, x and m by half the range."""
    half = torch.finfo(dtype).max / 2
    x = nn.Parameter(torch.tensor([half, 1.0], dtype=dtype))
    x.grad = torch.tensor([1.0, -half], dtype=dtype)
    optimizer = EFSGD([x], 1.0, TopK(1), **form)
    optimizer.step()
    assert int(optimizer.skipped) == 0
    assert x.detach().tolist() == [half, half]  # 1 + half is half, rounded
    assert bool(x.isfinite().all())


@pytest.mark.parametrize("lr", [1.0, torch.tensor(1.0)], ids=["float", "tensor"])
def test_huge_entries_of_another_tensor_of_another_group_stop_all(
    lr: Any, form: dict[str, Any]
) -> None:
    xs = [nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = EFSGD([{"params": xs[:1]}, {"params": xs[1:], "lr": 10.0}], lr, **form)
    for x, g in zip(xs, (1.0, HUGE), strict=True):
        x.grad = torch.full((2,), g)
    optimizer.step()
    assert int(optimizer.skipped) == 1
    assert [x.detach().tolist() for x in xs] == [[1.0, 1.0]] * 2


# -- half precision --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("on", ["float", "tensor"])
def test_a_wider_memory_gets_lr_d_unrounded(
    dtype: torch.dtype, on: str, form: dict[str, Any]
) -> None:
    """lr d in half precision would be off by 2^-9: e is lr g itself where nothing is sent."""
    lr: Any = 0.1 if on == "float" else torch.tensor(0.1)
    x = nn.Parameter(torch.ones(64, dtype=dtype))
    optimizer = EFSGD([x], lr, TopK(1), memory_dtype=torch.float32, **form)
    x.grad = torch.randn(64, generator=generator()).to(dtype)
    optimizer.step()
    e = optimizer.state[x]["memory"]
    exact = 0.1 * x.grad.double()
    kept = e != 0
    assert int(kept.sum()) == 63
    off = ((e.double() - exact).abs() / exact.abs())[kept]
    assert float(off.max()) <= 2 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("c", [Identity(), TopK(1), Sign()], ids=str)
def test_without_memory_a_tensor_as_step_size_rounds_once(
    dtype: torch.dtype, c: Compressor, form: dict[str, Any]
) -> None:
    """The new x is the exact one rounded: half a unit in the last place, but for float32's."""
    start = torch.randn(256, generator=generator(1)).to(dtype)
    x = nn.Parameter(start.clone())
    optimizer = EFSGD([x], torch.tensor(0.1), c, error_feedback=False, **form)
    x.grad = torch.randn(256, generator=generator()).to(dtype)
    optimizer.step()
    sent = apply(c, x.grad)
    exact = start.double() - float(torch.tensor(0.1)) * sent.double()
    unit = torch.finfo(dtype).eps * 2.0 ** torch.frexp(exact).exponent.double() / 2
    assert float(((x.detach().double() - exact).abs() / unit).max()) <= 0.5 + 1e-3
