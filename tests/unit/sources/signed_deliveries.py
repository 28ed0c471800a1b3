"""What the tests of the sources share: the samples, and for each product a kit that proves a delivery as Zoho would."""

from __future__ import annotations

import functools
import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from receiver.event import Delivery
from receiver.sources import samples as shipped
from receiver.sources import signing
from receiver.sources.source import Keys, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SAMPLES = shipped.FOLDER
RECEIVED = 1_750_102_640_000
DAY = RECEIVED // 86_400_000
SECRETS = {
    "new": "newsecret-0123456789",
    "old": "oldsecret-0123456789",
    "wrong": "wrongsecret-0123456789",
    "empty": "",
}
ORGANISATION, WEBHOOK = "54983163", "777000111"
CHANNEL = "123456789012345678"


def sample(product: str, case: str) -> bytes:
    """The bytes of one sample."""
    return shipped.body(product, case)


def samples(product: str) -> list[str]:
    """The cases that there are for a product; the finance family shares those of Books."""
    return shipped.cases(product)


@functools.cache
def private_key(name: str) -> rsa.RSAPrivateKey:
    """An RSA key of this run, the same for the same name."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a sound token of Desk; a claim given as None is left out."""
    at = RECEIVED // 1000
    sound = {"iss": f"orgId:{ORGANISATION}", "aud": f"webhookId:{WEBHOOK}", "iat": at, "exp": at + 300}
    return {name: value for name, value in {**sound, **changed}.items() if value is not None}


def token(name: str = "new", headers: Mapping[str, Any] | None = None, **changed: Any) -> str:
    """A token signed with the key of that name, whose id is the name."""
    return jwt.encode(claims(**changed), private_key(name), "RS256", headers={"kid": name, **(headers or {})})


def finance_signature(secret: str, text: bytes) -> str:
    """The hex HMAC of the finance family."""
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


class Deliver(Protocol):
    """Makes a delivery with any proof, or with None, where the product puts its own; of a sample, or of this body."""

    def __call__(self, proof: str | None, body: bytes | None = None) -> Delivery: ...


@dataclass(frozen=True)
class Kit:
    """How one product proves its deliveries. `prove(name, body)` is the proof by the secret or key of that name.

    `scheme` is shared by products of which one takes the other's deliveries; `hex` says that its letters may be of either case.
    """

    way: Way
    deliver: Deliver
    prove: Callable[[str, bytes], str]
    keys: Callable[..., Keys]
    by: str
    header: str = ""
    binds_body: bool = False
    scheme: str = ""
    hex: bool = False
    marked: bool = True
    """Whether it has marks of its own, by which a mistake can be named."""

    def proven(self, name: str = "new", body: bytes | None = None) -> Delivery:
        """A delivery proven with the secret or key of that name."""
        bare = self.deliver(None, body)
        return self.deliver(self.prove(name, bare.body), body)

    def proof(self, name: str = "new") -> str:
        """The proof of its usual delivery."""
        return self.prove(name, self.deliver(None).body)


def secrets(*names: str) -> Keys:
    """Keys of these secrets."""
    return Keys(tuple(SECRETS[name] for name in names))


def _jwks(*names: str) -> Keys:
    """The key set; a wrong key is one that claims the id of another."""
    return Keys(jwks={name: private_key(name).public_key() for name in names}, issuer=f"orgId:{ORGANISATION}")


def notification(
    proof: str | None, body: bytes | None = None, *, case: str = "insert", **changed: Any
) -> Delivery:
    """A callback of our channel with that token."""
    said = json.loads(sample("crm_channel", case) if body is None else body)
    document = {**said, "channel_id": CHANNEL, "token": proof, **changed}
    if proof is None:
        del document["token"]
    return Delivery.arrive("crm", json.dumps(document).encode(), received=RECEIVED)


def workflow(proof: str | None, body: bytes | None = None, **also: Any) -> Delivery:
    """A workflow webhook with that secret in its header."""
    headers = {"content-type": "application/json", **({} if proof is None else {"X-Webhook-Token": proof})}
    sent = sample("crm_workflow", "rendered") if body is None else body
    return Delivery.arrive("rules", sent, headers=headers, received=RECEIVED, **also)


def finance(
    proof: str | None, body: bytes | None = None, query: bytes = b"event=invoice.paid", **also: Any
) -> Delivery:
    """A finance webhook with that signature."""
    headers = {"content-type": also.pop("content_type", "application/json"), **also.pop("headers", {})}
    if proof is not None:
        headers["X-Zoho-Webhook-Signature"] = proof
    sent = sample("books", "invoice-minimal") if body is None else body
    return Delivery.arrive("books", sent, query=query, headers=headers, received=RECEIVED, **also)


def desk(proof: str | None, body: bytes | None = None) -> Delivery:
    """A Desk delivery with that token."""
    sent = sample("desk", "ticket-update-excerpt") if body is None else body
    headers = {} if proof is None else {"X-ZDesk-JWT": proof}
    return Delivery.arrive("desk", sent, headers=headers, received=RECEIVED)


def _finance_kit(product: str) -> Kit:
    return Kit(
        Way(product, product, events=("invoice.paid",)),
        finance,
        lambda name, body: finance_signature(SECRETS[name], b"eventinvoice.paid" + body),
        secrets,
        "hmac",
        "x-zoho-webhook-signature",
        binds_body=True,
        scheme="finance",
        hex=True,
    )


def _desk_token(name: str, body: bytes) -> str:
    return token("wrong", {"kid": "new"}) if name == "wrong" else token(name)


FIRST: dict[str, Kit] = {
    "crm_channel": Kit(
        Way("crm", "crm_channel"),
        notification,
        lambda name, body: signing.channel_token(SECRETS[name], CHANNEL, DAY),
        secrets,
        "token",
    ),
    "crm_workflow": Kit(
        Way("rules", "crm_workflow", events=("Deals.won",), id="/lead_id"),
        workflow,
        lambda name, body: SECRETS[name],
        secrets,
        "static",
        "x-webhook-token",
        marked=False,
    ),
    **{product: _finance_kit(product) for product in ("books", "inventory", "invoice", "billing", "expense")},
    "desk": Kit(Way("desk", "desk", audience=(WEBHOOK,)), desk, _desk_token, _jwks, "jwt", "x-zdesk-jwt"),
}


def changed(delivery: Delivery, **fields: Any) -> Delivery:
    """The delivery with other fields."""
    return replace(delivery, **fields)
