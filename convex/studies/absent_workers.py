"""Workers that are absent: what SGD's noise from it comes to, and EF21 that forgets the absent."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors import Compressor
from efsgd.convex.problems.known_curvature import KnownSquares
from efsgd.engine import Split

MOST = 12  # workers whose subsets are gone through


@dataclass(frozen=True)
class AbsenceFloor:
    """The mean gap of SGD in the long run where some of n workers are absent, exactly.

    Full gradients of least squares, ``asked`` workers at random at each step, each message lost
    with probability ``loss``, and the sum over those that arrive divided by ``asked``. With z = x -
    x* a step is z <- A z - c, A and c random and independent of z, so that E z = 0 in the long run
    and M = E z z' solves M = E A M A' + E c c' (derived here).
    """

    problem: Split
    lr: float
    asked: int
    loss: float = 0.0
    cost: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what has too many subsets."""
        if not 1 <= self.asked <= self.problem.workers <= MOST:
            raise ValueError(f"asked must be 1, ..., n with n at most {MOST}, not {self.asked}")

    def compute(self) -> dict[str, Array]:
        """ "gap", the mean of f - f*; goes through all 2^n subsets of workers that may arrive."""
        H, g = quadratics(self.problem)
        n, d = g.shape
        arrived = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        share = self._probability(arrived.sum(1))
        A = np.eye(d) - self.lr / self.asked * np.einsum("si,ijk->sjk", arrived, H)
        c = self.lr / self.asked * arrived @ g
        step = np.einsum("s,sij,skl->ikjl", share, A, A, optimize=True).reshape(d * d, d * d)
        noise = np.einsum("s,si,sj->ij", share, c, c)
        M = np.linalg.solve(np.eye(d * d) - step, noise.ravel()).reshape(d, d)
        return {"gap": np.array(np.vdot(H.mean(0), M) / 2)}

    def _probability(self, size: Array) -> Array:
        """That exactly these arrive, for subsets of ``size`` workers, (S,)."""
        n, asked = self.problem.workers, self.asked
        of_size = [
            comb(n - j, asked - j)
            / comb(n, asked)
            * (1 - self.loss) ** j
            * self.loss ** (asked - j)
            if j <= asked
            else 0.0
            for j in range(n + 1)
        ]
        return np.array(of_size)[size]


@dataclass(frozen=True)
class PresentOnly:
    """EF21 whose server averages the estimates h of the present workers only, not those of all.

    All else is as in :class:`efsgd.EF21` with ``asked`` of the workers at random in each step. As h
    differ where workers disagree, x follows the present ones: the noise of SGD is back.
    """

    problem: Split
    compressor: Compressor
    lr: float
    steps: int
    asked: int
    seed: int
    replicates: int
    record: int

    @property
    def cost(self) -> float:
        """The steps."""
        return float(self.steps)

    def compute(self) -> dict[str, Array]:
        """ "step" (T,), and "gap" (T, R)."""
        rng, n = np.random.default_rng(self.seed), self.problem.workers
        x = np.zeros((self.replicates, self.problem.d))
        h = np.zeros((self.replicates, n, self.problem.d))
        gaps = []
        for t in range(self.steps + 1):
            if t % self.record == 0:
                gaps.append(self.problem.measure(x)["gap"])
            order = rng.permuted(np.broadcast_to(np.arange(n), (self.replicates, n)), axis=1)
            present = (order < self.asked)[..., None]
            g = self.problem.worker_gradients(x, rng)
            change = self.compressor.apply(g - h, self.compressor.draw(g.shape, rng))
            h = np.where(present, h + change, h)
            x = x - self.lr * (present * h).sum(1) / self.asked
        return {"step": np.arange(0, self.steps + 1, self.record), "gap": np.array(gaps)}


def quadratics(problem: Split) -> tuple[Array, Array]:
    """Least squares of each worker: its Hessian, (n, d, d), and its gradient at x*, (n, d)."""
    whole: KnownSquares = problem.problem
    hessians, gradients = [], []
    for rows in problem.rows:
        X, y = whole.data.X[rows], whole.data.y[rows]
        hessians.append(X.T @ X / len(rows))
        gradients.append(X.T @ (X @ whole.optimum.x - y) / len(rows))
    return np.array(hessians), np.array(gradients)
