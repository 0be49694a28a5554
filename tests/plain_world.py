"""What plain loops over workers share: a problem, draws, who is absent, a wire, a server.

Random numbers come from generators in the states in which a run has them, so that runs and loops
see the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from efsgd import decode
from efsgd.arrays import Array, Generator
from efsgd.compressors import Compressor, Identity, PowerSGD, Shared
from efsgd.compressors.base import drawn_for
from efsgd.engine.runs import Run
from efsgd.methods import Faults, LocalSteps, Method, Streams
from efsgd.methods.differences import MARINA

# -- a problem whose workers disagree --------------------------------------------------------------


@dataclass(frozen=True)
class Disagreeing:
    """f_i(x) = x'A_i x/2 - b_i'x, without noise; f is their mean, with unequal weights if asked."""

    workers: int
    d: int = 7
    weighted: bool = False
    seed: int = 0

    @cached_property
    def A(self) -> Array:
        """Symmetric matrices (n, d, d) with eigenvalues from 1/2 to 2."""
        rng = np.random.default_rng([self.seed, 0])
        q = np.linalg.qr(rng.standard_normal((self.workers, self.d, self.d)))[0]
        made: Array = np.einsum("nij,j,nkj->nik", q, np.linspace(0.5, 2.0, self.d), q)
        return made

    @cached_property
    def b(self) -> Array:
        """(n, d), no two alike."""
        return 2 * np.random.default_rng([self.seed, 1]).standard_normal((self.workers, self.d))

    @cached_property
    def worker_weights(self) -> Array:
        """1/n each, or 1, 2, ..., n over their sum."""
        share = np.arange(1.0, self.workers + 1) if self.weighted else np.ones(self.workers)
        return share / share.sum()

    @property
    def solution(self) -> Array:
        """The minimiser of f, (d,)."""
        w = self.worker_weights
        made: Array = np.linalg.solve(np.einsum("n,nij->ij", w, self.A), w @ self.b)
        return made

    def x0(self, rng: Generator, replicates: int) -> Array:
        return rng.standard_normal((replicates, self.d))

    def loss(self, x: Array) -> Array:
        quadratic = np.einsum("n,ri,nij,rj->r", self.worker_weights, x, self.A, x) / 2
        return np.asarray(quadratic - x @ (self.worker_weights @ self.b))

    def gradient(self, x: Array, rng: Generator) -> Array:
        return np.asarray(np.einsum("n,rnd->rd", self.worker_weights, self._each(x[:, None])))

    def worker_gradients(self, x: Array, rng: Generator) -> Array:
        return self._each(x[:, None] if x.ndim == 2 else x)

    def _each(self, x: Array) -> Array:
        return np.asarray(np.matmul(self.A, x[..., None])[..., 0] - self.b)


# -- what a loop meets: draws, absences, a wire ----------------------------------------------------


def streams(seed: int) -> tuple[Generator, Generator, Streams]:
    """Those of a run in one block: of x_0, of gradients, and of workers, server and attendance."""
    start, gradients, *others = (s.spawn(1)[0] for s in np.random.default_rng(seed).spawn(5))
    return start, gradients, Streams(*others)


class Message(NamedTuple):
    """What was drawn for the messages of fragment f after step t."""

    up: Any  # for (R, n, d_f)
    down: Any  # for (R, d_f)
    arrived: Array  # (R, n)


@dataclass
class Draws:
    """All that a run draws, in its order."""

    coins: dict[tuple[int, int], Array] = field(default_factory=dict)  # (R,), of MARINA
    present: list[Array] = field(default_factory=list)  # (R, n), by step
    messages: dict[tuple[int, int], Message] = field(default_factory=dict)  # by (t, f)


def draws(run: Run) -> Draws:
    """Draw for all steps at once, as the order within a stream is that of the steps."""
    rng, made = streams(run.seed)[2], Draws()
    shape, faults, rounds = (run.replicates, run.workers), run.faults or Faults(), run.local_steps
    down = run.downlink.compresses if isinstance(run.downlink, Method) else Identity()
    method, warm = run.method, set()
    if isinstance(method, LocalSteps):
        method, down = method.exchange, method.outer.compresses
    for t in range(run.steps):
        if t % rounds == 0:
            made.present.append(_present(shape, asked(run), faults.silence, rng.attendance))
        else:
            made.present.append(made.present[-1])
        for f, part in enumerate(fragments(run)):
            if not due(run, t, f):
                continue
            size, arrived = len(part), np.ones(shape, bool)
            if isinstance(method, MARINA):
                made.coins[t, f] = rng.workers.random((run.replicates, 1, 1))[:, 0, 0]
            up = None if f in warm else method.compresses.draw((*shape, size), rng.workers)
            if method.compresses.warm:
                warm.add(f)
            if faults.loss:
                arrived = rng.attendance.random(shape) >= faults.loss
            below = down.draw((run.replicates, size), rng.server)
            made.messages[t, f] = Message(up, below, arrived)
    return made


def asked(run: Run) -> int:
    """|S|."""
    return max(1, round(run.participation * run.workers))


def fragments(run: Run) -> list[range]:
    """The entries of each of F fragments: [f d/F, (f+1) d/F), rounded down."""
    d, F = run.problem.d, run.method.fragments if isinstance(run.method, LocalSteps) else 1
    return [range(f * d // F, (f + 1) * d // F) for f in range(F)]


def due(run: Run, t: int, f: int) -> bool:
    """Whether fragment f is exchanged once t + 1 steps are taken: t + 1 = f H/F modulo H."""
    H = run.local_steps
    return (t + 1) % H == f * H // len(fragments(run))


def _present(shape: tuple[int, int], most: int, silence: float, rng: Generator) -> Array:
    """The |S| workers with the smallest numbers, less those that stay silent."""
    present = np.ones(shape, bool)
    if most < shape[1]:
        for row, numbers in zip(present, rng.random(shape), strict=True):
            row[:] = False
            row[sorted(range(shape[1]), key=lambda i: numbers[i])[:most]] = True
    if silence:
        present &= rng.random(shape) >= silence
    return present


def length(c: Compressor, v: Array, drawn: Any = None) -> int:
    """Bytes of the message that says C(v); of one of the same d, where all are as long."""
    if not c.fixed_size:
        return len(c.encode(v, drawn=drawn))
    if (c, len(v)) not in LENGTHS:
        LENGTHS[c, len(v)] = len(c.encode(v, drawn=drawn))
    return LENGTHS[c, len(v)]


LENGTHS: dict[tuple[Compressor, int], int] = {}


def orthonormal(image: Any) -> Array:
    """The columns of a matrix, each less what lies along those before it, with length 1."""
    columns: list[Array] = []
    for column in np.asarray(image).T:
        for other in columns * 2:  # twice, against rounding
            column = column - (other @ column) * other
        columns.append(column / np.linalg.norm(column))
    return np.stack(columns, axis=1)


def close(made: Array, expected: Array) -> None:
    """AssertionError where what was decoded is not what was sent."""
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-12 * max(1, np.abs(expected).max()))


class State(NamedTuple):
    """After t steps of one replicate."""

    x: Array
    answer: Array  # the solution on offer
    e: list[Array]  # of each worker
    h: list[Array]
    models: list[Array]  # of local steps
    up: list[int]  # bytes so far, of each worker
    down: int  # bytes so far, to each worker


class World:
    """One replicate of a run: what its workers see, and the wire between them and the server."""

    def __init__(self, run: Run, drawn: Draws, r: int) -> None:
        self.run, self.method, self.problem, self.drawn, self.r = (
            run,
            run.method,
            run.problem,
            drawn,
            r,
        )
        self.n, self.d = run.workers, run.problem.d
        self.workers = range(self.n)
        self.weights = getattr(run.problem, "worker_weights", np.full(self.n, 1 / self.n))
        self.share = asked(run) / self.n
        self.x0 = self.problem.x0(streams(run.seed)[0], run.replicates)[r]  # type: ignore[attr-defined]
        self.up_bytes, self.down_bytes = [0] * self.n, 0
        self.said: dict[tuple[int, int], dict[int, tuple[Array, Array]]] = {}
        self.whole = False  # whether what was said last was not compressed
        self.Q: dict[int, Array] = {}  # of PowerSGD, by fragment
        self.P: dict[int, Array] = {}
        self.states: list[State] = []
        self.server = Server(self, run.downlink)  # type: ignore[arg-type]

    def steps(self) -> Iterator[tuple[int, float]]:
        """t and lr_t."""
        lr: Any = self.run.lr
        for t in range(self.run.steps):
            yield t, lr(t) if callable(lr) else lr[self.r] if isinstance(lr, tuple) else lr

    def zeros(self) -> list[Array]:
        """A zero vector for each worker."""
        return [np.zeros(self.d) for _ in self.workers]

    def gradient(self, i: int, x: Array) -> Array:
        """grad f_i(x)."""
        problem: Any = self.problem
        return np.asarray(problem.A[i] @ x - problem.b[i])

    def present(self, t: int) -> list[int]:
        """The workers that take part in step t."""
        return [i for i in self.workers if self.drawn.present[t][self.r, i]]

    def arrived(self, t: int, i: int, f: int = 0) -> bool:
        """Whether the message of worker i, if it sent one, reached the server."""
        return bool(self.drawn.messages[t, f].arrived[self.r, i])

    def send(self, t: int, i: int, v: Array, f: int = 0) -> Array:
        """C(v), which worker i sends."""
        c, mine = self.method.compresses, self._drawn(t, i, f)
        return self._said(t, i, f, v, c.apply(v, mine), length(c, v, mine))

    def send_all(self, t: int, vectors: dict[int, Array], f: int = 0) -> dict[int, Array]:
        """C(v) of every worker that sends; of PowerSGD they find it together."""
        c = self.method.compresses
        if not isinstance(c, PowerSGD):
            return {i: self.send(t, i, v, f) for i, v in vectors.items()}
        matrices = {i: v.reshape(c.sides(len(v))) for i, v in vectors.items()}
        if f not in self.Q:
            self.Q[f] = drawn_for(0, drawn_for(self.r, self.drawn.messages[t, f].up))
        P = orthonormal(sum(self.weights[i] * M @ self.Q[f] for i, M in matrices.items()))
        self.P[f], Q, sent = P, np.zeros_like(self.Q[f]), {}
        for i, M in matrices.items():
            of_worker = M.T @ P
            Q = Q + self.weights[i] * of_worker
            data = c.encode(vectors[i], drawn=[None, None, P])
            sent[i] = self._said(t, i, f, vectors[i], (P @ of_worker.T).ravel(), len(data))
            close(decode(data), sent[i])
        self.Q[f] = Q
        return sent

    def _said(self, t: int, i: int, f: int, v: Array, sent: Array, size: int) -> Array:
        self.up_bytes[i] += size
        self.said.setdefault((t, f), {})[i] = (v, sent)
        self.whole = False
        return sent

    def _drawn(self, t: int, i: int, f: int) -> Any:
        """The draw of worker i of this replicate."""
        if f in self.P:
            return [None, None, self.P[f]]
        return drawn_for(i, drawn_for(self.r, self.drawn.messages[t, f].up))

    def send_whole(self, i: int, v: Array) -> Array:
        """v itself."""
        self.up_bytes[i] += length(Identity(), v)
        self.whole = True
        return v

    def mean_bytes(self, t: int, d: int, f: int = 0) -> int:
        """Bytes of the mean of d entries of what arrived: of one message, where messages add."""
        c = self.method.compresses
        if self.whole or not isinstance(c, Shared | PowerSGD):
            return length(Identity(), np.zeros(d))
        said = self.said.get((t, f), {})
        given = self.of_arrived(t, {i: v for i, (v, _) in said.items()}, f)
        data = c.encode(given, drawn=self._drawn(t, 0, f))
        close(decode(data), self.of_arrived(t, {i: sent for i, (_, sent) in said.items()}, f))
        return len(data)

    def of_all(self, vectors: list[Array]) -> Array:
        """The weighted mean of a vector of each worker."""
        return np.asarray(sum(self.weights[i] * vectors[i] for i in self.workers))

    def of_arrived(self, t: int, sent: dict[int, Array], f: int = 0) -> Array:
        """The sum of what arrived, w_i n/|S| times each: 1/|S| where workers count alike."""
        d = len(fragments(self.run)[f])
        mean = np.zeros(d)
        for i, message in sent.items():
            if self.arrived(t, i, f):
                mean = mean + self.weights[i] / self.share * message
        return mean

    def note(self, x: Array, e: list[Array] | None = None, **others: Any) -> None:
        """Keep what the run has to equal."""
        e = [] if e is None else list(e)
        self.states.append(
            State(
                x=x.copy(),
                answer=np.array(others.get("answer", x)),
                e=e,
                h=list(others.get("h", [])),
                models=[model.copy() for model in others.get("models", [])],
                up=list(self.up_bytes),
                down=self.down_bytes,
            )
        )


class Momenta:
    """The momentum buffer of each worker, in front of whatever is done with its gradient."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.m: dict[int, Array] = {}

    def __call__(self, i: int, x: Array, g: Array, t: int = 0) -> Array:
        """What weight decay and momentum make of the gradient g at x in step t.

        The first m is g in the first step of all, and else as if m had been 0 before.
        """
        mu, method = self.method.momentum, self.method
        g = g + method.weight_decay * x
        if mu == 0:
            return g
        m = self.m.get(i, None if t == 0 else np.zeros_like(g))
        if method.form == "undecayed":
            self.m[i] = mu * g if m is None else m + mu * g
        else:
            self.m[i] = g if m is None else mu * m + (1 - method.dampening) * g
        return g + mu * self.m[i] if method.nesterov else self.m[i]


