"""The files that come back from the rented machine: their limits, and complete at every moment.

Without this file a run could be lost because its files are torn, too large or too many.
"""

import csv
import json
import zipfile
from dataclasses import replace
from importlib import import_module

import pytest

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("gpu_benchmarks")


def test_no_more_files_and_no_larger_ones_come_home(tmp_path):
    output = import_module("output").OutputFolder(
        tmp_path / "out", tmp_path / "work", max_files=2, max_bytes=100
    )
    output.write("a", b"x" * 100)
    with pytest.raises(OSError, match=r"a would have 101 bytes, and 100 may come home: .* --mib"):
        output.write("a", b"x" * 101)
    output.write("b", b"")
    with pytest.raises(OSError, match=r"holds 2 files, and 2 may come home: c was not written"):
        output.write("c", b"")
    assert (tmp_path / "out" / "a").read_bytes() == b"x" * 100
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]


def test_rows_are_there_as_soon_as_they_are_known(tmp_path):
    output = import_module("output").OutputFolder(tmp_path / "out", tmp_path / "work")
    for i in range(3):
        output.append("rows.csv", {"a": i, "b": "x,y"}, ("a", "b"))
        with open(tmp_path / "out" / "rows.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows == [{"a": str(k), "b": "x,y"} for k in range(i + 1)]
    full = replace(output, max_bytes=20)  # a header of 4 bytes, and 8 a row
    with pytest.raises(OSError, match=r"rows.csv would have 36 bytes, and 20 may come home"):
        full.append("rows.csv", {"a": 3, "b": "x,y"}, ("a", "b"))
    assert len((tmp_path / "out" / "rows.csv").read_text().splitlines()) == 4


def test_what_was_found_outlives_the_folder_that_is_emptied(tmp_path):
    output = import_module("output").OutputFolder(tmp_path / "out", tmp_path / "work")
    output.update("state.json", {"best": 1})
    (tmp_path / "out" / "state.json").unlink()
    output.update("state.json", {"data": 2})
    assert json.loads((tmp_path / "out" / "state.json").read_text()) == {"best": 1, "data": 2}
    (tmp_path / "work" / "state.json").write_text("{torn")
    assert output.read("state.json") == {}


def test_the_archive_is_whole_each_time(tmp_path):
    output = import_module("output").OutputFolder(tmp_path / "out", tmp_path / "work")
    for i in range(2):
        (tmp_path / f"training-{i}.npz").write_bytes(b"%d" % i)
        output.archive("results.zip", list(tmp_path.glob("*.npz")))
        with zipfile.ZipFile(tmp_path / "out" / "results.zip") as archive:
            assert archive.namelist() == [f"training-{k}.npz" for k in range(i + 1)]
