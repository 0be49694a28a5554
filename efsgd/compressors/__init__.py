"""All compressors in one place; each is a direct subclass of :class:`Compressor`."""

from efsgd.compressors.base import Compressor, compressor
from efsgd.compressors.blockwise import Blockwise
from efsgd.compressors.guarantee import Guarantee
from efsgd.compressors.lowrank import LowRank, PowerSGD
from efsgd.compressors.natural import Natural, NaturalDithering
from efsgd.compressors.quantise import QSGD, TernGrad
from efsgd.compressors.quantised import Quantised
from efsgd.compressors.shared import Shared
from efsgd.compressors.signs import ScaledSign, Sign, TwoMeans
from efsgd.compressors.sparse import RandK, SignTopK, TopK
from efsgd.compressors.threshold import Threshold
from efsgd.compressors.wrappers import Contractive, Identity, Scaled

__all__ = [
    "QSGD",
    "Blockwise",
    "Compressor",
    "Contractive",
    "Guarantee",
    "Identity",
    "LowRank",
    "Natural",
    "NaturalDithering",
    "PowerSGD",
    "Quantised",
    "RandK",
    "Scaled",
    "ScaledSign",
    "Shared",
    "Sign",
    "SignTopK",
    "TernGrad",
    "Threshold",
    "TopK",
    "TwoMeans",
    "compressor",
]
