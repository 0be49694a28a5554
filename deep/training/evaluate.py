"""Loss and accuracy of a model on a fixed set of images; the model stays as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from efsgd.deep.training.device import MAX_IN_FLIGHT, InFlight
from efsgd.deep.training.interruptions import Check

BATCH = 500  # images at once; the activations of VGG19 then take well under 1 GiB


class Score(NamedTuple):
    """Mean cross entropy, and the share of images whose class comes out first."""

    loss: float
    accuracy: float


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    cast: Callable[[], AbstractContextManager[object]] = nullcontext,
    check: Check = lambda: None,
    in_flight: InFlight | None = None,
) -> Score:
    """The score of ``model`` in eval mode on batches (x (B, 3, H, W), y (B,)) on its device.

    Sums in float64 and reads them once, at the end; NaN for no images. ``cast`` makes the context
    of the forward pass (autocast), ``check`` is called after each batch and may raise; with
    ``in_flight`` also while the device is waited for. Parameters, buffers and the training flags of
    all modules are bitwise as before, also where ``check`` raises.
    """
    sums: list[Tensor] = []
    images = 0
    with evaluating(model), torch.inference_mode():
        for x, y in batches:
            with cast():
                logits = model(x)
            loss = cross_entropy(logits.double(), y, reduction="sum")
            sums.append(torch.stack([loss, (logits.argmax(dim=1) == y).sum()]))
            images += len(y)
            if in_flight is not None:
                in_flight.record()
                in_flight.wait(check, MAX_IN_FLIGHT)
            check()
        if in_flight is not None:
            in_flight.wait(check)
        if not images:
            return Score(float("nan"), float("nan"))
        loss_sum, correct = torch.stack(sums).sum(dim=0).tolist()
    return Score(loss_sum / images, correct / images)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode; each module gets its own training flag back."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag
