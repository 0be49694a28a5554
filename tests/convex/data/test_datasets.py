"""Reading LIBSVM text and .npz, splitting, scaling, and a sentence for all that can be wrong."""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import io
import lzma
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.datasets import dump_svmlight_file, load_breast_cancer, load_diabetes, load_digits

import efsgd
from efsgd.arrays import Array
from efsgd.convex import (
    FileLogistic,
    FileSquares,
    LeastSquares,
    LogisticRegression,
    data_file,
    read,
)
from efsgd.convex.data import libsvm
from efsgd.convex.data.files import split, standardised
from efsgd.convex.data.problems import FileCertificate
from efsgd.results import spec_of

TEXT = b"+1 1:0.5 3:2 # a comment\n\n# another 4:5\n-1\r\n-1 2:-1e-3\n1\t4:7"  # no last newline
MEANS = (np.array([[0.5, 0, 2, 0], [0] * 4, [0, -1e-3, 0, 0], [0, 0, 0, 7]]), [1, -1, -1, 1])
OPENERS = {"txt": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def dense(X: Any) -> Array:
    found: Array = X.toarray() if hasattr(X, "toarray") else X
    return found


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# -- LIBSVM ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", OPENERS)
def test_libsvm_text_is_read_plain_or_compressed(tmp_path: Path, ending: str) -> None:
    X, y = read(written(tmp_path / "a", OPENERS[ending](TEXT)))
    np.testing.assert_array_equal(dense(X), MEANS[0])
    np.testing.assert_array_equal(y, MEANS[1])


@pytest.mark.parametrize("load", [load_diabetes, load_breast_cancer, load_digits])
def test_real_sets_survive_the_text(tmp_path: Path, load: Any) -> None:
    """The writer gives 16 digits, which is float64 but for its last bit."""
    X, y = load(return_X_y=True)
    dump_svmlight_file(X, y, str(tmp_path / "a"), zero_based=False)
    found, labels = read(tmp_path / "a")
    np.testing.assert_allclose(dense(found), X, rtol=1e-15)
    np.testing.assert_array_equal(labels, y)
    assert hasattr(found, "tocsr") == (12 * np.count_nonzero(X) < 8 * X.size)


@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.dictionaries(st.integers(1, 30), st.floats(-1e300, 1e300), max_size=6),
            st.sampled_from([b"\n", b"\r\n", b" # 3:4 x\n", b"\n\n", b"\t \n"]),
        ),
        min_size=1,
    )
)
def test_parsing_in_bulk_and_line_by_line_agree_to_the_bit(rows: Any) -> None:
    text = b""
    for label, entries, end in rows:
        words = [repr(label), *(f"{i}:{entries[i]!r}" for i in sorted(entries))]
        text += " ".join(words).encode() + end
    bulk, lines = libsvm._in_bulk(text), libsvm._line_by_line(text, "a", 1)
    assert bulk is not None
    for found, expected in zip(bulk, lines, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_change_nothing(monkeypatch: Any, block: int) -> None:
    monkeypatch.setattr(libsvm, "BLOCK", block)
    X, y = libsvm.parse(io.BytesIO(TEXT), "a")
    np.testing.assert_array_equal(X.toarray(), MEANS[0])
    np.testing.assert_array_equal(y, MEANS[1])
    with pytest.raises(ValueError, match="a, line 7: "):
        libsvm.parse(io.BytesIO(TEXT + b"\n1 x:2\n1 0:3\n"), "a")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"x 1:2", "label 'x' is not a number"),
        (b"1,2 3:4", "label '1,2'"),
        (b"\xff 1:2", "label"),
        (b"1_0 1:2", "label '1_0'"),
        (b"1:2 2:3", "label '1:2'"),
        (b"inf 1:2", "label is inf"),
        (b"1 1:nan", "value is nan"),
        (b"1 1:1e999", "value is 1e999"),
        (b"1 1:", "value ''"),
        (b"1 2:3:4", "value '3:4'"),
        (b"1 2", "'2' is not index:value"),
        (b"1 :2", "':2' is not index:value"),
        (b"1 a:2", "'a:2' is not index:value"),
        (b"1 1.5:2", "'1.5:2' is not index:value"),
        (b"1 nan:2", "'nan:2' is not index:value"),
        (b"1 " + b"q" * 99, "q..."),
        (
            b"1 0:2",
            "index 0 is not among 1, ..., 2147483647: count from 1, in scikit-learn by zero",
        ),
        (b"a,b 1:2", "label 'a,b' is not a number: give lines such as"),
        (b"1 -1:2", "index -1"),
        (b"1 2147483648:2", "index 2147483648"),
        (b"1 2:1 2:1", "index 2 follows 2: sort"),
        (b"1 3:1 2:1", "index 2 follows 3: sort"),
        (b"1 qid:3 1:2", "'qid:3' is of ranking data"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: bytes, words: str) -> None:
    path = written(tmp_path / "a.txt", b"1 1:2\n\n" + line + b"\n1 x:1\n")
    with pytest.raises(ValueError, match=r"a\.txt, line 3: ") as refused:
        read(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


# -- whole files ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: "),
        (b"# nothing\n\n", "holds no rows"),
        (b"1\n-1\n", "labels and no features"),
        *((pack(TEXT * 50)[:-9], "truncated or damaged") for pack in list(OPENERS.values())[1:]),
        (gzip.compress(b"1 1:2\n1 2:x\n"), "line 2"),
        (b"PK\x03\x04 and then nothing", "truncated or damaged"),
    ],
)
def test_a_file_without_data_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = written(tmp_path / "a", content)
    with pytest.raises(ValueError, match=words) as refused:
        read(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


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
        ({"X": np.array([[object()]]), "y": np.ones(1)}, "Python objects: save X and y as numbers"),
        ({"X": csr_array(np.eye(2)), "y": np.ones(2)}, "sparse data as LIBSVM text"),
        ({"data": np.ones(2), "indices": [0, 1]}, "and sparse data as LIBSVM text"),
    ],
)
def test_npz_that_does_not_fit_is_refused(tmp_path: Path, arrays: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        read(saved(tmp_path / "a.npz", **arrays))
    assert "a.npz" in str(refused.value)


def test_a_truncated_npz_is_refused(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.npz", X=np.eye(30), y=np.ones(30)).read_bytes()
    for end in (2, 3, 5, 700, len(whole) - 3):
        with pytest.raises(ValueError, match=r"truncated or damaged \(.*\): save it again"):
            read(written(tmp_path / "a.npz", whole[:end]))


def text_of(X: Any, y: Any) -> bytes:
    """The rows as LIBSVM text, zeros left out."""
    lines = []
    for label, row in zip(y, X, strict=True):
        words = [repr(float(label)), *(f"{j + 1}:{v!r}" for j, v in enumerate(row.tolist()) if v)]
        lines.append(" ".join(words))
    return "\n".join(lines).encode()


@pytest.mark.parametrize("ending", OPENERS)
def test_a_byte_order_mark_is_skipped_at_the_start_only(tmp_path: Path, ending: str) -> None:
    X, _ = read(written(tmp_path / "a", OPENERS[ending](codecs.BOM_UTF8 + TEXT)))
    np.testing.assert_array_equal(dense(X), MEANS[0])
    with pytest.raises(ValueError, match="line 2: the label"):
        read(written(tmp_path / "a", OPENERS[ending](b"1 1:2\n" + codecs.BOM_UTF8 + TEXT)))


@pytest.mark.parametrize(
    "content",
    [
        TEXT.decode().encode("utf-16"),
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f8'}\n",
        lzma.compress(TEXT, format=lzma.FORMAT_ALONE),
        b"\x28\xb5\x2f\xfd rest of a zstd frame\n",
        gzip.compress(b"my.svm" + bytes(94) + b"0000644" + TEXT),  # a tar archive begins so
    ],
)
def test_what_is_no_text_is_called_binary(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ValueError, match="is binary, or text that is not UTF-8: give lines such"):
        read(written(tmp_path / "a", content))


def test_a_comment_may_have_any_encoding(tmp_path: Path) -> None:
    X, _ = read(written(tmp_path / "a", "# donn\u00e9es\n".encode("latin-1") + TEXT))
    np.testing.assert_array_equal(dense(X), MEANS[0])


def test_an_index_far_beyond_all_features_is_a_slip(tmp_path: Path) -> None:
    """Every iterate would have as many entries."""
    path = written(tmp_path / "a", b"1 1:2 3:4\n-1 2:1 10000001:1\n")
    with pytest.raises(ValueError, match=r"largest index is 10000001, and only 4 features occur"):
        read(path)
    X, _ = read(written(path, b"1 1:2 3:4\n-1 2:1 10000000:1\n"))
    assert X.shape == (2, libsvm.WIDE)


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


# -- what is done to the rows ---------------------------------------------------------------------


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


@pytest.mark.parametrize("sparse", [False, True])
def test_standardised_by_the_training_rows(sparse: bool) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4)) * [1, 10, 0.1, 0] * (rng.random((60, 4)) < 0.5) + [0, 0, 0, 5]
    y = rng.standard_normal(60) + 3
    kind: Any = csr_array if sparse else np.asarray
    pairs = [(kind(X[:40]), y[:40]), (kind(X[40:]), y[40:])]
    (train, y_train), (test, y_test) = standardised(pairs)
    scale = X[:40].std(0)
    scale[3] = 1  # constant: kept as it is
    centre = 0 if sparse else X[:40].mean(0)
    np.testing.assert_allclose(dense(train), (X[:40] - centre) / scale, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dense(test), (X[40:] - centre) / scale, rtol=1e-12, atol=1e-13)
    shift = 0 if sparse else y[:40].mean()
    np.testing.assert_allclose([*y_train, *y_test], y - shift)
    if sparse:
        assert train.nnz == pairs[0][0].nnz
    labels = np.where(y > 3, 2.0, 1.0)  # classes are left alone
    assert set(standardised([(kind(X), labels)])[0][1]) == {1.0, 2.0}


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("value", [0.1, 123456.7, 1e9 + 0.1, -1e-9])
def test_a_constant_feature_keeps_its_scale(sparse: bool, value: float) -> None:
    """Sums of equal numbers round: n = 9999 leaves a spurious deviation unless one looks."""
    X = np.zeros((9999, 3))
    X[:, 0], X[::7, 1] = value, 1.0
    kind: Any = csr_array if sparse else np.asarray
    train, test = (dense(found) for found, _ in standardised([(kind(X), X[:, 1])] * 2))
    np.testing.assert_array_equal(train[:, 0], value if sparse else 0.0)
    np.testing.assert_array_equal(train, test)
    assert train[:, 1].std() == pytest.approx(1.0)


