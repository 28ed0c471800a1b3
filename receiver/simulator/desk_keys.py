"""The RSA keys with which Desk signs its X-ZDesk-JWT, and the JWKS that shows their public halves."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

if TYPE_CHECKING:
    from receiver.simulator.wire import Json

LIFE = 300


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair under its id."""

    kid: str
    private: rsa.RSAPrivateKey

    def public(self) -> Json:
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.kid,
            "n": _text(numbers.n),
            "e": _text(numbers.e),
        }


class Keys:
    """The first key signs; older ones stay in the JWKS until they are dropped."""

    def __init__(self) -> None:
        self._keys: list[Key] = []

    @property
    def keys(self) -> list[Key]:
        if not self._keys:
            self._keys = [_first()]
        return self._keys

    def rotate(self, *, keep: bool = True) -> str:
        """A new signing key; the old one is shown on unless `keep` is False."""
        old = self.keys if keep else []
        self._keys = [_made(), *old]
        return self._keys[0].kid

    def jwks(self) -> Json:
        return {"keys": [key.public() for key in self.keys]}

    def token(self, org: str, webhook: str, now: float) -> str:
        key = self.keys[0]
        claims = {
            "iss": f"orgId:{org}",
            "aud": f"webhookId:{webhook}",
            "iat": int(now),
            "exp": int(now) + LIFE,
        }
        return jwt.encode(claims, key.private, algorithm="RS256", headers={"kid": key.kid})


def _made() -> Key:
    return Key(secrets.token_hex(8), rsa.generate_private_key(public_exponent=65537, key_size=2048))


@lru_cache(maxsize=1)
def _first() -> Key:
    """One for the process: making a key takes longer than most tests."""
    return _made()


def _text(number: int) -> str:
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
