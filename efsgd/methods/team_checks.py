"""Which options of several workers do not go together."""

from __future__ import annotations

from efsgd.compressors.signs import Sign
from efsgd.methods.faults import Faults
from efsgd.methods.local import LocalSteps
from efsgd.methods.team import Team


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
        if method.compresses.joint and method.compresses.warm:
            raise ValueError(f"{method.compresses} needs the messages of all workers")
    if team.weights is not None and method.compresses.joint and method.compresses.warm:
        raise ValueError(
            f"{method.compresses} takes the mean of workers that count alike, and these "
            "do not: use equal shares"
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
    if isinstance(team.method.compresses, Sign):
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
        in_units_of_x = team.method.server_lr == 1 and team.downlink is not None
        if in_units_of_x and isinstance(team.server.compresses, Sign):
            raise ValueError(
                "downlink sends unscaled signs of what is in units of x, so lr would not count: "
                "use scaled ones"
            )
        if team.server.weight_decay:
            raise ValueError(
                "the server sees no x to decay: give weight_decay to the workers' method"
            )


def _check_fragments(team: Team, fragments: int) -> None:
    """Fragments take turns, and know no absence."""
    if team.asked < team.workers or team.faults.silence:
        raise ValueError("fragments need all workers: use participation=1 and no silence")
    if fragments > team.local_steps:
        raise ValueError(
            f"fragments={fragments} take turns within {team.local_steps} local steps: use fewer"
        )
