"""The worst case at the step size that makes it least.

Without this file the search could return a step size that is not the best of those it tried, or
the value of another setting.
"""

from __future__ import annotations

import numpy as np
import pytest

from efsgd.convex import worst_case
from efsgd.convex.studies.tuned_worst_cases import TunedWorstCases

GRID = (0.5, 1.0, 1.9)


def tuned(refinements: int) -> dict[str, np.ndarray]:
    """One step of gradient descent as CGD with delta = 1, mu = .5: the best step is 2/(L+mu)."""
    study = TunedWorstCases(
        method="cgd",
        settings=((1, 0.0), (2, 0.0)),
        lrs=GRID,
        refinements=refinements,
        delta=1.0,
        mu=0.5,
        initial="f",
    )
    return study.compute()


def test_every_setting_has_the_grid_and_the_search():
    found = tuned(2)
    assert found["lr"].shape == found["value"].shape == found["error"].shape == (2, 5)
    assert found["steps"].tolist() == [1, 2]
    assert np.all(np.diff(found["lr"]) > 0)
    for row in found["lr"]:
        assert np.isclose(row[:, None], GRID).any(0).all()
        assert row.min() == pytest.approx(GRID[0])
    for row in range(2):
        value = worst_case(
            "cgd", steps=row + 1, lr=float(found["lr"][row, 3]), delta=1.0, mu=0.5
        ).value
        assert found["value"][row, 3] == pytest.approx(value, rel=1e-6)


def test_the_search_comes_near_the_best_step():
    found = tuned(12)
    best = found["value"].argmin(1)
    assert found["lr"][[0, 1], best] == pytest.approx(2 / 1.5, rel=1e-2)
    # ((L-mu)/(L+mu))^(2N) there, and never less
    assert found["value"][[0, 1], best] == pytest.approx([1 / 9, 1 / 81], rel=0.1)
    assert np.all(found["value"] >= np.array([[1 / 9], [1 / 81]]) * (1 - 1e-6))


def test_without_a_search_it_is_the_grid():
    assert tuned(0)["lr"] == pytest.approx(np.array([GRID, GRID]))
