"""Logistic regression on a real data set that comes with efsgd: benign or malignant."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from efsgd.arrays import Array
from efsgd.checks import positive
from efsgd.convex.data.files import DataFile, two_classes
from efsgd.convex.problems.logistic import Logistic, LogisticRegression

FILE = Path(__file__).parent / "sets" / "breast_cancer.svm"
SHA256 = "22ca1901a963e8ace2da3fba8eda883c8ee3724caf392b1ad1448e375e0fd315"


@dataclass(frozen=True)
class BreastCancer(Logistic):
    """l2-logistic regression on the 569 rows of Breast Cancer Wisconsin (Diagnostic).

    Street, Wolberg, Mangasarian (1993), UCI Machine Learning Repository, CC BY 4.0. The 30 features
    are centred and divided by their standard deviations, and a column of ones is appended: d = 31.
    y is +1 for the 357 benign rows and -1 for the 212 malignant ones.
    """

    l2: float = 0.1

    def __post_init__(self) -> None:
        """Refuse an l2 that is not positive: there may be no optimum."""
        positive("l2", self.l2)

    @cached_property
    def data(self) -> LogisticRegression:
        """The rows; ValueError where the file is not the one that this class is about."""
        source = DataFile(str(FILE), SHA256, test=0.0, standardise=True, intercept=True)
        rows = source.load(classes=True)
        return LogisticRegression(rows.X, two_classes(rows.y, str(FILE)), l2=self.l2)

    def measure(self, x: Array) -> dict[str, Array]:
        """The gap f - f*, whose optimum is certified."""
        best = self.optimum
        assert best is not None  # because l2 > 0
        return {"gap": self.loss(x) - best.f}
