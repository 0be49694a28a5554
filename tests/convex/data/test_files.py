"""Data files as a whole: what is refused, .npz archives, and the split into training and test rows.

Without this file a damaged or empty file, or entries that overflow, could make a run that looks
like any other.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged_files import archive, check_all_are_read_or_refused, mutant_counts, mutants
from data_files import COMPRESSIONS, TEXT, dense, saved, written
from scipy.sparse import csr_array

from efsgd import archives
from efsgd.convex import LeastSquares, data_file, read
from efsgd.convex.data.files import split


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: "),
        (b"# nothing\n\n", "holds no rows"),
        (b"1\n-1\n", "labels and no features"),
        *(
            (compress(TEXT * 50)[:-9], "truncated or damaged")
            for compress in list(COMPRESSIONS.values())[1:]
        ),
        (gzip.compress(b"1 1:2\n1 2:x\n"), "line 2"),
        (b"PK\x03\x04 and then nothing", "is damaged or holds no numbers"),
    ],
)
def test_a_file_without_data_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = written(tmp_path / "a", content)
    with pytest.raises(ValueError, match=words) as refused:
        read(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["a.svm", "a.npz"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    """A digest needs the content once and the numbers once more, which a pipe cannot give."""
    os.mkfifo(tmp_path / name)
    good = written(tmp_path / "good", TEXT)
    refusal = rf"{name} cannot be read \(it is a pipe or a device, .*\): save it in a file first$"
    with pytest.raises(ValueError, match=refusal):
        read(tmp_path / name)
    with pytest.raises(ValueError, match=refusal):
        data_file(tmp_path / name)
    with pytest.raises(ValueError, match=refusal):
        data_file(good, test=tmp_path / name)
    source = data_file(good)
    good.unlink()
    os.mkfifo(good)
    with pytest.raises(ValueError, match=r"good cannot be read \(it is a pipe"):
        source.load()


@mutant_counts
@pytest.mark.parametrize("kind", ["npz", *COMPRESSIONS])
def test_damaged_files(tmp_path: Path, kind: str, count: int) -> None:
    arrays = {"X": np.eye(3)[:2], "y": np.ones(2)}
    content = archive(arrays) if kind == "npz" else COMPRESSIONS[kind](TEXT * 3)
    check_all_are_read_or_refused(read, tmp_path / "a", mutants(content, count // 3))


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
def test_text_that_expands_without_end_stops_at_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    text = b"1 1:1\n" * 30_000
    path = written(tmp_path / "a", COMPRESSIONS[kind](text))
    X, _ = read(path)
    assert X.shape == (30_000, 1)
    monkeypatch.setattr(archives, "EXPANDED", len(text) - 1)
    monkeypatch.setattr(archives, "RATIO", 1)
    with pytest.raises(ValueError, match=r"truncated or damaged \(it would expand to more than"):
        read(path)


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        (b"1.5,2.5,3\n4,5,6\n", "','"),
        (b"a,b,y\n1.5,2.5,3\n4,5,6\n", "','"),
        (b'"a: x",b,y\n1.5,2.5,3\n4,5,6\n', "','"),
        (b"# a,b,y\n1.5,2.5,3\n4,5,6\n", "','"),
        (b"# made today\n\na,b,y\n1.5,2.5,3\n4,5,6\n", "','"),
        (b"\xef\xbb\xbfa,b,y\r\n1.5,2.5,3\r\n4,5,6\r\n", "','"),
        (b"\xef\xbb\xbf1,5;2,5;3\n4;5;6\n", "';'"),
        (b"1,5;2,5;3\n4;5;6\n", "';'"),
        (b"a\tb\ty\n1,5\t2,5\t3\n4\t5\t6\n", r"'\\t'"),
        (b"1.5 2.5 3\n4 5 6\n", "blanks"),
        (b"# a b y\n1.5 2.5 3\n4 5 6\n", "blanks"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_table_is_refused_with_lines_that_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, delimiter: str, ending: str
) -> None:
    """The lines are run as they are printed, and the file they write holds the numbers."""
    compress = gzip.compress if ending else bytes
    path = written(tmp_path / f"t.csv{ending}", compress(content))
    with pytest.raises(ValueError, match=f"is a table delimited by {delimiter}, ") as refused:
        read(path)
    monkeypatch.chdir(tmp_path)
    exec(str(refused.value).partition("last column, ")[2], {"numpy": np})
    X, y = read("t.npz")
    np.testing.assert_array_equal(dense(X), [[1.5, 2.5], [4, 5]])
    np.testing.assert_array_equal(y, [3, 6])


def test_npz_is_read(tmp_path: Path) -> None:
    X, y = read(saved(tmp_path / "a.npz", X=np.eye(3, dtype=np.int8), y=[[1], [2], [3]]))
    np.testing.assert_array_equal(dense(X), np.eye(3))
    np.testing.assert_array_equal(y, [1, 2, 3])
    assert X.dtype == y.dtype == np.float64  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": 1}, "holds a: save it with"),
        ({"X": np.eye(3), "y": np.ones(2)}, "3 rows and y 2 entries"),
        ({"X": np.ones(3), "y": np.ones(3)}, r"shape \(3,\)"),
        ({"X": np.full((2, 2), np.nan), "y": np.ones(2)}, "X holds NaN or inf"),
        ({"X": np.eye(2), "y": np.array([1, np.inf])}, "y holds NaN or inf"),
        ({"X": np.eye(2), "y": np.array(["a", "b"])}, "y holds <U1"),
        ({"X": np.ones((2, 0)), "y": np.ones(2)}, "X has no columns"),
        ({}, "holds nothing"),
        (
            {"X": np.array([[object()]]), "y": np.ones(1)},
            r"it holds Python objects\): save it with np.savez",
        ),
        ({"X": csr_array(np.eye(2)), "y": np.ones(2)}, "sparse data as LIBSVM text"),
        ({"data": np.ones(2), "indices": [0, 1]}, "and sparse data as LIBSVM text"),
    ],
)
def test_npz_that_does_not_fit_is_refused(tmp_path: Path, arrays: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        read(saved(tmp_path / "a.npz", **arrays))
    assert "a.npz" in str(refused.value)


def test_a_truncated_npz_is_refused(tmp_path: Path) -> None:
    content = saved(tmp_path / "a.npz", X=np.eye(30), y=np.ones(30)).read_bytes()
    for end in (2, 3, 5, 700, len(content) - 3):
        with pytest.raises(ValueError, match=r"damaged or holds no numbers \(.*\): save it with"):
            read(written(tmp_path / "a.npz", content[:end]))


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        ([[1e200, 1]], [1], "largest entry of X is 1e.200, too extreme to compute with: rescale X"),
        ([[-1e200, 1]], [1], "largest entry of X is 1e.200"),
        ([[1e-200, 0]], [1], "largest entry of X is 1e-200"),
        ([[1, 2]], [1e300], "largest entry of y is 1e.300, too extreme to compute with: rescale y"),
        ([[np.longdouble("1e4000"), 2]], [1], "largest entry of X is inf"),
    ],
)
def test_entries_whose_squares_overflow_are_refused(
    tmp_path: Path, X: Any, y: Any, words: str
) -> None:
    """Standardising them would give zeros without a word."""
    with pytest.raises(ValueError, match=words) as refused:
        read(saved(tmp_path / "a.npz", X=np.array(X), y=np.array(y, float)))
    assert str(refused.value).startswith(str(tmp_path / "a.npz"))


def test_masked_entries_are_refused() -> None:
    """np.isfinite does not look below the mask."""
    hidden = np.ma.array(np.array([[np.nan, 1.0]]), mask=[[True, False]])
    with pytest.raises(ValueError, match="X is a masked array: drop or fill"):
        LeastSquares(hidden, np.ones(1))


def test_a_split_is_a_partition_that_the_seed_chooses() -> None:
    train, test = split(10, 0.25, seed=3)
    assert sorted([*train, *test]) == list(range(10))
    assert len(test) == 3  # 2.5, rounded up
    assert (np.diff(train) > 0).all()
    np.testing.assert_array_equal(test, split(10, 0.25, seed=3)[1])
    assert any(not np.array_equal(test, split(10, 0.25, seed=s)[1]) for s in range(4))
    assert len(split(10, 0.0, seed=3)[1]) == 0


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_split_leaves_rows_on_both_sides(share: float) -> None:
    with pytest.raises(ValueError, match=f"test share of {share} of 10 rows leaves"):
        split(10, share, seed=0)


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_an_impossible_share_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(ValueError, match=r"test share must lie in \[0, 1\)"):
        data_file(written(tmp_path / "a", TEXT), test=share)
