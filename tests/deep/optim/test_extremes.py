"""Steps from numbers of every magnitude that a dtype holds, of every method, in every form.

Without this file a sum that overflows in one dtype only, or in one form only, could be overlooked:
from finite numbers a step must lead to finite numbers or be skipped, and in all forms alike.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from optimisers import generator, without_compiler
from torch import Tensor, nn

from efsgd.deep import EFSGD

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
FORMS: tuple[dict[str, Any], ...] = ({"foreach": False}, {"foreach": True}, {"fused": True})
FED_BACK = (
    "scaledsign",
    "scaledsign:zero=0",
    "topk:2",
    "signtopk:2",
    "randk:2",
    "contractive,qsgd:255",
    "contractive,natural",
    "identity",
    "contractive,terngrad",
    "lowrank:1",
    "contractive,dithering:2",
    "quantised:4,topk:3",
    "shared:randk:2",
    "threshold:abs=1.0",
    "threshold:linf=.5",
    "threshold:l2=.5",
    "twomeans",
    "blockwise:3,scaledsign",
    "contractive,randk:2,unbiased",
    "natural:nearest",
    "scaled:.5,natural",
    "scaled:1e5,sign",
    "sign",
)
WITHOUT = (
    "sign",
    "qsgd:2",
    "qsgd:255",
    "natural",
    "terngrad",
    "randk:2,unbiased",
    "scaled:3.0,sign",
    "scaled:1e30,sign",
    "identity",
    "lowrank:1",
    "scaledsign",
    "dithering:2",
    "quantised:4,topk:3",
    "shared:randk:2,unbiased",
    "threshold:abs=1e-3",
    "blockwise:3,qsgd:255",
)


class Choices:
    """Random choices: those of a number."""

    def __init__(self, number: int) -> None:
        self.rng = generator(number)

    def of(self, *values: Any) -> Any:
        return values[int(torch.randint(len(values), (), generator=self.rng))]

    def entries(
        self, dtype: torch.dtype, size: int, *, positive: bool, decades: tuple[float, ...]
    ) -> Tensor:
        """Finite ones, the largest at most so many decades below that of the dtype."""
        below = self.of(*decades) + 0.2 * float(torch.rand((), generator=self.rng))
        uniform = torch.rand(size, generator=self.rng, dtype=torch.float64)
        signed = uniform if positive else 2 * uniform - 1
        return (signed * torch.finfo(dtype).max * 10**-below).to(dtype)


class Start:
    """Where a step starts: a method, the parameters, and their gradients, memory and momentum."""

    def __init__(self, number: int) -> None:
        choices = Choices(number)
        self.dtype = choices.of(torch.float16, torch.float16, *DTYPES)
        self.feedback = choices.of(True, False)
        self.options = {
            "compressor": choices.of(*(FED_BACK if self.feedback else WITHOUT)),
            "momentum": choices.of(0, 0, 0.9),
            "weight_decay": choices.of(0, 0.5, 1.0, 1.0),
            "error_feedback": self.feedback,
            "scope": choices.of("tensor", "global"),
        }
        # without signs, dampening and other entries the bounds of tensors are those of entries
        self.exact = choices.of(True, False)
        if self.options["momentum"]:
            self.options["nesterov"] = choices.of(True, False)
            if not self.exact and not self.options["nesterov"]:
                self.options["dampening"] = choices.of(0, 0.5)
        if not self.exact:
            self.options["maximize"] = choices.of(True, False)
        lr = choices.of(1e-3, 1e-3, 0.1, 1.0)
        self.lr = choices.of(lr, torch.tensor(lr))
        self.memory_dtype = choices.of(None, torch.float32, *DTYPES) if self.feedback else None
        sizes = (1,) if self.exact else choices.of((6, 3), (2, 40))
        memory_dtype = self.memory_dtype or self.dtype
        kinds = {  # the gradient is huge, the rest often within half the range
            "x": (self.dtype, (0, 0.4, 0.4, 0.4, 1, 2)),
            "g": (self.dtype, (0, 0, 0, 0.4, 1, 2)),
            "memory": (memory_dtype, (0, 0.4, 1, 2, 2, 2)),
            "momentum_buffer": (self.dtype, (0, 0.4, 1, 2)),
        }
        self.tensors = {
            name: [
                choices.entries(dtype, size, positive=self.exact, decades=decades) for size in sizes
            ]
            for name, (dtype, decades) in kinds.items()
        }

    def shrink(self) -> None:
        """Make all numbers a little smaller: by more than roundings, even those of bfloat16."""
        self.tensors = {name: [0.97 * y for y in ys] for name, ys in self.tensors.items()}

    def step(self, form: dict[str, Any]) -> tuple[bool, list[Tensor]]:
        """One step in this form: whether it was skipped, and all that is stored after it."""
        xs = [nn.Parameter(x.clone()) for x in self.tensors["x"]]
        optimizer = EFSGD(
            xs, self.lr, memory_dtype=self.memory_dtype, **{"fused": False} | self.options | form
        )
        for x, *values in zip(xs, *self.tensors.values(), strict=True):
            for name, value in zip(self.tensors, values, strict=True):
                wanted = {"memory": self.feedback, "momentum_buffer": self.options["momentum"]}
                if wanted.get(name):
                    optimizer.state[x][name] = value.clone()
            if self.options.get("dampening"):
                optimizer.state[x]["started"] = torch.tensor(True)
            x.grad = values[1].clone()
        optimizer.step()
        kept = [optimizer.state[x].get(name) for x in xs for name in ("memory", "momentum_buffer")]
        return bool(optimizer.skipped), [*xs, *(y for y in kept if y is not None)]


def check(number: int) -> bool:
    """Take the step in all forms; returns whether it was skipped."""
    start = Start(number)
    skips = []
    for form in FORMS:
        skipped, stored = start.step(form)
        assert all(bool(y.isfinite().all()) for y in stored), (number, form, start.options)
        skips.append(skipped)
    loop, foreach, compiled = skips
    assert loop == foreach, (number, start.options)
    # of all entries it knows which make a sum; the others bound every sum by the largest ones
    assert loop >= compiled, (number, start.options)
    if start.exact and loop != compiled:  # only a rounding can decide
        start.shrink()
        assert start.step(FORMS[0])[0] == compiled, (number, start.options)
    return loop


def test_steps_from_extreme_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    without_compiler(monkeypatch)
    skips = [check(number) for number in range(240)]
    assert 60 < sum(skips) < 200


@pytest.mark.slow
def test_many_steps_from_extreme_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    without_compiler(monkeypatch)
    for number in range(1000, 21000):
        check(number)
