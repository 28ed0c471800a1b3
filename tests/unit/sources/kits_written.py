"""The kits of products that a static secret proves, of ZeptoMail, and of whatever is configured as custom."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from kits_signed import bearing, mac
from signed_deliveries import RECEIVED, SECRETS, Kit, sample, secrets

from receiver.event import Delivery
from receiver.sources.recipe import Recipe
from receiver.sources.source import Way

if TYPE_CHECKING:
    from collections.abc import Callable

    from signed_deliveries import Deliver

SECONDS = str(RECEIVED // 1000)
JSON = {"content-type": "application/json"}


def secret(name: str, body: bytes) -> str:
    """The proof that is a secret."""
    return SECRETS[name]


def _written(product: str, case: str, event: str, **way: str) -> Kit:
    return Kit(
        Way(product, product, events=(event,) if event else (), **way),
        bearing("X-Webhook-Token", product, case),
        secret,
        secrets,
        "static",
        "x-webhook-token",
        marked=product == "campaigns",
    )


def in_query(parameter: str, product: str, case: str) -> Deliver:
    """A maker of deliveries that bear their proof in a parameter of the URL."""

    def deliver(proof: str | None, body: bytes | None = None) -> Delivery:
        sent = sample(product, case) if body is None else body
        query = (
            b"" if proof is None else f"{parameter}={quote(proof.encode('utf-8', 'surrogatepass'))}".encode()
        )
        return Delivery.arrive(product, sent, query=query, headers=JSON, received=RECEIVED)

    return deliver


def zepto_signature(name: str, body: bytes, at: int = RECEIVED) -> str:
    """The proof of ZeptoMail, whose padding is percent-encoded."""
    digest = base64.b64encode(mac(SECRETS[name], body)).decode()
    return f"ts={at};s={quote(digest, safe='')};s-algorithm=HmacSHA256"


KITS: dict[str, Kit] = {
    "crm_bulk": Kit(
        Way("bulk", "crm_bulk", secret_header="", secret_parameter="token"),
        in_query("token", "crm_bulk", "read-completed"),
        secret,
        secrets,
        "token",
        marked=False,
    ),
    "recruit": _written("recruit", "candidate-hired", "Candidates.hired", id="/record_id"),
    "bigin": _written("bigin", "deal-won", "Pipelines.won", id="/record_id"),
    "sprints": _written("sprints", "item-done", "Item.done", id="/record_id"),
    "forms": _written("forms", "entry", ""),
    "campaigns": _written("campaigns", "email-open", ""),
    "zeptomail": Kit(
        Way("zeptomail", "zeptomail"),
        bearing("producer-signature", "zeptomail", "hard-bounce"),
        zepto_signature,
        secrets,
        "hmac",
        "producer-signature",
        binds_body=True,
    ),
    "custom": _written("custom", "deluge", "order.paid", id="/id", time="/at"),
}

CUSTOM = KITS["custom"].way


def _basic(name: str, body: bytes) -> str:
    return "Basic " + base64.b64encode(f"zoho:{SECRETS[name]}".encode()).decode()


def _signed(recipe: Recipe, text: Callable[[bytes], bytes], **also: object) -> Kit:
    """A custom source with a recipe, whose senders sign what `text` makes of the body."""

    def prove(name: str, body: bytes) -> str:
        digest = hmac.new(SECRETS[name].encode(), text(body), getattr(hashlib, recipe.hash)).digest()
        spelled = {
            "hex": digest.hex(),
            "base64": base64.b64encode(digest).decode(),
            "base64url": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        }[recipe.encoding]
        return f"t={SECONDS},v1={spelled}" if recipe.part else recipe.prefix + spelled

    headers = {recipe.timestamp: SECONDS} if recipe.timestamp and not recipe.part else {}
    return Kit(
        replace(CUSTOM, hmac=recipe),
        bearing(recipe.header, "custom", "deluge", headers=headers),
        prove,
        secrets,
        "hmac",
        recipe.header.lower(),
        binds_body=True,
        hex=recipe.encoding == "hex" and not (recipe.part or recipe.prefix),
        marked=False,
        **also,  # type: ignore[arg-type]
    )


VARIANTS: dict[str, Kit] = {
    "parameter": Kit(
        replace(CUSTOM, secret_header="", secret_parameter="key"),
        in_query("key", "custom", "deluge"),
        secret,
        secrets,
        "static",
        marked=False,
    ),
    "basic": Kit(
        replace(CUSTOM, secret_user="zoho"),
        bearing("Authorization", "custom", "deluge"),
        _basic,
        secrets,
        "static",
        "authorization",
        marked=False,
    ),
    "bearer": Kit(
        replace(CUSTOM, secret_header="authorization", secret_prefix="Bearer "),
        bearing("Authorization", "custom", "deluge"),
        lambda name, body: "Bearer " + SECRETS[name],
        secrets,
        "static",
        "authorization",
        marked=False,
    ),
    "hmac": _signed(Recipe("X-Signature"), lambda body: body),
    "github": _signed(Recipe("X-Hub-Signature-256", prefix="sha256="), lambda body: body),
    "sha1": _signed(Recipe("X-Signature", hash="sha1"), lambda body: body),
    "base64": _signed(Recipe("X-Signature", hash="sha512", encoding="base64"), lambda body: body),
    "base64url": _signed(Recipe("X-Signature", encoding="base64url"), lambda body: body),
    "timed": _signed(
        Recipe("X-Signature", signed="v0:{timestamp}:{body}", timestamp="X-Timestamp"),
        lambda body: f"v0:{SECONDS}:".encode() + body,
    ),
    "stripe": _signed(
        Recipe("Shop-Signature", signed="{timestamp}.{body}", part="v1", timestamp="t"),
        lambda body: f"{SECONDS}.".encode() + body,
    ),
    "request": _signed(
        Recipe("X-Signature", signed="{method} {path}?{query}\n{header:Content-Type}\n{body}"),
        lambda body: b"POST /in/custom?\napplication/json\n" + body,
    ),
}
"""Ways in which a custom source may be proven, beside the usual one."""
