"""Data sets from files, the values themselves, and the stand-in.

Without this file images could be paired with other labels or normalised by other moments.
"""

from __future__ import annotations

import os
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_files import check_all_are_read_or_refused, mutant_counts, mutants

torch = pytest.importorskip("torch")

from messages import one_line  # noqa: E402

from efsgd.deep import models  # noqa: E402
from efsgd.deep.data.dataset import ARRAYS, Dataset, load  # noqa: E402
from efsgd.deep.data.loader import Loader  # noqa: E402

# Files


def arrays(train: int = 6, test: int = 4, **changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    members: dict[str, Any] = {
        "x_train": rng.integers(0, 256, (train, 32, 32, 3), dtype=np.uint8),
        "y_train": np.arange(train) % 3,
        "x_test": rng.integers(0, 256, (test, 32, 32, 3), dtype=np.uint8),
        "y_test": np.arange(test) % 3,
    }
    return {name: array for name, array in (members | changes).items() if array is not None}


def saved(folder: Path, **changes: Any) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **arrays(**changes))
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "int32", ">i8"])
def test_a_file(tmp_path: Path, dtype: str, compressed: bool) -> None:
    members = arrays()
    members |= {name: members[name].astype(dtype) for name in ("y_train", "y_test")}
    path = tmp_path / "mine.npz"
    (np.savez_compressed if compressed else np.savez)(path, **members, unrelated=np.array(3))
    dataset = load(path)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(dataset, name), members[name])
    assert dataset.y_train.dtype == dataset.y_test.dtype == np.dtype(np.int64)
    assert dataset.classes == 3
    assert dataset.name == f"mine-{dataset.digest[:12]}"
    assert load(str(path)).digest == dataset.digest


def test_the_largest_label_of_both_parts_counts_the_classes(tmp_path: Path) -> None:
    assert load(saved(tmp_path, y_test=np.array([0, 1, 7, 2]))).classes == 8


@pytest.mark.parametrize("names", [np.array(list("abcd")), np.arange(4)])
def test_a_file_may_name_its_classes(tmp_path: Path, names: np.ndarray) -> None:
    assert load(saved(tmp_path, classes=names)).classes == 4


