"""Threats on the way to Zoho: who is talked to, with what, and what comes back (S7, S12, S20 to S22, S31)."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from zoho_kit import whole

from receiver.intake import jwks
from receiver.intake.keyring import Keyring
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    import pytest

    from tests.conftest import MakeSettings

DESK = """
[connections.acme]
dc = "simulator"
client_id = "1000.X"
desk = "700"
[simulator]
url = "{url}"
[sources]
desk = {{ product = "desk", connection = "acme" }}
"""


def keyring(settings: MakeSettings, url: str) -> Keyring:
    """The keyring of a source whose public keys are at that URL."""
    return Keyring(settings(DESK.format(url=url)), Vault(Fernet.generate_key().decode()))


def fetched(ring: Keyring) -> bool:
    """Whether the public keys could be had."""
    return asyncio.run(ring.refresh(ring.locks["desk"]))


def test_s12_a_key_set_that_is_a_bomb_or_drips_is_given_up(
    odd: Any, settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Desk's public keys come unpacked, within their size and within seconds, or not at all."""
    monkeypatch.setattr(jwks, "PATIENCE", 30)
    key = jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True)
    sound = json.dumps({"keys": [{**key, "kid": "k1"}]}).encode()
    bomb = gzip.compress(sound + b" " * 50_000_000)

    def drip(_path: str, sock: Any) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n")
        while True:
            sock.sendall(b" ")
            time.sleep(0.1)

    def sends(answer: bytes) -> Keyring:
        return keyring(settings, odd(lambda _, sock: sock.sendall(answer)).base)

    assert fetched(sends(whole(sound)))
    assert not fetched(sends(whole(bomb, Content_Encoding="gzip")))
    assert not fetched(sends(whole(sound + b" " * 300_000)))
    monkeypatch.setattr(jwks, "PATIENCE", 0.5)
    started = time.monotonic()
    assert not fetched(keyring(settings, odd(drip).base))
    assert time.monotonic() - started < 10  # else it would take a quarter of an hour


def test_s22_a_consent_of_another_person_is_refused(visitor: Any) -> None:
    """Only the browser that began a consent finishes it, and it uses the state up that somebody else tried."""
    mine, other = visitor().sign_in(), visitor().sign_in()

    def state() -> str:
        to = mine.post("/connections/acme/connect").headers["location"]
        return parse_qs(urlsplit(to).query)["state"][0]

    back = "/connect/callback?error=access_denied&state="
    stolen = state()
    assert "begun in another session" in other.get(back + stolen).text
    assert "belongs to no consent under way" in mine.get(back + stolen).text
    assert "begun in another session" in visitor().get(back + state()).text
    assert "refused at Zoho" in mine.get(back + state()).text
