"""Reading files that nobody vouches for: pipes, false headers, bombs, and the digest of a file.

Without this file a pipe could be waited for without end, and three megabytes could fill the memory.
"""

import bz2
import gzip
import io
import lzma
import os
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from damaged_files import (
    METHODS,
    archive,
    check_all_are_read_or_refused,
    mutant_counts,
    mutants,
    sealed,
)

from efsgd import archives
from efsgd.archives import (
    Damaged,
    Expanding,
    is_sealed,
    open_regular,
    read_arrays,
    reason,
)

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.ones((3, 2), ">f4"))}


# -- what is opened -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["pipe", "/dev/null", "/dev/stdin"])
def test_only_regular_files_are_opened(tmp_path, path):
    """Nobody writes into the pipe: who opened it to read would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    before, standard_input = os.dup(0), os.pipe()
    os.dup2(standard_input[0], 0)
    try:
        with pytest.raises(Damaged, match="it is a pipe or a device, not a regular file"):
            open_regular(tmp_path / path)
    finally:
        os.dup2(before, 0)
        for descriptor in (before, *standard_input):
            os.close(descriptor)


def test_a_folder_and_a_missing_file_are_errors_of_the_system(tmp_path):
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


# -- arrays ---------------------------------------------------------------------------------------


def test_arrays_are_read_as_numpy_reads_them():
    file = io.BytesIO(archive(ARRAYS | {"empty": np.zeros((0, 3)), "text": np.array("ä")}))
    expected = np.load(file)
    arrays = read_arrays(file)
    assert [*arrays] == expected.files
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], strict=True)
        assert array.flags.writeable
        assert array.flags.f_contiguous == expected[name].flags.f_contiguous
    assert [*read_arrays(file, ("b", "c"))] == ["b"]


def npy(descr, shape, content=b""):
    """An .npy file with this header."""
    file = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + content


def zipped(*members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as target:
        for i, content in enumerate(members):
            target.writestr(f"{i}.npy", content)
    return file


@pytest.mark.parametrize("method", archives.METHODS)
@pytest.mark.parametrize(
    ("member", "words"),
    [
        (npy("<f8", (2**26,)), "shorter or longer than its header says"),
        (npy("<f8", (2,), bytes(17)), "shorter or longer than its header says"),
        (npy("<f8", (2**50, 2**50)), "more than 1 GiB and 100 times its size"),
        (npy("<f8", (-2, -1), bytes(16)), "a negative number"),
        (npy("<f8", (-2,)), "a negative number"),
        (npy("|V0", (10**18,)), "no size"),
        (npy("|O", (1,), bytes(8)), "it holds Python objects"),
        (b"\x93NUMPY\x03\x00" + npy("<f8", (0,))[8:], "the format (3, 0) of arrays"),
        (b"PNG", "EOF"),
        (npy("<f8", (0,)).replace(b"{", b"("), "Cannot parse header"),
    ],
)
def test_a_header_that_promises_more_than_there_is(member, words, method):
    """It is refused before memory is allocated: 2^26 numbers would be half a gigabyte."""
    file = zipped(member, method=method)
    tracemalloc.start()
    try:
        with pytest.raises(Damaged) as refused:
            read_arrays(file)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert words in str(refused.value)
    assert most < 2**20


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(archives, "EXPANDED", 2**16)
    monkeypatch.setattr(archives, "RATIO", 3)


@pytest.mark.usefixtures("small_limits")
def test_archives_expand_up_to_a_limit():
    method = zipfile.ZIP_DEFLATED
    half, whole = (npy("|u1", (n,), bytes(n)) for n in (2**15, 2**16))
    assert read_arrays(zipped(whole, method=method))["0"].size == 2**16
    for members in ([npy("|u1", (2**16 + 1,), bytes(2**16 + 1))], [half, half, npy("|u1", (1,))]):
        with pytest.raises(Damaged, match=r"would expand to more than .* 3 times its size, the li"):
            read_arrays(zipped(*members, method=method))
    noise = np.random.default_rng(0).bytes(2**17)
    assert read_arrays(zipped(npy("|u1", (2**17,), noise), method=method))["0"].tobytes() == noise


@pytest.mark.parametrize("method", [m for m in METHODS if m not in archives.METHODS])
def test_a_method_whose_memory_has_no_limit_is_refused_unread(method):
    """64 MiB of zeros behind a header that promises four numbers, in a few hundred bytes."""
    file = zipped(npy("<f8", (4,), bytes(2**26)), npy("<f8", (4,), bytes(32)), method=method)
    tracemalloc.start()
    try:
        with pytest.raises(Damaged, match=r"^0 is neither stored nor deflated, as by savez$"):
            read_arrays(file)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2**20


def test_an_archive_of_very_many_members_is_refused(monkeypatch):
    monkeypatch.setattr(archives, "MEMBERS", 2)
    number = npy("<f8", (1,), bytes(8))
    assert len(read_arrays(zipped(number, number))) == 2
    with pytest.raises(Damaged, match="it holds 3 arrays, and 2 is the limit"):
        read_arrays(zipped(number, number, number))


@pytest.mark.usefixtures("small_limits")
def test_an_array_that_is_not_compressed_has_no_limit():
    assert read_arrays(zipped(npy("<f8", (2**17,), bytes(2**20))))["0"].size == 2**17


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_compressed_text_expands_up_to_a_limit(module):
    for size in (2**16, 2**16 + 1):
        file = io.BytesIO(module.compress(b"1" * size))
        text = Expanding(module.open(file), archives.expansion_limit(file))
        file.seek(0)
        pieces = iter(lambda text=text: text.read(1000), b"")
        if size == 2**16:
            assert b"".join(pieces) == b"1" * size
        else:
            with pytest.raises(Damaged, match="would expand to more than"):
                b"".join(pieces)


@pytest.mark.parametrize(
    "error", [lzma.LZMAError("torn"), zlib.error("torn"), EOFError("torn"), TypeError("torn\nfile")]
)
def test_what_a_decompressor_raises_is_damage(error):
    class Torn:
        def read(self, size):
            raise error

    with pytest.raises(Damaged, match=r"^torn$"):
        Expanding(Torn(), 9).read(1)


def test_a_reason_is_short_and_never_the_file():
    assert reason(ValueError("line one.\nline two")) == "line one"
    assert reason(KeyError()) == "KeyError"
    assert reason(MemoryError()) == "it does not fit into memory"
    assert reason(OSError(5, "Input/output error", "a.npz")) == "Input/output error"
    assert reason(ValueError("a\x1b[2J\0b" + "x" * 10_000)) == "a?[2J?b" + "x" * 90 + "..."


@mutant_counts
def test_damaged_arrays(tmp_path, count):
    def read(path):
        try:
            with open_regular(path) as file:
                read_arrays(file)
        except Damaged as error:
            raise ValueError(f"{path}: {error}") from error

    check_all_are_read_or_refused(read, tmp_path / "a.npz", mutants(archive(ARRAYS), count))


# -- the digest -----------------------------------------------------------------------------------


def test_a_sealed_archive_is_one_for_all_readers():
    content = sealed(archive(ARRAYS))
    assert is_sealed(content)
    assert not is_sealed(archive(ARRAYS))
    with pytest.raises(Damaged, match="its end is missing, or it is no zip archive"):
        is_sealed(b"")
    np.testing.assert_array_equal(np.load(io.BytesIO(content))["a"], ARRAYS["a"])
    with zipfile.ZipFile(io.BytesIO(content)) as read:
        assert read.comment == content[-77:]
        assert read.testzip() is None
