"""The RSA keys of SalesIQ and Cliq, and what they sign: SHA-256 with PKCS#1 v1.5, in base64."""

from __future__ import annotations

import base64
from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@cache
def key(name: str) -> rsa.RSAPrivateKey:  # noqa: ARG001 - the cache tells them apart
    """The key of that name, one for the process: making one takes longer than most tests."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def shown(name: str) -> str:
    """Its public half as Zoho's pages show it: bare base64, without the frame of a PEM."""
    public = key(name).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(public).decode()


def signature(name: str, body: bytes) -> str:
    return base64.b64encode(key(name).sign(body, PKCS1v15(), SHA256())).decode()
