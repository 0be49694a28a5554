"""The engine against plain loops: replicates of the sparse-noise toy, step sizes of least squares.

The plain loops are what a script would contain. They run a part of the work only, because every
replicate of a loop takes equally long, and all times are divided by the work done.
"""

import common  # noqa: F401  first: it sets the number of threads
import numpy as np
from common import Spread, interleaved, machine, table, verdict

import efsgd
from efsgd.convex import SparseNoise, WilsonLeastSquares

REPLICATES, STEPS, D, LR, SIGMA = 100, 10_000, 100, 1e-3, 100.0
PLAIN_REPLICATES = 2
ITERATIONS = 80
STEP_SIZES = np.geomspace(1e-3, 0.4, 1000)  # SGD diverges above
PLAIN_STEP_SIZES = STEP_SIZES[::40]


def engine_toy(method: efsgd.Method) -> None:
    run = efsgd.Run(
        SparseNoise(D, SIGMA), method, LR, STEPS, replicates=REPLICATES, record=1, metrics=("loss",)
    )
    efsgd.run(run)


def plain_sgd() -> None:
    rng, e1 = np.random.default_rng(0), np.eye(D)[0]
    loss = np.empty((PLAIN_REPLICATES, STEPS))
    for r in range(PLAIN_REPLICATES):
        x = rng.normal(size=D)
        for t in range(STEPS):
            loss[r, t] = 0.5 * x @ x
            x = x - LR * (x + rng.normal(0, SIGMA) * e1)


def plain_ef() -> None:
    rng, e1 = np.random.default_rng(0), np.eye(D)[0]
    loss = np.empty((PLAIN_REPLICATES, STEPS))
    for r in range(PLAIN_REPLICATES):
        x, e = rng.normal(size=D), np.zeros(D)
        for t in range(STEPS):
            loss[r, t] = 0.5 * x @ x
            p = LR * (x + rng.normal(0, SIGMA) * e1) + e
            sent = np.abs(p).mean() * np.sign(p)
            x, e = x - sent, p - sent


def engine_squares(problem: WilsonLeastSquares, method: efsgd.Method) -> None:
    lr = tuple(STEP_SIZES.tolist())
    metrics = ("train_mse", "test_mse")
    run = efsgd.Run(problem, method, lr, ITERATIONS, replicates=len(lr), metrics=metrics)
    efsgd.run(run, diverged="keep")


def plain_squares(problem: WilsonLeastSquares, feedback: bool) -> None:
    """With dense X; like the engine it computes the train loss and the gradient separately."""
    data = problem.data
    X, y = data.X.toarray(), data.y
    X_test, y_test = data.X_test.toarray(), data.y_test
    train, test = np.empty((2, len(PLAIN_STEP_SIZES), ITERATIONS + 1))
    for i, lr in enumerate(PLAIN_STEP_SIZES):
        x, e = np.zeros(problem.d), np.zeros(problem.d)
        for t in range(ITERATIONS + 1):
            train[i, t] = np.mean((X @ x - y) ** 2)
            test[i, t] = np.mean((X_test @ x - y_test) ** 2)
            p = lr * (X.T @ (X @ x - y)) / len(y) + e
            sent = np.abs(p).mean() * np.sign(p) if feedback else p
            x = x - sent
            e = p - sent


def comparison(name: str, engine: list[float], loop: list[float], target: float) -> list[str]:
    """A row of a table, with the microseconds of each round."""
    ratio = Spread.ratio(loop, engine)
    times = [str(Spread.of(engine)), str(Spread.of(loop))]
    return [name, *times, str(ratio), verdict(ratio, target, at_least=True)]


def toy() -> None:
    methods = {"SGD": (efsgd.SGD(), plain_sgd, 30), "EF-signSGD": (efsgd.EFSGD(), plain_ef, 15)}
    rows = []
    for name, (method, plain, target) in methods.items():
        seconds = interleaved({"engine": lambda m=method: engine_toy(m), "plain": plain})
        engine = [1e6 * s / (REPLICATES * STEPS) for s in seconds["engine"]]
        loop = [1e6 * s / (PLAIN_REPLICATES * STEPS) for s in seconds["plain"]]
        rows.append(comparison(name, engine, loop, target))
    title = (
        f"Sparse-noise toy, {REPLICATES} replicates x {STEPS} steps, float64, loss at every step"
    )
    columns = ["method", "engine, us per replicate-step", "plain loop", "times faster", "target"]
    table(title, columns, rows)


def squares() -> None:
    problem = WilsonLeastSquares()
    methods = {"SGD": (efsgd.SGD(), False), "EF-signSGD": (ternary(), True)}
    rows = []
    for name, (method, feedback) in methods.items():
        seconds = interleaved(
            {
                "engine": lambda m=method: engine_squares(problem, m),
                "plain": lambda f=feedback: plain_squares(problem, f),
            }
        )
        engine = [1e6 * s / (len(STEP_SIZES) * ITERATIONS) for s in seconds["engine"]]
        loop = [1e6 * s / (len(PLAIN_STEP_SIZES) * ITERATIONS) for s in seconds["plain"]]
        rows.append(comparison(name, engine, loop, 15))
    title = f"Least squares of section 5, {ITERATIONS} iterations x {len(STEP_SIZES)} step sizes"
    columns = ["method", "engine, us per iteration", "plain loop", "times faster", "target"]
    table(title, columns, rows)


def ternary() -> efsgd.Method:
    """EF-signSGD with sign(0) = 0, as in the paper's code."""
    return efsgd.EFSGD(efsgd.ScaledSign(zero=0))


if __name__ == "__main__":
    machine()
    toy()
    squares()
