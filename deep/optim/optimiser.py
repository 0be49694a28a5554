"""EFSGD: SGD with compressed updates and error feedback, as a torch optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from efsgd.compressors.base import Compressor
from efsgd.compressors.signs import ScaledSign
from efsgd.deep.optim.checks import Fused, check_options, refuse_nonfinite
from efsgd.deep.optim.density import Density, density
from efsgd.deep.optim.forms.dispatch import Forms, RefusedError, refuse_overflow
from efsgd.deep.optim.memory import displaced, memories, norm
from efsgd.deep.optim.methods import options_of
from efsgd.deep.optim.parts import Part, Subgroup, buffers, part_of, subgroups
from efsgd.deep.optim.state.stateful import StatefulOptimizer
from efsgd.deep.optim.step import norms_ahead
from efsgd.methods.base import Method

# what copies and pickles need besides state and groups
KEPT = (
    "capturable",
    "nonfinite",
    "measure",
    "_forms",
    "_measured",
    "_at_virtual",
)


class EFSGD(StatefulOptimizer):
    """Error feedback (arXiv 1901.09847, Algorithm 2): p = lr d + e, x <- x - C(p), e <- p - C(p).

    d is the gradient after weight decay and momentum, in this order, as in ``torch.optim.SGD``. C
    acts on each flattened parameter, or with ``scope="global"`` on all those of a group (and
    device) as one vector. Without ``error_feedback`` it is x <- x - lr C(d); with ``Identity()``
    besides, it is ``torch.optim.SGD`` to the bit. ``p.grad`` is never changed, and e is in units of
    x: a new step size does not rescale it. ``compressor`` may be a spec such as "topk:0.01". All
    arguments up to ``scope``, and ``maximize``, may differ by group.

    - ``fused``: the step as one compiled function. None: where a compiler is at hand, there are
      2^20 elements or more and something is compressed. What was taken stands in ``form`` and is
      logged once (logger ``efsgd.deep``); if compiling fails, the plain form goes on, with a
      warning. "triton": 2 k + 2 launches of kernels of our own for k groups of sign compressors,
      and one for every 128 gradients that have moved, in half or single precision, on CUDA; no GPU
      has run them yet, so None never takes them. EFSGD_COMPILE=0 in the environment rules out
      both, and then True and "triton" raise.
    - ``foreach``: where nothing is compiled, operators that take all tensors at once, instead of a
      loop. None: on CUDA.
    - ``capturable``: the step may be captured in a CUDA graph. ``lr`` becomes a tensor on the
      device, which schedules fill; ``generators`` of random compressors must be registered with the
      graph (``graph.register_generator_state``).
    - ``nonfinite``: "skip" leaves parameters, memory and momentum as they are if the step would
      store inf or NaN (of a gradient, a step size, a parameter, or because a sum overflows), and
      counts that in ``skipped``; "raise" names the parameter, and synchronises. It is decided
      before anything changes, by bounds: a parameter, momentum, lr d + e and what C can make of it
      must lie within half the range of their dtype, and the gradient with its weight decay within
      the range. Compiled kernels bound each sum entry by entry, the other forms by the largest
      entries of a tensor, so that these may skip a step that those can take. What was drawn for a
      skipped step is used up.
    - ``memory_dtype``: of e, such as ``torch.bfloat16``. None: that of the parameter, or of the
      state that is loaded.
    - ``measure``: note the densities of every step, at a fifth of its cost; see :meth:`density`.
    - ``seed``: of the generators, one a device, that random compressors draw from.

    ``step`` does not wait for the device, but for "raise" and ``LowRank`` (whose SVD does), and
    once after groups or state were edited. Raises ValueError or TypeError for impossible numbers,
    also those that a schedule sets; for complex, 8-bit, sparse or sharded parameters, and one
    listed twice; and for a compressor that could diverge behind error feedback. What is put into
    ``param_groups`` or ``state`` by hand is checked before the next step, and a step that is
    refused changes nothing. A tensor ``lr`` is copied, once for each group, also one that is put
    into a group, by the next step: from then on fill ``group["lr"]``, and with ``capturable`` take
    a step between that and a capture.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        compressor: Compressor | str = ScaledSign(),
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        error_feedback: bool = True,
        scope: Literal["tensor", "global"] = "tensor",
        *,
        foreach: bool | None = None,
        fused: Fused = None,
        capturable: bool = False,
        maximize: bool = False,
        nonfinite: Literal["skip", "raise"] = "skip",
        memory_dtype: torch.dtype | None = None,
        measure: bool = False,
        seed: int = 0,
    ) -> None:
        """Check every number and tensor; the first step makes memory and momentum buffers."""
        check_options(nonfinite, capturable, fused, memory_dtype)
        self.capturable, self.nonfinite, self.measure = capturable, nonfinite, measure
        self._forms = Forms(foreach, False if capturable and not fused else fused)
        self._measured: list[tuple[Sequence[Tensor], Tensor]] = []
        self._at_virtual = False  # inside virtual_iterate
        defaults = {
            "lr": lr,
            "compressor": compressor,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "error_feedback": error_feedback,
            "scope": scope,
            "maximize": maximize,
        }
        super().__init__(
            params, defaults, capturable=capturable, memory_dtype=memory_dtype, seed=seed
        )

    @classmethod
    def of(cls, method: Method, params: Iterable[Any], lr: float | Tensor, **options: Any) -> EFSGD:
        """The optimiser of a method of ``efsgd``: the same value that runs in NumPy."""
        return cls(params, lr, **options_of(method), **options)

    # -- the step ----------------------------------------------------------------------------------

    # traced, it would not count what it skips
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; returns what ``closure`` returned, or None."""
        if self._at_virtual:
            raise RuntimeError("step() inside virtual_iterate(): leave its block first")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        ready = self._subgroups()
        if self.nonfinite == "raise":
            refuse_nonfinite(self.param_groups)  # nothing has been made, drawn or changed
        if ready:
            self._advance(ready)
        return loss

    def _subgroups(self) -> list[Subgroup]:
        """The parameters that have a gradient, by group and device; all is checked that is new."""
        self._settle()
        return subgroups(self.param_groups)

    def _advance(self, ready: Sequence[Subgroup]) -> None:
        """Step these; a form that refuses leaves no memory behind, and nothing drawn."""
        complete = [buffers(self.state, subgroup, self.memory_dtype) for subgroup in ready]
        if self.nonfinite == "raise":
            for subgroup, states in zip(ready, complete, strict=True):
                refuse_overflow(subgroup, self._part(subgroup, states, draws=False))
        before = {x: self.state.get(x) for subgroup in ready for x in subgroup.parameters}
        draws = self._shared.draws() if self._forms.fused else {}
        try:
            for subgroup, states in zip(ready, complete, strict=True):
                self.state.update(zip(subgroup.parameters, states, strict=True))
            parts = [self._part(*pair) for pair in zip(ready, complete, strict=True)]
            ok, tables = self._forms.step(parts, check=self.nonfinite == "skip")
        except RefusedError:
            for x, state in before.items():
                self.state.pop(x)
                if state is not None:
                    self.state[x] = state
            self._shared.rewind(draws)
            raise
        if ok is not None:
            skipped = self._shared.skipped(self.param_groups)
            skipped.add_(ok.logical_not().to(skipped.device))
        self._measured = [
            (subgroup.parameters, norms)
            for subgroup, norms in zip(ready, tables, strict=True)
            if norms is not None
        ]
        if self._shared.stale or not self._shared.intact(self.state):
            self._shared.place(self.state, self.param_groups)

    def _part(
        self, subgroup: Subgroup, states: Sequence[dict[str, Any]], draws: bool = True
    ) -> Part:
        """What a step of these parameters works on, with their states."""
        random = draws and subgroup.group["compressor"].random
        generator = self._shared.generator(subgroup.device) if random else None
        return part_of(subgroup, states, measure=self.measure, draws=draws, generator=generator)

    # -- what it reports ---------------------------------------------------------------------------

    @property
    def form(self) -> str:
        """What the last step took: "compiled", "triton", "foreach" or "loop"; "" before it."""
        return self._forms.taken

    def density(self) -> Density:
        """phi of gradients and of corrected gradients, computed on the device.

        Of the gradients at hand, and of what the next step would send of them: ask between
        ``backward()`` and ``step()``. With ``measure=True`` of the last step.
        """
        if self.measure:
            if not self._measured:
                raise RuntimeError("no step has been measured: take one first")
            return density(self._measured)
        with torch.no_grad():
            ready = self._subgroups()
            if not ready:
                raise RuntimeError("there are no gradients: call backward() first")
            parts = [
                self._part(subgroup, buffers(self.state, subgroup, self.memory_dtype), draws=False)
                for subgroup in ready
            ]
            pairs = zip(ready, parts, strict=True)
            return density([(subgroup.parameters, norms_ahead(part)) for subgroup, part in pairs])

    @torch.no_grad()
    def memory_norm(self) -> Tensor:
        """|e|_2 over all parameters: 0-dim float64 on the first device; 0 without feedback."""
        home = self.skipped.device  # what was put into groups or state is checked here
        return norm(memories(self), home)

    @contextmanager
    def virtual_iterate(self) -> Iterator[None]:
        """Inside the block the parameters hold x - e, where SGD would be; then x to the bit."""
        if self._at_virtual:
            raise RuntimeError("virtual_iterate() inside virtual_iterate(): leave the first block")
        self._adopt()
        self._at_virtual = True
        try:
            with displaced(memories(self)):
                yield
        finally:
            self._at_virtual = False

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which torch would strip of everything but state and groups."""
        return super().__getstate__() | {name: self.__dict__[name] for name in KEPT}
