"""Which options of several workers do not go together."""

from __future__ import annotations

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.compressors.base import Compressor
from efsgd.compressors.signs import Sign
from efsgd.methods.base import Method, StepSize
from efsgd.methods.faults import Faults
from efsgd.methods.local import LocalSteps
from efsgd.methods.team import Team
from efsgd.methods.team_pieces import each


def check_team(team: Team, d: int) -> None:
    """Raise ValueError where the options of a team do not fit, or its methods not dimension d."""
    method, worker = team.local or team.method, team.worker
    if team.local is not None and not isinstance(team.method, LocalSteps):
        _check_exchange(team)
    method.check(d)
    if team.local is None:
        worker.check(d)
    _check_server(team, d)
    if team.asked < team.workers or team.faults != Faults():
        worker.check_absence()
        remembers = worker.feeds_back or worker.keeps_estimates
        if team.faults.loss and remembers and type(worker).undelivered is Method.undelivered:
            raise ValueError(
                f"{type(worker).__name__} does not say what a worker remembers whose message was "
                "lost: define undelivered, or use loss=0"
            )
        if method.compresses.joint and method.compresses.warm:
            raise ValueError(
                f"{method.compresses} needs the messages of all workers: leave participation and "
                "faults out"
            )
    if team.local is not None and team.local.fragments > 1:
        _check_fragments(team, team.local.fragments)


def _check_exchange(team: Team) -> None:
    """A method that is given the differences of local steps, with step size 1."""
    cure = f"with local_steps={team.local_steps}"
    if team.method.momentum:
        raise ValueError(
            f"{cure} say whose momentum it is: use LocalSteps(inner=SGD(momentum=...)), or its "
            "exchange or outer"
        )
    if _unscaled(team.method.compresses):
        raise ValueError(
            f"{cure} unscaled signs would move x by 1 whatever lr is: use scaled ones, or "
            "LocalSteps(exchange=..., outer_lr=...)"
        )


def _check_server(team: Team, d: int) -> None:
    """A server takes steps of one method, which sees no x."""
    if team.downlink is not None and team.method.server is not None:
        name = type(team.method).__name__
        raise ValueError(
            f"the server of {name} takes steps of its own, so downlink does not fit: use "
            "LocalSteps(outer=...), or EFSGD with downlink=EFSGD(c, momentum=...)"
        )
    if team.server is not None:
        team.server.check(d)
        if type(team.server).answer is not Method.answer:
            name = type(team.server).__name__
            raise ValueError(f"{name} answers with another x than the server's: use EFSGD")
        in_units_of_x = team.method.server_lr == 1 and team.downlink is not None
        if in_units_of_x and _unscaled(team.server.compresses):
            raise ValueError(
                "downlink sends unscaled signs of what is in units of x, so lr would not count: "
                "use scaled ones"
            )
        if team.server.weight_decay:
            raise ValueError(
                "the server sees no x to decay: give weight_decay to the workers' method"
            )


def check_apart(team: Team, x: Array, g: Array, lr: StepSize) -> None:
    """Raise ValueError where a step or compressor of one's own mixes the vectors of two workers.

    It is tried on the gradients g (R, n, d) of two workers, together and each alone; what draws
    random numbers is not.
    """
    if g.shape[1] < 2:
        return
    rate = each(lr if np.ndim(lr) == 0 else np.asarray(lr)[:1])
    for method in [team.worker] if team.local is None else [team.worker, team.local.inner]:
        chain = _chain(method.compresses)
        ours = all(type(part).__module__.startswith("efsgd.") for part in (method, *chain))
        if ours or method.compresses.random or method.compresses.joint:
            continue
        rng = np.random.default_rng(0)
        unused = str(rng.bit_generator.state)
        alone = [_stepped(method, x[:1], g[:1, i : i + 1], rate, rng) for i in (0, 1)]
        pair = _stepped(method, x[:1], g[:1, :2], rate, rng)
        if str(rng.bit_generator.state) == unused and not np.allclose(
            pair, np.concatenate(alone, axis=1), rtol=1e-6, atol=0, equal_nan=True
        ):
            raise ValueError(
                f"{method} mixes the vectors of two workers: their arrays are (R, n, d), so work "
                "along the last axis, as with axis=-1"
            )


def _stepped(method: Method, x: Array, g: Array, lr: StepSize, rng: Generator) -> Array:
    """Where workers with the gradients g (1, m, d) go from x (1, d): an x (1, m, d) of each."""
    start = np.repeat(x[:, None], g.shape[1], axis=1)
    return method.step(start, g, method.start(start), lr, rng).x


def _chain(c: Compressor) -> list[Compressor]:
    """The compressor and those inside it."""
    inner = getattr(c, "compressor", None)
    return [c, *([] if inner is None else _chain(inner))]


def _unscaled(c: Compressor) -> bool:
    """Whether what it sends is the same for v and 2v, as at the core of ``blockwise:4,sign``."""
    return any(isinstance(part, Sign) for part in _chain(c))


def _check_fragments(team: Team, fragments: int) -> None:
    """Fragments take turns, and know no absence."""
    if team.asked < team.workers or team.faults.silence:
        raise ValueError("fragments need all workers: use participation=1 and no silence")
    if fragments > team.local_steps:
        raise ValueError(
            f"fragments={fragments} take turns within {team.local_steps} local steps: use fewer"
        )
