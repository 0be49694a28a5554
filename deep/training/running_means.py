"""Means over the steps of an epoch, summed on the device without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor

from efsgd.deep.training.history import MEANS, Row


class RunningMeans:
    """Means of :data:`~efsgd.deep.training.history.MEANS`; values that are not finite are left out.

    Loss and accuracy are means over images, the two densities over steps.
    """

    def __init__(self, device: torch.device) -> None:
        self.sums = torch.zeros(len(MEANS), dtype=torch.float64, device=device)
        self.counts = torch.zeros_like(self.sums)  # of images, images, steps, steps

    def add(self, loss: Tensor, correct: Tensor, images: int, phi_g: Tensor, phi_p: Tensor) -> None:
        """Add a step: mean loss, correct predictions, batch size, densities of g and p."""
        finite = torch.stack([loss, loss, phi_g, phi_p]).isfinite().double()
        values = torch.stack([loss * images, correct, phi_g, phi_p]).double()
        self.sums += values.nan_to_num(0.0, 0.0, 0.0) * finite
        self.counts[:2].add_(finite[:2], alpha=images)
        self.counts[2:].add_(finite[2:])

    def row(self) -> Row:
        """The means by name; waits for the device."""
        return dict(zip(MEANS, (self.sums / self.counts).tolist(), strict=True))

    def restore(self, sums: Tensor, counts: Tensor) -> None:
        """Go back to saved sums and counts, without moving the tensors."""
        self.sums.copy_(sums)
        self.counts.copy_(counts)

    def reset(self) -> None:
        """Start the next epoch."""
        self.sums.zero_()
        self.counts.zero_()
