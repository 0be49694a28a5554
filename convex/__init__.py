"""Convex problems with certified optima. cvxpy and scipy are imported inside the functions that
need them, so that importing this package costs no more than numpy."""

from efsgd.convex.certificates import DeltaCertificate, certificate
from efsgd.convex.counterexamples import CE1, CE2, CE3
from efsgd.convex.datasets import DataFile, data_file, read
from efsgd.convex.file_problems import FileLogistic, FileSquares
from efsgd.convex.least_squares import LeastSquares, WilsonLeastSquares
from efsgd.convex.logistic import LogisticRegression
from efsgd.convex.lyapunov import LyapunovRate, lyapunov_rate
from efsgd.convex.optima import Certificate, certify
from efsgd.convex.pep import WorstCase, worst_case
from efsgd.convex.sparse_noise import SparseNoise
from efsgd.convex.theorem_one import TheoremOne
from efsgd.convex.verification import Verification, verify

__all__ = [
    "CE1",
    "CE2",
    "CE3",
    "Certificate",
    "DataFile",
    "DeltaCertificate",
    "FileLogistic",
    "FileSquares",
    "LeastSquares",
    "LogisticRegression",
    "LyapunovRate",
    "SparseNoise",
    "TheoremOne",
    "Verification",
    "WilsonLeastSquares",
    "WorstCase",
    "certificate",
    "certify",
    "data_file",
    "lyapunov_rate",
    "read",
    "verify",
    "worst_case",
]
