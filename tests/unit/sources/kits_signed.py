"""The kits of Sign, Mail, Payments, Projects, SalesIQ, Cliq and Commerce."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from signed_deliveries import RECEIVED, SECRETS, Kit, private_key, sample, secrets

from receiver.event import Delivery
from receiver.sources.source import Keys, Way

if TYPE_CHECKING:
    from signed_deliveries import Deliver


def mac(secret: str, text: bytes) -> bytes:
    """HMAC-SHA256, as Zoho makes it."""
    return hmac.new(secret.encode(), text, hashlib.sha256).digest()


def in_base64(name: str, body: bytes) -> str:
    """The proof of Sign, Mail and Projects."""
    return base64.b64encode(mac(SECRETS[name], body)).decode()


def stamped(name: str, body: bytes, at: int = RECEIVED) -> str:
    """The proof of Payments."""
    return f"t={at},v={mac(SECRETS[name], f'{at}.'.encode() + body).hex()}"


def in_rsa(name: str, body: bytes) -> str:
    """The proof of SalesIQ and Cliq."""
    return base64.b64encode(private_key(name).sign(body, PKCS1v15(), SHA256())).decode()


def public(*names: str) -> Keys:
    """The public halves."""
    return Keys(public=tuple(private_key(name).public_key() for name in names))


def bearing(header: str, product: str, case: str, **also: Any) -> Deliver:
    """A maker of this product's deliveries, which bear their proof in a header."""

    def deliver(proof: str | None, body: bytes | None = None) -> Delivery:
        sent = sample(product, case) if body is None else body
        headers = {
            "content-type": "application/json",
            **also.get("headers", {}),
            **({} if proof is None else {header: proof}),
        }
        return Delivery.arrive(
            product, sent, query=also.get("query", b""), headers=headers, received=RECEIVED
        )

    return deliver


KITS: dict[str, Kit] = {
    "sign": Kit(
        Way("sign", "sign"),
        bearing("X-ZS-WEBHOOK-SIGNATURE", "sign", "signing-success"),
        in_base64,
        secrets,
        "hmac",
        "x-zs-webhook-signature",
        binds_body=True,
    ),
    "mail": Kit(
        Way("mail", "mail"),
        bearing("X-Hook-Signature", "mail", "new-mail"),
        in_base64,
        secrets,
        "hmac",
        "x-hook-signature",
        binds_body=True,
    ),
    "payments": Kit(
        Way("payments", "payments"),
        bearing("X-Zoho-Webhook-Signature", "payments", "payment-succeeded-cut"),
        stamped,
        secrets,
        "hmac",
        "x-zoho-webhook-signature",
        binds_body=True,
    ),
    "projects": Kit(
        Way("projects", "projects", events=("task.updated",), id="/id", time="/modified_time"),
        bearing("X-ZP-WEBHOOK-SIGNATURE", "projects", "task-own-body", query=b"event=task.updated"),
        in_base64,
        secrets,
        "hmac",
        "x-zp-webhook-signature",
        binds_body=True,
    ),
    "salesiq": Kit(
        Way("salesiq", "salesiq"),
        bearing("x-siqsignature", "salesiq", "operator-replied"),
        in_rsa,
        public,
        "rsa",
        "x-siqsignature",
        binds_body=True,
    ),
    "cliq": Kit(
        Way("cliq", "cliq"),
        bearing("X-Cliq-Signature", "cliq", "bot-message"),
        in_rsa,
        public,
        "rsa",
        "x-cliq-signature",
        binds_body=True,
    ),
    "commerce": Kit(
        Way("commerce", "commerce"),
        bearing(
            "X-Webhook-Token",
            "commerce",
            "salesorder-delivered",
            headers={
                "content-type": "application/x-www-form-urlencoded;charset=UTF-8",
                "X-ZOHO-Event": "salesorder.delivered",
            },
        ),
        lambda name, body: SECRETS[name],
        secrets,
        "static",
        "x-webhook-token",
    ),
}
