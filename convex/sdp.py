"""Semidefinite programmes in the standard form of the solver Clarabel.

They are handed over as arrays, without a modelling language in between: for programmes as small as
those of :mod:`efsgd.convex.pep` and :mod:`efsgd.convex.lyapunov` modelling takes longer than
solving.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from efsgd.arrays import Array


def vector(A: Array) -> Array:
    """The upper triangles of symmetric matrices (..., n, n), column by column, (..., n(n+1)/2).

    Entries off the diagonal are multiplied by sqrt(2), so that <vector(A), vector(B)> = <A, B>.
    """
    column, row = np.tril_indices(A.shape[-1])
    triangle: Array = A[..., row, column] * np.where(row == column, 1.0, math.sqrt(2))
    return triangle


def matrix(triangle: Array, n: int) -> Array:
    """The symmetric matrix (n, n) of a triangle (n(n+1)/2,); the inverse of :func:`vector`."""
    column, row = np.tril_indices(n)
    G = np.zeros((n, n))
    G[row, column] = G[column, row] = triangle / np.where(row == column, 1.0, math.sqrt(2))
    return G


def solve(
    cost: Array,
    A: Any,
    b: Array,
    *,
    equalities: int,
    inequalities: int,
    psd_sizes: Sequence[int],
    gap: float,
    feasibility: float,
    **settings: bool,
) -> Any:
    """Clarabel's solution of: minimise cost . x subject to b - A x in a product of cones.

    In the order of the rows of A, dense or sparse: so many ``equalities``, b - A x = 0, then so
    many ``inequalities``, b - A x >= 0, then a positive semidefinite matrix for each of
    ``psd_sizes``, as :func:`vector` writes it. ``gap`` and ``feasibility`` are the solver's
    tolerances; ``settings`` are further settings of Clarabel by their names.
    """
    import clarabel
    from scipy import sparse

    options = clarabel.DefaultSettings()
    options.verbose, options.max_threads = False, 1
    options.tol_gap_abs = options.tol_gap_rel = gap
    options.tol_feas = feasibility
    for name, value in settings.items():
        setattr(options, name, value)
    cones = [clarabel.ZeroConeT(equalities), clarabel.NonnegativeConeT(inequalities)]
    cones += [clarabel.PSDTriangleConeT(size) for size in psd_sizes]
    no_quadratic = sparse.csc_matrix((len(cost), len(cost)))
    return clarabel.DefaultSolver(
        no_quadratic, cost, sparse.csc_matrix(A), b, cones, options
    ).solve()
