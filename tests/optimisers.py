"""What the tests of the optimiser share: parameters, gradients, steps, and the steps in NumPy."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from efsgd.compressors.base import Compressor
from efsgd.deep import EFSGD
from efsgd.deep.kernels import draw, kernel
from efsgd.deep.optim.forms import compiled
from efsgd.deep.optim.parts import Part
from efsgd.deep.optim.state.entries import STATE
from efsgd.deep.optim.step import step
from efsgd.methods.base import Method

SHAPES = ((3, 4), (5,), ())
Tensors = list[Tensor]
loop_and_foreach = pytest.mark.parametrize("foreach", [False, True], ids=["loop", "foreach"])
scopes = pytest.mark.parametrize("scope", ["tensor", "global"])


def generator(seed: int = 0, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def normals(shapes: Sequence[tuple[int, ...]] = SHAPES, seed: int = 0, **kind: Any) -> Tensors:
    """Normal tensors of these shapes."""
    rng = generator(seed)
    return [torch.randn(shape, generator=rng, dtype=torch.float64).to(**kind) for shape in shapes]


def parameters(shapes: Sequence[tuple[int, ...]] = SHAPES, seed: int = 0, **kind: Any) -> Tensors:
    """Parameters with such entries; float32 unless ``kind`` gives a dtype."""
    kind.setdefault("dtype", torch.float32)
    return [torch.nn.Parameter(x) for x in normals(shapes, seed, **kind)]


def copies(xs: Sequence[Tensor]) -> Tensors:
    """Parameters with the same values and memory format."""
    return [torch.nn.Parameter(x.detach().clone()) for x in xs]


def take_steps(optimizer: Any, xs: Sequence[Tensor], steps: range | int, **kind: Any) -> None:
    """Steps with gradients that depend on the number of the step only."""
    for t in range(steps) if isinstance(steps, int) else steps:
        set_gradients(xs, normals([tuple(x.shape) for x in xs], 1000 + t, **kind))
        optimizer.step()


def set_gradients(xs: Sequence[Tensor], gs: Sequence[Tensor | None]) -> None:
    """Set the gradients, in the dtype and memory format of the parameters."""
    for x, g in zip(xs, gs, strict=True):
        x.grad = None if g is None else torch.empty_like(x).copy_(g)


def states(optimizer: EFSGD) -> list[dict[str, Any]]:
    """A copy of the state of each parameter, in order, without what all of them share."""
    xs = [x for group in optimizer.param_groups for x in group["params"]]
    each = [optimizer.state.get(x, {}) for x in xs]
    return copy.deepcopy([{k: v for k, v in state.items() if k in STATE} for state in each])


def same(a: Any, b: Any) -> bool:
    """Whether nested values are equal, tensors bit for bit but for the sign of zero and of NaN."""
    if isinstance(a, Tensor):
        comparable = isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return comparable and np.array_equal(bits(a), bits(b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


def bits(x: Tensor) -> Any:
    """The bits of a tensor as whole numbers."""
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return x.detach().contiguous().view(kinds[x.element_size()]).numpy()


def through_file(state: dict[str, Any]) -> dict[str, Any]:
    """Saved and loaded the safe way."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


def skip_a_step(xs: Sequence[Tensor], optimizer: Any) -> None:
    """A step that is skipped."""
    set_gradients(xs, [x.detach() * torch.nan for x in xs])
    optimizer.step()


def as_before(state: dict[str, Any]) -> dict[str, Any]:
    """The format of earlier versions: generators, seed and count beside "state"."""
    state = copy.deepcopy(state)
    first, *others = state["state"].values()
    for entries in others:
        del entries["seed"]
    generator = first.pop("cpu_generator", None)
    beside = {"seed": first.pop("seed"), "skipped": first.pop("skipped")}
    return state | beside | {"generators": {} if generator is None else {"cpu": generator}}


def without_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the compiled form run what it would compile."""

    def uncompiled(key: Any, check: bool) -> Callable[..., Any]:
        def run(inputs: Any) -> Any:
            parts = [
                Part(lists, numbers, rule, kernel(rule.compressor), drawn)
                for (lists, numbers, drawn), rule in zip(inputs, key.rules, strict=True)
            ]
            return step(parts, check)

        return run

    monkeypatch.delenv("EFSGD_COMPILE", raising=False)
    monkeypatch.setattr(compiled, "_compiled", uncompiled)
    monkeypatch.setattr(compiled, "compiler_missing", lambda device: None)


# -- the steps in NumPy ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Fed(Compressor):
    """A compressor for NumPy that draws what torch draws: its "rng" is a torch generator."""

    inner: Compressor

    def draw(self, shape: tuple[int, ...], rng: Any = None, state: Any = None) -> Any:
        return as_arrays(draw(self.inner, shape, rng, "cpu"))

    def apply(self, x: Any, drawn: Any = None) -> Any:
        return self.inner.apply(x, drawn)


def as_arrays(drawn: Any) -> Any:
    if isinstance(drawn, list):
        return [as_arrays(part) for part in drawn]
    return None if drawn is None else drawn.numpy()


def in_numpy(
    method: Method, xs: Sequence[Any], gs: Iterator[Sequence[Any]], lrs: Sequence[float], seed: int
) -> tuple[list[Any], list[Any], Any]:
    """Steps of the engine's method on vectors of one replicate: the last x, memory and p."""
    rng: Any = generator(seed)
    xs = [np.asarray(x).reshape(1, -1) for x in xs]
    memories = [method.start(x) for x in xs]
    updates: list[Any] = []
    for lr, g in zip(lrs, gs, strict=False):
        updates = [
            method.step(x, np.asarray(gradient).reshape(1, -1), memory, lr, rng)
            for x, gradient, memory in zip(xs, g, memories, strict=True)
        ]
        xs, memories = [u.x for u in updates], [u.memory for u in updates]
    return xs, memories, updates
