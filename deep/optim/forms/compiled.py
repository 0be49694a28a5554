"""The step compiled: the loop of :mod:`efsgd.deep.optim.step` over all tensors as one function.

Numbers become 0-dim tensors, so that a schedule recompiles nothing. A signature holds all that the
compiler specialises on, and gets a code object of its own, so that no optimiser uses up the
recompilations that another is granted.
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
from typing import Any, NamedTuple

import torch
import torch._inductor
from torch import Tensor

from efsgd.deep.kernels import kernel
from efsgd.deep.optim.forms.compiler_cache import own_compiler_cache
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
# torch keeps headers that it has compiled in its default folder, whatever folder is set, and that
# may be another user's. Without them the first compiling ever is shorter, and each further one 2 to
# 3 s longer.
HEADERS: dict[str, Any] = {"cpp_cache_precompile_headers": False}


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


class Signature(NamedTuple):
    """What a compiled function is made for; as long as it is equal, nothing is compiled anew."""

    rules: tuple[Rule, ...]
    layouts: tuple[Any, ...]  # of all tensors, and the kind of each number
    settings: tuple[Any, ...]  # of torch


class CompilingFailedError(Exception):
    """Nothing was compiled, and nothing has run; its text says why in one line."""


class SwitchedOffError(Exception):
    """torch.compile is switched off, perhaps for a while; nothing has run."""


def signature(parts: Sequence[Part]) -> Signature:
    """The rules of these parts, and all that is compiled in of their tensors and numbers."""
    return Signature(
        tuple(part.rule for part in parts),
        tuple(
            (
                tuple(None if y is None else _layout(y) for ys in part.lists for y in ys),
                tuple((n.dtype, n.device) if isinstance(n, Tensor) else None for n in part.numbers),
            )
            for part in parts
        ),
        (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()),
    )


def _layout(y: Tensor) -> tuple[Any, ...]:
    return y.shape, y.stride(), y.dtype, y.device


def compiled_step(
    key: Signature, parts: Sequence[Part], check: bool
) -> tuple[Tensor, list[Tensor | None]]:
    """What ``step`` does, in one compiled function; the first call takes up to a minute.

    Raises CompilingFailedError and SwitchedOffError.
    """
    inputs = [(part.lists, _as_tensors(part.numbers), part.drawn) for part in parts]
    try:
        compiled = _compiled(key, check)
    except Exception as error:  # such as a version of Python that torch does not compile for
        raise CompilingFailedError(_first_line(error)) from error
    outcome: tuple[Tensor, list[Tensor | None]] = compiled(inputs)
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
    rules, kernels = key.rules, [kernel(rule.compressor) for rule in key.rules]
    own_compiler_cache()

    def stepped(inputs: list[tuple[Lists, Numbers, list[Any]]]) -> Any:
        # Where torch.compile is switched off it calls this function as it is, and may raise
        # afterwards. While torch compiles, the condition is a constant.
        if not torch.compiler.is_dynamo_compiling():
            raise SwitchedOffError("torch.compile is switched off")
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
    return Compiled(function, _options(measure=any(rule.measure for rule in rules)))


def _options(measure: bool) -> dict[str, Any]:
    headers = HEADERS if HEADERS.keys() <= {*torch._inductor.list_options()} else {}  # not in 2.6
    return PASSES | headers | ({} if measure else NARROW)


_code_objects: list[Any] = []  # the code objects so far


class Compiled:
    """A function, compiled at its first call, that knows whether it has begun to run.

    Whatever is raised before that is the compiler's, of whatever class; what the step itself raises
    is raised as it is.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        """``options`` are those of Inductor."""
        self.options, self.running = options, False
        self.function = torch.compile(
            function, backend=self.inductor, fullgraph=True, dynamic=False
        )

    def inductor(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        """The backend of torch.compile, which notes when its product is called."""
        compiled = torch._inductor.compile(graph, inputs, options=self.options)

        def run(*tensors: Any) -> Any:
            self.running = True
            return compiled(*tensors)

        return run

    def __call__(self, inputs: Any) -> Any:
        """What the function returns; raises CompilingFailedError where it cannot be compiled."""
        self.running = False
        try:
            return self.function(inputs)
        except SwitchedOffError:
            raise
        except Exception as error:
            if self.running:
                raise
            raise CompilingFailedError(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    error = getattr(error, "inner_exception", error)  # what torch has wrapped
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
