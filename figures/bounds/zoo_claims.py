"""What is claimed of the compressors' bounds, read off their checks."""

from __future__ import annotations

import numpy as np

from efsgd.convex.studies.bound_checks import SMALL
from efsgd.convex.verification.certificates import FITTED
from efsgd.figures.bounds import trainings
from efsgd.figures.bounds.trainings import REAL
from efsgd.figures.claims.verdicts import Verdict, claim, observation
from efsgd.figures.make import Results
from efsgd.results import Result

SOURCE = "derived here"
MULTIPLES = "scaled multiples"  # the name of the result without a compressor of its own
ATTAINED = 1e-6  # between a claim and what the named vector reaches, where nothing is random
ERRORS = 5.0  # standard errors, for the worst of many means


def checks(results: Results) -> dict[str, dict[int, Result]]:
    """The checks by compressor and dimension."""
    by_name: dict[str, dict[int, Result]] = {}
    for name, result in results.items():
        if not name.startswith(REAL) and name != MULTIPLES:
            by_name.setdefault(str(result.spec["compressor"]), {})[int(result.spec["d"])] = result
    return {name: dict(sorted(by_d.items())) for name, by_d in by_name.items()}


def all_checks(results: Results) -> list[Result]:
    """The checks, one compressor after the other."""
    return [result for by_d in checks(results).values() for result in by_d.values()]


def silent(result: Result) -> bool:
    """Whether nothing is claimed."""
    return str(result["verdict"]) == "claims nothing"


def solved(result: Result) -> bool:
    """Whether a computation proves the bound."""
    return bool(result["solved"])


def by_reasoning(result: Result) -> bool:
    """Whether an argument proves it, or an identity."""
    return not np.isnan(result["certified"]) and not solved(result) and not read_off(result)


def read_off(result: Result) -> bool:
    """Whether it is proven for a form that was read off the compressor."""
    return str(result["kind"]) == FITTED


def verdicts(results: Results) -> list[Verdict]:
    """One row for each compressor, then what holds of all of them."""
    by_name, flat = checks(results), all_checks(results)
    rows = [_verdict(name, by_d) for name, by_d in by_name.items()]
    named = [r for r in flat if not np.isnan(r["attaining"])]
    off = [abs(float(r["attaining"] - r["claimed"])) for r in named]
    exact = [x for x, r in zip(off, named, strict=True) if r["attaining_error"] == 0]
    errors = [
        (x - 1e-9) / float(r["attaining_error"])
        for x, r in zip(off, named, strict=True)
        if r["attaining_error"] > 0
    ]
    gaps = [
        float(r["gap"]) / max(float(r["claimed"]), 1e-2)
        for r in flat
        if solved(r) and not silent(r)
    ]
    if exact:
        text = "at the vectors named as worst, if nothing is random: largest distance to the claim"
        rows.append(claim(text, SOURCE, float(np.max(exact)), "<=", ATTAINED))
    if errors:
        text = "at the vectors named as worst, random: largest distance to the claim in its s.e."
        rows.append(claim(text, SOURCE, float(np.max(errors)), "<=", ERRORS))
    if gaps:
        text = f"{len(gaps)} solved certificates: largest relative gap to the claim"
        rows.append(claim(text, "certified by cvxpy", float(np.max(gaps)), "<=", 1e-7))
    rows += _stated(flat)
    if MULTIPLES in results:
        rows.append(_scaled(results[MULTIPLES]))
    return rows + _observations(by_name, results)


def _stated(flat: list[Result]) -> list[Verdict]:
    """What those with an omega state as delta, and those that claim nothing."""
    known = [r for r in flat if str(r["verdict"]) != "VIOLATED"]
    unbiased = [r for r in known if str(r["quantity"]) == "omega" and not np.isnan(r["certified"])]
    rows = []
    if unbiased:
        omega = np.array([float(r["certified"]) for r in unbiased])
        for name, array, text, expected in (
            ("delta(d)", "stated", "1 - certified omega, at least 0", np.maximum(0.0, 1.0 - omega)),
            ("delta of contractive(d)", "contractive", "1/(1 + certified omega)", 1 / (1 + omega)),
        ):
            off = abs(np.array([float(r[array]) for r in unbiased]) - expected)
            text = f"unbiased: largest distance of {name} from {text}"
            rows.append(claim(text, SOURCE, float(off.max()), "<=", 1e-7))
    if nothing := [r for r in known if not np.isnan(r["small"])]:
        over = [r["stated"] - max(0.0, float(r["small"])) for r in nothing]
        text = f"no bound: delta(d) above what ({SMALL}, .., {SMALL}) achieves, and above 0, most"
        rows.append(claim(text, SOURCE, float(np.max(over)), "<=", 0.0))
    return rows


def _scaled(result: Result) -> Verdict:
    """delta of a C(x) where delta of C alone is known: no more holds of all C."""
    off = abs(result["claimed"] - np.maximum(0.0, result["achieved"]))
    text = (
        f"a C(x), a = {result['factor'].min()} to {result['factor'].max()}, of C only delta known: "
        "largest distance of delta(d) from that of the worst multiple of x, at least 0"
    )
    return claim(text, SOURCE, float(off.max()), "<=", 1e-12)


def _verdict(name: str, by_d: dict[int, Result]) -> Verdict:
    """What is known of one compressor at all its dimensions."""
    kinds = {str(result["kind"]) for result in by_d.values()} - {"none"}
    source = ", ".join(sorted(kinds)) or SOURCE
    quantity = str(next(iter(by_d.values()))["quantity"])
    dims: dict[str, list[int]] = {}  # by the word of their verdict
    for d, result in by_d.items():
        dims.setdefault(str(result["verdict"]), []).append(d)
    measured = "; ".join(f"{word} at d = {', '.join(map(str, ds))}" for word, ds in dims.items())
    if len(dims) == 1:
        measured = next(iter(dims))
    if set(dims) == {"claims nothing"}:
        return observation(f"{name}: messages and all else but a bound", source, measured)
    also = ", messages and all else" if any(r["bits"] for r in by_d.values()) else " and all else"
    text = f"{name}: its {quantity}{also}, d = {', '.join(map(str, by_d))}"
    if "VIOLATED" in dims:
        bad = by_d[dims["VIOLATED"][0]]
        if not np.isnan(bad["worst"]):
            worst, claimed = float(bad["worst"]), float(bad["claimed"])
            measured += f": {quantity} = {worst:.4g}, claimed {claimed:.4g}"
        measured += f" ({bad['reason']})"
    return Verdict(text, source, "not violated", measured, "VIOLATED" not in dims)


def _observations(by_name: dict[str, dict[int, Result]], results: Results) -> list[Verdict]:
    """What Gaussian vectors show beside the truth, and how dense gradients of trainings are."""
    rows = []
    for name in ("scaledsign", "topk:0.25"):
        by_d = by_name.get(name)
        if by_d and not np.isnan((largest := by_d[max(by_d)])["gaussian"]):
            text = f"{name}, d = {max(by_d)}: least delta on Gaussian vectors, and the truth"
            worst, claimed = float(largest["gaussian_worst"]), float(largest["claimed"])
            rows.append(observation(text, SOURCE, f"{worst:.3g}, not {claimed:.3g}"))
    return rows + trainings.observations(results)
