"""A certificate for a compressor that is not built in, if what it keeps is a quadratic form.

Many deterministic compressors look at magnitudes only and keep |x|^2 - |C(x)-x|^2 = s'Ms, s the
sorted magnitudes: then M can be read off, and the sorted cone proves delta (derived here). That it
is such a form is tried at many vectors, not proven: a condition that the certificate states.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from efsgd.arrays import Array, Generator, achieved_delta
from efsgd.compressors.base import Compressor
from efsgd.convex.verification.candidates import candidates
from efsgd.convex.verification.certificates import FITTED, DeltaCertificate, stated
from efsgd.convex.verification.programmes import on_generators

MOST = 128  # dimensions: d(d+1)/2 vectors have to be compressed
TRIED = 300  # vectors
CLOSE = 1e-9  # of |x|^2


def fitted(c: Compressor, d: int, rng: Generator) -> DeltaCertificate | None:
    """The certificate from a form that was read off, ``kind`` "fitted sorted-cone LP".

    None where C is random, d > 128, or the form does not fit: at vectors with distinct magnitudes
    it has to be equal, at others C may keep more.
    """
    if c.random or c.guarantee != "pathwise" or d > MOST:
        return None
    pairs = _read_off(c, d)
    w = rng.exponential(size=(TRIED, d)) ** 3  # s = sum_j w_j 1_j, of very different magnitudes
    s = w[:, ::-1].cumsum(axis=1)[:, ::-1]
    x = rng.permuted(s, axis=1) * rng.choice([-1.0, 1.0], s.shape)
    others = candidates(d, rng)
    off = (_kept(c, x) - _form(pairs, x)) / np.vecdot(x, x)
    more = (_kept(c, others) - _form(pairs, others)) / np.vecdot(others, others)
    if not (np.abs(off).max() <= CLOSE and more.min() >= -CLOSE):  # NaN does not fit
        return None
    proof = on_generators(pairs)
    text = f"if what is kept is a form of the sorted |x_i|, as at {TRIED + len(others)} vectors; "
    return stated(replace(proof, kind=FITTED, text=text + proof.text), c, d)


def _read_off(c: Compressor, d: int) -> Array:
    """1_i'M1_j (d, d) by polarisation around a vector with distinct magnitudes."""
    base = np.arange(d, 0.0, -1.0) / d
    ones = np.tril(np.ones((d, d)))  # row j-1 is 1_j
    i, j = np.triu_indices(d)
    twice = _kept(c, base + ones[i] + ones[j])
    once, none = _kept(c, base + ones), _kept(c, base[None])[0]
    pairs = np.empty((d, d))
    pairs[i, j] = pairs[j, i] = (twice - once[i] - once[j] + none) / 2
    return pairs


def _kept(c: Compressor, x: Array) -> Array:
    """|x|^2 - |C(x)-x|^2 of each vector."""
    kept: Array = achieved_delta(x, c(x)) * np.vecdot(x, x)
    return kept


def _form(pairs: Array, x: Array) -> Array:
    """s'Ms of the sorted magnitudes of each vector."""
    s = np.sort(np.abs(x), axis=1)[:, ::-1]
    w = s - np.concatenate([s[:, 1:], np.zeros((len(s), 1))], axis=1)
    form: Array = np.einsum("ni,ij,nj->n", w, pairs, w)
    return form
