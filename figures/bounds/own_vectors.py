"""Gradients of the user's own: what each compressor achieves on them, and how dense they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from efsgd import Compressor, achieved_delta, density
from efsgd.archives import Damaged, open_regular, read_arrays, shortened
from efsgd.arrays import Array
from efsgd.convex.verification.precision import ROUNDING, rounding
from efsgd.figures.bounds.zoo_claims import ERRORS
from efsgd.figures.texts import printable

NO_VECTORS = ("made_by", "spec")  # what efsgd writes into a file beside its arrays
AT_ONCE = 2**22  # entries that are compressed at once


def read_vectors(path: Path) -> dict[str, Array]:
    """The arrays of an npz file as rows (n, d), by name; float32 stays so.

    Raises ValueError, with the array and the row, for what are no finite vectors; OSError for no
    file.
    """
    try:
        with open_regular(path) as file:
            every = read_arrays(file)
    except Damaged as error:
        raise ValueError(
            f"{path} is no .npz file of numbers ({error}): write it with numpy.savez"
        ) from error
    arrays = {name: array for name, array in every.items() if name not in NO_VECTORS}
    if not arrays:
        raise ValueError(f"{path} holds no array: write it with numpy.savez(file, g=gradients)")
    return {name: _rows(path, name, array) for name, array in arrays.items()}


def _rows(path: Path, name: str, array: Array) -> Array:
    shown = f"{path}: {shortened(name)!r}"
    if array.dtype.kind not in "iuf" or array.ndim not in (1, 2) or array.size == 0:
        kind = f"{shown} is {shortened(str(array.dtype))} of shape {array.shape}"
        raise ValueError(f"{kind}: give real numbers of shape (d,) or (n, d)")
    rows = np.atleast_2d(array)
    with np.errstate(over="ignore"):  # what float64 cannot hold is refused below
        rows = rows if rows.dtype == np.float32 else rows.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise ValueError(f"{shown} holds NaN or inf in row {bad[0]}: mask those entries")
    return rows


@dataclass(frozen=True, eq=False)
class Achieved:
    """What one compressor achieves on one array."""

    compressor: str
    array: str
    rows: int
    d: int
    claimed: float  # delta
    worst: float
    median: float
    error: float  # standard error of the worst, 0 if nothing is random
    rounded: float  # what the dtype of C(x) may have taken from the worst
    phi_worst: float
    phi_median: float
    vector: Array  # (d,) the worst row

    @property
    def violated(self) -> bool:
        """Whether the claimed delta does not hold on the worst row."""
        least = self.claimed - ROUNDING - self.rounded
        return self.claimed > 0 and not self.worst + ERRORS * self.error >= least


def achieved(
    at: Callable[[int], Compressor],
    label: str,
    vectors: Mapping[str, Array],
    seed: int,
    samples: int,
) -> list[Achieved]:
    """The delta on each array of the compressor that ``at`` gives for its dimension.

    Of a random one it is the mean over ``samples`` draws, fewer for long vectors. Arrays of a
    dimension that it does not take are left out.
    """
    achievements = []
    for name, rows in vectors.items():
        n, d = rows.shape
        c = at(d)
        try:
            claimed = c.delta(d)
        except ValueError:  # some have a shape of their own
            continue
        delta, error, rounded = _on_rows(c, rows, np.random.default_rng([seed, d]), samples)
        phi, worst = density(rows), int(np.argmin(delta))
        achievement = Achieved(
            compressor=label,
            array=printable(name),
            rows=n,
            d=d,
            claimed=claimed,
            worst=float(delta[worst]),
            median=float(np.median(delta)),
            error=float(error[worst]),
            rounded=float(rounded[worst]),
            phi_worst=float(phi.min()),
            phi_median=float(np.median(phi)),
            vector=rows[worst],
        )
        achievements.append(achievement)
    return achievements


def _on_rows(c: Compressor, rows: Array, rng: Any, samples: int) -> tuple[Array, Array, Array]:
    """The delta on each row, its standard error and what rounding may have taken, (n,) each."""
    n, d = rows.shape
    if not c.random:
        step = max(1, AT_ONCE // d)
        pieces = [rows[start : start + step] for start in range(0, n, step)]
        delta, rounded = np.concatenate([_measured(p, c(p)) for p in pieces], axis=1)
        return delta, np.zeros(n), rounded
    draws = int(np.clip(AT_ONCE // d, 8, samples))
    deltas, rounded = np.empty((2, n, draws))
    for i, x in enumerate(rows):
        copies = np.broadcast_to(x, (draws, d))
        deltas[i], rounded[i] = _measured(copies, c(copies, rng))
    error = deltas.std(axis=1, ddof=1) / np.sqrt(draws)
    return deltas.mean(axis=1), error, rounded.mean(axis=1)


def _measured(x: Array, sent: Array) -> Array:
    """What C(x) achieves at each x (m, d), and what rounding may have taken of it: (2, m)."""
    floats = sent if sent.dtype.kind == "f" else sent.astype(np.float64)
    return np.array([achieved_delta(x, sent), rounding(x, floats)])


HEADS = (
    "compressor",
    "array",
    "rows",
    "d",
    "claimed delta",
    "worst",
    "median",
    "phi: worst, median",
)


def cells(achievements: Sequence[Achieved]) -> list[list[str]]:
    """The rows of a table under HEADS."""
    return [
        [
            a.compressor,
            a.array,
            str(a.rows),
            str(a.d),
            f"{a.claimed:.4g}" if a.claimed else "-",
            f"{a.worst:.4g}" + (f" +- {a.error:.1g}" if a.error else ""),
            f"{a.median:.4g}",
            f"{a.phi_worst:.4g}, {a.phi_median:.4g}",
        ]
        for a in achievements
    ]
