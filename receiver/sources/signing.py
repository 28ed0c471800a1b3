"""The recipes of signatures and tokens, and their comparison: in constant time, on bytes of equal form."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from receiver.event import Delivery

DAY = 86_400_000
OLDEST, AHEAD = 16, 1
"""Days that a channel's token is good for. A channel lives a week at most, so sixteen days cover the token
before as well; one day ahead covers a clock that is wrong."""

HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha1": hashes.SHA1(),  # noqa: S303 - some senders know no other, and as an HMAC it holds
}
_HEX = re.compile(r"[0-9a-fA-F]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{43}=")
_TOKEN = re.compile(r"([1-9][0-9]{0,6})\.[A-Za-z0-9_-]{40}")


def hmac_sha256(secret: str, message: bytes) -> bytes:
    """HMAC-SHA256 with the secret's UTF-8 text as the key."""
    return keyed(secret, message, "sha256")


def keyed(secret: str, message: bytes, algorithm: str) -> bytes:
    """The HMAC with the secret's UTF-8 text as the key."""
    begun = _begun(secret, algorithm).copy()
    begun.update(message)
    return begun.finalize()


@lru_cache(64)
def _begun(secret: str, algorithm: str) -> HMAC:
    """An HMAC that has its key: half of the work for a short message. Not the standard library's, whose own part costs as much again."""
    return HMAC(secret.encode("utf-8", "surrogatepass"), HASHES[algorithm])


def bearing(delivery: Delivery, header: str, value: str) -> Delivery:
    """The delivery with this header, in place of any of that name."""
    others = [pair for pair in delivery.headers if pair[0] != header.lower()]
    return replace(delivery, headers=(*others, (header.lower(), value)))


def from_hex(given: str) -> bytes | None:
    """The digest that 64 hex digits of either case spell, or None."""
    return bytes.fromhex(given) if _HEX.fullmatch(given) else None


def from_base64(given: str) -> bytes | None:
    """The digest that 44 characters of base64 spell, or None."""
    return spelled_in_base64(given) if _BASE64.fullmatch(given) else None


def spelled_in_base64(given: str) -> bytes | None:
    """The bytes of a base64 text, or None where it is none, or not spelled as a writer spells it: other last letters give the same."""
    try:
        raw = base64.b64decode(given.encode("ascii"), validate=True)
    except ValueError:
        return None
    return raw if hmac.compare_digest(base64.b64encode(raw), given.encode()) else None


def which_hmac(claimed: bytes | None, secrets: Sequence[str], messages: Iterable[bytes]) -> int | None:
    """Which of the secrets gives this digest of one of the messages, or None. An empty secret never fits."""
    if claimed is None:
        return None
    texts = tuple(messages)
    fits = [False] * len(secrets)
    for index, secret in enumerate(secrets):
        if secret:
            for text in texts:
                fits[index] |= hmac.compare_digest(hmac_sha256(secret, text), claimed)
    return _first(fits)


def which_static(given: str, secrets: Sequence[str]) -> int | None:
    """Which of the secrets this text is, or None. Digests are compared, so that no length shows."""
    claimed = _digest(given)
    return _first([bool(secret) and hmac.compare_digest(_digest(secret), claimed) for secret in secrets])


def channel_token(secret: str, channel: str, generation: int) -> str:
    """The token of a CRM channel, `<generation>.<cut HMAC in base64url>`: 46 of the 50 characters Zoho takes.

    Derived, so that it is checked without any look-up. The generation is the day, since 1970, of its making.
    """
    proof = hmac_sha256(secret, f"zohook channel token\0{channel}\0{generation}".encode())[:30]
    return f"{generation}.{base64.urlsafe_b64encode(proof).decode()}"


def channel_id(secret: str, name: str) -> str:
    """The id of a CRM channel by its name in zohook.toml: 18 digits, which fit Zoho's long."""
    number = int.from_bytes(hmac_sha256(secret, f"zohook channel id\0{name}".encode()), "big")
    return str(10**17 + number % (9 * 10**17))


def which_channel(given: str, channel: str, secrets: Sequence[str], at: int) -> int | None:
    """Which of the secrets made this channel's token, or None; `at` is when it came, in ms."""
    form = _TOKEN.fullmatch(given)
    if not form:
        return None
    generation = int(form[1])
    if not at // DAY - OLDEST <= generation <= at // DAY + AHEAD:
        return None
    return _first(
        [
            bool(secret)
            and hmac.compare_digest(channel_token(secret, channel, generation).encode(), given.encode())
            for secret in secrets
        ]
    )


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _first(fits: Sequence[bool]) -> int | None:
    return fits.index(True) if True in fits else None
