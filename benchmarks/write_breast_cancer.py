"""Writes convex/data/sets/breast_cancer.svm from scikit-learn's copy of the data set.

Run once: ``python benchmarks/write_breast_cancer.py``. tests/convex/data/test_breast_cancer.py
compares the file with that copy.
"""

from __future__ import annotations

from pathlib import Path

from sklearn.datasets import load_breast_cancer

FILE = Path(__file__).parents[1] / "convex" / "data" / "sets" / "breast_cancer.svm"


def text() -> str:
    """LIBSVM lines: 0 malignant, 1 benign, and each number in its shortest form."""
    data = load_breast_cancer()
    lines = []
    for label, row in zip(data.target.tolist(), data.data.tolist(), strict=True):
        entries = [f"{i}:{value!r}".removesuffix(".0") for i, value in enumerate(row, 1) if value]
        lines.append(" ".join([str(label), *entries]))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
    print(FILE)
