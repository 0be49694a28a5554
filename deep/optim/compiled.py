"""The step compiled: the loop of :mod:`efsgd.deep.optim.step` over all tensors as one function.

Numbers become 0-dim tensors, so that a schedule recompiles nothing, and every signature gets a code
object of its own, so that none uses up the recompilations that another is granted.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import FunctionType
from typing import Any, TypeAlias

import torch
import torch._dynamo.exc
from torch import Tensor

from efsgd.deep.kernels import kernel
from efsgd.deep.optim.parts import Lists, Numbers, Part, Rule
from efsgd.deep.optim.step import step

WORTHWHILE = 2**20  # elements from which compiling pays
SWITCH = "EFSGD_COMPILE"  # 0 in the environment: never compile
MOST = 8  # signatures for which one optimiser may compile by default; each takes seconds
# The step waits for memory, so it must go over it as few times as possible.
PASSES: dict[str, Any] = {
    # p is cheap to compute again, and dear to store: writing it out costs a third of the step
    "realize_reads_threshold": 64,
    "realize_opcount_threshold": 300,
    # else the checks of more than 64 gradients move away from what reads the gradients anyway
    "reorder_for_locality": False,
}
# No pass over several tensors at once: with many streams the processor fetches too late. Two sums,
# |p| and |g|, are of one tensor.
NARROW: dict[str, Any] = {"cpp.max_horizontal_fusion_size": 2}


def refusal(parts: Sequence[Part], force: bool) -> str | None:
    """Why this step is not compiled, or None; ``force`` ignores what is only a matter of cost.

    Whether compiling succeeds, only the first step shows.
    """
    devices = {x.device for part in parts for x in part.lists.x}
    missing = "the parameters are on several devices" if len(devices) > 1 else None
    missing = missing or switched_off() or compiler_missing(next(iter(devices)))
    if missing or force:
        return missing
    if all(part.rule.dense for part in parts):
        return "nothing is compressed"
    elements = sum(x.numel() for part in parts for x in part.lists.x)
    return f"{elements} elements are fewer than {WORTHWHILE}" if elements < WORTHWHILE else None


def switched_off() -> str | None:
    """Whether the environment rules out every compiled form."""
    return f"{SWITCH} is 0" if os.environ.get(SWITCH) == "0" else None


def compiler_missing(device: torch.device) -> str | None:
    """What torch.compile lacks for this device, as far as one can see without trying."""
    if device.type == "cuda":
        return None if find_spec("triton") else "Triton is not installed"
    if device.type != "cpu":
        return f"nothing is compiled for {device.type}"
    exists = _compiler(os.environ.get("CXX"), os.environ.get("PATH"))
    return None if exists else "there is no C++ compiler"


@cache  # looking through the PATH at every step would take as long as stepping small parameters
def _compiler(cxx: str | None, path: str | None) -> bool:
    names = (cxx, "g++", "clang++", "c++", "cl")
    return any(name and shutil.which(name, path=path) for name in names)


Signature: TypeAlias = tuple[tuple[Rule, Any], ...]  # what a compiled function is made for


class CompilingFailedError(Exception):
    """Nothing was compiled, and nothing has run; its text says why in one line."""


def signature(parts: Sequence[Part]) -> Signature:
    """The rule of each part, with the shape and dtype of its parameters."""
    return tuple((part.rule, tuple((x.shape, x.dtype) for x in part.lists.x)) for part in parts)


def compiled_step(
    key: Signature, parts: Sequence[Part], check: bool
) -> tuple[Tensor, list[Tensor | None]]:
    """What ``step`` does, in one compiled function; the first call takes up to a minute.

    Raises CompilingFailedError.
    """
    inputs = [(part.lists, _as_tensors(part.numbers), part.drawn) for part in parts]
    try:
        compiled = _compiled(key, check)
    except Exception as error:  # such as a version of Python that torch does not compile for
        raise CompilingFailedError(_first_line(error)) from error
    try:
        outcome: tuple[Tensor, list[Tensor | None]] = compiled(inputs)
    except torch._dynamo.exc.TorchDynamoException as error:  # what the step itself raises is other
        raise CompilingFailedError(_first_line(error)) from error
    return outcome


def _as_tensors(numbers: Numbers) -> Numbers:
    """On the host, where a kernel reads a number without waiting for the device."""
    return Numbers(
        *(
            n if isinstance(n, Tensor) else torch.tensor(n, dtype=torch.float64, device="cpu")
            for n in numbers
        )
    )


@cache
def _compiled(key: Signature, check: bool) -> Callable[..., Any]:
    rules = [rule for rule, _ in key]
    kernels = [kernel(rule.compressor) for rule in rules]

    def stepped(inputs: list[tuple[Lists, Numbers, list[Any]]]) -> Any:
        parts = [
            Part(lists, numbers, rule, apply, drawn)
            for (lists, numbers, drawn), rule, apply in zip(inputs, rules, kernels, strict=True)
        ]
        return step(parts, check)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of itself here, which as an error ends it
        import_module("torch._inductor.compile_fx")
    code = stepped.__code__.replace(co_name=f"step_{len(_code_objects)}")
    _code_objects.append(code)
    function = FunctionType(code, globals(), closure=stepped.__closure__)
    options = PASSES | ({} if any(rule.measure for rule in rules) else NARROW)
    return torch.compile(function, fullgraph=True, dynamic=False, options=options)


_code_objects: list[Any] = []  # the code objects so far


def _first_line(error: BaseException) -> str:
    error = getattr(error, "inner_exception", error)  # what torch has wrapped
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
