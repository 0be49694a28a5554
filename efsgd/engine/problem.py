"""What the engine asks of a problem: two methods, and a few optional ones looked up by name.

============================  =====================================================================
optional member               meaning
============================  =====================================================================
``x0(rng, R)``                start, (R, d); zeros if absent
``full_gradient(x)``          the exact gradient, (R, d)
``project(x)``                the nearest feasible point, (R, d); applied after every step
``optimum``                   an :class:`Optimum`; gives the history its ``distance``
``n``, ``batch_gradient``     a finite sum: ``batch_gradient(x, rows)``, rows (R, b) of integers,
                              is the mean over those rows; needed by ``Run(batch=b)``. R is that
                              of all workers: gather the rows of some at a time, ``GATHERED``
                              entries, or those of one
``measure(x)``                dict of (R,) arrays that join the history
``oracle(rng, R)``            a function x -> gradient for a whole run of R replicates, with the
                              same noise as ``gradient`` but perhaps drawn in bulk; each array it
                              returns is fresh and float64, and may be overwritten
``worker_gradients(x, rng)``  the gradients of n workers, (R, n, d), at x (R, d), or at the model of
                              each, (R, n, d); without it, each calls ``gradient``, or draws a batch
``worker_batches(rng, R, b)`` the rows (R, n, b) of a batch of each worker, for ``Run(batch=b)``
``worker_weights``            what each worker counts in the mean, (n,), with the sum 1
``workers``                   n, where the problem fixes it
============================  =====================================================================
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from efsgd.arrays import Array, Generator

GATHERED = 2**18  # entries of the rows of a finite sum that a batch gradient holds at once


class Optimum(NamedTuple):
    """A minimiser and the least value."""

    x: Array  # (d,)
    f: float


@runtime_checkable
class Problem(Protocol):
    """A function to minimise, over R replicates at once."""

    @property
    def d(self) -> int:
        """The dimension."""

    def loss(self, x: Array) -> Array:
        """f(x_r) of each replicate: (R, d) -> (R,)."""

    def gradient(self, x: Array, rng: Generator) -> Array:
        """A (stochastic) gradient of ``loss`` at each replicate: (R, d) -> (R, d).

        It must not change ``x``, nor later the array it returns, and draws the same amount from
        ``rng`` whatever ``x`` is, so that all methods of a comparison see the same noise.
        """