def test_a_sparse_feature_far_from_0_has_its_deviation() -> None:
    """The mean of squares less the square of the mean has no digit left here."""
    x = 1e8 + np.arange(-50.0, 51.0)
    X = csr_array(np.column_stack((x, np.where(x > 1e8, x, 0.0), 0 * x)))
    ((scaled, _),) = standardised([(X, x)])
    np.testing.assert_allclose(dense(scaled)[:, :2].std(0), 1.0, rtol=1e-9)


@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("sparse_first", [False, True])
def test_a_full_and_a_sparse_file_go_together(
    tmp_path: Path, standardise: bool, sparse_first: bool
) -> None:
    """Each file alone would be kept in its own kind; the training rows decide."""
    rng = np.random.default_rng(0)
    full = rng.standard_normal((9, 6))
    thin = full * (rng.random((9, 6)) < 0.2)
    thin[0, 5] = 1.0  # as wide
    first, second = (thin, full) if sparse_first else (full, thin)
    y = rng.standard_normal(9)
    paths = [written(tmp_path / name, text_of(X, y)) for name, X in (("a", first), ("b", second))]
    found = data_file(paths[0], test=paths[1], standardise=standardise, intercept=True).load()
    assert hasattr(found.X, "tocsr") == hasattr(found.X_test, "tocsr") == sparse_first
    scale, mean = np.ones(6), np.zeros(6)
    if standardise:
        scale = np.where(first.std(0) > 0, first.std(0), 1.0)
        mean = mean if sparse_first else first.mean(0)
    for X, expected in ((found.X, first), (found.X_test, second)):
        with_ones = np.column_stack(((expected - mean) / scale, np.ones(9)))
        np.testing.assert_allclose(dense(X), with_ones, rtol=1e-12, atol=1e-13)


