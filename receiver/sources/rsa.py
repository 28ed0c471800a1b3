"""RSA signatures, SHA-256 with PKCS#1 v1.5 (Java's SHA256withRSA), and the public keys that an operator pastes from Zoho's pages."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from receiver.sources import signing

if TYPE_CHECKING:
    from collections.abc import Sequence

SMALLEST = 1024
"""Bits. Zoho does not say how long its keys are; shorter ones have been broken."""

_FRAME = "-----{} PUBLIC KEY-----"


def public_key(text: str) -> RSAPublicKey:
    """The key of a PEM or of its bare base64, which is what Zoho's pages show; raises ValueError for anything else."""
    bare = text.strip().removeprefix(_FRAME.format("BEGIN")).removesuffix(_FRAME.format("END"))
    try:
        key = load_der_public_key(base64.b64decode("".join(bare.split()), validate=True))
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("is no public key: paste the PEM, or the base64 that Zoho shows") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < SMALLEST:
        raise ValueError(f"is no RSA key of {SMALLEST} bits or more")
    return key


def which_rsa(given: str, keys: Sequence[RSAPublicKey], message: bytes) -> int | None:
    """Which of the keys verifies this base64 signature of the message, or None."""
    signature = signing.spelled_in_base64(given)
    if signature is None:
        return None
    return next((at for at, key in enumerate(keys) if _verifies(key, signature, message)), None)


def _verifies(key: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True
