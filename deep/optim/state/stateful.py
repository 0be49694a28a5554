"""A torch optimiser whose groups are checked, and whose state is saved and loaded to the bit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from efsgd.checks import whole
from efsgd.deep.optim.state.entries import in_form, states_of
from efsgd.deep.optim.state.groups import Groups, refuse_malformed
from efsgd.deep.optim.state.shared import Shared
from efsgd.deep.optim.state.state_dict import packed, unpacked

KEPT = ("memory_dtype", "_groups", "_shared")  # what copies need besides state and groups


class StatefulOptimizer(Optimizer):
    """Groups and state, without a step.

    What is put into either of them, in whatever way, is checked before the next step.
    """

    def __init__(
        self,
        params: Iterable[Any],
        defaults: dict[str, Any],
        *,
        capturable: bool,
        memory_dtype: torch.dtype | None,
        seed: int,
    ) -> None:
        """As in torch; no tensor of ``defaults`` is kept."""
        if isinstance(lr := defaults["lr"], Tensor):
            defaults = defaults | {"lr": lr.detach().clone()}
        self.memory_dtype = memory_dtype
        self._shared = Shared(whole("seed", seed, 2**64 - 1, least=0))
        self._groups = Groups(defaults, capturable)
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As in torch; a group that is refused is not added, and the dict is not kept."""
        super().add_param_group(dict(param_group) if isinstance(param_group, dict) else param_group)
        try:
            self._groups.add(self.param_groups[-1])
        except Exception:
            self.param_groups.pop()
            raise
        self._shared.stale = True

    @property
    def skipped(self) -> Tensor:
        """How many steps were skipped for inf or NaN: 0-dim int64, on the first device."""
        self._adopt()
        return self._shared.skipped(self.param_groups)

    @property
    def seed(self) -> int:
        """Where generators start."""
        return self._shared.seed

    @property
    def generators(self) -> dict[torch.device, torch.Generator]:
        """What random compressors draw from on each device, once they have drawn."""
        return self._shared.generators

    def _settle(self) -> None:
        """Check what has changed in groups and state since the last step."""
        if self._groups.check(self.param_groups):
            self._shared.stale = True
        self._adopt()

    def _adopt(self) -> None:
        """Take over what another has put into the state, as ZeroRedundancyOptimizer does."""
        refuse_malformed(self.param_groups)
        intact = self._shared.intact(self.state)
        settled = intact and not self._shared.stale
        if settled and in_form(self.param_groups, self.state, self.memory_dtype):
            return
        if all(isinstance(state, dict) and not state for state in self.state.values()):
            return  # there is nothing
        params = [x for group in self.param_groups for x in group["params"]]
        entries = [self.state.get(x, {}) for x in params]
        with torch.inference_mode(mode=False), torch.no_grad():
            # what is ours stays where it is: a captured step reads it there
            states, saved = states_of(
                self.param_groups, entries, self.memory_dtype, copy=not intact
            )
        self.state.update(states)
        self._shared.restore(saved, self.param_groups)
        self._shared.place(self.state, self.param_groups)

    # Hooks are called by hand: torch would walk through a dict of them that a hook, which removes
    # itself, and other threads change meanwhile.

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings only: a compressor is its spec, a generator its state.

        Seed, generators and the count of skipped steps stand in the state of the first parameters,
        where torch.distributed.checkpoint and ZeroRedundancyOptimizer keep them.
        """
        for hook in tuple(self._optimizer_state_dict_pre_hooks.values()):
            hook(self)
        self._adopt()
        state = packed(self.param_groups, self.state, self._shared)
        for change in tuple(self._optimizer_state_dict_post_hooks.values()):
            changed = change(self, state)
            state = state if changed is None else changed
        return state

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    @torch.inference_mode(mode=False)  # what is loaded must bear to be changed outside it
    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on as the saved one would, to the bit; one of ``torch.optim.SGD`` keeps its momentum.

        What the saved groups do not say (compressor, scope, ...) stays as it was constructed.
        Raises ValueError for a state that does not fit, and then nothing has changed.
        """
        state = dict(state_dict) if isinstance(state_dict, Mapping) else state_dict
        for change in tuple(self._optimizer_load_state_dict_pre_hooks.values()):
            changed = change(self, state)
            state = state if changed is None else changed
        refuse_malformed(self.param_groups)
        for group in self.param_groups:
            self._groups.complete(group)
        loaded = unpacked(state, self.param_groups, self.memory_dtype)
        self.param_groups = self._groups.load(loaded.groups, self.param_groups)
        self.state = defaultdict(dict, loaded.states)
        self._shared.restore(loaded.shared, self.param_groups)
        if any(self.state.values()):
            self._shared.place(self.state, self.param_groups)
        for hook in tuple(self._optimizer_load_state_dict_post_hooks.values()):
            hook(self)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which torch would strip of everything but state and groups."""
        return super().__getstate__() | {name: self.__dict__[name] for name in KEPT}
