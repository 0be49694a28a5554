"""What top-k and scaled sign achieve on the gradients of a training, beside their worst case.

Networks, images and step sizes are those of the preset `small`. At one step of ``--every`` the
delta that is achieved, 1 - |C(v)-v|^2/|v|^2, is measured at v = g, the gradient of a minibatch, and
at v = p = lr (g + weight decay x) + e, which is what a method with feedback compresses. Once for
all parameters as one vector, and once for every tensor by itself, as the optimiser does: then it is
1 - sum_l |C(v_l)-v_l|^2 / sum_l |v_l|^2. Gaussian vectors of the same shapes stand beside them.

    python benchmarks/real_gradients.py --data cifar10_jpeg.npz --seeds 3 --epochs 2 --save g.npz

``--save`` writes the vectors for `efsgd-figures bounds --compressor SPEC --vectors g.npz`.
"""

import argparse
from collections import defaultdict
from itertools import count
from typing import Any

import numpy as np
import torch

from efsgd import compressor
from efsgd.arrays import Array
from efsgd.deep.data import Dataset, load
from efsgd.deep.training import Training
from efsgd.deep.training.session import Session
from efsgd.figures.cifar.grid import Choice, Entry, Source, grid
from efsgd.figures.cifar.presets import PRESETS, label
from efsgd.figures.cifar.tables import piped
from efsgd.results import made_by

SPECS = ("topk:0.01", "topk:0.25", "scaledsign")
METHODS = ("ef-signsgd", "ef:topk:0.01")
TENSORS, VECTOR = "every tensor by itself", "one vector"
GAUSSIAN_DRAWS = 10

HEADS = ("C", "vectors", "compressed as", "worst delta", "least", "median", "greatest", "n")

Tensors = list[Array]  # one flat vector a parameter
Key = tuple[str, str, str]  # compressor, where the vectors come from, TENSORS or VECTOR


def achieved(spec: str, vectors: Tensors) -> float:
    """1 - sum |C(v)-v|^2 / sum |v|^2 over vectors that are compressed one by one."""
    c = compressor(spec)
    wide = [v.astype(np.float64) for v in vectors]
    lost = sum(float(np.sum((c(v) - v) ** 2)) for v in wide)
    return 1.0 - lost / sum(float(v @ v) for v in wide)


def worst(spec: str, sizes: list[int]) -> float:
    """The delta that holds for any vectors of these sizes: the least of them."""
    return min(compressor(spec).delta(d) for d in sizes)


Deltas = dict[Key, list[float]]


def note(deltas: Deltas, source: str, tensors: Tensors) -> None:
    """Add what every compressor achieves on these tensors, and on all of them as one vector."""
    whole = [np.concatenate(tensors)]
    for spec in SPECS:
        for scope, vectors in ((TENSORS, tensors), (VECTOR, whole)):
            deltas[spec, source, scope].append(achieved(spec, vectors))


def gradients(optimizer: Any) -> Tensors:
    """The gradient of each parameter."""
    return [x.grad.numpy().flatten() for group in optimizer.param_groups for x in group["params"]]


def corrected(optimizer: Any) -> Tensors:
    """lr (g + weight decay x) + e of each parameter."""
    return [
        (group["lr"] * (x.grad + group["weight_decay"] * x.detach()) + optimizer.state[x]["memory"])
        .numpy()
        .ravel()
        for group in optimizer.param_groups
        for x in group["params"]
    ]


def trainings(data: Dataset, seeds: int, epochs: int) -> list[Entry]:
    """The trainings of the preset `small` with feedback, by scaled sign and by top-k."""
    source = Source(data.name, data.name, len(data.y_train), len(data.y_test))
    preset = PRESETS["small"]
    choice = Choice(preset, data=(data.name,), methods=METHODS, seeds=seeds, epochs=epochs)
    return grid(choice, {data.name: source})


def measured(training: Training, data: Dataset, every: int) -> dict[str, list[Tensors]]:
    """Train; "g" and "p" at one step of ``every``, the first left out, where e = 0."""
    session = Session(training, data.subset(training.train_size, training.test_size))
    seen: dict[str, list[Tensors]] = {"g": [], "p": []}
    steps = count()

    def before_step(optimizer: Any, *_: Any) -> None:
        step = next(steps)
        if step and step % every == 0:
            seen["g"].append(gradients(optimizer))
            seen["p"].append(corrected(optimizer))

    session.optimizer.register_step_pre_hook(before_step)
    session.run(lambda: None, lambda event: None, lambda: None)
    return seen


def gaussian(sizes: list[int], deltas: Deltas, rng: np.random.Generator) -> None:
    """Add the deltas on Gaussian vectors of these sizes."""
    for _ in range(GAUSSIAN_DRAWS):
        note(deltas, "Gaussian", [rng.standard_normal(d) for d in sizes])


def rows(deltas: Deltas, sizes: list[int]) -> list[list[str]]:
    """The lines of the table: the least, the median and the greatest delta, and how many."""
    of_scope = {TENSORS: sizes, VECTOR: [sum(sizes)]}
    return [
        [
            *(spec, source, scope, f"{worst(spec, of_scope[scope]):.3g}"),
            *(f"{f(values):.3g}" for f in (min, np.median, max)),
            str(len(values)),
        ]
        for (spec, source, scope), values in sorted(deltas.items())
    ]


def main() -> None:
    """Train, and print a table of the delta over steps and seeds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", required=True, help="as for efsgd-figures cifar")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--every", type=int, default=25, help="steps between two measurements")
    parser.add_argument("--save", help="write the vectors of the last seed to this .npz file")
    options = parser.parse_args()
    data, vectors = load(options.data), {}
    deltas: Deltas = defaultdict(list)
    for entry in trainings(data, options.seeds, options.epochs):
        for name, steps in measured(entry.training, data, options.every).items():
            source = f"{name} of {label(entry.method)}"
            vectors[source] = np.array([np.concatenate(tensors) for tensors in steps])
            for tensors in steps:
                note(deltas, source, tensors)
            sizes = [x.size for x in steps[0]]
    gaussian(sizes, deltas, np.random.default_rng(0))
    made = made_by()
    print(f"{data.name}, {options.seeds} seeds, {options.epochs} epochs; resnet8,", end=" ")
    print(f"{sum(sizes)} parameters in {len(sizes)} tensors; torch {torch.__version__},", end=" ")
    print(f"commit {made['git']}, {made['platform']}")
    for line in (HEADS, ["---"] * len(HEADS), *rows(deltas, sizes)):
        print(piped(line))
    if options.save:
        np.savez(options.save, **vectors)


if __name__ == "__main__":
    main()
