"""Data of the user's own: LIBSVM text and .npz files, and the problems that they make."""

from efsgd.convex.data.files import DataFile, data_file, read
from efsgd.convex.data.problems import FileCertificate, FileLogistic, FileSquares

__all__ = [
    "DataFile",
    "FileCertificate",
    "FileLogistic",
    "FileSquares",
    "data_file",
    "read",
]
