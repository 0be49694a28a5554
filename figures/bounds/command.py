"""``efsgd-figures bounds``: does each compressor have the bound that it claims, what proves it?

The checks of built-in compressors are results like all others, computed by workers and kept. A
compressor of the user's own is checked in this process and never kept: nobody can tell when its
file has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from efsgd import Compressor, ScaledSign, compressor
from efsgd.arrays import Array
from efsgd.convex.studies.bound_checks import BUILT_IN, Bounds, checked
from efsgd.convex.verification.verification import Verification
from efsgd.figures import make, terminal
from efsgd.figures.bounds import delta_zoo, own_vectors, tables, trainings
from efsgd.figures.bounds.own_compressor import OwnCompressor, own_compressor
from efsgd.figures.bounds.own_vectors import Achieved
from efsgd.figures.bounds.zoo_claims import all_checks, verdicts
from efsgd.figures.claims.verdicts import Verdict, observation
from efsgd.figures.make import Options, Results, Works
from efsgd.figures.processes.pool import obtain_all, progress
from efsgd.figures.texts import digest_of, for_file_name
from efsgd.results import Result, load, made_by, place, replacing, save

__all__ = ["PICTURES", "bounds"]

PICTURES = (delta_zoo.PICTURE,)


def bounds(
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
    make.check_out(options)
    library = [compressor(spec) for spec in dict.fromkeys(compressors)]
    if delta is not None and module is None:
        raise ValueError("--delta is for a function of your own: add --module FILE.py:NAME")
    user_compressor = None if module is None else own_compressor(module, delta)
    arrays = {} if vectors is None else own_vectors.read_vectors(vectors)
    name = _name(library, user_compressor, arrays, dims)
    all_of_them = not library and user_compressor is None
    chosen = tuple(dict.fromkeys(dims))
    dims = chosen or delta_zoo.dimensions(options.quick)
    if all_of_them:
        library = list(BUILT_IN)
    if all_of_them and not chosen:
        results = _checks(delta_zoo.work(options.quick, options.seed), options)
    else:
        results = _checks(_of_library(library, dims, options), options)
    if any(isinstance(c, ScaledSign) for c in library):
        results |= _trainings(options)
    verifications: list[Verification] = []
    if user_compressor is not None:
        verifications, checks = _check_own(user_compressor, dims, options)
        results = checks | results
    for path in make.draw(replace(delta_zoo.PICTURE, name=name), results, options):
        click.echo(path)
    achieved = _achieved(library, user_compressor, arrays, options)
    _tabulate(name, results, achieved, options)
    violations = _violations(results, achieved, verifications, options)
    judged = verdicts(results) + [_on_vectors(a) for a in achieved]
    code = make.conclude({name: judged}, options)
    return 1 if violations else code


def _name(
    library: Sequence[Compressor],
    user_compressor: OwnCompressor | None,
    arrays: Mapping[str, Array],
    dims: Sequence[int],
) -> str:
    """The name of the files: a choice of compressors, vectors or dimensions has one of its own.

    So it never takes the place of another choice; its digest also changes with the user's files.
    """
    labels = [] if user_compressor is None else [user_compressor.label]
    labels += [str(c) for c in library]
    if not (labels or arrays or dims):
        return delta_zoo.NAME
    decisive: list[Any] = [labels, dims]
    if user_compressor is not None:
        decisive.append(user_compressor.path.read_bytes())
        decisive += [] if callable(user_compressor.delta) else [user_compressor.delta]
    for name, rows in arrays.items():
        decisive += [name, hashlib.sha256(rows.tobytes()).hexdigest()]
    digest = digest_of(decisive)
    return "-".join([delta_zoo.NAME, *map(for_file_name, labels[:1]), digest])


def _of_library(library: Sequence[Compressor], dims: Sequence[int], options: Options) -> Works:
    """The checks of compressors that a spec names."""
    samples = delta_zoo.samples(options.quick)
    return {f"{c}, d = {d}": Bounds(c, d, options.seed, samples) for c in library for d in dims}


def _checks(works: Works, options: Options) -> dict[str, Result]:
    """The results of checks, kept like all results."""
    by_path = obtain_all(works, options.results, again=options.again, jobs=options.jobs)
    return {name: by_path[place(work, options.results)] for name, work in works.items()}


def _trainings(options: Options) -> dict[str, Result]:
    """The trainings in the folder of the deep track, which holds the densities of gradients."""
    found = {}
    for path in sorted((options.results.parent / "cifar").glob("training-*.npz")):
        try:
            result = load(path)
        except (ValueError, OSError):  # another command's file, and its concern
            continue
        if "phi_g" in result.arrays:
            found[f"{trainings.REAL}, {path.stem}"] = result
    return found


def _check_own(
    user_compressor: OwnCompressor, dims: Sequence[int], options: Options
) -> tuple[list[Verification], dict[str, Result]]:
    """The checks of the user's compressor at each dimension, and the same as results."""
    verifications, results = [], {}
    samples = delta_zoo.samples(options.quick)
    with progress(len(dims)) as tick, user_compressor.errors_located():
        for d in dims:
            verification, arrays = checked(
                user_compressor.mapping, d, options.seed, samples, delta=user_compressor.delta
            )
            verifications.append(verification)
            spec = {"type": "own", "compressor": user_compressor.label, "d": d}
            name = f"{user_compressor.label} of {user_compressor.path.name}, d = {d}"
            results[name] = Result(arrays, spec, made_by(), user_compressor.path)
            tick(1)
    return verifications, results


