"""The user's own data: LIBSVM text and .npz files, and convex problems on them."""

from efsgd.convex.data.breast_cancer import BreastCancer
from efsgd.convex.data.file_problems import FileCertificate, FileLogistic, FileSquares
from efsgd.convex.data.files import DataFile, data_file, read

__all__ = [
    "BreastCancer",
    "DataFile",
    "FileCertificate",
    "FileLogistic",
    "FileSquares",
    "data_file",
    "read",
]
