"""A run of a method as linear maps: every vector as its coordinates in the basis of a Gram matrix.

All methods here are linear in x_0, the gradients and the messages, so the engine's own ``step`` is
run on coordinates: the gradients and the messages are unit vectors, the workers are the replicates,
and the server takes the mean of where they would go. No method is written down a second time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.compressors.wrappers import Identity
from efsgd.convex.pep.setting import Setting

ROUNDING = 1e-14  # coordinates below it are 0


@dataclass(frozen=True, eq=False)
class Paths:
    """Coordinates (..., n) of the points of a run in its basis, x* being the origin.

    W workers, N steps. In the units of :class:`efsgd.convex.pep.setting.Units`.
    """

    names: tuple[str, ...]  # of the n basis vectors
    x: Array  # (N+1, n)
    g: Array  # (W, N+1, n)
    star: Array  # (W, n) the gradients at x*, which sum to 0
    given: Array  # (W, N, n) what the compressors are given, in the method's own units
    sent: Array  # (W, N, n) what they answer


@dataclass(frozen=True, eq=False)
class _Answers(Compressor):
    """The compressor that answers with the given rows whatever it is asked."""

    rows: Array

    def apply(self, x: Array, drawn: object = None) -> Array:
        """The rows, one a worker."""
        return self.rows


def paths(setting: Setting) -> Paths:
    """The coordinates of a run of the engine's method."""
    workers, steps, n = setting.workers, setting.steps, setting.rows
    basis = iter(np.eye(n))
    names: list[str] = []

    def take(name: str) -> Array:
        names.append(name)
        return next(basis)

    start = take("x0") if setting.knows_minimiser else np.zeros(n)
    g = np.array(
        [[take(f"g{_of(i, t, setting)}") for t in range(steps + 1)] for i in _all(setting)]
    )
    star = np.zeros((workers, n))
    if setting.zeta:
        star[:-1] = [take(f"g{_of(i, '*', setting)}") for i in range(workers - 1)]
        star[-1] = -star[:-1].sum(0)
    sent = np.zeros((workers, steps, n))
    if setting.compresses:
        sent[...] = [[take(f"c{_of(i, t, setting)}") for t in range(steps)] for i in _all(setting)]
    x, given = _walk(setting, start, g, sent)
    if not setting.compresses:
        return Paths(tuple(names), x, g, star, given, given)
    misses = (given - sent) / (setting.q * setting.message_sizes[:, None])
    names = [name.replace("c", "u") for name in names]
    return _in_misses(Paths(tuple(names), x, g, star, given, sent), misses)


def _in_misses(found: Paths, misses: Array) -> Paths:
    """The same in a basis with the misses (W, N, n) in place of the messages.

    They are u = (p - C(p))/q, divided by lr for EF, with |u| <= |p|. However close delta is to 0 or
    1 they are of the size of the gradients, and the solver is a digit more accurate.
    """
    new = np.eye(len(found.names))
    new[-misses.shape[0] * misses.shape[1] :] = misses.reshape(-1, len(new))
    old = np.linalg.inv(new)

    def turned(v: Array) -> Array:
        out: Array = v @ old
        out[np.abs(out) < ROUNDING] = 0.0
        return out

    vectors = (found.x, found.g, found.star, found.given, found.sent)
    return Paths(found.names, *map(turned, vectors))


def _walk(setting: Setting, start: Array, g: Array, sent: Array) -> tuple[Array, Array]:
    """x_0, ..., x_N (N+1, n), and what the compressors were given (W, N, n)."""
    units, rng = setting.units, np.random.default_rng(0)  # nothing is drawn from it
    x, given = [start], []
    memory = setting.engine_method(Identity()).start(np.zeros_like(sent[:, 0]))
    for t, lr in enumerate(setting.lr):
        answers = _Answers(sent[:, t]) if setting.compresses else Identity()
        method = setting.engine_method(answers)
        here = np.broadcast_to(x[-1], g[:, t].shape)
        update = method.step(here, g[:, t], memory, lr * units.g / units.x, rng)
        memory = update.memory
        x.append(update.x.mean(0))
        given.append(update.given)
    return np.array(x), np.stack(given, axis=1)


def _all(setting: Setting) -> range:
    return range(setting.workers)


def _of(worker: int, t: int | str, setting: Setting) -> str:
    """An index such as (3), or with several workers (1,3): worker 1, step 3."""
    return f"({t})" if setting.workers == 1 else f"({worker + 1},{t})"
