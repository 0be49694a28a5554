"""Which runs may take the step of a theorem: those that the theorem is about."""

from __future__ import annotations

import math

from efsgd.methods.base import Method
from efsgd.methods.differences import DASHA, DIANA, MARINA
from efsgd.methods.ef21 import EF21, EF21SGDM, EControl, EF21Plus
from efsgd.methods.faults import Faults
from efsgd.methods.feedback import EFSGD
from efsgd.methods.sgd import SGD, CompressedSGD
from efsgd.methods.team import Team
from efsgd.methods.variants import FullyCorrectiveEF, GradientEF, PostMomentumEF
from efsgd.schedules import Theorem

ABOUT: dict[str, tuple[type[Method], ...]] = {
    "gd": (SGD,),
    "cgd": (CompressedSGD,),
    "ef": (EFSGD, GradientEF, FullyCorrectiveEF),
    "ef21": (EF21, EF21Plus),
    "ef21-pl": (EF21, EF21Plus),
    "ef21-sgdm": (EF21SGDM,),
    "ef21-sgdm-exact": (EF21SGDM,),
    "econtrol": (EControl,),
    "post-momentum": (PostMomentumEF,),
    "diana": (DIANA,),
    "marina": (MARINA,),
    "dasha": (DASHA,),
}
INSTEAD = "give a number as lr, such as theorem.lr"
SLACK = 1 + 1e-9  # of numbers that are rounded


def check_theorem(
    theorem: Theorem, method: Method, what: Method | Team, d: int, batch: int | None
) -> None:
    """Raise ValueError where ``theorem`` is not about a run of ``method``, which ``what`` steps.

    L and mu are taken as given, and noise of a problem's own ``gradient`` cannot be seen.
    """
    _check_method(theorem, method)
    _check_numbers(theorem, method, d)
    if batch is not None and theorem.method != "ef21-sgdm":
        raise ValueError(f"the theorem is for full gradients: leave batch out, or {INSTEAD}")
    if isinstance(what, Team):
        _check_team(theorem, what)


def _check_method(theorem: Theorem, method: Method) -> None:
    """It is a method of the theorem, or one of one's own that is made of it, in its plain form."""
    about = ABOUT[theorem.method]
    if next(c for c in type(method).__mro__ if c.__module__.startswith("efsgd.")) not in about:
        names = " or ".join(cls.__name__ for cls in about)
        given = type(method).__name__
        raise ValueError(f"the theorem is about {names}, not {given}: {INSTEAD}")
    unknown = {
        "momentum": method.momentum and "momentum" not in theorem.options,
        "weight decay": method.weight_decay,
        "decay": isinstance(method, EFSGD) and method.decay != 1,
    }
    for name, used in unknown.items():
        if used:
            given = type(method).__name__
            raise ValueError(f"the theorem is about {given} without {name}: {INSTEAD}")


def _check_numbers(theorem: Theorem, method: Method, d: int) -> None:
    """The theorem's numbers are those of the method and its compressor, or give a shorter step."""
    c = method.compresses
    if "omega" in theorem.options:
        assert isinstance(method, DIANA | MARINA | DASHA)
        omega = method.omega(d)
        if theorem.omega * SLACK < omega:
            raise ValueError(
                f"the theorem's omega = {theorem.omega:.4g} is less than that of {c} at d = {d}: "
                f"use omega={omega:.4g}"
            )
        if isinstance(method, DASHA) and not math.isclose(method.pull(d), 1 / (1 + 2 * omega)):
            raise ValueError(f"the theorem has a = 1/(1 + 2 omega), not {method.a}: leave a out")
    elif theorem.method != "gd":
        delta = 0.0 if c.guarantee in ("none", "absolute") else c.delta(d)
        if not delta > 0:
            raise ValueError(
                f"{c} has no delta > 0 at d = {d}, and the theorem needs one: {INSTEAD}"
            )
        if theorem.delta > delta * SLACK:
            raise ValueError(
                f"the theorem's delta = {theorem.delta:.4g} is more than that of {c} at d = {d}: "
                f"use delta={delta:.4g}"
            )
    for name, longer in (("momentum", False), ("eta", False), ("probability", True)):
        given, own = getattr(theorem, name), getattr(method, name, None)
        if name in theorem.options and (given > own if longer else given < own):
            than = "more" if longer else "less"
            raise ValueError(
                f"the theorem's {name} = {given} is {than} than that of {type(method).__name__}: "
                f"use {name}={own}"
            )


def _check_team(theorem: Theorem, team: Team) -> None:
    """The step of a theorem is for all workers at every step, and for draws of their own.

    With weights w the variance of n independent messages falls by max w in place of 1/n.
    """
    if team.asked < team.workers or team.faults != Faults():
        raise ValueError(f"the theorem has all workers, and all messages, at every step: {INSTEAD}")
    if team.downlink is not None or team.local is not None:
        unknown = "downlink" if team.local is None else "local steps"
        raise ValueError(f"the theorem knows of no {unknown}: {INSTEAD}")
    if team.compresses.joint and theorem.workers > 1:
        raise ValueError(
            f"{team.compresses} draws alike for all workers, so their number does not help: use "
            "workers=1 in the theorem"
        )
    most = team.workers if team.weights is None else 1 / max(team.weights)
    if theorem.workers > most:
        raise ValueError(
            f"the theorem takes {theorem.workers} workers that count alike, and these count as "
            f"{most:.3g}: use workers={max(1, int(most))} in the theorem"
        )
