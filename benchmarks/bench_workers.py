"""Several workers in one process against a plain loop over them, without gradients and noise.

The gradients are two stored arrays that take turns, so that what is measured is what the methods
do: add, compress, remember, take the mean. The plain loops are what a script would contain, and
have no engine around them; tests/benchmarks/test_bench_workers.py checks that they do the same
work. The last tables have the milliseconds a step that were the aim when the simulator was
designed.
"""

import common  # noqa: F401  first: it sets the number of threads
import numpy as np
from common import Spread, interleaved, machine, table, verdict

import efsgd
from efsgd.arrays import Array, Generator

LR = 0.01
METHODS: dict[str, efsgd.Method] = {
    "EFSGD, scaled sign": efsgd.EFSGD(),
    "EFSGD, top 1 %": efsgd.EFSGD(efsgd.TopK(0.01)),
    "EF21, top 1 %": efsgd.EF21(efsgd.TopK(0.01)),
    "CompressedSGD, scaled sign": efsgd.CompressedSGD(efsgd.ScaledSign()),
    "DIANA, qsgd:7": efsgd.DIANA(efsgd.QSGD(7)),
}
SIZES = {(100, 1000): (200, 20), (1000, 100): (200, 2), (16, 100_000): (20, 6)}  # (n, d): steps
TARGETS = {(100, 1000): 20.0}
# (n, d, replicates): steps, the most milliseconds of one
LIMITS = {(1000, 100, 10): (20, 8.0), (1000, 10_000, 1): (6, 200.0)}
ROUNDS_OF_LIMITS = 5


class Stored:
    """A problem whose n workers have stored gradients, g (2, n, d), in turn; its loss is 0."""

    def __init__(self, n: int, d: int) -> None:
        self.workers, self.d = n, d
        self.g = np.random.default_rng(0).standard_normal((2, n, d))
        self.calls = 0

    def loss(self, x: Array) -> Array:
        return np.zeros(len(x))

    def gradient(self, x: Array, rng: Generator) -> Array:
        raise NotImplementedError("each worker has a gradient of its own")

    def worker_gradients(self, x: Array, rng: Generator) -> Array:
        self.calls += 1
        return np.broadcast_to(self.g[(self.calls - 1) % 2], (len(x), self.workers, self.d))


def engine(problem: Stored, name: str, steps: int, replicates: int = 1) -> Array:
    """The last x, (R, d), of a run that records nothing on its way."""
    run = efsgd.Run(
        problem,
        METHODS[name],
        LR,
        steps,
        replicates=replicates,
        record=steps,
        metrics=("loss",),
        workers=problem.workers,
    )
    return efsgd.run(run)["x_final"]


def scaled_sign(v: Array) -> Array:
    return np.abs(v).mean() * np.sign(v)


def top_percent(v: Array) -> Array:
    k = len(v) // 100
    kept = np.argpartition(np.abs(v), -k)[-k:]
    sent = np.zeros(len(v))
    sent[kept] = v[kept]
    return sent


def qsgd(v: Array, rng: Generator, s: int = 7) -> Array:
    size = np.linalg.norm(v)
    levels = np.floor(s * np.abs(v) / size + rng.random(len(v)))
    return size * np.sign(v) * levels / s


def plain(g: Array, name: str, steps: int, rng: Generator) -> Array:
    """The last x, (d,), of a loop over the workers, whose gradients are g (2, n, d), in turn."""
    _, n, d = g.shape
    x, kept = np.zeros(d), [np.zeros(d) for _ in range(n)]  # each worker's e, or h
    compress = top_percent if "top" in name else scaled_sign
    alpha = 1 / (1 + efsgd.QSGD(7).omega(d))
    for t in range(steps):
        total, now = np.zeros(d), g[t % 2]
        for i in range(n):
            if name.startswith("EFSGD"):
                p = LR * now[i] + kept[i]
                sent = compress(p)
                kept[i] = p - sent
                total += sent
            elif name.startswith("EF21"):
                kept[i] = kept[i] + compress(now[i] - kept[i])
                total += LR * kept[i]
            elif name.startswith("CompressedSGD"):
                total += LR * compress(now[i])
            else:
                sent = qsgd(now[i] - kept[i], rng)
                total += LR * (kept[i] + sent)
                kept[i] = kept[i] + alpha * sent
        x = x - total / n
    return x


def against_loops(n: int, d: int) -> None:
    problem, (steps, plain_steps) = Stored(n, d), SIZES[n, d]
    rows = []
    for name in METHODS:
        rng = np.random.default_rng(0)
        seconds = interleaved(
            {
                "engine": lambda m=name: engine(problem, m, steps),
                "plain": lambda m=name, rng=rng: plain(problem.g, m, plain_steps, rng),
            }
        )
        mine = [1e6 * s / (n * steps) for s in seconds["engine"]]
        loop = [1e6 * s / (n * plain_steps) for s in seconds["plain"]]
        ratio = Spread.ratio(loop, mine)
        target = verdict(ratio, TARGETS[n, d], at_least=True) if (n, d) in TARGETS else "-"
        rows.append([name, str(Spread.of(mine)), str(Spread.of(loop)), str(ratio), target])
    title = f"{n} workers, d = {d}, float64, without gradients"
    columns = ["method", "engine, us per worker-step", "plain loop", "times faster", "target"]
    table(title, columns, rows)


def within_limits(n: int, d: int, replicates: int) -> None:
    problem, (steps, limit) = Stored(n, d), LIMITS[n, d, replicates]
    seconds = interleaved(
        {name: lambda m=name: engine(problem, m, steps, replicates) for name in METHODS},
        rounds=ROUNDS_OF_LIMITS,
    )
    rows = []
    for name, times in seconds.items():
        milliseconds = Spread.of(1e3 * s / steps for s in times)
        rows.append([name, str(milliseconds), verdict(milliseconds, limit, at_least=False)])
    title = f"{n} workers, d = {d}, {replicates} replicates ({ROUNDS_OF_LIMITS} rounds)"
    table(title, ["method", "ms per step of all", "limit"], rows)


if __name__ == "__main__":
    machine()
    for size in SIZES:
        against_loops(*size)
    for size in LIMITS:
        within_limits(*size)