NOT_UINT8 = r"x_train is float64 of shape \(6, 32, 32, 3\), not uint8 of shape \(N, 32, 32, 3\)"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"x_test": None}, "holds no x_test: save it with x_train, y_train, x_test, y_test"),
        ({"y_train": None, "y_test": None}, "holds no y_train, y_test"),
        ({"x_train": np.zeros((6, 32, 32, 3))}, NOT_UINT8),
        (
            {"x_test": np.zeros((4, 3, 32, 32), np.uint8)},
            r"x_test is .*\(4, 3, 32, 32\), not uint8",
        ),
        ({"x_test": np.array(3, np.uint8)}, r"x_test is uint8 of shape \(\), not uint8 of"),
        ({"y_train": np.arange(6.0)}, r"y_train is float64 of shape \(6,\), not int64 of .*\(N,\)"),
        ({"y_test": np.zeros((4, 1), int)}, r"y_test is int64 of shape \(4, 1\), not int64 of"),
        ({"y_test": np.array(list("abcd"))}, "y_test is <U1 of shape"),
        ({"y_test": np.arange(3)}, "x_test has 4 images but y_test 3 labels"),
        ({"y_train": np.arange(-1, 5)}, "y_train holds labels from -1 to 4: number the 5 classes"),
        (
            {"y_train": np.array([0, 1, 2, 0, 1, 2**16])},
            "holds the label 65536: number the classes",
        ),
        ({"y_test": np.full(4, 2**63, np.uint64)}, "holds the label 9223372036854775808: number"),
        ({"classes": np.arange(2)}, "y_train holds labels from 0 to 2: number the 2 classes"),
        ({"classes": np.array(3)}, r"classes has shape \(\), not \(classes,\)"),
        ({"train": 0}, "x_train is empty"),
        ({"test": 0}, "x_test is empty"),
        ({"train": 0, "test": 0}, "x_train is empty"),
        ({"x_train": np.array([None])}, "damaged or no .npz file .it holds Python objects"),
    ],
)
def test_a_file_that_cannot_be_used(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    path = saved(tmp_path, **changes)
    with pytest.raises(ValueError, match=complaint) as error:
        load(path)
    assert one_line(error).startswith(str(path))


def test_a_file_is_not_allowed_to_run_code(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    saved(tmp_path, classes=np.array([Trap()], dtype=object))
    with pytest.raises(ValueError, match="it holds Python objects"):
        load(tmp_path / "mine.npz")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_torn_file(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path)
    complete = path.read_bytes()
    path.write_bytes(complete[: int(share * len(complete))])
    with pytest.raises(
        ValueError, match=f"^{re.escape(str(path))} is damaged or no .npz file"
    ) as error:
        load(path)
    one_line(error)


@pytest.mark.parametrize("compressed", [True, False])
def test_a_file_with_a_changed_byte(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "mine.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays())
    content = bytearray(path.read_bytes())
    content[3000] ^= 1  # in the pixels of x_train, whose six images are 18 kB
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is damaged or no .npz file"):
        load(path)


@mutant_counts
def test_damaged_files(tmp_path: Path, count: int) -> None:
    content = saved(tmp_path).read_bytes()
    check_all_are_read_or_refused(load, tmp_path / "mine.npz", mutants(content, count))


def test_one_array_is_no_npz(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with open(path, "wb") as file:
        np.save(file, np.arange(3))
    with pytest.raises(ValueError, match=r"no \.npz file \(File is not a zip file\): save"):
        load(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"^there is no file .*none.npz: name one with x_tr"
    ):
        load(tmp_path / "none.npz")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make: Any) -> None:
    """Nobody writes into the pipe: who opened it to read would wait for ever."""
    make(tmp_path / "mine.npz")
    with pytest.raises(
        ValueError, match=r"mine\.npz is damaged or no .npz file \((Is a directory|it is a pipe)"
    ):
        load(tmp_path / "mine.npz")


@pytest.mark.parametrize("what", ["~nobody-of-this-name/mine.npz", "cifar10"])
def test_a_home_that_is_not_known(what: str) -> None:
    with pytest.raises(
        ValueError, match=r"^~nobody-of-this-name.* names the home of a user"
    ) as info:
        load(what, "~nobody-of-this-name")
    one_line(info)


@pytest.mark.parametrize("what", ["cifar11", "CIFAR10", "images.npy", Path("cifar-10-batches-py")])
def test_an_unknown_name(what: str | Path) -> None:
    with pytest.raises(ValueError, match="choose cifar10, cifar100, standin or a file") as error:
        load(what)
    assert repr(str(what)) in one_line(error)


# The value of a data set


def test_the_digest_changes_with_every_array_and_with_nothing_else() -> None:
    members = arrays()
    dataset = Dataset("a", **members, classes=3)
    changed = [replace(dataset, classes=4)]
    for name in ARRAYS:
        other = members[name].copy()
        other.flat[-1] = (other.flat[-1] + 1) % 3
        changed.append(replace(dataset, **{name: other}))
    assert len({d.digest for d in (dataset, *changed)}) == 6
    assert replace(dataset, name="b").digest == dataset.digest
    fortran = {name: np.asfortranarray(array) for name, array in members.items()}
    assert Dataset("a", **fortran, classes=3).digest == dataset.digest


def test_moments_are_those_of_the_pixels_in_float64() -> None:
    dataset = load("standin")
    pixels = dataset.x_train.astype(np.float64) / 255
    # Sums of 2 million numbers of at most 1 by pairs: far below 1e-12.
    np.testing.assert_allclose(dataset.moments.mean, pixels.mean((0, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(dataset.moments.std, pixels.std((0, 1, 2)), atol=1e-12)


def test_moments_by_hand() -> None:
    """Channel 0 is half 0 and half 255, channel 1 is always 51, channel 2 is 255 in one of 4."""
    x = np.zeros((4, 32, 32, 3), np.uint8)
    x[:2, ..., 0], x[..., 1], x[0, ..., 2] = 255, 51, 255
    dataset = Dataset("a", x, np.arange(4), x, np.arange(4), 4)
    assert dataset.moments.mean == (1 / 2, 1 / 5, 1 / 4)
    # Rounded to float64 before, in and after the root.
    np.testing.assert_allclose(dataset.moments.std, (1 / 2, 1.0, (3 / 16) ** 0.5), rtol=4e-16)


def test_the_normalised_training_set_has_mean_0_and_std_1() -> None:
    dataset = load("standin").subset(train=300)
    x_train, y_train = dataset.x_train, dataset.y_train
    loader = Loader(x_train, y_train, batch=300, augment=False, **dataset.moments._asdict())
    ((pixels, _),) = loader.epoch(0)
    # Each entry is off by its float32 roundings, 1e-6 at most (test_loader.py).
    np.testing.assert_allclose(pixels.double().mean((0, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(pixels.double().std((0, 2, 3), correction=0), 1, atol=2e-6)


def test_a_subset_is_the_first_images() -> None:
    original = Dataset("a", **arrays(), classes=3)
    part = original.subset(4, 1)
    for name in ("x_train", "y_train"):
        np.testing.assert_array_equal(getattr(part, name), getattr(original, name)[:4])
    for name in ("x_test", "y_test"):
        np.testing.assert_array_equal(getattr(part, name), getattr(original, name)[:1])
    assert (part.classes, part.name) == (3, "a")
    assert part.digest != original.digest
    assert original.subset().digest == original.subset(6, 4).digest == original.digest
    assert len(original.subset(test=2).x_train) == 6


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        ((7, 4), "a has 6 train images: a subset of 7 needs a count from 1 to 6"),
        ((6, 5), "a has 4 test images: a subset of 5 needs"),
        ((0, 1), "a subset of 0 needs"),
        ((-1, 1), "a subset of -1 needs"),
    ],
)
def test_a_subset_of_more_than_there_is(counts: tuple[int, int], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Dataset("a", **arrays(), classes=3).subset(*counts)


def test_a_validation_split_takes_the_last_training_images() -> None:
    original = Dataset("a", **arrays(), classes=3)
    split = original.validation_split(2)
    np.testing.assert_array_equal(split.x_train, original.x_train[:4])
    np.testing.assert_array_equal(split.y_train, original.y_train[:4])
    np.testing.assert_array_equal(split.x_test, original.x_train[4:])
    np.testing.assert_array_equal(split.y_test, original.y_train[4:])
    for n in (0, 6, -1):
        with pytest.raises(ValueError, match=f"validation set of {n}, at least 1"):
            original.validation_split(n)


def test_a_data_set_is_frozen() -> None:
    dataset = Dataset("a", **arrays(), classes=3)
    with pytest.raises(FrozenInstanceError):
        dataset.classes = 4  # type: ignore[misc]


# The stand-in


def test_the_stand_in_is_the_same_every_time_and_balanced() -> None:
    dataset, again = load("standin"), load("standin")
    assert dataset.digest == again.digest
    assert (len(dataset.x_train), len(dataset.x_test), dataset.classes) == (2000, 500, 10)
    assert np.bincount(dataset.y_train).tolist() == [200] * 10
    assert np.bincount(dataset.y_test).tolist() == [50] * 10
    assert set(dataset.subset(10, 10).y_train) == set(range(10))
    assert not (dataset.x_train[:500] == dataset.x_test).all((1, 2, 3)).any()


def test_a_small_network_learns_the_stand_in() -> None:
    """Guessing is right one time in ten; two epochs of a narrow ResNet8 beat that three times."""
    dataset = load("standin").subset(train=1000)
    moments = dataset.moments._asdict()
    train = Loader(dataset.x_train, dataset.y_train, batch=20, **moments)
    test = Loader(dataset.x_test, dataset.y_test, batch=500, augment=False, **moments)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = models.resnet8(dataset.classes, width=8)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for t in range(2):
        for x, y in train.epoch(t):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(x), y).backward()
            optimiser.step()
    network.eval()
    ((x, y),) = test.epoch(0)
    with torch.no_grad():
        assert (network(x).argmax(1) == y).double().mean() > 0.3
