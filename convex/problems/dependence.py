"""Columns outside the basis of :class:`~efsgd.convex.problems.factors.Factors`: what they may hide.

Columns that are combinations of the basis change no least square. But some only seem to be: what
they lack is as small as rounding, yet counts, since a minimiser may be as large as it likes. What
lies outside the basis lowers |r|^2 by the part of r in its span, and by nothing else.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from efsgd.arrays import Array
from efsgd.convex.problems.exact_rank import rank_at_most
from efsgd.convex.problems.factors import ADVICE, Factors, column_exponents, scaled
from efsgd.convex.problems.twofold import residual

FAITHFUL = 1e-4  # of a first remainder, rounded once: a smaller last one may be that rounding
WORK = 5 * 10**8  # entries that may be read in twice the precision: a minute
OUTWEIGHS = 0.999  # the share of a column in one row from which on the others hardly count
NAMED = 5  # columns in a message


class Dependence:
    """The columns of A (n, d) outside the basis, and how far they may lower the least square."""

    def __init__(self, factors: Factors, names: Array) -> None:
        """``names`` (d,) are the numbers of the columns in the data, for messages."""
        self.factors, self.names = factors, names
        self.B = scaled(factors.A, factors.exponents)
        self.columns = np.sort(factors.order[factors.rank :])

    @cached_property
    def exact(self) -> bool:
        """Whether these columns are combinations of the basis, without rounding."""
        return rank_at_most(self.B, self.factors.rank)

    @cached_property
    def decrease(self) -> float:
        """By how much they lower |r|^2; infinite where that is not known."""
        if self.exact:
            return 0.0
        n, k = self.factors.A.shape[0], self.factors.rank
        if 3 * n * k * len(self.columns) > WORK:
            return np.inf
        remainders = np.column_stack([self._remainder(int(j)) for j in self.columns])
        span = _span(remainders)
        if not rank_at_most(self.B, k + span.shape[1]):  # some direction is too small to be seen
            return np.inf
        r = self.factors.refined[1]
        return float(min(np.linalg.norm(span.T @ r), np.linalg.norm(r)) ** 2)

    def refusal(self, share: float) -> str:
        """Why no optimum is certified where ``decrease`` is this share of |r|^2."""
        numbers = [str(name) for name in self.names[self.columns]]
        named = ", ".join(numbers[:NAMED] + ["..."] * (len(numbers) > NAMED))
        noun, verb = ("columns", "differ") if len(numbers) > 1 else ("column", "differs")
        effect = f"lowers f by {100 * share:.3g} %" if share <= 1 else "may lower f"
        text = (
            f"{noun} {named} (counted from 0) {verb} from a combination of the others by no more "
            f"than rounding, which {effect}: centre and {ADVICE}"
        )
        row = self._outweighing_row()
        if row is None:
            return text
        largest = float(abs(self.factors.A[[row]]).max())
        return (
            f"{text}, or drop training row {row}, which outweighs all others by its {largest:.6g}"
        )

    def _remainder(self, j: int) -> Array:
        """What column j lacks from the span of the basis, (n,); 0 where rounding may hide it."""
        basis, column = self.factors.basis, self.B[:, [j]]
        column = column.toarray() if hasattr(column, "toarray") else column
        rest, sizes = column.ravel(), []
        for _ in range(3):
            rest = residual(basis.B, basis.solved(basis.coordinates(rest)), rest)
            sizes.append(np.linalg.norm(rest))
        return rest if sizes[-1] > FAITHFUL * sizes[0] else np.zeros_like(rest)

    def _outweighing_row(self) -> int | None:
        """The row that is nearly all of each column outside the basis, if there is one."""
        squares = abs(self.B[:, self.columns]) ** 2
        row = int(np.argmax(squares.sum(axis=1)))
        least = float((squares[[row]] / squares.sum(axis=0)).min())
        return row if least >= OUTWEIGHS else None


def _span(vectors: Array) -> Array:
    """Orthonormal columns (n, k) that span the columns (n, m), but for what is nearly dependent."""
    from scipy.linalg import qr

    vectors = vectors[:, vectors.any(axis=0)]
    if not vectors.size:
        return vectors
    Q, R, _ = qr(scaled(vectors, column_exponents(vectors)), mode="economic", pivoting=True)
    span: Array = Q[:, : int(np.count_nonzero(np.abs(np.diag(R)) > FAITHFUL))]
    return span
