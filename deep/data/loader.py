"""Minibatches from a data set that lives on the device, augmented there.

All random numbers of an epoch are drawn when it starts, on the CPU, from a generator that the seed
and the epoch determine. So batch b of epoch t is a function of (seed, t, b) on every device, and a
run can resume in the middle of an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from efsgd.arrays import Array

__all__ = ["Draws", "Feed", "Loader"]

PAD = 4  # black pixels added on each side before a crop is taken


class Draws(NamedTuple):
    """The random numbers of an epoch; entry i belongs to the i-th image that it visits."""

    order: Tensor  # (N,) int64, a permutation
    down: Tensor  # (N,) int64, the first row of the crop in the padded image, 0..2*PAD
    right: Tensor  # (N,) int64, its first column
    flip: Tensor  # (N,) bool, left and right exchanged after the crop


class Loader:
    """Batches of normalised images, (pixel/255 - mean)/std, with their labels.

    With ``augment`` (training) each epoch has its own order, random crops with padding 4 and
    horizontal flips with probability 1/2, as torchvision's RandomCrop(32, padding=4) and
    RandomHorizontalFlip make them; a last batch of a single image is left out, because batch norm
    cannot train on it. Without ``augment`` (evaluation) all images come unchanged and in order.

    x is (N, H, W, 3) uint8, y (N,) integers; both are copied to ``device``. ``mean`` and ``std``
    are those of the training set for pixels in [0, 1] (``Dataset.moments``).
    """

    def __init__(
        self,
        x: Array,
        y: Array,
        *,
        batch: int,
        mean: Sequence[float],
        std: Sequence[float],
        device: str | torch.device = "cpu",
        seed: int = 0,
        augment: bool = True,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        _check(x, y, batch, augment)
        _check_numbers(seed, mean, std)
        self.batch, self.seed, self.augment = batch, seed, augment
        self.memory_format = memory_format
        self.device = torch.device(device)
        images = torch.tensor(np.ascontiguousarray(x), device=self.device).permute(0, 3, 1, 2)
        pad = [PAD] * 4 if augment else [0] * 4
        self.images = torch.nn.functional.pad(images, pad).contiguous()  # (N, 3, H+2PAD, W+2PAD)
        self.labels = torch.tensor(np.asarray(y, np.int64), device=self.device)
        # (pixel - centre) * scale is (pixel/255 - mean)/std with one rounding less.
        self.centre, self.scale = (
            torch.tensor(values, dtype=torch.float32, device=self.device).reshape(3, 1, 1)
            for values in ([255 * m for m in mean], [1 / (255 * s) for s in std])
        )
        height, width = x.shape[1:3]
        # A view of every possible crop: (N, 3, down, right, H, W).
        self.crops = self.images.unfold(2, height, 1).unfold(3, width, 1)

    def batches(self) -> int:
        """The number of batches in an epoch; the last one may be smaller."""
        full, rest = divmod(len(self.labels), self.batch)
        return full + (rest > 1 or (rest == 1 and not self.augment))

    def draws(self, t: int) -> Draws:
        """The random numbers of epoch ``t``, on the CPU."""
        (seed,) = np.random.SeedSequence([self.seed, t]).generate_state(1)
        generator = torch.Generator("cpu").manual_seed(int(seed))
        n = len(self.labels)
        with torch.device("cpu"):  # whatever the default device is
            return Draws(
                torch.randperm(n, generator=generator),
                torch.randint(2 * PAD + 1, (n,), generator=generator),
                torch.randint(2 * PAD + 1, (n,), generator=generator),
                torch.rand(n, generator=generator) < 0.5,
            )

    def epoch(self, t: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of epoch ``t`` from number ``start``: (B, 3, H, W) float32 and (B,) int64.

        The tensors are on the device; only the start of the epoch waits for it.
        """
        self.check(t, start)
        parts = [slice(b * self.batch, (b + 1) * self.batch) for b in range(self.batches())]
        if not self.augment:
            return ((self._normalised(self.images[p]), self.labels[p]) for p in parts[start:])
        draws = Draws(*(field.to(self.device, non_blocking=True) for field in self.draws(t)))
        return (self.augmented(Draws(*(field[p] for field in draws))) for p in parts[start:])

    def check(self, t: int, start: int) -> None:
        """Raise ValueError for a batch that does not exist."""
        if t < 0 or not 0 <= start <= self.batches():
            raise ValueError(
                f"no batch {start} in epoch {t}: epochs count from 0, batches to {self.batches()}"
            )

    def augmented(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """The batch (B, 3, H, W), (B,) that the random numbers of its B images give."""
        order, down, right, flip = draws
        cropped = self.crops[order, :, down, right]
        flipped = torch.where(flip[:, None, None, None], cropped.flip(3), cropped)
        return self._normalised(flipped), self.labels[order]

    def _normalised(self, images: Tensor) -> Tensor:
        # Separate steps round alike on every device, and convert fastest in the order of memory.
        pixels = images.to(torch.float32).sub_(self.centre).mul_(self.scale)
        return pixels.contiguous(memory_format=self.memory_format)


class Feed:
    """The training batches of a loader, one after the other, from tensors that stay in place.

    The random numbers of the epoch and the number of images already used are on the device. So
    where a step that takes a :meth:`batch` is captured in a CUDA graph, each replay takes the next.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        device = loader.device
        self.draws = Draws(*(torch.empty_like(d, device=device) for d in loader.draws(0)))
        self.done = torch.zeros((), dtype=torch.int64, device=device)  # images of this epoch
        self.offsets = torch.arange(loader.batch, device=device)

    def start(self, t: int, start: int = 0) -> None:
        """Go to batch ``start`` of epoch ``t``."""
        self.loader.check(t, start)
        for target, field in zip(self.draws, self.loader.draws(t), strict=True):
            pinned = field.pin_memory() if target.is_cuda else field  # else the host would wait
            target.copy_(pinned, non_blocking=True)
        self.done.fill_(start * self.loader.batch)

    def batch(self, size: int) -> tuple[Tensor, Tensor]:
        """The next ``size`` images of the epoch, at most a batch, as in ``Loader.epoch``.

        It is not checked that so many are left, as that would wait for the device.
        """
        indices = self.offsets[:size] + self.done
        self.done += size
        return self.loader.augmented(Draws(*(field[indices] for field in self.draws)))


def _check(x: Array, y: Array, batch: int, augment: bool) -> None:
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[3] != 3:
        raise ValueError(
            f"images are uint8 of shape (N, H, W, 3), not {x.dtype} of shape {x.shape}: "
            "convert them first"
        )
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise ValueError(
            f"{len(x)} images need integer labels of shape ({len(x)},), "
            f"not {y.dtype} of shape {y.shape}: convert them first"
        )
    fewest = 2 if augment else 1
    if len(x) < fewest:
        raise ValueError(f"{len(x)} images are too few: give at least {fewest}")
    if batch < fewest:
        reason = ": batch norm cannot train on one image" if augment else ""
        raise ValueError(f"batch must be at least {fewest}, not {batch}{reason}")


def _check_numbers(seed: int, mean: Sequence[float], std: Sequence[float]) -> None:
    if seed < 0:
        raise ValueError(f"seed must be at least 0, not {seed}: take its absolute value")
    if len(mean) != 3 or not np.isfinite(mean).all():
        raise ValueError(f"mean must be 3 finite numbers, not {mean}: take Dataset.moments.mean")
    if len(std) != 3 or not all(0 < s < np.inf for s in std):
        raise ValueError(f"std must be 3 positive numbers, not {std}: take Dataset.moments.std")
