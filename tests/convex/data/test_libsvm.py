"""LIBSVM text: what is read from it, and a sentence with the line for all that can be wrong.

Without this file a malformed line could be read as other numbers than those in the file.
"""

from __future__ import annotations

import codecs
import gzip
import io
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import COMPRESSIONS, TEXT, X_OF_TEXT, Y_OF_TEXT, dense, written
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file, load_breast_cancer, load_diabetes, load_digits

from efsgd.convex import read
from efsgd.convex.data import libsvm


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_libsvm_text_is_read_plain_or_compressed(tmp_path: Path, ending: str) -> None:
    X, y = read(written(tmp_path / "a", COMPRESSIONS[ending](TEXT)))
    np.testing.assert_array_equal(dense(X), X_OF_TEXT)
    np.testing.assert_array_equal(y, Y_OF_TEXT)


@pytest.mark.parametrize("load", [load_diabetes, load_breast_cancer, load_digits])
def test_real_sets_survive_the_text(tmp_path: Path, load: Any) -> None:
    """The writer gives 16 digits, which is float64 but for its last bit."""
    X, y = load(return_X_y=True)
    dump_svmlight_file(X, y, str(tmp_path / "a"), zero_based=False)
    X_read, labels = read(tmp_path / "a")
    np.testing.assert_allclose(dense(X_read), X, rtol=1e-15)
    np.testing.assert_array_equal(labels, y)
    assert hasattr(X_read, "tocsr") == (12 * np.count_nonzero(X) < 8 * X.size)


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
    bulk, lines = libsvm.parse_in_bulk(text), libsvm.parse_line_by_line(text, "a", 1)
    assert bulk is not None
    for array, expected in zip(bulk, lines, strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype


def test_blanks_behind_a_colon_are_skipped() -> None:
    """The file protein of the LIBSVM site has them; one in front of a colon stays a mistake."""
    text = b"0 1: .5 63:  .50\r\n2 5:\t1 # 7: 8\n1 4:\t -2e1 5: 3\n"
    X, y = libsvm.parse(io.BytesIO(text), "a")
    expected = np.zeros((3, 63))
    expected[0, [0, 62]], expected[1, 4], expected[2, [3, 4]] = 0.5, 1, [-20, 3]
    np.testing.assert_array_equal(X.toarray(), expected)
    np.testing.assert_array_equal(y, [0, 2, 1])
    for line, word in ((b"1 3 :4", "'3' is not"), (b"1 3:\n4:5", "''"), (b"1 3: 4:5", "'4:5'")):
        with pytest.raises(ValueError, match=f"^a, line 2: .*{word}"):
            libsvm.parse(io.BytesIO(b"1 1: 2\n" + line), "a")


@pytest.mark.parametrize("block", [1, 7, 64])
def test_blocks_change_nothing(monkeypatch: Any, block: int) -> None:
    monkeypatch.setattr(libsvm, "BLOCK", block)
    X, y = libsvm.parse(io.BytesIO(TEXT), "a")
    np.testing.assert_array_equal(X.toarray(), X_OF_TEXT)
    np.testing.assert_array_equal(y, Y_OF_TEXT)
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
        (b"1 1_0:1", "'1_0:1' is not index:value"),
        (b"1 1:1_0", "value '1_0'"),
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


def test_blank_lines_cost_next_to_nothing_and_are_counted(monkeypatch: Any) -> None:
    """A megabyte that decompresses to a gigabyte of them reaches the limit within seconds."""
    parsed = []
    bulk = libsvm.parse_in_bulk
    monkeypatch.setattr(libsvm, "BLOCK", 2**10)
    monkeypatch.setattr(libsvm, "parse_in_bulk", lambda text: parsed.append(text) or bulk(text))
    text = b"1 1:2\n" + b" \r\n" * 2**16 + b"1 x:2\n"
    with pytest.raises(ValueError, match=f"^a, line {2**16 + 2}: 'x:2'"):
        libsvm.parse(io.BytesIO(text), "a")
    assert len(parsed) == 2


def test_a_line_without_end_is_refused(monkeypatch: Any) -> None:
    monkeypatch.setattr(libsvm, "BLOCK", 2**10)
    monkeypatch.setattr(libsvm, "LONGEST_LINE", 2**12)
    assert libsvm.parse(io.BytesIO(b"1 1:2" + b" " * 2**11 + b"\n"), "a")[0].shape == (1, 1)
    with pytest.raises(ValueError, match="a has a line of more than 4096 bytes: give lines such"):
        libsvm.parse(io.BytesIO(b"1 1:2\n" + b" " * 2**14), "a")


@pytest.mark.parametrize("ending", COMPRESSIONS)
def test_a_byte_order_mark_is_skipped_at_the_start_only(tmp_path: Path, ending: str) -> None:
    X, _ = read(written(tmp_path / "a", COMPRESSIONS[ending](codecs.BOM_UTF8 + TEXT)))
    np.testing.assert_array_equal(dense(X), X_OF_TEXT)
    with pytest.raises(ValueError, match="line 2: the label"):
        read(written(tmp_path / "a", COMPRESSIONS[ending](b"1 1:2\n" + codecs.BOM_UTF8 + TEXT)))


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
    np.testing.assert_array_equal(dense(X), X_OF_TEXT)


def test_an_index_far_beyond_all_features_is_a_slip(tmp_path: Path) -> None:
    """Every iterate would have as many entries."""
    path = written(tmp_path / "a", b"1 1:2 3:4\n-1 2:1 10000001:1\n")
    with pytest.raises(ValueError, match=r"largest index is 10000001, and only 4 features occur"):
        read(path)
    X, _ = read(written(path, b"1 1:2 3:4\n-1 2:1 10000000:1\n"))
    assert X.shape == (2, libsvm.WIDE)
