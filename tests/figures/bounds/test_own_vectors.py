"""Vectors of the user's own: files that are none, damaged, or wait for a writer.

Without this file a pipe could be waited for without end, and a damaged file end in a traceback.
"""

import os

import numpy as np
import pytest
from damaged_files import archive, check_all_are_read_or_refused, mutant_counts, mutants

from efsgd.figures.bounds.own_vectors import read_vectors
from efsgd.results import save


@mutant_counts
def test_damaged_vectors(tmp_path, count):
    content = archive({"g": np.ones((2, 3), np.float32), "h": np.arange(1, 4)})
    check_all_are_read_or_refused(read_vectors, tmp_path / "g.npz", mutants(content, count))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "g.npz")
    with pytest.raises(ValueError, match=r"g\.npz is no \.npz file of numbers \(it is a pipe or a"):
        read_vectors(tmp_path / "g.npz")


def test_long_names_are_cut_off_in_messages(tmp_path):
    name = "layer\x1b" * 5000
    (tmp_path / "g.npz").write_bytes(archive({name: np.array([np.nan])}))
    with pytest.raises(
        ValueError, match=r"'layer\?layer[^\x1b]{0,90}\.\.\.' holds NaN or inf in row 0"
    ):
        read_vectors(tmp_path / "g.npz")


def test_a_result_without_arrays_holds_no_vectors(tmp_path):
    save(tmp_path / "g.npz", {}, {"type": "x"}, {})
    with pytest.raises(ValueError, match="holds no array"):
        read_vectors(tmp_path / "g.npz")