def _achieved(
    library: Sequence[Compressor],
    user_compressor: OwnCompressor | None,
    arrays: Mapping[str, Array],
    options: Options,
) -> list[Achieved]:
    """What every compressor achieves on the user's vectors."""

    def on_arrays(at: Callable[[int], Compressor], label: str) -> list[Achieved]:
        samples = delta_zoo.samples(options.quick)
        return own_vectors.achieved(at, label, arrays, options.seed, samples)

    rows: list[Achieved] = []
    if user_compressor is not None and arrays:
        with user_compressor.errors_located():
            rows += on_arrays(user_compressor.at, user_compressor.label)
    for c in library:
        rows += on_arrays(partial(_at_any_dimension, c), str(c))
    return rows


def _at_any_dimension(c: Compressor, d: int) -> Compressor:
    return c


def _tabulate(name: str, results: Results, achieved: Sequence[Achieved], options: Options) -> None:
    """Write the tables, and print the one of the user's vectors."""
    checks = all_checks(results)
    rows = own_vectors.cells(achieved)
    on_vectors = tables.table(own_vectors.HEADS, rows) if rows else ""
    texts = {
        "md": tables.markdown(checks, on_vectors),
        "tex": tables.latex(checks),
        "csv": tables.comma_separated(checks),
    }
    for ending, text in texts.items():
        path = options.file(name, ending)
        with replacing(path) as file:
            file.write(text.encode())
        click.echo(path)
    if rows:
        click.echo("\n" + terminal.table(own_vectors.HEADS, rows))


def _violations(
    results: Results,
    achieved: Sequence[Achieved],
    verifications: Sequence[Verification],
    options: Options,
) -> int:
    """Print the checks of the user's compressor and every violation; how many there are.

    The vectors that violate a claim are saved.
    """
    for verification in verifications:
        click.echo(f"\n{verification}")
    count = 0
    for result in all_checks(results):
        if str(result["verdict"]) == "VIOLATED":
            count += 1
            name, d = str(result.spec["compressor"]), int(result.spec["d"])
            if result.path.suffix != ".py":
                click.echo(f"\n{name}, d = {d}: VIOLATED; {result['reason']}")
            _save(f"{name}-d{d}", name, result["vector"], options)
    for row in (a for a in achieved if a.violated):
        count += 1
        click.echo(f"\n{row.compressor} on {row.array}: VIOLATED; delta {row.worst:.6g}")
        _save(f"{row.compressor}-{row.array}", row.compressor, row.vector, options)
    return count


def _save(name: str, compressor: str, x: Array, options: Options) -> None:
    """Save a vector as ``x`` of a result, whose spec says what it violates."""
    path = options.out / f"violation-{for_file_name(name, longest=200)}.npz"
    spec = {"type": "violation", "compressor": compressor, "d": len(x)}
    save(path, {"x": x}, spec, made_by())
    click.echo(f"the vector is x in {path}")


def _on_vectors(row: Achieved) -> Verdict:
    """The verdict on a compressor and an array."""
    text = f"{row.compressor} on {row.array} ({row.rows} x {row.d}): least delta"
    measured = f"{row.worst:.4g}, median {row.median:.4g}, phi {row.phi_median:.4g}"
    if not row.claimed:
        return observation(text, "your vectors", measured)
    return Verdict(text, "your vectors", f">= {row.claimed:.4g}", measured, not row.violated)
