"""A certificate for a compressor that is not built in, if its gain is a quadratic form.

Many deterministic compressors look at magnitudes only and have the gain |x|^2 - |C(x)-x|^2 = s'Ms,
s the sorted magnitudes: then M can be read off, and the sorted cone proves delta (derived here).
That the gain is such a form is tested at many vectors, not proven: the certificate states this
condition.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from efsgd.arrays import Array, Generator, achieved_delta
from efsgd.compressors.base import Compressor
from efsgd.convex.verification.candidates import candidates
from efsgd.convex.verification.certificates import FITTED, DeltaCertificate, as_certificate
from efsgd.convex.verification.programmes import on_generators

LARGEST = 128  # dimension: d(d+1)/2 vectors have to be compressed
SAMPLES = 300  # random vectors at which the form is tested
CLOSE = 1e-9  # of |x|^2


def fitted(c: Compressor, d: int, rng: Generator) -> DeltaCertificate | None:
    """The certificate from a form that was read off, ``kind`` "fitted sorted-cone LP".

    None where C is random, d > 128, or the form does not fit: at vectors with distinct magnitudes
    the gain has to equal it, at others the gain may be larger.
    """
    if c.random or c.guarantee != "pathwise" or d > LARGEST:
        return None
    pairs = _read_off(c, d)
    w = rng.exponential(size=(SAMPLES, d)) ** 3  # s = sum_j w_j 1_j, of very different magnitudes
    s = w[:, ::-1].cumsum(axis=1)[:, ::-1]
    x = rng.permuted(s, axis=1) * rng.choice([-1.0, 1.0], s.shape)
    tied = candidates(d, rng)
    misfit = (_gain(c, x) - _form(pairs, x)) / np.vecdot(x, x)
    surplus = (_gain(c, tied) - _form(pairs, tied)) / np.vecdot(tied, tied)
    if not (np.abs(misfit).max() <= CLOSE and surplus.min() >= -CLOSE):  # NaN does not fit
        return None
    proof = on_generators(pairs)
    text = f"if what is kept is a form of the sorted |x_i|, as at {SAMPLES + len(tied)} vectors; "
    return as_certificate(replace(proof, kind=FITTED, text=text + proof.text), c, d)


def _read_off(c: Compressor, d: int) -> Array:
    """1_i'M1_j (d, d) by polarisation around a vector with distinct magnitudes."""
    base = np.arange(d, 0.0, -1.0) / d
    ones = np.tril(np.ones((d, d)))  # row j-1 is 1_j
    i, j = np.triu_indices(d)
    both = _gain(c, base + ones[i] + ones[j])
    single, neither = _gain(c, base + ones), _gain(c, base[None])[0]
    pairs = np.empty((d, d))
    pairs[i, j] = pairs[j, i] = (both - single[i] - single[j] + neither) / 2
    return pairs


def _gain(c: Compressor, x: Array) -> Array:
    """|x|^2 - |C(x)-x|^2 of each vector."""
    gain: Array = achieved_delta(x, c(x)) * np.vecdot(x, x)
    return gain


def _form(pairs: Array, x: Array) -> Array:
    """s'Ms of the sorted magnitudes of each vector."""
    s = np.sort(np.abs(x), axis=1)[:, ::-1]
    w = s - np.concatenate([s[:, 1:], np.zeros((len(s), 1))], axis=1)
    form: Array = np.einsum("ni,ij,nj->n", w, pairs, w)
    return form
