"""Zoho Desk's token: what is taken and what is not."""

from __future__ import annotations

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kits import KITS
from signed_deliveries import (
    ORGANISATION,
    RECEIVED,
    WEBHOOK,
    changed,
    claims,
    desk,
    private_key,
    token,
)

from receiver.errors import Unauthenticated
from receiver.sources import PRODUCTS
from receiver.sources.source import Keys, Verified, Way

DESK = PRODUCTS["desk"]
WAY = KITS["desk"].way
KEYS = KITS["desk"].keys("new", "old")
AT = RECEIVED // 1000
PEM = (
    private_key("new")
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)


def raw(header: object, payload: object, signature: bytes = b"x" * 256) -> str:
    """A token put together by hand."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, signature))


def hs256(key: bytes) -> str:
    """A token signed with HMAC under what is known of the public key, which the library itself would refuse to make."""
    head = raw({"alg": "HS256", "kid": "new"}, claims()).rsplit(".", 1)[0]
    proof = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head.encode(), key)
    return f"{head}.{base64.urlsafe_b64encode(proof).decode().rstrip('=')}"


def signed(payload: bytes) -> str:
    """A token over any bytes, properly signed."""
    return jwt.api_jws.encode(payload, private_key("new"), "RS256", headers={"kid": "new"})


JWK = jwt.algorithms.RSAAlgorithm.to_jwk(private_key("new").public_key())
OWN = jwt.algorithms.RSAAlgorithm.to_jwk(private_key("wrong").public_key(), as_dict=True)
SOUND = token()

FORGED = {
    "alg none": jwt.encode(claims(), None, "none", headers={"kid": "new"}),
    "alg none in capitals": raw({"alg": "NONE", "kid": "new"}, claims(), b"\0"),
    "HS256 with the public PEM": hs256(PEM),
    "HS256 with the JWK": hs256(JWK.encode()),
    "HS256 with the modulus": hs256(json.loads(JWK)["n"].encode()),
    "RS512 of the right key": jwt.encode(claims(), private_key("new"), "RS512", headers={"kid": "new"}),
    "PS256 of the right key": jwt.encode(claims(), private_key("new"), "PS256", headers={"kid": "new"}),
    "foreign key, our kid": token("wrong", {"kid": "new"}),
    "foreign key, foreign kid": token("wrong"),
    "kid is a path": token("new", {"kid": "../../dev/null"}),
    "kid is empty": token("new", {"kid": ""}),
    "kid is a number": raw({"alg": "RS256", "kid": 5}, claims()),
    "kid is missing": jwt.encode(claims(), private_key("new"), "RS256"),
    "kid is an injection": token("new", {"kid": "new' OR '1'='1"}),
    "jku of the forger": token("wrong", {"kid": "new", "jku": "http://127.0.0.1:9/jwks.json"}),
    "x5u of the forger": token("wrong", {"kid": "new", "x5u": "http://127.0.0.1:9/cert.pem"}),
    "jwk of the forger": token("wrong", {"kid": "new", "jwk": OWN}),
    "crit unknown": token("new", {"crit": ["exp"], "exp": 1}),
    "b64 false": token("new", {"b64": False, "crit": ["b64"]}),
    "expired": token(exp=AT - 61),
    "expired long ago": token(exp=0),
    "not yet valid": token(nbf=AT + 61),
    "issued in the future": token(iat=AT + 61),
    "exp is a text": token(exp="9999999999"),
    "exp is true": signed(json.dumps(claims(exp=True)).encode()),
    "exp beyond 64 bits": signed(json.dumps(claims(exp=10**30)).encode()),
    "another audience": token(aud="webhookId:1"),
    "audience without its word": token(aud=WEBHOOK),
    "audiences of others": token(aud=["webhookId:1", "webhookId:2"]),
    "no audience": token(aud=None),
    "audience is a number": signed(json.dumps(claims(aud=5)).encode()),
    "another organisation": token(iss="orgId:1"),
    "issuer without its word": token(iss=ORGANISATION),
    "issuer with a tail": token(iss=f"orgId:{ORGANISATION}\n"),
    "issuer in other digits": token(
        iss="orgId:" + "".join(chr(0x0660 + int(digit)) for digit in ORGANISATION)
    ),
    "issuer is a number": signed(json.dumps(claims(iss=54983163)).encode()),
    "no issuer": token(iss=None),
    "claims twice": signed(b'{"iss":"orgId:1","iss":"orgId:54983163"}'),
    "claims are a list": signed(b"[]"),
    "claims are no JSON": signed(b"hello"),
    "claims nested deep": signed(b"[" * 5_000),
    "header nested deep": raw(b"[" * 5_000, claims()),
    "header with a name twice": raw(b'{"alg":"RS256","kid":"x","kid":"new"}', claims()),
    "header is a list": raw([], claims()),
    "header is no JSON": raw(b"hello", claims()),
    "claims swapped": ".".join(
        [SOUND.split(".")[0], token(iss="orgId:1").split(".")[1], SOUND.split(".")[2]]
    ),
    "signature empty": SOUND.rsplit(".", 1)[0] + ".",
    "signature cut": SOUND[:-4],
    "four parts": SOUND + ".x",
    "two parts": SOUND.rsplit(".", 1)[0],
    "padding": SOUND + "==",
    "standard base64": SOUND.replace("-", "+").replace("_", "/") + "/",
    "in quotes": f'"{SOUND}"',
    "bearer": "Bearer " + SOUND,
    "one letter": "A.A.A",
    "not ASCII": "\u00e9.\u00e9.\u00e9",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_forged_tokens_are_refused(forged):
    """No algorithm but RS256, no key but ours, no time but now, no organisation or webhook but the configured."""
    with pytest.raises(Unauthenticated):
        DESK.verify(desk(forged), WAY, KEYS)


@pytest.mark.parametrize(
    "sound",
    [
        *[
            SOUND,
            token("old"),
            token(exp=AT - 59),
            token(iat=AT + 59, nbf=AT + 59.5),
            token(exp=None, iat=None),
        ],
        *[
            token(aud=["webhookId:1", f"webhookId:{WEBHOOK}"]),
            token("new", {"jku": "http://127.0.0.1:9/jwks.json"}),
        ],
    ],
    ids=["plain", "second key", "late", "early", "timeless", "two audiences", "jku of no matter"],
)
def test_sound_tokens_are_taken(sound):
    """Times are optional and have a minute's leeway, several audiences may stand, and a `jku` is not looked at."""
    assert DESK.verify(desk(sound), WAY, KEYS) == Verified("jwt", 0, ORGANISATION)