def test_a_full_file_stays_small_beside_a_wide_one(tmp_path: Path) -> None:
    train = written(tmp_path / "a", text_of(np.ones((4, 3)), [1, 2, 3, 4]))
    test = written(tmp_path / "b", b"1 1:1 9000000:1\n")
    found = data_file(train, test=test).load()
    assert found.X.shape == (4, 9_000_000)
    assert found.X.nnz == 12  # type: ignore[union-attr]


def test_a_test_file_may_have_fewer_features(tmp_path: Path) -> None:
    train = written(tmp_path / "a", b"1 1:1 40:2\n2 3:1\n3 2:7\n")
    test = written(tmp_path / "b", b"1 1:1\n0 2:3 50:1\n")
    problem = FileSquares(data_file(train, test=test, intercept=True))
    assert (problem.n, problem.d) == (3, 51)
    x = np.arange(51.0)[None]
    assert problem.data.X.nnz == 4 + 3  # type: ignore[union-attr]
    expected = np.mean([(0 + 50 - 1) ** 2, (3 + 49 + 50) ** 2])
    assert problem.measure(x)["test_mse"][0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [(b"1 1:1\n1 2:1\n1 1:3\n", r"1 different labels \(1\)"), (b"0 1:1\n1 2:1\n2 1:1\n", "3 diff")],
)
def test_logistic_needs_two_classes(tmp_path: Path, text: bytes, words: str) -> None:
    source = data_file(written(tmp_path / "a", text), test=0)
    with pytest.raises(ValueError, match=words) as refused:
        FileLogistic(source, 0.1).loss(np.zeros((1, 2)))
    assert "needs two classes" in str(refused.value)


