"""Which form a step takes: compiled, Triton kernels, operators over all tensors, or the loop."""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from efsgd.deep.optim.compiled import (
    SEVERAL,
    CompilingFailedError,
    Structure,
    compiled_step,
    refusal,
    structure,
    switched_off,
)
from efsgd.deep.optim.foreach import advance_many
from efsgd.deep.optim.step import Part, advance, all_finite
from efsgd.deep.optim.triton_step import TritonStep, UnsupportedError

Fused: TypeAlias = bool | Literal["triton"] | None

log = logging.getLogger("efsgd.deep")


class Forms:
    """Chooses the form of each step, and says so the first time it takes one."""

    def __init__(self, foreach: bool | None, fused: Fused) -> None:
        """None leaves a choice to what is at hand."""
        self.foreach, self.fused = foreach, fused
        self.triton = TritonStep()
        self.taken = ""
        self.said: set[str] = set()
        self.made: set[Structure] = set()  # what has been compiled
        self.failed = ""  # why nothing is compiled any more

    def step(self, parts: list[Part], check: bool) -> tuple[Tensor | None, list[Tensor | None]]:
        """What :func:`efsgd.deep.optim.step.step` does, in the form that suits these parts."""
        if self.fused == "triton":
            return self._in_triton(parts, check)
        of, cause = structure(parts), None
        why = self._refusal(parts, of)
        if not why:
            try:
                done = compiled_step(of, parts, check)
            except CompilingFailedError as error:  # nothing has changed yet
                why, cause = f"compiling failed ({error})", error
                self.failed = why
            else:
                self.made.add(of)
                self._say("compiled", "one function for all tensors")
                return done
        if self.fused:
            raise RuntimeError(f"fused=True, but {why}: leave fused to None") from cause
        return self._plain(parts, check, why)

    def _in_triton(
        self, parts: list[Part], check: bool
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        if why := switched_off():
            raise RuntimeError(f"fused='triton', but {why}: leave fused to None")
        try:
            done = self.triton.step(parts, check)
        except UnsupportedError as error:  # no parameter has changed
            raise RuntimeError(f"fused='triton', but {error}: leave fused to None") from error
        self._say("triton", "a few kernels for all tensors")
        return done

    def _refusal(self, parts: list[Part], of: Structure) -> str | None:
        if self.fused is False:
            return "fused=False"
        if self.fused is None and len(self.made - {of}) >= SEVERAL:
            return f"{SEVERAL} forms have been compiled, and the gradients that exist keep changing"
        return self.failed or refusal(parts, bool(self.fused))

    def _plain(
        self, parts: list[Part], check: bool, why: str
    ) -> tuple[Tensor | None, list[Tensor | None]]:
        kinds = {part.lists.x[0].device.type for part in parts}
        many = self.foreach if self.foreach is not None else kinds == {"cuda"}
        self._say("foreach" if many else "loop", f"not compiled: {why}")
        ok = all_finite([part.lists.g for part in parts]) if check else None
        if ok is None or kinds != {"cpu"}:
            return ok, [_advance(part, many, ok) for part in parts]
        if ok:  # on the CPU asking costs nothing
            return ok, [_advance(part, many, None) for part in parts]
        return ok, [_unknown(part) for part in parts]

    def _say(self, form: str, why: str) -> None:
        if form not in self.said:
            level = logging.WARNING if self.failed else logging.INFO
            log.log(level, "EFSGD steps are %s (%s)", form, why)
        self.said.add(form)
        self.taken = form


def _advance(part: Part, many: bool, ok: Tensor | None) -> Tensor | None:
    return advance_many(part, ok) if many else advance(part, ok)


def _unknown(part: Part) -> Tensor | None:
    """The norms of a step on the CPU that was not taken."""
    if not part.rule.measure:
        return None
    return torch.full((4, len(part.lists.x)), torch.nan, dtype=torch.float64, device="cpu")
