"""A finite sum whose rows are dealt to n workers: alike, by label, in order, or at random."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.checks import positive, whole
from efsgd.engine.batches import worker_rows

FORWARDED = (
    "x0",
    "full_gradient",
    "project",
    "optimum",
    "measure",
    "smoothness",
    "targets",
    "n",
    "batch_gradient",
)


@dataclass(frozen=True)
class Split:
    """``problem``, a finite sum of N rows, with its rows dealt to ``workers`` workers.

    Worker i minimises f_i, the mean over its own rows, and counts in proportion to them, so that
    the mean is f itself. ``by``:

    - "iid": at random, N/n each;
    - "sorted": in the order of ``problem.targets``, N/n each;
    - "label": each worker has rows of one label only, as long as there are as many workers as
      labels; the workers of a label share its rows at random;
    - "dirichlet:a": the rows of each label are dealt in proportions drawn from a Dirichlet
      distribution with all parameters a > 0: the smaller, the less alike (Hsu, Qi, Brown, arXiv
      1909.06335).

    ``problem`` needs ``n`` and ``batch_gradient(x, rows)``, and ``targets`` (N,) unless "iid"; with
    ``share(rows)``, the same problem on some rows alone, full gradients are faster, and all rows
    are held once more.

    >>> import numpy as np, efsgd
    >>> from efsgd.convex import LeastSquares
    >>> rng = np.random.default_rng(0)
    >>> problem = LeastSquares(rng.standard_normal((60, 5)), rng.standard_normal(60))
    >>> split = efsgd.Split(problem, 4, by="sorted")
    >>> history = efsgd.run(efsgd.Run(split, efsgd.EFSGD(), 0.1, 100, workers=4))
    """

    problem: Any
    workers: int
    by: str = "iid"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be dealt."""
        if isinstance(self.problem, Split):
            raise ValueError("the rows are dealt already: split the problem itself")
        rows = getattr(self.problem, "n", None)
        if rows is None or not hasattr(self.problem, "batch_gradient"):
            raise ValueError("Split needs a problem with n and batch_gradient(x, rows)")
        whole("workers", self.workers, rows)
        whole("seed", self.seed, least=0)
        kind, colon, number = str(self.by).partition(":")
        if kind not in ("iid", "sorted", "label", "dirichlet") or (kind == "dirichlet") != bool(
            colon
        ):
            raise ValueError(f"by must be iid, label, sorted or dirichlet:A, not {self.by!r}")
        if colon:
            try:
                positive("the A of dirichlet:A", float(number))
            except ValueError:
                raise ValueError(
                    f"by={self.by!r} needs a positive number after the colon"
                ) from None
        if kind != "iid" and not hasattr(self.problem, "targets"):
            raise ValueError(f"by={self.by!r} needs a problem with targets, one a row")
        if kind in ("label", "dirichlet") and len(self._labels[0]) > rows // 2:
            raise ValueError(
                f"by={self.by!r} needs labels, and {len(self._labels[0])} of {rows} targets "
                "differ: use by='sorted'"
            )

    def __getattr__(self, name: str) -> Any:
        """What the problem has itself."""
        if name in FORWARDED:
            return getattr(self.problem, name)
        raise AttributeError(f"Split has no attribute {name!r}")

    @property
    def d(self) -> int:
        """The dimension."""
        return int(self.problem.d)

    def loss(self, x: Array) -> Array:
        """f, over all rows: (R, d) -> (R,)."""
        return np.asarray(self.problem.loss(x))

    def gradient(self, x: Array, rng: Generator) -> Array:
        """The gradient of the whole problem, (R, d)."""
        return np.asarray(self.problem.gradient(x, rng))

    @cached_property
    def rows(self) -> tuple[Array, ...]:
        """The rows of each worker, increasing."""
        rng = np.random.default_rng(self.seed)
        kind, _, number = self.by.partition(":")
        if kind == "sorted":
            order = np.argsort(self.problem.targets, kind="stable")
            dealt = np.array_split(order, self.workers)
        elif kind == "iid":
            dealt = np.array_split(rng.permutation(self.problem.n), self.workers)
        elif kind == "label":
            dealt = self._by_label(rng)
        else:
            dealt = self._by_dirichlet(rng, float(number))
        return tuple(np.sort(rows) for rows in dealt)

    @property
    def worker_weights(self) -> Array:
        """Each worker's share of the rows, (n,)."""
        return np.array([len(rows) for rows in self.rows], np.float64) / float(self.problem.n)

    def worker_gradients(self, x: Array, rng: Generator) -> Array:
        """The gradient of each f_i at x (R, d) or at the model of each worker (R, n, d)."""
        models = x if x.ndim == 3 else np.broadcast_to(x[:, None], (len(x), self.workers, self.d))
        if self._shares is not None:
            each = [f.full_gradient(models[:, i]) for i, f in enumerate(self._shares)]
        else:
            each = [
                self.problem.batch_gradient(models[:, i], np.tile(rows, (len(x), 1)))
                for i, rows in enumerate(self.rows)
            ]
        return np.stack(each, axis=1)

    def check_batch(self, b: int) -> None:
        """ValueError where some worker has fewer than b rows."""
        least = int(self._table[1].min())
        if b > least:
            raise ValueError(
                f"batch={b} is more than the {least} rows of the worker that has least"
            )

    def worker_batches(self, rng: Generator, replicates: int, b: int) -> Array:
        """b of each worker's own rows, without replacement: (R, n, b)."""
        self.check_batch(b)
        table, sizes = self._table
        positions = worker_rows(rng, sizes, b, replicates)
        return np.take_along_axis(np.broadcast_to(table, (replicates, *table.shape)), positions, -1)

    @cached_property
    def _table(self) -> tuple[Array, Array]:
        """The rows of each worker, padded, (n, most), and how many there are, (n,)."""
        sizes = np.array([len(rows) for rows in self.rows])
        table = np.zeros((self.workers, sizes.max()), np.int64)
        for i, rows in enumerate(self.rows):
            table[i, : len(rows)] = rows
        return table, sizes

    @cached_property
    def _shares(self) -> list[Any] | None:
        """The problem of each worker, where the problem can make it."""
        share = getattr(self.problem, "share", None)
        return None if share is None else [share(rows) for rows in self.rows]

    @cached_property
    def _labels(self) -> tuple[Array, Array]:
        """The labels that occur, and the number of the label of each row."""
        labels, numbers = np.unique(self.problem.targets, return_inverse=True)
        return labels, numbers

    def _by_label(self, rng: Generator) -> list[Array]:
        """Workers in proportion to the rows of a label, one at least; or labels to each worker."""
        labels, numbers = self._labels
        groups = [rng.permutation(np.flatnonzero(numbers == k)) for k in range(len(labels))]
        if self.workers < len(labels):
            parts = np.array_split(np.arange(len(labels)), self.workers)
            return [np.concatenate([groups[k] for k in part]) for part in parts]
        counts = np.ones(len(labels), int)
        sizes = np.array([len(group) for group in groups])
        for _ in range(self.workers - len(labels)):
            counts[np.argmax(sizes / counts)] += 1
        return [
            part
            for group, c in zip(groups, counts, strict=True)
            for part in np.array_split(group, c)
        ]

    def _by_dirichlet(self, rng: Generator, a: float) -> list[Array]:
        """Each label's rows in random proportions; a worker without a row takes one of the most."""
        labels, numbers = self._labels
        dealt: list[list[int]] = [[] for _ in range(self.workers)]
        for k in range(len(labels)):
            rows = rng.permutation(np.flatnonzero(numbers == k))
            cuts = np.cumsum(rng.dirichlet(np.full(self.workers, a)))[:-1]
            parts = np.split(rows, np.floor(cuts * len(rows) + 0.5).astype(int))
            for mine, part in zip(dealt, parts, strict=True):
                mine.extend(part.tolist())
        for mine in dealt:
            if not mine:
                mine.append(max(dealt, key=len).pop())
        return [np.array(mine, np.int64) for mine in dealt]
