"""Which runs a grid of the deep experiments consists of.

A run is an ``efsgd.deep.Training``, a value; everything here is cheap and trains nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from efsgd.figures.cifar.presets import METHODS, PREFIX, Preset, StepSizes, label, method_of
from efsgd.figures.texts import printable

if TYPE_CHECKING:
    from efsgd.deep.training.training import Training

UNKNOWN = sys.maxsize  # images of data of which only the name is known
SIZES = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}  # training and test images


@dataclass(frozen=True)
class Source:
    """Images: where to get them, their name in a spec, and how many there are."""

    location: str  # "cifar10", "cifar100", "standin" or the path of a file
    name: str
    train: int
    test: int

    @classmethod
    def named(cls, name: str) -> Source:
        """Data of which only the name is known; they have as many images as the preset takes."""
        return cls(location=name, name=name, train=UNKNOWN, test=UNKNOWN)


def is_name(text: str) -> bool:
    """Whether it can only be the name of data whose file is elsewhere, such as "mine-0123abcd"."""
    return text not in (*SIZES, "standin") and not text.endswith(".npz") and not Path(text).exists()


@dataclass(frozen=True)
class Choice:
    """The options of a command; empty and None stand for the preset's."""

    preset: Preset
    models: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    methods: tuple[str, ...] = ()
    compressors: tuple[str, ...] = ()
    seeds: int | None = None
    seed: int = 0  # the first of them
    epochs: int | None = None
    precision: str | None = None
    evaluate_every: int = 1  # epochs


@dataclass(frozen=True)
class Entry:
    """One run of a grid, and its place in it."""

    source: Source
    method: str  # a key of METHODS, or "ef:SPEC"
    training: Training

    @property
    def pair(self) -> tuple[str, str]:
        """Model and data."""
        return self.training.model, self.training.data

    @property
    def name(self) -> str:
        """Its name in messages: "vgg19/cifar10, batch 8, EF-signSGD, seed 0".

        In a search for step sizes the name ends in the step size.
        """
        run, pair = self.training, printable("/".join(self.pair))
        name = f"{pair}, batch {run.batch}, {label(self.method)}, seed {run.seed}"
        return f"{name}, lr {run.lr:.4g}" if run.validation else name


def pairs(choice: Choice) -> list[tuple[str, str]]:
    """The models and data of a grid: with both named every combination, else the preset's.

    Data that are new to the preset take the place of its first, for all models that it has there.
    """
    preset = choice.preset.pairs
    data_of = dict(preset)
    _, first_data = preset[0]
    if choice.models and choice.data:
        return list(product(choice.models, choice.data))
    if choice.models:
        return [(model, data_of.get(model, first_data)) for model in choice.models]
    if choice.data:
        replaced = {data: data if data in data_of.values() else first_data for data in choice.data}
        return [
            (model, data)
            for data, preset_data in replaced.items()
            for model, known_data in preset
            if known_data == preset_data
        ]
    return list(preset)


def comparisons(choice: Choice) -> list[tuple[tuple[str, str], int, int]]:
    """Model and data, batch size and number of seeds of each comparison of the methods.

    With models and batch sizes named every combination, else those that the preset has; a batch
    size that it has for none of the models is for all of them.
    """
    preset = choice.preset
    settings = list(product(pairs(choice), choice.batches or preset.batches))
    in_preset = {(pair, batch) for pair, batch in settings if _has(preset, pair[0], batch)}
    if not (choice.models and choice.batches):
        new = set(choice.batches) - {batch for _, batch in in_preset}
        settings = [
            (pair, batch) for pair, batch in settings if (pair, batch) in in_preset or batch in new
        ]
    if choice.seeds is not None:
        return [(pair, batch, choice.seeds) for pair, batch in settings]
    seeds = preset.seeds_at
    return [(pair, batch, seeds.get((pair[0], batch), preset.seeds)) for pair, batch in settings]


def _has(preset: Preset, model: str, batch: int) -> bool:
    """Whether a preset has a model at a batch size; a model that is new to it is at all of them."""
    batches = [size for name, size in preset.seeds_at if name == model]
    return batch in (batches or preset.batches)


