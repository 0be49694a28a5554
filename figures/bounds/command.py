"""``efsgd-figures bounds``: does each compressor keep its word, and what proves it?

Built-in compressors are results like all others, computed by workers and kept. A compressor of the
user's own is checked in this process and never kept: nobody can tell when its file has changed.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from efsgd import Compressor, ScaledSign, compressor
from efsgd.convex.studies.bound_checks import BUILT_IN, DIMENSIONS, Bounds, checked
from efsgd.convex.verification.verification import Verification
from efsgd.figures import make
from efsgd.figures.bounds import (
    delta_zoo,
    own_vectors,
    tables,
)
from efsgd.figures.bounds.own_compressor import Own, own_compressor
from efsgd.figures.bounds.own_vectors import Achieved
from efsgd.figures.make import Options, Results
from efsgd.figures.pool import obtain_all, progress
from efsgd.figures.verdicts import Verdict, observation
from efsgd.results import Result, load, made_by, place, replacing

__all__ = ["PICTURES", "bounds"]

PICTURES = (delta_zoo.PICTURE,)


def bounds(
    names: Sequence[str],
    options: Options,
    *,
    compressors: Sequence[str],
    dims: Sequence[int],
    module: str | None,
    delta: float | None,
    vectors: Path | None,
) -> int:
    """Check, draw, tabulate and judge; the exit code is 1 if a claim is violated.

    Raises ValueError or OSError, with one sentence, for what cannot be read, computed or written.
    """
    make.choose(PICTURES, names)
    options.out.mkdir(parents=True, exist_ok=True)  # refuse before minutes of work, not after
    named = [compressor(spec) for spec in dict.fromkeys(compressors)]
    if delta is not None and module is None:
        raise ValueError("--delta is for a function of your own: add --module FILE.py:NAME")
    own = None if module is None else own_compressor(module, delta)
    given = {} if vectors is None else own_vectors.read_vectors(vectors)
    shown = named if named or own else list(BUILT_IN)
    chosen = tuple(dict.fromkeys(dims)) or _dimensions(options)
    results = _built_in(shown, chosen, options)
    if any(isinstance(c, ScaledSign) for c in shown):
        results |= _real(options)
    found = [] if own is None else _own(own, chosen, options, results)
    _draw(results, options)
    achieved = _achieved(shown, own, given, options)
    _tabulate(results, achieved, options)
    bad = _violations(results, achieved, found, options)
    judged = delta_zoo.verdicts(results) + [_on_vectors(a) for a in achieved]
    code = make.conclude({} if options.quick else {delta_zoo.NAME: judged}, options)
    return 1 if bad else code


def _dimensions(options: Options) -> tuple[int, ...]:
    return delta_zoo.QUICK_DIMENSIONS if options.quick else DIMENSIONS


def _samples(options: Options) -> int:
    return delta_zoo.QUICK_SAMPLES if options.quick else delta_zoo.SAMPLES


def _built_in(
    shown: Sequence[Compressor], dims: Sequence[int], options: Options
) -> dict[str, Result]:
    """The checks of compressors that a spec names, kept like all results."""
    works = {
        f"{c}, d = {d}": Bounds(c, d, options.seed, _samples(options)) for c in shown for d in dims
    }
    found = obtain_all(works, options.results, again=options.again, jobs=options.jobs)
    return {name: found[place(work, options.results)] for name, work in works.items()}


def _real(options: Options) -> dict[str, Result]:
    """The trainings in the folder of the deep track, which holds the densities of gradients."""
    found = {}
    for path in sorted((options.results.parent / "cifar").glob("training-*.npz")):
        try:
            result = load(path)
        except (ValueError, OSError):  # another command's file, and its concern
            continue
        if "phi_g" in result.arrays:
            found[f"{delta_zoo.REAL}, {path.stem}"] = result
    return found


def _own(
    own: Own, dims: Sequence[int], options: Options, results: dict[str, Result]
) -> list[Verification]:
    """Check the user's compressor and add it to the results, the first of them."""
    checks, found = {}, []
    with progress(len(dims)) as tick, own.own_fault():
        for d in dims:
            held = (own.what, d, options.seed, _samples(options), own.delta)
            verification, arrays = checked(*held)
            spec = {"type": "own", "compressor": own.label, "d": d}
            name = f"{own.label} of {own.path.name}, d = {d}"
            checks[name] = Result(arrays, spec, made_by(), own.path)
            found.append(verification)
            tick(1)
    others = dict(results)
    results.clear()
    results.update(checks | others)
    return found


