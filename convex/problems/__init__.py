"""Convex and smooth problems whose optima are known or certified."""

from efsgd.convex.problems.bounded_noise import BoundedNoise, Slope
from efsgd.convex.problems.counterexamples import CE1, CE2, CE3
from efsgd.convex.problems.known_curvature import KnownLogistic, KnownSquares
from efsgd.convex.problems.least_squares import LeastSquares, WilsonLeastSquares
from efsgd.convex.problems.logistic import LogisticRegression
from efsgd.convex.problems.optima import Certificate, certify
from efsgd.convex.problems.several_workers import (
    Disagreement,
    NoisySlope,
    OneAgainstTwo,
    SkewedNoise,
)
from efsgd.convex.problems.sparse_noise import SparseNoise
from efsgd.convex.problems.theorem_one import TheoremOne
from efsgd.convex.problems.valleys import Crosswind, Huber, Valleys
from efsgd.convex.problems.wilson_counts import WilsonCount

__all__ = [
    "CE1",
    "CE2",
    "CE3",
    "BoundedNoise",
    "Certificate",
    "Crosswind",
    "Disagreement",
    "Huber",
    "KnownLogistic",
    "KnownSquares",
    "LeastSquares",
    "LogisticRegression",
    "NoisySlope",
    "OneAgainstTwo",
    "SkewedNoise",
    "Slope",
    "SparseNoise",
    "TheoremOne",
    "Valleys",
    "WilsonCount",
    "WilsonLeastSquares",
    "certify",
]
