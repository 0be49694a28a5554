"""Checks of what compressors claim: an adversarial search, and proofs by convex programmes."""

from efsgd.convex.verification.certificates import DeltaCertificate, certificate
from efsgd.convex.verification.verification import Verification, verify

__all__ = [
    "DeltaCertificate",
    "Verification",
    "certificate",
    "verify",
]
