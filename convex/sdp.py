"""Semidefinite programmes as Clarabel takes them.

They go to the solver as arrays: modelling takes longer than such small programmes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from efsgd.arrays import Array


def vector(A: Array) -> Array:
    """The upper triangles of symmetric matrices (..., n, n), column by column, as Clarabel has it.

    Entries off the diagonal count sqrt(2), so that inner products stay.
    """
    column, row = np.tril_indices(A.shape[-1])
    triangle: Array = A[..., row, column] * np.where(row == column, 1.0, math.sqrt(2))
    return triangle


def matrix(triangle: Array, n: int) -> Array:
    """The symmetric matrix (n, n) of such a triangle."""
    column, row = np.tril_indices(n)
    G = np.zeros((n, n))
    G[row, column] = G[column, row] = triangle / np.where(row == column, 1.0, math.sqrt(2))
    return G


def solved(
    cost: Array,
    rows: Any,
    b: Array,
    *,
    zeros: int,
    signs: int,
    sides: Sequence[int],
    gap: float,
    feasibility: float,
    **settings: bool,
) -> Any:
    """Clarabel's solution of: minimise cost . x such that b - rows x lies in a product of cones.

    These are, in the order of the rows: ``zeros`` equalities, ``signs`` numbers at least 0, and
    positive semidefinite matrices of these ``sides``, each as :func:`vector` has it. ``gap`` and
    ``feasibility`` are the solver's tolerances; ``settings`` are others of its settings.
    """
    import clarabel
    from scipy import sparse

    options = clarabel.DefaultSettings()
    options.verbose, options.max_threads = False, 1
    options.tol_gap_abs = options.tol_gap_rel = gap
    options.tol_feas = feasibility
    for name, value in settings.items():
        setattr(options, name, value)
    cones = [clarabel.ZeroConeT(zeros), clarabel.NonnegativeConeT(signs)]
    cones += [clarabel.PSDTriangleConeT(side) for side in sides]
    none = sparse.csc_matrix((len(cost), len(cost)))
    rows = sparse.csc_matrix(rows)
    return clarabel.DefaultSolver(none, cost, rows, b, cones, options).solve()
