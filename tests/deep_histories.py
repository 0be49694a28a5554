"""Made-up histories of deep trainings, for the tests of the tables and pictures drawn from them."""

from dataclasses import replace

import numpy as np

from efsgd import provenance
from efsgd.figures.cifar import paper
from efsgd.figures.cifar.grid import SIZES, Choice, Source, grid
from efsgd.figures.cifar.presets import PRESETS
from efsgd.figures.cifar.study import RARE, studies
from efsgd.results import Result, place, save, spec_of

PRESET_FIELDS = {"pairs", "train_size", "test_size", "drops", "tuning_epochs"}


def source(name):
    return Source(name, name, *SIZES.get(name, (2000, 500)))


def entries_of(preset="paper", **changes):
    """The grid of a preset; `changes` are fields of a Choice or of the preset itself."""
    of_preset = {name: changes.pop(name) for name in PRESET_FIELDS & set(changes)}
    choice = Choice(replace(PRESETS[preset], **of_preset), **changes)
    names = {data for _, data in choice.preset.pairs} | set(choice.data)
    return grid(choice, {name: source(name) for name in names})


def history(
    epochs, accuracy, *, best=None, virtual=None, phi=0.3, phi_g=0.25, drops=(), diverged=None
):
    """Arrays of a training that ends at `accuracy` (percent) and is at `best` in the middle.

    The density of g + e is `phi`, and four fifths of it in the epochs of `drops`. From epoch
    `diverged` on (counted from 0) all rows are NaN.
    """
    line = np.linspace(0.5, 1.0, epochs)
    test = accuracy / 100 * line
    test[-1] = accuracy / 100
    if epochs > 2:
        test[epochs // 2] = (accuracy if best is None else best) / 100
    loss = 2.0 - 1.5 * line
    arrays = {"test_accuracy": test, "train_accuracy": test, "test_loss": loss, "train_loss": loss}
    arrays |= {f"virtual_{name}": array.copy() for name, array in arrays.items()}
    arrays["virtual_test_accuracy"][-1] = (accuracy if virtual is None else virtual) / 100
    arrays |= {"running_loss": loss, "running_accuracy": test, "phi_g": np.full(epochs, phi_g)}
    phi_p = np.where(np.isin(np.arange(epochs), drops), 0.8 * phi, phi)
    arrays |= {"phi_p": phi_p, "memory_norm": line, "lr": line}
    arrays |= {"seconds": np.ones(epochs), "images_per_second": np.full(epochs, 100.0)}
    arrays = {name: np.array(values) for name, values in arrays.items()}
    if diverged is not None:
        for values in arrays.values():
            values[diverged:] = np.nan
    counts = {"epoch": np.arange(1, epochs + 1), "skipped": np.zeros(epochs, np.int64)}
    return arrays | counts


def result_of(entry, directory, made_by=None, **changes):
    """A result of this run as `history` makes it, but NaN where its training does not evaluate.

    `made_by` changes what is recorded of the code and the machine.
    """
    run = entry.training
    accuracy = changes.pop("accuracy", published(entry))
    arrays = history(run.epochs, accuracy, **({"drops": run.drops} | changes))
    not_evaluated = [epoch for epoch in range(run.epochs) if not run.evaluated(epoch)]
    for name in arrays:
        if not_evaluated and name.startswith(RARE):
            arrays[name][not_evaluated] = np.nan
    spec, path = spec_of(run), place(run, directory)
    record = provenance.made_by(run) | {"device": "a CPU", "data": "0" * 64} | (made_by or {})
    save(path, arrays, spec, record)
    return Result(arrays, spec, record, path)


def published(entry):
    """The paper's accuracy, moved a little by the seed: -.1, 0, +.1 points."""
    run = entry.training
    accuracy = paper.accuracy(run.model, run.data, run.batch, entry.method)
    return (50.0 if accuracy is None else accuracy) + (run.seed % 3 - 1) / 10


def study_of(entries, directory, changes=None):
    """One study of these runs; `changes(entry)` are arguments of `history`, None leaves one out."""
    results = {}
    for entry in entries:
        arguments = {} if changes is None else changes(entry)
        if arguments is not None:
            results[entry] = result_of(entry, directory, **arguments)
    (study,) = studies(entries, results)
    return study


def tiny(path, train=24, test=8, seed=0):
    """A file of a few random images in two classes; returns what --data takes."""
    rng = np.random.default_rng(seed)
    images = {
        f"x_{part}": rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
        for part, n in (("train", train), ("test", test))
    }
    labels = {f"y_{part}": np.arange(n) % 2 for part, n in (("train", train), ("test", test))}
    np.savez(path, **images, **labels)
    return str(path)
