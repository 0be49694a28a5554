"""The groups of an optimiser: checked when they are added, and again when they have changed.

``param_groups`` is a list of dicts that anyone may edit, so what was checked is remembered, and
compared before every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from reprlib import repr as shortened
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from efsgd.compressors import compressor
from efsgd.deep.optim.checks import (
    check_compressor,
    check_distinct,
    check_numbers,
    check_tensors,
    refused_size,
)

NUMBERS = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")
DIVERGENCE = ("compressor", "error_feedback", "scope")  # what decides whether feedback diverges
Form: TypeAlias = tuple[torch.Size, torch.dtype] | None  # None: a lazy parameter has none yet


class Checked(NamedTuple):
    """What was checked of a group."""

    numbers: tuple[Any, ...]
    divergence: tuple[Any, ...]
    params: tuple[Tensor, ...]
    forms: tuple[Form, ...]

    @classmethod
    def of(cls, group: Mapping[str, Any]) -> Checked:
        """That of a group as it is; what it lacks is None."""
        params = tuple(group["params"])
        return cls(
            tuple(group.get(name) for name in NUMBERS),
            tuple(group.get(name) for name in DIVERGENCE),
            params,
            tuple(None if is_lazy(x) else (x.shape, x.dtype) for x in params),
        )

    def same_tensors(self, other: Checked) -> bool:
        """Whether the parameters are the same ones, of the same shapes and dtypes."""
        same = len(self.params) == len(other.params) and all(map(is_, self.params, other.params))
        return same and self.forms == other.forms


class Groups:
    """Checks groups, and fills in what a group that was put into the list lacks."""

    def __init__(self, defaults: Mapping[str, Any], capturable: bool) -> None:
        """Where the step must be ``capturable``, step sizes become tensors on the device."""
        self.defaults, self.capturable = defaults, capturable
        self.checked: list[Checked] = []  # a tensor lr in them was made here

    def add(self, group: dict[str, Any]) -> None:
        """Prepare a group that torch has added to the list."""
        if isinstance(lr := group["lr"], Tensor) and not refused_size(lr):
            group["lr"] = _copied(lr)
        self._prepare(group)
        self.checked.append(Checked.of(group))

    def check(self, groups: Sequence[Any]) -> bool:
        """Check what is no longer as it was; returns whether the parameters are other ones.

        Raises ValueError or TypeError, and then does so again until the group is mended.
        """
        refuse_malformed(groups)
        now, anew = [], len(groups) < len(self.checked)
        taken: list[Tensor] = []
        for i, group in enumerate(groups):
            before = self.checked[i] if i < len(self.checked) else None
            try:
                checked, other = self._checked(group, before)
            except (TypeError, ValueError) as error:
                kind = TypeError if isinstance(error, TypeError) else ValueError
                raise kind(f"{error}: mend what has changed param_groups[{i}]") from error
            if isinstance(lr := group["lr"], Tensor):
                group["lr"] = self._alone(lr, taken)
                checked = Checked.of(group)
            now.append(checked)
            anew = anew or other
        if anew:
            check_distinct(groups)
        self.checked = now
        return anew

    def complete(self, group: dict[str, Any]) -> None:
        """Give a group that was put into the list the options that it lacks."""
        for name, value in self.defaults.items():
            if name not in group:
                group[name] = _copied(value) if isinstance(value, Tensor) else value

    def _checked(self, group: Any, before: Checked | None) -> tuple[Checked, bool]:
        """What is checked of the group now, and whether its parameters are other ones."""
        for x in group["params"]:
            if not isinstance(x, Tensor):
                raise TypeError(f"{x!r} is no parameter")
        now = Checked.of(group)
        tensors_stay = before is not None and before.same_tensors(now)
        if before is None or not tensors_stay or not _same(before.divergence, now.divergence):
            self._prepare(group)
            now = Checked.of(group)
        elif not _same(before.numbers, now.numbers):
            self.complete(group)
            check_numbers(group, ask=False)
            now = Checked.of(group)
        return now, not tensors_stay

    def _prepare(self, group: dict[str, Any]) -> None:
        self.complete(group)
        if isinstance(group["compressor"], str):
            group["compressor"] = compressor(group["compressor"])
        check_compressor(group)
        check_numbers(group)
        check_tensors(group)
        if self.capturable and group["params"]:
            x = group["params"][0]
            dtype = torch.promote_types(x.dtype, torch.float32)
            group["lr"] = torch.as_tensor(group["lr"], dtype=dtype).to(x.device)

    # -- step sizes that are tensors ---------------------------------------------------------------

    def _alone(self, lr: Tensor, taken: list[Tensor]) -> Tensor:
        """This step size if it was made here and no earlier group has taken it, else a copy.

        A schedule fills it in place, so neither the caller nor another group may have it too.
        """
        ours = any(lr is checked.numbers[0] for checked in self.checked)
        if not ours or any(lr is other for other in taken):
            lr = _copied(lr)
        taken.append(lr)
        return lr

    def load(
        self, loaded: Sequence[dict[str, Any]], groups: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The groups that are loaded, for those that are there, with their step sizes set.

        A step size that is a tensor stays in place, where a captured step reads it; but one that
        the caller has put there, or that two groups share, makes way for another.
        """
        taken: list[Tensor] = []
        result = []
        for new, group in zip(loaded, groups, strict=True):
            if isinstance(lr := group["lr"], Tensor):
                new = new | {"lr": self._alone(lr, taken).fill_(new["lr"])}
            result.append(new)
        self.checked = [Checked.of(group) for group in result]
        return result


def refuse_malformed(groups: Any) -> None:
    """Refuse what is no list of groups, before any of them is looked into."""
    if not isinstance(groups, list | tuple):
        raise TypeError(f"param_groups must be a list of groups, not {shortened(groups)}: mend it")
    for i, group in enumerate(groups):
        if not isinstance(group, dict) or not isinstance(group.get("params"), list):
            raise TypeError(
                "a group must be a dict with a list of parameters as 'params': "
                f"mend what has changed param_groups[{i}]"
            )


@torch.inference_mode(mode=False)  # what is made inside it could not be filled outside it
def _copied(lr: Tensor) -> Tensor:
    """A step size of our own, in a dtype that holds what a schedule fills in."""
    dtype = torch.promote_types(lr.dtype, torch.float32)
    return lr.detach().to(dtype if lr.is_floating_point() else torch.float64, copy=True)


def _same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether all values are the same; a tensor is only the same as itself, and is not read."""
    return all(
        x is y or (type(x) is type(y) and not isinstance(x, Tensor) and bool(x == y))
        for x, y in zip(a, b, strict=True)
    )
