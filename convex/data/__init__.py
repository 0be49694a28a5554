"""The user's own data: LIBSVM text and .npz files, and convex problems on them."""

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
