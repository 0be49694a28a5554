"""All compressors in one place; each is a direct subclass of :class:`Compressor`."""

from efsgd.base import Compressor, Guarantee, compressor
from efsgd.lowrank import LowRank
from efsgd.natural import Natural
from efsgd.quantise import QSGD, TernGrad
from efsgd.signs import ScaledSign, Sign, TwoMeans
from efsgd.sparse import RandK, SignTopK, TopK
from efsgd.threshold import Threshold
from efsgd.wrappers import Blockwise, Identity, Scaled

__all__ = [
    "QSGD",
    "Blockwise",
    "Compressor",
    "Guarantee",
    "Identity",
    "LowRank",
    "Natural",
    "RandK",
    "Scaled",
    "ScaledSign",
    "Sign",
    "SignTopK",
    "TernGrad",
    "Threshold",
    "TopK",
    "TwoMeans",
    "compressor",
]
