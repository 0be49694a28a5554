"""What all parameters of an optimiser share: its seed, its generators, the count of skipped steps.

Tools that save a state (torch.distributed.checkpoint, ZeroRedundancyOptimizer) know parameters and
groups only. So these stand in the state of a parameter: "skipped" in that of the first one,
"cpu_generator" or "cuda_generator" in that of the first one on each device; and "seed" in that of
each that learns, since such tools expect a state of all of these as soon as one has any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

Groups: TypeAlias = Sequence[dict[str, Any]]
SUFFIX = "_generator"


def is_shared(name: str) -> bool:
    """Whether an entry in the state of a parameter belongs to all of them."""
    return name in ("seed", "skipped") or name.endswith(SUFFIX)


class Saved(NamedTuple):
    """What a state says of what is shared; None where it says nothing."""

    seed: int | None = None
    skipped: int | None = None
    generators: dict[torch.device, Tensor] | None = None  # their states


class Shared:
    """What all parameters share, and where it stands in the state of one of them."""

    def __init__(self, seed: int) -> None:
        """Generators start at ``seed``."""
        self.seed = seed
        self.generators: dict[torch.device, torch.Generator] = {}
        self._counts: list[Tensor] = []  # the first one counts, of what two threads may make
        self._placed: list[tuple[Tensor, str, Any]] = []
        self.stale = True  # whether the entries that were placed belong elsewhere now, or lack one

    def generator(self, device: torch.device) -> torch.Generator:
        """The one that random compressors draw from on this device."""
        if device not in self.generators:
            self.generators[device] = torch.Generator(device).manual_seed(self.seed)
            self.stale = True
        return self.generators[device]

    def skipped(self, groups: Groups) -> Tensor:
        """How many steps were skipped: 0-dim int64, on the first device."""
        if not self._counts:
            devices = [x.device for group in groups for x in group["params"]]
            with torch.inference_mode(mode=False):  # steps outside it must be able to count
                count = torch.zeros((), dtype=torch.int64, device=[*devices, "cpu"][0])
            self._counts.append(count)
        return self._counts[0]

    def restore(self, saved: Saved, groups: Groups) -> None:
        """Set what is saved, in place: a captured step draws and counts there."""
        self.seed = self.seed if saved.seed is None else saved.seed
        if saved.skipped is not None:
            self.skipped(groups).fill_(saved.skipped)
        if saved.generators is not None:
            for device in {x.device for group in groups for x in group["params"]}:
                if device in saved.generators:
                    self.generator(device).set_state(saved.generators[device])
                elif device in self.generators:  # the saved one has drawn nothing there
                    self.generators[device].manual_seed(self.seed)

    def draws(self) -> dict[torch.device, Tensor]:
        """The state of each generator, for :meth:`rewind`."""
        return {device: generator.get_state() for device, generator in self.generators.items()}

    def rewind(self, states: Mapping[torch.device, Tensor]) -> None:
        """Forget what has been drawn since :meth:`draws`."""
        for device in self.generators.keys() - states.keys():
            del self.generators[device]
        for device, state in states.items():
            self.generators[device].set_state(state)

    # -- in the state of parameters ----------------------------------------------------------------

    def entries(self, groups: Groups) -> Iterator[tuple[Tensor, str, Any]]:
        """Which entry stands in the state of which parameter: generators, not their states."""
        params = [x for group in groups for x in group["params"]]
        # such tools leave out the state of a parameter that requires no gradient
        params.sort(key=lambda x: not x.requires_grad)
        if not params:
            return
        yield params[0], "seed", self.seed
        yield params[0], "skipped", self.skipped(groups)
        yield from ((x, "seed", self.seed) for x in params[1:] if x.requires_grad)
        for device, generator in list(self.generators.items()):
            carrier = next((x for x in params if x.device == device), None)
            if carrier is not None:
                yield carrier, device.type + SUFFIX, generator

    def packed(self, groups: Groups) -> Iterator[tuple[Tensor, str, Tensor | int]]:
        """The entries as tensors and numbers, each on the device of its parameter."""
        for x, name, value in self.entries(groups):
            if isinstance(value, torch.Generator):
                yield x, name, value.get_state().to(x.device)
            else:
                yield x, name, value.clone() if isinstance(value, Tensor) else value

    def place(self, states: MutableMapping[Tensor, Any], groups: Groups) -> None:
        """Put the entries into the states, where such tools look which ones there are."""
        for state in list(states.values()):
            for name in [name for name in state if is_shared(name)]:
                del state[name]
        self._placed, self.stale = list(self.entries(groups)), False
        for x, name, value in self._placed:
            states.setdefault(x, {})[name] = value

    def intact(self, states: Mapping[Tensor, Any]) -> bool:
        """Whether the entries stand where they were put; in a state of another's they do not."""
        return bool(self._placed) and all(
            isinstance(state := states.get(x), dict) and state.get(name) is value
            for x, name, value in self._placed
        )
