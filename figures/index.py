"""Which file holds which result of which figure: what ``efsgd-figures results`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from efsgd.figures import terminal
from efsgd.figures.tracks import TRACKS, nearest
from efsgd.provenance import as_text
from efsgd.results import Result, Work, find, load, place, spec_of

HEADS = ("result", "file", "state")


def index(names: Sequence[str], results: Path, *, quick: bool = False, seed: int = 0) -> str:
    """The results of these figures, of all for no name, one block a figure.

    ``results`` is the folder of all tracks; ``quick`` and ``seed`` are those that the figures were
    made with. ValueError for a name that no figure has.
    """
    figures = [(track, p) for track, pictures in TRACKS.items() for p in pictures()]
    known = {picture.name for _, picture in figures}
    for name in names:
        if name not in known:
            _, near = nearest(name)
            hint = f"did you mean {near!r}?" if near else "efsgd-figures list has the names"
            raise ValueError(f"no figure is called {name!r}: {hint}")
    chosen = [(track, p) for track, p in figures if not names or p.name in names]
    blocks = [
        _block(track, picture, picture.work(quick, seed), results / track)
        for track, picture in chosen
        if track != "cifar"
    ]
    if kinds := [picture.name for track, picture in chosen if track == "cifar"]:
        blocks += _trainings(kinds, results / ("cifar-quick" if quick else "cifar"))
    return "\n\n".join(blocks)


def _block(track: str, picture: Any, works: dict[str, Work], folder: Path) -> str:
    """The results of one picture, those that are missing in one line."""
    rows, missing = [], 0
    for name, work in works.items():
        path = place(work, folder)
        if path.exists():
            rows.append((name, str(path), _state(work, folder)))
        else:
            missing += 1
    lines = terminal.wrapped(f"{track} {picture.name}: {picture.title}", indent="  ")
    lines += [terminal.table(HEADS, rows)] if rows else []
    if missing:
        command = f"efsgd-figures {track} {picture.name}"
        lines.append(f"{missing} of {len(works)} are missing, {command} computes them")
    return "\n".join(lines)


def _state(work: Work, folder: Path) -> str:
    """Whether the result of a work that has a file can be used."""
    if find(work, folder):
        return "up to date"
    try:
        load(place(work, folder))
    except (ValueError, OSError):
        return "damaged"
    return "stale"


def _trainings(kinds: Sequence[str], folder: Path) -> Iterator[str]:
    """The trainings of a folder, by what they are drawn together with."""
    from efsgd.figures.cifar.study import makers

    studies: dict[str, list[tuple[Any, ...]]] = {}
    for path in sorted(folder.glob("training-*.npz")):
        try:
            result = load(path)
            study, name, order = _named(result, kinds)
            row = (*order, name, str(path), f"made by {makers([result])}")
        except (ValueError, OSError, KeyError, TypeError):
            study, row = "files that hold no training", ("", str(path), "damaged")
        studies.setdefault(study, []).append(row)
    for study, rows in studies.items():
        head = "\n".join(terminal.wrapped(study, indent="  "))
        yield f"{head}\n{terminal.table(HEADS, [row[-3:] for row in sorted(rows)])}"
    if not studies:
        yield f"cifar {', '.join(kinds)}: {folder} has no trainings, efsgd-figures cifar makes them"


def _named(result: Result, kinds: Sequence[str]) -> tuple[str, str, tuple[Any, ...]]:
    """The figures that show a training, its name among their trainings, and its place there."""
    spec = result.spec
    name = f"batch {spec['batch']}, {_method(spec['method'])}, seed {spec['seed']}"
    images = f"{spec['model']} on {spec['data']}, {spec['epochs']} epochs"
    if spec["validation"]:
        figures, name = "tune", f"{name}, lr {spec['lr']:.4g}"
    else:
        figures = f"cifar {', '.join(kinds)}"
    order = (spec["batch"], _method(spec["method"]), spec["seed"], spec["lr"])
    return f"{figures}: {images}", name, order


def _method(spec: dict[str, Any]) -> str:
    """The label of a method with this spec."""
    from efsgd.figures.cifar.presets import METHODS, label

    for key, method in METHODS.items():
        if as_text(spec_of(method)) == as_text(spec):
            return label(key)
    return f"{spec['type'].rpartition('.')[2]} {spec.get('compressor', '')}".strip()
