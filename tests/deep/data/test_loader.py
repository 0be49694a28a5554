"""Batches: every crop and flip against one written image by image, and the order of the images.

Without this file an epoch could leave images out, or a resumed run see other batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from on_gpu import no_synchronisation  # noqa: E402

from efsgd.deep.data.loader import PAD, Feed, Loader  # noqa: E402
from efsgd.deep.training.device import own_stream  # noqa: E402
from efsgd.deep.training.graph import capturing  # noqa: E402

MOMENTS: dict[str, Any] = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.25, 0.3)}
RAW: dict[str, Any] = {"mean": (0, 0, 0), "std": (1 / 255,) * 3}  # (x/255 - 0) * 255


def images(n: int, side: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def loader(n: int = 10, batch: int = 4, side: int = 32, **options: Any) -> Loader:
    """Image i carries label i."""
    return Loader(images(n, side), np.arange(n), batch=batch, **{**RAW, **options})


def one_by_one(x: np.ndarray, down: int, right: int, flip: bool) -> np.ndarray:
    """The crop of one image (H, W, 3), pixel by pixel: black outside, flipped after it is cut."""
    height, width, _ = x.shape
    cut = np.zeros_like(x)
    for row in range(height):
        for column in range(width):
            i, j = row + down - PAD, column + right - PAD
            if 0 <= i < height and 0 <= j < width:
                cut[row, width - 1 - column if flip else column] = x[i, j]
    return cut


@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"]
)
def test_crops_and_flips_are_those_made_one_by_one(memory_format: Any) -> None:
    x = images(24)
    batches = loader(24, 9, seed=3, memory_format=memory_format)
    order, down, right, flip = (field.numpy() for field in batches.draws(2))
    assert flip.any()
    assert not flip.all()
    crops = torch.cat([pixels for pixels, _ in batches.epoch(2)])
    for position, image in enumerate(order):
        cut = one_by_one(x[image], down[position], right[position], flip[position])
        np.testing.assert_array_equal(crops[position].permute(1, 2, 0).numpy(), cut)


@pytest.mark.parametrize("augment", [True, False])
def test_pixels_are_normalised_in_float32_and_black_is_added_before(augment: bool) -> None:
    raw = [x for x, _ in loader(augment=augment).epoch(0)]
    normalised_batches = [x for x, _ in loader(augment=augment, **MOMENTS).epoch(0)]
    mean, std = (np.array(MOMENTS[name])[:, None, None] for name in ("mean", "std"))
    for pixels, normalised in zip(raw, normalised_batches, strict=True):
        exact = (pixels.numpy().astype(np.float64) / 255 - mean) / std
        assert normalised.dtype == torch.float32
        # Centre, difference, scale and product are each rounded, and none is above 255/51 = 5.
        np.testing.assert_allclose(normalised, exact, rtol=0, atol=5 * 5 * 2**-24)
    if augment:
        assert min(x.min() for x in raw) == 0  # the border is in reach of every draw


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("augment", [True, False])
def test_the_memory_format_is_the_one_asked_for(memory_format: Any, augment: bool) -> None:
    for x, _ in loader(memory_format=memory_format, augment=augment).epoch(0):
        assert x.is_contiguous(memory_format=memory_format)


def test_a_batch_does_not_depend_on_where_the_epoch_was_entered() -> None:
    epoch = list(loader(seed=1).epoch(5))
    for start in range(len(epoch) + 1):
        rest = list(loader(seed=1).epoch(5, start))
        assert len(rest) == len(epoch) - start
        for (x, y), (x_epoch, y_epoch) in zip(rest, epoch[start:], strict=True):
            assert torch.equal(x, x_epoch)
            assert torch.equal(y, y_epoch)


def test_batches_are_not_overwritten_by_later_ones() -> None:
    batches = loader()
    batches_of_epoch = list(batches.epoch(0))
    for (x, _), (again, _) in zip(batches_of_epoch, batches.epoch(0), strict=True):
        assert x.data_ptr() != again.data_ptr()
        assert torch.equal(x, again)
        x.zero_()
    assert torch.equal(next(batches.epoch(0))[0], next(loader().epoch(0))[0])


@pytest.mark.parametrize("t", range(3))
def test_an_epoch_holds_every_image_once(t: int) -> None:
    assert torch.cat([y for _, y in loader(23, 4).epoch(t)]).sort().values.tolist() == [*range(23)]


def test_labels_stay_with_their_images() -> None:
    x = np.broadcast_to(np.arange(1, 51, dtype=np.uint8)[:, None, None, None], (50, 32, 32, 3))
    batches = Loader(x, np.arange(50), batch=7, **RAW)
    for pixels, y in batches.epoch(0):
        assert torch.equal(pixels.amax((1, 2, 3)).long() - 1, y)  # the middle of a crop is inside


def test_without_augmentation_all_come_in_order_as_they_are() -> None:
    x = images(9)
    batches = loader(9, 4, augment=False)
    assert batches.batches() == 3
    for t in (0, 1):
        pixels, labels = (torch.cat(parts) for parts in zip(*batches.epoch(t), strict=True))
        np.testing.assert_array_equal(pixels.permute(0, 2, 3, 1), x)
        assert labels.tolist() == [*range(9)]


def test_epochs_and_seeds_differ_and_repeat() -> None:
    def bytes_of(seed: int, t: int) -> bytes:
        return b"".join(field.numpy().tobytes() for field in loader(seed=seed).draws(t))

    pairs = [(seed, t) for seed in range(4) for t in range(4)]  # (1, 2) and (2, 1), (0, 3) differ
    assert len({bytes_of(*pair) for pair in pairs}) == len(pairs)
    assert bytes_of(2, 3) == bytes_of(2, 3)


def test_draws_are_uniform() -> None:
    """Each offset 0..8 has probability 1/9, a flip 1/2; 4 standard errors."""
    n = 20_000
    draws = Loader(np.zeros((n, 1, 1, 3), np.uint8), np.zeros(n, int), batch=2, **RAW).draws(0)
    counts = torch.zeros(9, 9)
    counts.index_put_((draws.down, draws.right), torch.tensor(1.0), accumulate=True)
    frequencies = ((counts.sum(0) / n, 1 / 9), (counts.sum(1) / n, 1 / 9), (counts / n, 1 / 81))
    for frequency, p in frequencies:
        assert abs(frequency - p).max() <= 4 * (p * (1 - p) / n) ** 0.5
    assert abs(draws.flip.double().mean() - 1 / 2) <= 4 * (1 / 4 / n) ** 0.5
    # A permutation has no preferred place: the mean of its first half is that of a draw without
    # replacement, variance (N^2 - 1)/12 / m * (N - m)/(N - 1).
    m = n // 2
    error = ((n**2 - 1) / 12 / m * (n - m) / (n - 1)) ** 0.5
    assert abs(draws.order[:m].double().mean() - (n - 1) / 2) <= 4 * error


@pytest.mark.parametrize(
    ("n", "batch", "augment", "sizes"),
    [
        (8, 4, True, [4, 4]),
        (10, 4, True, [4, 4, 2]),
        (9, 4, True, [4, 4]),  # one image is left over: batch norm cannot train on it
        (9, 4, False, [4, 4, 1]),
        (3, 8, True, [3]),
        (1, 8, False, [1]),
        (2, 1, False, [1, 1]),
    ],
)
def test_the_last_batch(n: int, batch: int, augment: bool, sizes: list[int]) -> None:
    batches = loader(n, batch, augment=augment)
    assert [len(y) for _, y in batches.epoch(0)] == sizes
    assert batches.batches() == len(sizes)


def test_the_global_generators_are_left_alone() -> None:
    before = torch.get_rng_state()
    list(loader().epoch(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_default_device_does_not_matter() -> None:
    with torch.device("meta"):
        batches = loader()
        x, y = next(batches.epoch(0))
    assert x.device.type == y.device.type == "cpu"


def test_arrays_that_cannot_be_written_or_run_backwards() -> None:
    x = images(4)
    x.flags.writeable = False
    (pixels, _), *_ = Loader(x[::-1], np.arange(4), batch=4, augment=False, **RAW).epoch(0)
    np.testing.assert_array_equal(pixels.permute(0, 2, 3, 1), x[::-1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 1}, "batch must be at least 2, not 1: batch norm"),
        ({"batch": 0, "augment": False}, "batch must be at least 1, not 0"),
        ({"n": 0}, "0 images are too few: give at least 2"),
        ({"n": 0, "augment": False}, "0 images are too few: give at least 1"),
        ({"n": 1}, "1 images are too few: give at least 2"),
        ({"seed": -1}, "seed must be at least 0, not -1"),
        ({"std": (0.1, 0.0, 0.1)}, "std must be 3 positive numbers"),
        ({"std": (0.1, 0.1)}, "std must be 3 positive numbers"),
        ({"mean": (0.1, float("nan"), 0.1)}, "mean must be 3 finite numbers"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loader(**changes)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (images(4).astype(np.float32), np.arange(4), "not float32 of shape"),
        (images(4)[..., 0], np.arange(4), r"not uint8 of shape \(4, 32, 32\)"),
        (images(4).transpose(0, 3, 1, 2), np.arange(4), r"not uint8 of shape \(4, 3, 32, 32\)"),
        (images(4), np.arange(5), r"labels of shape \(4,\), not int64 of shape \(5,\)"),
        (images(4), np.arange(4.0), "not float64"),
    ],
)
def test_arrays_that_are_refused(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loader(x, y, batch=2, **RAW)


@pytest.mark.parametrize(("t", "start"), [(-1, 0), (0, -1), (0, 4)])
def test_an_epoch_that_does_not_exist_is_refused_at_once(t: int, start: int) -> None:
    with pytest.raises(ValueError, match=f"no batch {start} in epoch {t}: .* batches to 3"):
        loader().epoch(t, start)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("augment", [True, False])
def test_a_gpu_makes_the_same_batches_and_does_not_wait(augment: bool) -> None:
    options = {"augment": augment, "memory_format": torch.channels_last, **MOMENTS}
    cpu, gpu = (loader(device=device, **options) for device in ("cpu", "cuda"))
    epoch = gpu.epoch(1)
    with no_synchronisation():
        batches = list(epoch)
    for (x, y), (x_gpu, y_gpu) in zip(cpu.epoch(1), batches, strict=True):
        assert torch.equal(x, x_gpu.cpu())
        assert torch.equal(y, y_gpu.cpu())


@pytest.mark.parametrize("start", [0, 2])
def test_a_feed_hands_out_the_batches_of_one_epoch_after_another(start: int) -> None:
    batches = loader(10, 4, **MOMENTS)
    feed = Feed(batches)
    for t in (0, 3):
        feed.start(t, start)
        for x, y in batches.epoch(t, start):
            x_fed, y_fed = feed.batch(len(y))
            assert torch.equal(x, x_fed)
            assert torch.equal(y, y_fed)
    with pytest.raises(ValueError, match="no batch 4 in epoch 0"):
        feed.start(0, 4)


def test_a_feed_stays_where_it_is() -> None:
    feed = Feed(loader())
    addresses = [tensor.data_ptr() for tensor in (*feed.draws, feed.done, feed.offsets)]
    feed.start(1)
    feed.batch(4)
    assert addresses == [tensor.data_ptr() for tensor in (*feed.draws, feed.done, feed.offsets)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_captured_feed_hands_out_the_next_batch_at_each_replay() -> None:
    cpu, gpu = (loader(24, 4, device=device, **MOMENTS) for device in ("cpu", "cuda"))
    feed, graph = Feed(gpu), torch.cuda.CUDAGraph()
    with own_stream(torch.device("cuda")):
        feed.start(0)
        feed.batch(4)
        with capturing(graph):
            x, y = feed.batch(4)
        for t in (1, 2):
            with no_synchronisation():
                feed.start(t)
            for x_cpu, y_cpu in cpu.epoch(t):
                graph.replay()
                assert torch.equal(x_cpu, x.cpu())
                assert torch.equal(y_cpu, y.cpu())
