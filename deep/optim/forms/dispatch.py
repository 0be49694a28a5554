"""Which form a step takes: compiled, Triton kernels, operators over all tensors, or the loop."""

from __future__ import annotations

import logging
from functools import reduce

import torch
from torch import Tensor

from efsgd.deep.optim.checks import Fused, parameter_name
from efsgd.deep.optim.forms.compiled import (
    MOST,
    CompilingFailedError,
    Signature,
    SwitchedOffError,
    compiled_step,
    refusal,
    signature,
    switched_off,
)
from efsgd.deep.optim.forms.foreach import advance_many
from efsgd.deep.optim.forms.triton_step import TritonStep, UnsupportedError
from efsgd.deep.optim.parts import Lists, Part, Subgroup
from efsgd.deep.optim.step import advance, stays_finite

log = logging.getLogger("efsgd.deep")


class RefusedError(RuntimeError):
    """The form that was asked for cannot take this step. Nothing has changed."""


class Forms:
    """Chooses the form of each step, and says so the first time it takes one."""

    def __init__(self, foreach: bool | None, fused: Fused) -> None:
        """None leaves a choice to what is at hand."""
        self.foreach, self.fused = foreach, fused
        self.triton = TritonStep()
        self.taken = ""
        self.logged: set[str] = set()
        self.compiled: set[Signature] = set()
        self.failure = ""  # why nothing is compiled any more

    def step(self, parts: list[Part], check: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        """What :func:`efsgd.deep.optim.step.step` does, in the form that suits these parts."""
        if self.fused == "triton":
            return self._in_triton(parts, check)
        key = signature(parts)
        cause: Exception | None = None
        why = self._refusal(parts, key)
        if not why:
            try:
                outcome = compiled_step(key, parts, check)
            except SwitchedOffError as error:  # nothing has changed, and the next step may compile
                why, cause = str(error), error
            except CompilingFailedError as error:  # nothing has changed yet
                why, cause = f"compiling failed ({error})", error
                self.failure = why
            else:
                self.compiled.add(key)
                self._log("compiled", "one function for all tensors")
                return outcome
        if self.fused:
            raise RefusedError(f"fused=True, but {why}: leave fused to None") from cause
        return self._plain(parts, check, why)

    def _in_triton(
        self, parts: list[Part], check: bool
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        if why := switched_off():
            raise RefusedError(f"fused='triton', but {why}: leave fused to None")
        try:
            outcome = self.triton.step(parts, check)
        except UnsupportedError as error:  # no parameter has changed
            raise RefusedError(f"fused='triton', but {error}: leave fused to None") from error
        self._log("triton", "a few kernels for all tensors")
        return outcome

    def _refusal(self, parts: list[Part], key: Signature) -> str | None:
        if self.fused is False:
            return "fused=False"
        if self.fused is None and len(self.compiled - {key}) >= MOST:
            return f"{MOST} forms have been compiled, and the gradients that exist keep changing"
        return self.failure or refusal(parts, bool(self.fused))

    def _plain(
        self, parts: list[Part], check: bool, why: str
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        devices = {part.lists.x[0].device.type for part in parts}
        foreach = self.foreach if self.foreach is not None else devices == {"cuda"}
        self._log("foreach" if foreach else "loop", f"not compiled: {why}")
        advanced = advance_many if foreach else advance
        home = parts[0].lists.x[0].device
        verdicts = [stays_finite(part).to(home) for part in parts] if check else []
        ok = reduce(torch.logical_and, verdicts) if check else None
        if ok is None or devices != {"cpu"}:
            return ok, [advanced(part, ok) for part in parts]
        if ok:  # on the CPU asking costs nothing
            return ok, [advanced(part, None) for part in parts]
        return ok, [_unknown(part) for part in parts]

    def _log(self, form: str, why: str) -> None:
        if form not in self.logged:
            level = logging.WARNING if self.failure else logging.INFO
            log.log(level, "EFSGD steps are %s (%s)", form, why)
        self.logged.add(form)
        self.taken = form


def refuse_overflow(subgroup: Subgroup, part: Part) -> None:
    """Raise FloatingPointError that names a parameter of which inf or NaN would be stored."""
    if stays_finite(part):
        return
    for i, x in enumerate(subgroup.parameters):
        _, g, e, m, started = part.lists
        alone = part._replace(lists=Lists([x.detach()], [g[i]], [e[i]], [m[i]], [started[i]]))
        if part.rule.together or not stays_finite(alone):
            places = [y is x for y in subgroup.group["params"]]
            name = parameter_name(subgroup.group, places.index(True))
            raise FloatingPointError(
                f"the step of {name} leaves half the range of its dtype, or its parameter, memory "
                "or lr holds NaN or inf: nothing was changed"
            )


def _unknown(part: Part) -> Tensor | None:
    """The norms of a step on the CPU that was not taken."""
    if not part.rule.measure:
        return None
    return torch.full((4, len(part.lists.x)), torch.nan, dtype=torch.float64, device="cpu")
