"""Public keys as they are pasted, and what verifies with them."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from kits_signed import in_rsa
from signed_deliveries import private_key

from receiver.sources import rsa

SMALL = (
    # 512 bits, by `openssl genrsa 512`: the library makes none that small any more.
    "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMoOciq2hO3I4lfE12QCZYPc0YVPhe3Nn5y06jwS0zL4fJ1KXV8baiJt2ZS0iA5bd/TEDeyjK6YF"
    "D1IXkw+ll2kCAwEAAQ=="
)


def der(key: object) -> bytes:
    """The public half as Zoho shows it, before its base64."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_key_is_read_in_the_ways_that_it_is_pasted():
    """As PEM, as its bare base64, in one line or in many, with blanks around it."""
    key = private_key("new")
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    bare = base64.b64encode(der(key)).decode()
    for text in (
        pem,
        bare,
        f"\n  {bare} \n",
        "\n".join(bare[at : at + 28] for at in range(0, len(bare), 28)),
    ):
        assert rsa.public_key(text).public_numbers() == key.public_key().public_numbers()


@pytest.mark.parametrize(
    "text",
    [
        *["", "MIIB...", "not base64!", "45678998765", base64.b64encode(b"\x30\x03\x02\x01\x05").decode()],
        *[base64.b64encode(der(ec.derive_private_key(5, ec.SECP256R1()))).decode()],
        *[base64.b64encode(der(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))).decode(), SMALL],
    ],
    ids=range(8),
)
def test_anything_else_is_no_key(text):
    """Another sort of key, a key that can be broken, or a text that is none: refused with what to paste."""
    with pytest.raises(ValueError, match=r"is no (public key|RSA key)"):
        rsa.public_key(text)


def test_any_of_the_keys_may_fit():
    """Newest first, and which one it was is told."""
    keys = [private_key(name).public_key() for name in ("new", "old")]
    assert rsa.which_rsa(in_rsa("new", b"text"), keys, b"text") == 0
    assert rsa.which_rsa(in_rsa("old", b"text"), keys, b"text") == 1
    assert rsa.which_rsa(in_rsa("wrong", b"text"), keys, b"text") is None
    assert rsa.which_rsa(in_rsa("new", b"text"), [], b"text") is None


def test_only_this_scheme_is_taken():
    """A signature with SHA-1, one of another length, and bytes that are no base64 are refused."""
    keys = [private_key("new").public_key()]
    weak = private_key("new").sign(b"text", PKCS1v15(), SHA1())  # noqa: S303
    sound = private_key("new").sign(b"text", PKCS1v15(), SHA256())
    for raw in (weak, sound[:-1], sound + b"\0", b"\0" + sound, b"", bytes(len(sound))):
        assert rsa.which_rsa(base64.b64encode(raw).decode(), keys, b"text") is None
    for text in (
        "\u00e9",
        base64.urlsafe_b64encode(b"\xff" * 256).decode(),
        base64.b64encode(sound).decode() + "\n",
    ):
        assert rsa.which_rsa(text, keys, b"text") is None
