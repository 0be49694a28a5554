"""The vectors of a run as coordinates in a basis whose Gram matrix is the unknown of the programme.

All methods here are linear in x_0, the gradients and the messages, so the ``step`` of
:mod:`efsgd.methods` itself is run on coordinates: gradients and messages are unit vectors, workers
are replicates, and the next iterate is the mean over them. No method is written down twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors.base import Compressor
from efsgd.compressors.wrappers import Identity
from efsgd.convex.pep.setting import Setting

ROUNDING = 1e-14  # smaller coordinates are set to 0


@dataclass(frozen=True, eq=False)
class Paths:
    """The points of a run of N steps with W workers in coordinates (..., n); x* is the origin.

    In the units of :class:`efsgd.convex.pep.setting.Units`. P is N+1, or N+2 where the last point
    is the mean of the iterates.
    """

    names: tuple[str, ...]  # of the n basis vectors
    x: Array  # (P, n)
    g: Array  # (W, P, n) gradients of f_i
    star: Array  # (W, n) the gradients at x*, which sum to 0
    inputs: Array  # (W, N, n) of the compressors, in the unit of the method's messages
    messages: Array  # (W, N, n)


@dataclass(frozen=True, eq=False)
class _Prescribed(Compressor):
    """The compressor that sends the prescribed messages (W, n), whatever its inputs."""

    messages: Array

    def apply(self, x: Array, drawn: object = None) -> Array:
        """The messages, one row a worker."""
        return self.messages


def paths(setting: Setting) -> Paths:
    """The coordinates of a run of the method: x_0, the gradients and the messages are the basis.

    Messages are then replaced in the basis by the compression errors, see :func:`_in_errors`.
    """
    workers, steps, n = range(setting.workers), setting.steps, setting.rows
    basis = iter(np.eye(n))
    names: list[str] = []

    def unit_vector(name: str) -> Array:
        names.append(name)
        return next(basis)

    def unit_vectors(letter: str, count: int) -> list[list[Array]]:
        return [
            [unit_vector(letter + _index(i, t, setting)) for t in range(count)] for i in workers
        ]

    start = unit_vector("x0") if setting.knows_minimiser else np.zeros(n)
    g: Array = np.array(unit_vectors("g", setting.points))
    star = np.zeros((len(workers), n))
    if setting.zeta:
        star[:-1] = [unit_vector("g" + _index(i, "*", setting)) for i in workers[:-1]]
        star[-1] = -star[:-1].sum(0)
    messages = np.zeros((len(workers), steps, n))
    if setting.compresses:
        messages[...] = unit_vectors("c", steps)
    x, inputs = _simulate(setting, start, g, messages)
    x = np.vstack([x, x.mean(0, keepdims=True)]) if setting.averages else x
    if not setting.compresses:
        return Paths(tuple(names), x, g, star, inputs, inputs)
    names = [name.replace("c", "u") for name in names]
    run = Paths(tuple(names), x, g, star, inputs, messages)
    return _in_errors(run, (inputs - messages) / (setting.q * setting.message_sizes[:, None]))


def _in_errors(run: Paths, errors: Array) -> Paths:
    """The same run in a basis with compression errors (W, N, n) in place of the messages.

    They are u = (p - C(p))/q, divided by lr for EF, with |u| <= |p|. However close delta is to 0 or
    1 they are of the size of the gradients, and the solver is a digit more accurate.
    """
    new = np.eye(len(run.names))
    new[-errors.shape[0] * errors.shape[1] :] = errors.reshape(-1, len(new))
    old = np.linalg.inv(new)

    def in_new_basis(v: Array) -> Array:
        coordinates: Array = v @ old
        coordinates[np.abs(coordinates) < ROUNDING] = 0.0
        return coordinates

    return Paths(
        names=run.names,
        x=in_new_basis(run.x),
        g=in_new_basis(run.g),
        star=in_new_basis(run.star),
        inputs=in_new_basis(run.inputs),
        messages=in_new_basis(run.messages),
    )


def _simulate(setting: Setting, start: Array, g: Array, messages: Array) -> tuple[Array, Array]:
    """The iterates x_0, ..., x_N (N+1, n) and the inputs of the compressors (W, N, n)."""
    units, rng = setting.units, np.random.default_rng(0)  # nothing is drawn from it
    x, inputs = [start], []
    memory = setting.engine_method(Identity()).start(np.zeros_like(messages[:, 0]))
    for t, lr in enumerate(setting.lr):
        compressor = _Prescribed(messages[:, t]) if setting.compresses else Identity()
        method = setting.engine_method(compressor)
        iterate = np.broadcast_to(x[-1], g[:, t].shape)  # the same for all workers
        update = method.step(iterate, g[:, t], memory, lr * units.g / units.x, rng)
        memory = update.memory
        x.append(update.x.mean(0))
        inputs.append(update.given)
    return np.array(x), np.stack(inputs, axis=1)


def _index(worker: int, t: int | str, setting: Setting) -> str:
    """An index such as (3), or with several workers (1,3): worker 1, step 3."""
    return f"({t})" if setting.workers == 1 else f"({worker + 1},{t})"
