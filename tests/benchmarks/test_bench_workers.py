"""The benchmark of several workers compares the same work.

Without this file a plain loop could do less, or something else, than the engine it is timed
against.
"""

from importlib import import_module

import numpy as np
import pytest
from project import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    if not FOLDER.exists():
        pytest.skip("the benchmarks are not installed")
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("bench_workers")


def test_the_plain_loops_end_where_the_engine_does(bench):
    for name in bench.METHODS:
        if not bench.METHODS[name].compresses.random:
            problem = bench.Stored(3, 200)
            x = bench.plain(problem.g, name, 5, np.random.default_rng(0))
            np.testing.assert_allclose(bench.engine(problem, name, 5)[0], x, rtol=0, atol=1e-14)


def test_the_plain_loop_of_diana_ends_there_on_average(bench):
    problem, rng = bench.Stored(3, 200), np.random.default_rng(0)
    loop = np.mean([bench.plain(problem.g, "DIANA, qsgd:7", 2, rng) for _ in range(400)], axis=0)
    mean = -bench.LR * problem.g.sum(0).mean(0)
    scale = np.abs(mean).mean()
    assert np.abs(loop - mean).mean() < 0.1 * scale
    engine = bench.engine(problem, "DIANA, qsgd:7", 2, replicates=400).mean(0)
    assert np.abs(engine - mean).mean() < 0.1 * scale