def test_both_classes_have_to_be_trained_on(tmp_path: Path) -> None:
    train = written(tmp_path / "a", b"7 1:1\n7 2:1\n")
    source = data_file(train, test=written(tmp_path / "b", b"3 1:1\n"))
    with pytest.raises(ValueError, match=r"a: all 2 training rows have the label 7: train on both"):
        FileLogistic(source, 0.1).loss(np.zeros((1, 2)))
    third = data_file(train, test=written(tmp_path / "b", b"3 1:1\n5 1:1\n"))
    with pytest.raises(ValueError, match=r"a with .*b has 3 different labels"):
        FileLogistic(third, 0.1).loss(np.zeros((1, 2)))


@pytest.mark.parametrize(("scale", "l2"), [(1e-10, None), (1e19, None), (1.0, 1e300)])
@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")  # of cvxpy, about Clarabel
def test_data_that_defeats_the_solver_is_no_failed_claim(
    tmp_path: Path, scale: float, l2: float | None
) -> None:
    """The first certificate has no such trouble."""
    rng = np.random.default_rng(0)
    X = scale * rng.standard_normal((20, 3))
    y = np.sign(rng.standard_normal(20))
    source = data_file(written(tmp_path / "a", text_of(X, y)), test=0)
    problem = FileSquares(source) if l2 is None else FileLogistic(source, l2)
    found = FileCertificate(problem).compute()
    assert np.isnan(found["solver_gap"])
    assert found["error"] <= found["tolerance"]


def test_an_optimum_that_is_none_has_a_gap(tmp_path: Path, monkeypatch: Any) -> None:
    """A value above the dual one is the optimum's fault, not the solver's."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    problem = FileSquares(data_file(written(tmp_path / "a", text_of(X, y)), test=0))
    assert FileCertificate(problem).compute()["solver_gap"] < 1e-7
    monkeypatch.setattr("efsgd.convex.problems.least_squares.minimum_norm", lambda *_: np.zeros(3))
    wrong = FileSquares(data_file(tmp_path / "a", test=0, seed=1))
    found = FileCertificate(wrong).compute()
    assert found["solver_gap"] > 1e-3
    assert found["error"] > found["tolerance"]


def test_two_classes_are_mapped_in_order(tmp_path: Path) -> None:
    source = data_file(written(tmp_path / "a", b"7 1:1\n3 2:1\n7 1:1\n3 1:2\n"), test=0.5, seed=1)
    data = FileLogistic(source, 0.1).data
    both = [*data.y, *data.y_test]  # type: ignore[misc]
    assert sorted(both) == [-1, -1, 1, 1]


def test_the_spec_holds_the_sha256_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a", TEXT)
    source = data_file(path, test=0)
    assert spec_of(FileSquares(source))["source"]["sha256"] == hashlib.sha256(TEXT).hexdigest()
    written(path, TEXT + b"\n")
    with pytest.raises(ValueError, match="has changed since it was first read"):
        source.load()


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_an_impossible_share_is_refused(tmp_path: Path, share: float) -> None:
    with pytest.raises(ValueError, match=r"test share must lie in \[0, 1\)"):
        data_file(written(tmp_path / "a", TEXT), test=share)


def test_a_large_sparse_set_stays_sparse(monkeypatch: Any) -> None:
    """20,000 x 47,000 at 0.15 %: dense it would be 7.5 GB; here a few copies of 17 MB."""
    n, d, per_row = 20_000, 47_000, 70
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(d, size=(n, per_row), dtype=np.int32), axis=1)
    starts = np.arange(0, n * per_row + 1, per_row, dtype=np.int32)
    X = csr_array((rng.random(n * per_row), columns.ravel(), starts), shape=(n, d))
    X.sum_duplicates()
    y = np.where(rng.random(n) < 0.5, 1.0, -1.0)
    tracemalloc.start()
    try:
        problem = LogisticRegression(X, y, l2=1 / n)
        method = efsgd.EFSGD(efsgd.TopK(0.01))
        for batch in (None, 16):
            history = efsgd.run(efsgd.Run(problem, method, 0.1, 3, batch=batch))
            assert history["loss"][-1] < history["loss"][0]
        assert problem.gap(problem.optimum.x) < 1e-12  # type: ignore[union-attr]
        assert tracemalloc.get_traced_memory()[1] < 5 * 12 * X.nnz
    finally:
        tracemalloc.stop()
