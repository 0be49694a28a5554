"""The densities that trainings have kept: phi is what scaled sign achieves on their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from efsgd.arrays import Array
from efsgd.figures.claims.verdicts import Verdict, observation
from efsgd.figures.make import Results

REAL = "real gradients"  # results whose name begins so hold densities of a training
DENSITIES = {"phi_g": "gradients g", "phi_p": "steps before compression, lr d + e"}  # by array


def densities(results: Results, names: Sequence[str] = tuple(DENSITIES)) -> Array:
    """Densities of all trainings, each the mean over the steps of an epoch; empty without any."""
    recorded = [
        result[name].ravel()
        for key, result in results.items()
        if key.startswith(REAL)
        for name in names
        if name in result.arrays
    ]
    phi: Array = np.concatenate([np.zeros(0), *recorded])
    return phi[np.isfinite(phi) & (phi > 0)]


def models(results: Results) -> str:
    """The names of the networks that were trained."""
    names = {str(r.spec.get("model")) for name, r in results.items() if name.startswith(REAL)}
    return ", ".join(sorted(names))


def observations(results: Results) -> list[Verdict]:
    """How dense the gradients and the corrected gradients of the trainings are."""
    count = sum(name.startswith(REAL) for name in results)
    rows = []
    for array, what in DENSITIES.items():
        phi = densities(results, [array])
        if phi.size:
            text = f"density of {what}: means of epochs, {count} trainings at any step size"
            measured = f"{phi.min():.3g} to {phi.max():.3g}, median {np.median(phi):.3g}"
            rows.append(observation(text, f"{REAL} in results/cifar", measured))
    return rows
