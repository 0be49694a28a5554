"""Image data sets as arrays, and the minibatches that are drawn from them."""

from efsgd.deep.data.dataset import Dataset, Moments, load

__all__ = [
    "Dataset",
    "Moments",
    "load",
]
