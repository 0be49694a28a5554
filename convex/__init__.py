"""Convex problems with certified optima, worst cases, Lyapunov rates, and checks of compressors.

cvxpy, scipy and the solvers are imported inside the functions that need them, so that importing
this package costs no more than NumPy.
"""

from efsgd.convex.data import DataFile, FileLogistic, FileSquares, data_file, read
from efsgd.convex.lyapunov import LyapunovRate, lyapunov_rate
from efsgd.convex.pep import WorstCase, worst_case
from efsgd.convex.problems import (
    CE1,
    CE2,
    CE3,
    Certificate,
    LeastSquares,
    LogisticRegression,
    SparseNoise,
    TheoremOne,
    WilsonLeastSquares,
    certify,
)
from efsgd.convex.verification import DeltaCertificate, Verification, certificate, verify

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