def grid(choice: Choice, sources: Mapping[str, Source]) -> list[Entry]:
    """Every run, in the order pair, batch, seed, method; each once, under its first name.

    So each seed that is finished is a whole comparison. ``sources`` maps the names of data that
    :func:`pairs` gives to what is known of them. Raises ValueError for an unknown method,
    compressor or model and for impossible numbers.
    """
    methods = list(choice.methods or METHODS) + [f"{PREFIX}{c}" for c in choice.compressors]
    entries: dict[Training, Entry] = {}
    for (model, data), batch, count in comparisons(choice):
        for seed, method in product(range(choice.seed, choice.seed + count), methods):
            entry = _entry(choice, model, sources[data], batch, method, seed)
            entries.setdefault(entry.training, entry)
    return list(entries.values())


def _entry(choice: Choice, model: str, source: Source, batch: int, method: str, seed: int) -> Entry:
    from efsgd.deep.training.training import Training

    preset = choice.preset
    epochs, drops = schedule(preset, choice.epochs)
    training = Training(
        model=model,
        data=source.name,
        method=method_of(method),
        lr=step_size(preset, (model, source.name), method, batch),
        batch=batch,
        epochs=epochs,
        drops=drops,
        seed=seed,
        precision=choice.precision or preset.precision,
        train_size=_size(preset.train_size, source.train),
        test_size=_size(preset.test_size, source.test),
        evaluate_every=choice.evaluate_every,
    )
    return Entry(source, method, training)


def schedule(preset: Preset, epochs: int | None) -> tuple[int, tuple[int, ...]]:
    """Epochs and drops: the preset's, or drops at half and three quarters of ``epochs``."""
    if epochs is None or epochs == preset.epochs:
        return preset.epochs, preset.drops
    drops = tuple(dict.fromkeys(drop for drop in (epochs // 2, 3 * epochs // 4) if drop))
    return epochs, drops


def step_size(preset: Preset, pair: tuple[str, str], method: str, batch: int) -> float:
    """The tuned step size in proportion to the batch size; EF with any compressor has EF's."""
    tuned = tuned_for(preset, pair)
    key = "ef-signsgd" if method.startswith(PREFIX) else method
    return tuned.lr[key] * batch / tuned.batch


def tuned_for(preset: Preset, pair: tuple[str, str]) -> StepSizes:
    """The step sizes of a pair, or those that it borrows."""
    return preset.step_sizes[donor(preset, pair)]


def donor(preset: Preset, pair: tuple[str, str]) -> tuple[str, str]:
    """The pair whose step sizes a pair takes: itself, its model on other data, or the first."""
    tuned = list(preset.step_sizes)
    same_model = [other for other in tuned if other[0] == pair[0]]
    return pair if pair in tuned else (same_model or tuned)[0]


def untuned(preset: Preset, entries: Iterable[Entry]) -> dict[tuple[str, str], tuple[str, str]]:
    """The pairs whose step sizes were tuned for another pair: pair -> that other one."""
    pairs = dict.fromkeys(e.pair for e in entries if e.pair not in preset.step_sizes)
    return {pair: donor(preset, pair) for pair in pairs}


def _size(subset: int | None, available: int) -> int | None:
    """A number of images, or None for all."""
    return None if subset is None or subset >= available else subset


def share(entries: Sequence[Entry], part: tuple[int, int]) -> list[Entry]:
    """The runs of machine I of N: every N-th, from the I-th on (counted from 1)."""
    return list(entries[part[0] - 1 :: part[1]])


def part_of(text: str) -> tuple[int, int]:
    """Read "I/N"; ValueError unless 1 <= I <= N."""
    words = text.split("/")
    if len(words) == 2 and all(w.isdecimal() for w in words):
        i, n = map(int, words)
        if 1 <= i <= n:
            return i, n
    raise ValueError(f"a share is I/N with 1 <= I <= N, such as 1/2, not {text!r}")
