"""The figures of every track, by name: which there are, and what a mistyped name may have meant.

A track is a command and a folder of results. Its figures are imported inside a function, so that
naming them needs neither cvxpy, matplotlib nor torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any


def convex_pictures() -> tuple[Any, ...]:
    """The convex figures."""
    from efsgd.figures.convex import PICTURES

    return PICTURES


def cifar_pictures() -> tuple[Any, ...]:
    """The deep figures, one of each for every model and data set."""
    from efsgd.figures.cifar.command import PICTURES

    return PICTURES


def theory_pictures() -> tuple[Any, ...]:
    """The figures of the theory."""
    from efsgd.figures.theory import PICTURES

    return PICTURES


def bounds_pictures() -> tuple[Any, ...]:
    """The delta zoo."""
    from efsgd.figures.bounds.command import PICTURES

    return PICTURES


def workers_pictures() -> tuple[Any, ...]:
    """The figures of several workers."""
    from efsgd.figures.workers import PICTURES

    return PICTURES


TRACKS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "convex": convex_pictures,
    "cifar": cifar_pictures,
    "bounds": bounds_pictures,
    "theory": theory_pictures,
    "workers": workers_pictures,
}


def choose(track: str, names: Sequence[str]) -> tuple[Any, ...]:
    """The figures of a track that have these names, all of them for no name.

    ValueError for another name, with what was meant if that can be guessed.
    """
    pictures = TRACKS[track]()
    known = [picture.name for picture in pictures]
    for name in names:
        if name not in known:
            if track == "bounds" and (spec := nearest_compressor(name)):
                option = f"name a compressor by --compressor {spec}"
                raise ValueError(f"no figure of bounds is called {name!r}: {option}")
            near, figure = nearest(name)
            command = figure if near == track else f"efsgd-figures {near} {figure}"
            hint = f", did you mean {command!r}? " if figure else ": "
            choices = f"choose from {', '.join(known)}"
            raise ValueError(f"no figure of {track} is called {name!r}{hint}{choices}")
    return tuple(picture for picture in pictures if not names or picture.name in names)


def nearest(name: str) -> tuple[str, str]:
    """The track and the name of the figure that has nearly this name, both empty for none."""
    known = {p.name: track for track, pictures in TRACKS.items() for p in pictures()}
    close = get_close_matches(name, known, n=1)
    return (known[close[0]], close[0]) if close else ("", "")


def nearest_compressor(text: str) -> str:
    """The spec that was meant, its name corrected; empty where it is like none."""
    from efsgd import Compressor

    name = text.partition(":")[0].partition(",")[0]
    close = get_close_matches(name, Compressor.registry, n=1)
    return close[0] + text.removeprefix(name) if close else ""
