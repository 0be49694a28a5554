"""Damaged results: what a digest notices, results from before there was one, and mutants of both.

Without this file a flipped bit could lose an array or change a number that a picture shows.
"""

import json
import os

import numpy as np
import pytest
from damaged_files import (
    archive,
    check_all_are_read_or_refused,
    mutant_counts,
    mutants,
    sealed,
    with_flipped_bit,
)
from project import ROOT
from test_results import Squares

from efsgd.results import find, key, load, obtain, place, save

PUBLISHED = sorted((ROOT / "results" / "cifar").glob("*.npz"))
ARRAYS, SPEC, MADE_BY = {"a": np.arange(3.0)}, {"type": "some.Work"}, {"code": "c"}


def texts(spec, made_by):
    """The members of a result that are no arrays."""
    return {"spec": np.array(json.dumps(spec)), "made_by": np.array(json.dumps(made_by))}


def same(result, arrays, spec, made_by):
    return (
        (result.spec, result.made_by) == (spec, made_by)
        and result.arrays.keys() == arrays.keys()
        and all(result[name].tobytes() == array.tobytes() for name, array in arrays.items())
    )


def test_results_without_a_digest_are_read(tmp_path):
    """As they were before there was one; those of results/cifar are such."""
    (tmp_path / "a.npz").write_bytes(archive(ARRAYS | texts(SPEC, MADE_BY)))
    assert same(load(tmp_path / "a.npz"), ARRAYS, SPEC, MADE_BY)
    assert len(PUBLISHED) >= 48
    for path in PUBLISHED:
        result, members = load(path), dict(np.load(path))
        assert path.stem == f"training-{key(result.spec)}"
        spec, made_by = (json.loads(str(members.pop(name))) for name in ("spec", "made_by"))
        assert same(result, members, spec, made_by)


def check_flips(path, step):
    """Every ``step``-th bit of a file, flipped, is refused."""
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), step):
        path.write_bytes(with_flipped_bit(content, bit))
        with pytest.raises(ValueError, match=r"is damaged or no result \(its .*\): name another$"):
            load(path)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_each_flipped_bit_is_refused(tmp_path, step):
    """9 visits nearly all bytes, and all places of a bit in a byte."""
    save(tmp_path / "a.npz", ARRAYS, SPEC, MADE_BY)
    check_flips(tmp_path / "a.npz", step)


def test_a_file_that_was_cut_is_refused_wherever(tmp_path):
    """Its arrays may be whole where only the end of the digest is missing."""
    path = tmp_path / "a.npz"
    save(path, ARRAYS, SPEC, MADE_BY)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match="is damaged or no result"):
            load(path)


@pytest.mark.slow
def test_each_flipped_bit_of_a_long_result_is_refused(tmp_path):
    published = load(PUBLISHED[0])
    save(tmp_path / "a.npz", published.arrays, published.spec, published.made_by)
    check_flips(tmp_path / "a.npz", 1)


@mutant_counts
@pytest.mark.parametrize("seal", [sealed, bytes])
def test_damaged_results(tmp_path, count, seal):
    content = archive(ARRAYS | texts({"type": [1, {}]}, MADE_BY))
    damaged = (seal(mutant) for mutant in mutants(content, count // 2) if len(mutant) > 1)
    check_all_are_read_or_refused(load, tmp_path / "a.npz", damaged)


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[]", "NaN", "{", '{"a": ' + "9" * 5000 + "}"],
    ids=lambda text: text[:3],
)
def test_a_spec_that_is_no_object_counts_as_missing(tmp_path, text):
    path = place(Squares(), tmp_path)
    path.write_bytes(archive(ARRAYS | texts(SPEC, MADE_BY) | {"spec": np.array(text)}))
    with pytest.raises(ValueError, match=r"is damaged or no result \(.*\): name another$"):
        load(path)
    assert find(Squares(), tmp_path) is None


def test_a_pipe_counts_as_missing(tmp_path):
    """Nobody writes into it: who opened it to read would wait for ever."""
    os.mkfifo(place(Squares(), tmp_path))
    assert find(Squares(), tmp_path) is None
    assert obtain(Squares(), tmp_path).path.is_file()