class Server:
    """What the server does with the workers' mean, and what it remembers."""

    def __init__(self, world: World, method: Method | None) -> None:
        self.world, self.method = world, method
        self.momentum = None if method is None else Momenta(method)
        self.e: Array | float = 0.0
        self.b: Array | float = 0.0
        self.last_lr = 0.0
        self.Q: Array | None = None  # of PowerSGD

    def move(self, t: int, x: Array, by: Array, lr: float) -> Array:
        """The new x, where the workers say that it should move by ``by``.

        The server of EF14 works in units of x, as its workers do; others in units of g.
        """
        if type(self.world.method).__name__ in ("EFSGD", "FullyCorrectiveEF"):
            return self.step(t, x, by, 1.0)
        return self.step(t, x, by / lr, lr)

    def step(self, t: int, x: Array, g: Array, lr: float, f: int = 0) -> Array:
        """The new x, after a step of this size along g, or what is left of it after compression."""
        name = "nothing" if self.method is None else type(self.method).__name__
        if self.momentum is not None:
            g = self.momentum(0, x, g)
        if name in ("nothing", "SGD"):
            self.world.down_bytes += self.world.mean_bytes(t, len(x), f)
            return x - lr * g
        if name == "EFSGD":  # DoubleSqueeze
            p = lr * g + self.method.decay * self.e  # type: ignore[union-attr]
            sent = self._send(t, p, f)
            self.e = p - sent
            return x - sent
        if name == "CompressedSGD":
            return x - lr * self._send(t, g, f)
        if name == "EF21":  # EF21-BC
            self.b = self.b + self._send(t, g - self.b, f)
            return x - lr * self.b
        return self._of_its_own(name, t, x, g, lr, f)

    def _of_its_own(self, name: str, t: int, x: Array, g: Array, lr: float, f: int) -> Array:
        """The steps of methods that were made for workers."""
        method: Any = self.method
        if name == "GradientEF":
            corrected = g + (self.last_lr / lr if method.rescaled else 1.0) * self.e
            sent = self._send(t, corrected, f)
            self.e, self.last_lr = corrected - sent, lr
            return x - lr * sent
        if name == "EControl":
            self.b = self.b + self._send(t, method.eta * self.e / lr + g - self.b, f)
            self.e = self.e + lr * (g - self.b)
            return x - lr * self.b
        assert name == "DIANA"
        alpha = method.alpha or 1 / (1 + method.compressor.omega(len(x)))
        sent = self._send(t, g - self.b, f)
        before, self.b = self.b, self.b + alpha * sent
        return x - lr * (before + sent)

    def _send(self, t: int, v: Array, f: int) -> Array:
        assert self.method is not None
        c = self.method.compresses
        drawn = drawn_for(self.world.r, self.world.drawn.messages[t, f].down)
        if isinstance(c, PowerSGD):
            M = v.reshape(c.sides(len(v)))
            P = orthonormal(M @ (drawn if self.Q is None else self.Q))
            self.Q = M.T @ P
            self.world.down_bytes += length(c, v, [None, None, P])
            return np.asarray(P @ self.Q.T).ravel()
        self.world.down_bytes += length(c, v, drawn)
        return c.apply(v, drawn)
