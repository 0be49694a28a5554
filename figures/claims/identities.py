"""What must hold in every run of a command that records it, judged once over all its pictures.

Without this each picture would repeat the same identities. A later command that makes other
pictures replaces these verdicts by its own; their texts name how many results were judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from efsgd.arrays import Array
from efsgd.compressors import ScaledSign
from efsgd.figures.claims.verdicts import Verdict, claim
from efsgd.results import Result

GROUP = "every run"  # in the place of a picture's name
VIRTUAL_LIMIT = 1e-12  # relative; rounding leaves about 3e-14 after thousands of steps
GAP_LIMIT = 1e-8  # relative to 1 + |f|; what interior-point solvers leave
DENSITY_LIMIT = 1e-12  # rounding of numbers in [0, 1]

Results = Mapping[str, Mapping[str, Result]]  # picture -> name of a result -> the result


def every_run(results: Results) -> dict[str, list[Verdict]]:
    """The verdicts on all results of these pictures under the name of the group.

    Nothing where no result holds what an identity is about. A result that several pictures share
    counts once.
    """
    judges = (_virtual, _optima, _one_bit, _ternary)
    rows = [verdict for judge in judges if (verdict := judge(results)) is not None]
    return {GROUP: rows} if rows else {}


def _virtual(results: Results) -> Verdict | None:
    """x_t - e_t is the SGD iterate, wherever its residual was recorded."""
    found = _chosen(results, lambda result: "virtual_residual" in result.arrays)
    if not found.results:
        return None
    worst = found.largest(lambda result: result["virtual_residual"])
    text = f"x_t - e_t = x_0 - sum lr g, {found}: largest relative residual"
    return claim(text, "arXiv 1901.09847, proof of Theorem II", worst, "<=", VIRTUAL_LIMIT)


def _optima(results: Results) -> Verdict | None:
    """The values of the certified optima are the solver's dual values."""
    from efsgd.convex.studies import Certified
    from efsgd.provenance import public_name

    kind = public_name(Certified)
    found = _chosen(results, lambda result: result.spec.get("type") == kind)
    if not found.results:
        return None
    worst = found.largest(lambda result: abs(result["gap"]) / (1 + abs(result["f"])))
    count = sum(result["gap"].size for result in found.results)
    text = f"{count} optima, {found}: largest gap to the solver's dual value over 1 + |f|"
    return claim(text, "certified by cvxpy", worst, "<=", GAP_LIMIT)


def _one_bit(results: Results) -> Verdict | None:
    """With sign(0) = +1 the delta achieved is the density of p_t."""
    found = _chosen(results, lambda result: _sends(result, ScaledSign()))
    if not found.results:
        return None
    off = found.largest(lambda result: abs(_above_density(result)))
    text = f"scaled sign, one bit, {found}: largest distance of the delta achieved from phi(p_t)"
    return claim(text, "arXiv 1901.09847, section 4", off, "<=", DENSITY_LIMIT)


def _ternary(results: Results) -> Verdict | None:
    """With sign(0) = 0 the delta achieved is at least the density of p_t."""
    found = _chosen(results, lambda result: _sends(result, ScaledSign(zero=0)))
    if not found.results:
        return None
    short = found.largest(lambda result: -_above_density(result))
    text = f"scaled sign, ternary, {found}: most that the delta achieved falls below phi(p_t)"
    return claim(text, "derived here", short, "<=", DENSITY_LIMIT)


@dataclass(frozen=True)
class _Found:
    """The results that an identity is about, each once, and how many pictures show them."""

    results: tuple[Result, ...]
    pictures: int

    def largest(self, values: Callable[[Result], Array]) -> float:
        """The largest of the values of all results; NaN if one is, and then no claim holds."""
        return float(np.max([np.max(values(result)) for result in self.results]))

    def __str__(self) -> str:
        return f"{_many(len(self.results), 'result')} of {_many(self.pictures, 'picture')}"


def _chosen(results: Results, wanted: Callable[[Result], bool]) -> _Found:
    """The results that are ``wanted``; those of one file are the same."""
    shown = [[r for r in of_picture.values() if wanted(r)] for of_picture in results.values()]
    by_path = {result.path: result for of_picture in shown for result in of_picture}
    return _Found(tuple(by_path.values()), sum(map(bool, shown)))


def _many(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _sends(result: Result, c: ScaledSign) -> bool:
    """Whether all its messages are those of c, and their delta and density were recorded."""
    recorded = {"achieved_delta", "phi_p"} <= result.arrays.keys()
    sent = list(_compressors(result.spec))
    return recorded and bool(sent) and all(one == str(c) for one in sent)


def _compressors(spec: Any) -> Iterator[str]:
    """Every compressor in a spec, at any depth."""
    if isinstance(spec, dict):
        yield from (value for name, value in spec.items() if name == "compressor")
        spec = list(spec.values())
    if isinstance(spec, list):
        for value in spec:
            yield from _compressors(value)


def _above_density(result: Result) -> Array:
    """The delta achieved less phi(p_t), of every recorded step; NaN if only one of them is.

    Both are NaN where there is no step: after the last iterate, and where a replicate diverged.
    """
    achieved, density = result["achieved_delta"], result["phi_p"]
    stepped = ~(np.isnan(achieved) & np.isnan(density))
    above: Array = (achieved - density)[stepped]
    return above if above.size else np.array([np.nan])
