"""Error feedback on sparse logistic regression, against products with its matrix.

The matrices are synthetic: one with the shape and density of E2006.train (16,087 x 150,360 at
0.83 %, LIBSVM's collection) and a sparser one; their entries lie in uniformly random columns, which
is hard on the cache. The unit is one product X @ v by scipy for each step. A full gradient takes
two of them, X @ w and X' @ r, so 2 is the least possible; with a batch only its rows are read.
"""

import common  # noqa: F401  first: it sets the number of threads
import numpy as np
from common import ROUNDS, Spread, interleaved, machine, table, verdict
from scipy.sparse import csr_array

import efsgd
from efsgd.convex import LogisticRegression

SHAPES = {"E2006": (16_087, 150_360, 1241, 20), "sparser": (20_000, 47_000, 70, 200)}
TARGET = 3.0
TOP = efsgd.TopK(0.001)
RUNS = {  # method, batch, steps between two records of the loss
    "EF-top-k, full gradient, loss at every step": (efsgd.EFSGD(TOP), None, 1),
    "EF-top-k, full gradient, loss at every 100th": (efsgd.EFSGD(TOP), None, 100),
    "EF-signSGD, full gradient, loss at every step": (efsgd.EFSGD(), None, 1),
    "SGD, full gradient, loss at every step": (efsgd.SGD(), None, 1),
    "EF-top-k, batch of 32, loss at every 100th": (efsgd.EFSGD(TOP), 32, 100),
}


def synthetic(n: int, d: int, per_row: int) -> LogisticRegression:
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(d, size=(n, per_row), dtype=np.int32), axis=1)
    starts = np.arange(0, n * per_row + 1, per_row, dtype=np.int32)
    X = csr_array((rng.random(n * per_row), columns.ravel(), starts), shape=(n, d))
    X.sum_duplicates()
    X.data /= np.sqrt(per_row / 3)  # rows of length 1, so that a step size of 1 is stable
    y = np.where(X @ rng.standard_normal(d) > 0, 1.0, -1.0)
    return LogisticRegression(X, y, l2=1 / n)


def steps(problem: LogisticRegression, name: str, count: int) -> None:
    method, batch, record = RUNS[name]
    metrics = ("loss", "bytes")
    efsgd.run(efsgd.Run(problem, method, 1.0, count, batch=batch, record=record, metrics=metrics))


def products(problem: LogisticRegression, count: int) -> None:
    X, v = problem.X, np.ones(problem.d)
    for _ in range(count):
        X @ v


def measure(name: str) -> None:
    n, d, per_row, count = SHAPES[name]
    problem = synthetic(n, d, per_row)
    tasks = {run: lambda run=run: steps(problem, run, count) for run in RUNS}
    seconds = interleaved({"X @ v": lambda: products(problem, count), **tasks})
    rows = []
    for run in RUNS:
        ratio = Spread.ratio(seconds[run], seconds["X @ v"])
        milliseconds = Spread.of(1e3 * s / count for s in seconds[run])
        target = verdict(ratio, TARGET, at_least=False) if name == "E2006" else "-"
        rows.append([run, str(milliseconds), str(ratio), target])
    unit = Spread.of(1e3 * s / count for s in seconds["X @ v"])
    title = (
        f"Logistic regression, {name}: {n} x {d}, {problem.X.nnz / 1e6:.1f} million entries, "
        f"{ROUNDS} x {count} steps; one X @ v takes {unit} ms"
    )
    table(title, ["run", "ms per step", "times X @ v", "target"], rows)


if __name__ == "__main__":
    machine()
    for shape in SHAPES:
        measure(shape)