def _draw(results: Results, options: Options) -> None:
    for path in make.draw(delta_zoo.PICTURE, results, options):
        click.echo(path)


def _achieved(
    shown: Sequence[Compressor], own: Own | None, given: dict[str, Any], options: Options
) -> list[Achieved]:
    """What every compressor achieves on the user's vectors."""
    told = (given, options.seed, _samples(options))
    found: list[Achieved] = []
    if own is not None and given:
        with own.own_fault():
            found += own_vectors.achieved(own.at, own.label, *told)
    for c in shown:
        found += own_vectors.achieved(partial(_same, c), str(c), *told)
    return found


def _same(c: Compressor, d: int) -> Compressor:
    return c


def _tabulate(results: Results, achieved: Sequence[Achieved], options: Options) -> None:
    """Write the tables, and print the one of the user's vectors."""
    checks = [result for own in delta_zoo.checks(results).values() for result in own.values()]
    on_vectors = ""
    if achieved:
        on_vectors = tables.table(own_vectors.HEADS, own_vectors.cells(achieved))
    written = {
        "md": tables.markdown(checks, on_vectors),
        "tex": tables.latex(checks),
        "csv": tables.comma_separated(checks),
    }
    for ending, text in written.items():
        path = options.out / f"{delta_zoo.NAME}.{ending}"
        with replacing(path) as file:
            file.write(text.encode())
        click.echo(path)
    if on_vectors:
        click.echo(f"\n{on_vectors}")


def _violations(
    results: Results,
    achieved: Sequence[Achieved],
    found: Sequence[Verification],
    options: Options,
) -> int:
    """Print what was found of the user's compressor and every violation, save the vectors of these;
    how many there are."""
    for verification in found:
        click.echo(f"\n{verification}")
    bad = 0
    for result in (r for own in delta_zoo.checks(results).values() for r in own.values()):
        if str(result["verdict"]) == "VIOLATED":
            bad += 1
            name, d = str(result.spec["compressor"]), int(result.spec["d"])
            if result.path.suffix != ".py":
                click.echo(f"\n{name}, d = {d}: VIOLATED; {result['reason']}")
            _save(f"{name}-d{d}", result["vector"], options)
    for one in (a for a in achieved if a.violated):
        bad += 1
        click.echo(f"\n{one.compressor} on {one.array}: VIOLATED; delta {one.worst:.6g}")
        _save(f"{one.compressor}-{one.array}", one.vector, options)
    return bad


def _save(name: str, x: Any, options: Options) -> None:
    """Save a vector as ``x`` in an npz file."""
    path = options.out / f"violation-{re.sub(r'[^A-Za-z0-9.]+', '-', name).strip('-')}.npz"
    content = io.BytesIO()
    np.savez(content, x=x)
    with replacing(path) as file:
        file.write(content.getvalue())
    click.echo(f"the vector is x in {path}")


def _on_vectors(one: Achieved) -> Verdict:
    """One row for a compressor and an array."""
    text = f"{one.compressor} on {one.array} ({one.rows} x {one.d}): least delta"
    measured = f"{one.worst:.4g}, median {one.median:.4g}, phi {one.phi_median:.4g}"
    if not one.claimed:
        return observation(text, "your vectors", measured)
    return Verdict(text, "your vectors", f">= {one.claimed:.4g}", measured, not one.violated)
