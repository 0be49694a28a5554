"""A quadratic with Gaussian noise, on which the error of SGD with n workers is known exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from efsgd.arrays import Array, Generator
from efsgd.checks import positive, whole


@dataclass(frozen=True)
class NoisyQuadratic:
    """f(x) = sum_j h_j x_j^2 / 2 with h from ``mu`` to 1, evenly in their logarithm.

    x_0 = (1, ..., 1). Every gradient has noise N(0, sigma^2/d I) of its own, E |noise|^2 = sigma^2.
    """

    d: int = 100
    mu: float = 0.05
    sigma: float = 10.0

    def __post_init__(self) -> None:
        """Refuse impossible numbers."""
        whole("d", self.d)
        positive("mu", self.mu, 1.0)
        positive("sigma", self.sigma)

    @property
    def h(self) -> Array:
        """The eigenvalues of the Hessian, (d,)."""
        return np.asarray(np.geomspace(self.mu, 1.0, self.d))

    def x0(self, rng: Generator, replicates: int) -> Array:
        """All ones, (R, d)."""
        return np.ones((replicates, self.d))

    def loss(self, x: Array) -> Array:
        """f, (R, d) -> (R,)."""
        value: Array = x**2 @ self.h / 2
        return value

    def gradient(self, x: Array, rng: Generator) -> Array:
        """h x and noise, (R, d)."""
        noise = self.sigma / np.sqrt(self.d) * rng.standard_normal(x.shape)
        g: Array = self.h * x + noise
        return g

    def measure(self, x: Array) -> dict[str, Array]:
        """The gap f - 0."""
        return {"gap": self.loss(x)}

    def expected_gap(self, lr: float, steps: int, workers: int, share: float = 1.0) -> float:
        """E f(x_T) of SGD with the mean of n gradients, exactly (derived here).

        With ``share`` p below 1 the workers send the same entries, each with probability p and
        divided by p: an unbiased rand-k that they share. Entry by entry, m = E x_j^2 goes to
        (1-p) m + p ((1 - lr h/p)^2 m + (lr/p)^2 sigma^2/(n d)).
        """
        kept = share * (1 - lr * self.h / share) ** 2 + 1 - share
        added = lr**2 / share * self.sigma**2 / (workers * self.d)
        m = np.ones(self.d)
        for _ in range(steps):
            m = kept * m + added
        return float(self.h @ m / 2)
