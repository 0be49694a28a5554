"""EFSGD: SGD with compressed updates and error feedback, as a torch optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from efsgd.checks import whole
from efsgd.compressors.base import Compressor
from efsgd.compressors.signs import ScaledSign
from efsgd.deep.optim.checks import (
    Fused,
    check_options,
    deciding,
    prepare_group,
    refuse_nonfinite,
)
from efsgd.deep.optim.density import Density, density
from efsgd.deep.optim.dispatch import Forms
from efsgd.deep.optim.memory import displaced, memories, norm
from efsgd.deep.optim.methods import options_of
from efsgd.deep.optim.parts import Part, Subgroup, buffers, part_of, subgroups
from efsgd.deep.optim.state_dict import loading, packed, restore_generators
from efsgd.deep.optim.step import norms_ahead
from efsgd.methods.base import Method

# what copies and pickles need besides state and groups
KEPT = (
    "capturable",
    "nonfinite",
    "memory_dtype",
    "measure",
    "seed",
    "generators",
    "_validated",
    "_forms",
    "_skipped",
    "_measured",
    "_at_virtual",
)


class EFSGD(Optimizer):
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
    - ``nonfinite``: "skip" leaves parameters, memory and momentum as they are if any gradient holds
      inf or NaN, and counts that in ``skipped``; "raise" names the parameter, and synchronises.
    - ``memory_dtype``: of e, such as ``torch.bfloat16``. None: that of the parameter, or of the
      state that is loaded.
    - ``measure``: note the densities of every step, at a fifth of its cost; see :meth:`density`.
    - ``seed``: of the generators, one a device, that random compressors draw from.

    ``step`` does not wait for the device, but for "raise" and ``LowRank`` (whose SVD does). Raises
    ValueError or TypeError for impossible numbers, also those that a schedule sets; for complex,
    8-bit, sparse or sharded parameters, and one listed twice; and for a compressor that could
    diverge behind error feedback.
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
        self.capturable, self.nonfinite = capturable, nonfinite
        self.memory_dtype, self.measure = memory_dtype, measure
        self.seed = whole("seed", seed, 2**64 - 1, least=0)
        self.generators: dict[torch.device, torch.Generator] = {}
        self._validated: list[tuple[Any, ...]] = []  # what decided the checks of each group
        self._forms = Forms(foreach, False if capturable and not fused else fused)
        self._skipped: Tensor | None = None
        self._measured: list[tuple[Sequence[Tensor], Tensor]] = []
        self._at_virtual = False  # inside virtual_iterate
        shared = {
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
        super().__init__(params, shared)

    @classmethod
    def of(cls, method: Method, params: Iterable[Any], lr: float | Tensor, **options: Any) -> EFSGD:
        """The optimiser of a method of ``efsgd``: the same value that runs in NumPy."""
        return cls(params, lr, **options_of(method), **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch; a group that is refused is not added."""
        super().add_param_group(param_group)
        try:
            self._validated.append(prepare_group(self.param_groups[-1], self.capturable))
        except Exception:
            self.param_groups.pop()
            raise

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
            parts = [self._part(subgroup) for subgroup in ready]
            ok, tables = self._forms.step(parts, check=self.nonfinite == "skip")
            if ok is not None:
                self.skipped.add_(ok.logical_not().to(self.skipped.device))
            self._measured = [
                (subgroup.parameters, norms)
                for subgroup, norms in zip(ready, tables, strict=True)
                if norms is not None
            ]
        return loss

    def _subgroups(self) -> list[Subgroup]:
        """The parameters that have a gradient, by group and device."""
        for i, group in enumerate(self.param_groups):
            if self._validated[i] != deciding(group):  # a schedule has put something else there
                self._validated[i] = prepare_group(group, self.capturable)
        return subgroups(self.param_groups)

    def _part(self, subgroup: Subgroup, draws: bool = True) -> Part:
        """What a step of these parameters works on; memory and momentum that lack are made."""
        generator, device = None, subgroup.device
        if draws and subgroup.group["compressor"].random:
            if device not in self.generators:
                self.generators[device] = torch.Generator(device).manual_seed(self.seed)
            generator = self.generators[device]
        states = buffers(self.state, subgroup, self.memory_dtype)
        return part_of(subgroup, states, measure=self.measure, draws=draws, generator=generator)

    # -- what it reports ---------------------------------------------------------------------------

    @property
    def form(self) -> str:
        """What the last step took: "compiled", "triton", "foreach" or "loop"; "" before it."""
        return self._forms.taken

    @property
    def skipped(self) -> Tensor:
        """How many steps were skipped for inf or NaN: 0-dim int64, on the first device."""
        if self._skipped is None:
            devices = [x.device for group in self.param_groups for x in group["params"]]
            with torch.inference_mode(mode=False):  # steps outside it must be able to count
                self._skipped = torch.zeros((), dtype=torch.int64, device=[*devices, "cpu"][0])
        return self._skipped

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
            parts = [self._part(subgroup, draws=False) for subgroup in ready]
            pairs = zip(ready, parts, strict=True)
            return density([(subgroup.parameters, norms_ahead(part)) for subgroup, part in pairs])

    @torch.no_grad()
    def memory_norm(self) -> Tensor:
        """|e|_2 over all parameters: 0-dim float64 on the first device; 0 without feedback."""
        return norm(memories(self), self.skipped.device)

    @contextmanager
    def virtual_iterate(self) -> Iterator[None]:
        """Inside the block the parameters hold x - e, where SGD would be; then x to the bit."""
        if self._at_virtual:
            raise RuntimeError("virtual_iterate() inside virtual_iterate(): leave the first block")
        self._at_virtual = True
        try:
            with displaced(memories(self)):
                yield
        finally:
            self._at_virtual = False

    # -- saving ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings only: a compressor is its spec, a generator its state."""

        def pack(_: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
            return packed(state, generators=self.generators, seed=self.seed, skipped=self.skipped)

        with self.register_state_dict_post_hook(pack, prepend=True):
            return super().state_dict()

    @torch.inference_mode(mode=False)  # what is loaded must bear to be changed outside it
    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on as the saved one would, to the bit; one of ``torch.optim.SGD`` keeps its momentum.

        What the saved groups do not say (compressor, scope, ...) stays as it was constructed.
        Raises ValueError for a state that does not fit, and then nothing has changed.
        """
        with loading(self, self.memory_dtype, self._restore):
            super().load_state_dict(state_dict)

    def _restore(self, state: dict[str, Any]) -> None:
        """What belongs to no group and no parameter."""
        self.seed = state.get("seed", self.seed)
        devices = {x.device for group in self.param_groups for x in group["params"]}
        restore_generators(self.generators, state, devices, self.seed)
        if "skipped" in state:
            self.skipped.copy_(state["skipped"])

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which torch would strip of everything but state and groups."""
        return super().__getstate__() | {name: self.__dict__[name] for name in KEPT}
