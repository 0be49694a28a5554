"""Optima without rounding, for the tests: squares in fractions, logistic loss in 60 digits."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from efsgd.arrays import Array

DIGITS = 60
ROUNDS = 300  # of Newton's method; damped at first

Vector = list[Any]  # of Fraction or Decimal
Rows = list[Vector]


def least_squares(X: Array, y: Array) -> tuple[Fraction, list[Fraction]]:
    """The least |Xw - y|^2/(2n) and its minimiser of least norm, exactly."""
    rows = [[Fraction(entry) for entry in row] for row in X.tolist()]
    right = [Fraction(entry) for entry in y.tolist()]
    gram, moments = _products(rows), _transposed_product(rows, right)
    reduced, pivots = _row_echelon([[*g, m] for g, m in zip(gram, moments, strict=True)], len(gram))
    w = [Fraction(0)] * len(gram)
    for row, pivot in zip(reduced, pivots, strict=False):
        w[pivot] = row[-1]
    w = _without(w, _null_space(reduced, pivots, len(w)))
    residual = [_dot(row, w) - target for row, target in zip(rows, right, strict=True)]
    return _dot(residual, residual) / (2 * len(right)), w


def stationarity(X: Array, y: Array, w: Array) -> float:
    """The largest |a_j'(Xw - y)| / (|a_j| |y|) over the columns that are not 0."""
    rows = [[Fraction(entry) for entry in row] for row in X.tolist()]
    at = [Fraction(entry) for entry in w.tolist()]
    residual = [_dot(row, at) - Fraction(b) for row, b in zip(rows, y.tolist(), strict=True)]
    slopes = _transposed_product(rows, residual)
    norms = [float(_dot(list(column), list(column))) ** 0.5 for column in zip(*rows, strict=True)]
    shares = [abs(float(s)) / norm for s, norm in zip(slopes, norms, strict=True) if norm]
    return max(shares) / float(sum(b * b for b in y.tolist())) ** 0.5


def logistic(X: Array, y: Array, l2: float) -> tuple[Decimal, list[Decimal]]:
    """The least value and the minimiser of l2-logistic regression, to 20 digits at least."""
    with localcontext() as context:
        context.prec = DIGITS
        rows = [
            [Decimal(label) * Decimal(entry) for entry in row]
            for row, label in zip(X.tolist(), y.tolist(), strict=True)
        ]
        return _newton(rows, Decimal(l2))


def _newton(rows: Rows, l2: Decimal) -> tuple[Decimal, list[Decimal]]:
    """The minimum over w of the mean of log(1 + exp(-<a_i, w>)) + l2/2 |w|^2."""
    n, w = len(rows), [Decimal(0)] * len(rows[0])

    def value(w: Vector) -> Decimal:
        margins = [_dot(row, w) for row in rows]
        losses = [(1 + (-abs(z)).exp()).ln() + max(-z, Decimal(0)) for z in margins]
        return sum(losses, Decimal(0)) / n + l2 / 2 * _dot(w, w)

    f = value(w)
    for _ in range(ROUNDS):
        share = [1 / (1 + min(_dot(row, w), Decimal(10**5)).exp()) for row in rows]
        g = [-part / n for part in _transposed_product(rows, share)]
        g = [part + l2 * entry for part, entry in zip(g, w, strict=True)]
        if _dot(g, g) / (2 * l2) <= Decimal(10) ** -40 * f:
            return f, w
        spread = [(s * (1 - s) / n).sqrt() for s in share]
        hessian = _products([[s * a for a in row] for s, row in zip(spread, rows, strict=True)])
        system = [
            [entry + (l2 if i == j else 0) for j, entry in enumerate(row)] + [-g[i]]
            for i, row in enumerate(hessian)
        ]
        step = [row[-1] for row in _row_echelon(system, len(w))[0]]
        t = Decimal(1)
        while (f_next := value([a + t * b for a, b in zip(w, step, strict=True)])) > f:
            t /= 2
        w, f = [a + t * b for a, b in zip(w, step, strict=True)], f_next
    raise AssertionError("Newton's method has not ended")


def _dot(a: Vector, b: Vector) -> Any:
    return sum((p * q for p, q in zip(a, b, strict=True)), type(a[0])(0))


def _products(rows: Rows) -> Rows:
    """X'X."""
    columns = list(zip(*rows, strict=True))
    return [[_dot(a, b) for b in columns] for a in columns]  # type: ignore[arg-type]


def _transposed_product(rows: Rows, r: Vector) -> Vector:
    """X'r."""
    return [_dot(column, r) for column in zip(*rows, strict=True)]  # type: ignore[arg-type]


def _row_echelon(rows: Rows, columns: int) -> tuple[Rows, list[int]]:
    """The reduced row echelon form over the first ``columns``, and the columns of its pivots."""
    rows, pivots = [list(row) for row in rows], []
    for column in range(columns):
        at = len(pivots)
        best = max(range(at, len(rows)), key=lambda i: abs(rows[i][column]), default=at)
        if at == len(rows) or not rows[best][column]:
            continue
        rows[at], rows[best] = rows[best], rows[at]
        rows[at] = [entry / rows[at][column] for entry in rows[at]]
        for i, row in enumerate(rows):
            if i != at and row[column]:
                rows[i] = [a - row[column] * b for a, b in zip(row, rows[at], strict=True)]
        pivots.append(column)
    return rows, pivots


def _null_space(reduced: Rows, pivots: list[int], d: int) -> Rows:
    """A basis of the vectors that a matrix in reduced row echelon form maps to 0."""
    basis = []
    for free in set(range(d)) - set(pivots):
        vector = [Fraction(0)] * d
        vector[free] = Fraction(1)
        for row, pivot in zip(reduced, pivots, strict=False):
            vector[pivot] = -row[free]
        basis.append(vector)
    return basis


def _without(w: Vector, basis: Rows) -> Vector:
    """The part of w that is orthogonal to the vectors of a basis."""
    if not basis:
        return w
    system = [[*(_dot(a, b) for b in basis), _dot(a, w)] for a in basis]
    weights = [row[-1] for row in _row_echelon(system, len(basis))[0]]
    for weight, vector in zip(weights, basis, strict=True):
        w = [a - weight * b for a, b in zip(w, vector, strict=True)]
    return w