def test_time_is_that_of_receipt():
    """A delivery that lay in the spool is judged by when it came, not by when it is verified."""
    late = changed(desk(SOUND), received=RECEIVED + 86_400_000)
    with pytest.raises(Unauthenticated, match="expired"):
        DESK.verify(late, WAY, KEYS)


def test_whose_desk_it_is_must_be_configured():
    """Desk signs for all its customers with the same keys, so a source that pins nothing takes nothing."""
    loose = Way("desk", "desk")
    open_keys = Keys(jwks=KEYS.jwks)
    with pytest.raises(Unauthenticated, match="organisation or audience"):
        DESK.verify(desk(SOUND), loose, open_keys)
    pinned = [
        (Way("desk", "desk", organisation=ORGANISATION), open_keys),
        (Way("desk", "desk", audience=(f"webhookId:{WEBHOOK}",)), open_keys),
        (loose, KEYS),
    ]
    for way, keys in pinned:
        assert DESK.verify(desk(SOUND), way, keys).organisation == ORGANISATION
    foreign = token(iss="orgId:1", aud="webhookId:1")
    for way, keys in pinned:
        with pytest.raises(Unauthenticated):
            DESK.verify(desk(foreign), way, keys)


def test_a_key_of_another_kind_is_refused():
    """A key of the set that is no RSA key verifies nothing and raises nothing strange."""
    for odd in (ec.generate_private_key(ec.SECP256R1()).public_key(), PEM, None):
        with pytest.raises(Unauthenticated):
            DESK.verify(desk(SOUND), WAY, Keys(jwks={"new": odd}, issuer=KEYS.issuer))


def test_an_unknown_key_is_missed():
    """The keyring is asked for newer keys where a token names one that is not at hand, and not for what is no token."""
    assert DESK.lacks(desk(SOUND), Keys())
    assert not DESK.lacks(desk(SOUND), KITS["desk"].keys("new"))
    assert not any(DESK.lacks(desk(text), Keys()) for text in (None, "", "x", "A.A.A", raw([], {})))
    assert not PRODUCTS["books"].lacks(desk(SOUND), Keys())
