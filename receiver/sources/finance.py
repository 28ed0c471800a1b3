"""Zoho's finance family (Books, Inventory, Invoice, Billing, Expense): an HMAC over query and body.

https://www.zoho.com/us/subscriptions/kb/webhooks/securing-webhooks.html has the recipe, but neither a key with its digest nor how a
digest is spelled: two public receivers read hex. `signature_base64 = true` reads base64 as well, where an account is seen to send that.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from receiver.errors import Malformed, Unauthenticated
from receiver.sources import body, pointer, reading, signing, strict_json
from receiver.sources.fingerprints import FINANCE as HEADER
from receiver.sources.guide import Guide
from receiver.sources.product import Product, need_secret
from receiver.sources.source import Parsed, Verified

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Way

ORGANISATION = "x-com-zoho-organizationid"

RESOURCES = (
    *("invoice", "contact", "salesorder", "purchaseorder", "estimate", "creditnote", "bill", "expense"),
    *(
        "item",
        "customerpayment",
        "vendorpayment",
        "recurringinvoice",
        "inventory_adjustment",
        "transfer_order",
    ),
)

_FIELD = re.compile(r"[\w .\-\[\]]{1,100}")


GUIDE = Guide(
    proof="HMAC-SHA256 over query and body, in X-Zoho-Webhook-Signature",
    by_event=True,
    screen="""\
1. Open Settings > Automation > Workflow Actions > Webhooks there, and make a webhook for the module that {event} is about.
2. Method POST, and as URL:

       {url}

3. Tick the box that secures the webhook, and type this as its secret token:

       {secret}

4. Leave the body at its default payload.
5. Make it the action of the workflow rule that means {event}.
""",
    organisations=("/organization_id",),
    ids=tuple(f"/{resource}/{resource}_id" for resource in RESOURCES),
    times=tuple(
        f"/{resource}/{name}" for resource in RESOURCES for name in ("last_modified_time", "created_time")
    ),
)


class Finance(Product):
    """One event for each request: a workflow's webhook sends one record."""

    methods = frozenset({"POST", "PUT", "DELETE"})
    header = HEADER
    knows = frozenset({"signature_base64"})
    guide = GUIDE

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The signature is the HMAC of the sorted pairs of query and form, then of a body that is no form.

        The recipe joins without separators, so text can be moved between names, values and body under one
        signature. What a moved piece needs is refused: parameters other than `event`, odd names of fields.
        """
        given = delivery.header(HEADER)
        if not given:
            raise Unauthenticated(
                f"no {HEADER} came: tick the secure box of the webhook in Zoho and type a token there"
            )
        if given.lstrip().startswith("t="):
            raise Unauthenticated(f"{HEADER} has the form of Zoho Payments; {self.product} sends bare hex")
        need_secret(way, keys)
        try:
            texts = signed_texts(delivery)
        except Malformed as error:
            raise Unauthenticated(f"what was signed cannot be read: {error}") from None
        claimed = signing.from_hex(given) or (signing.from_base64(given) if way.signature_base64 else None)
        which = signing.which_hmac(claimed, keys.secrets, texts)
        if which is None:
            raise Unauthenticated(
                f"{HEADER} does not fit query and body, or does not come of the secret of {way.name}"
            )
        return Verified("hmac", which)

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:  # noqa: ARG002
        """The signature of query and body."""
        return signing.bearing(delivery, HEADER, signing.hmac_sha256(secret, signed_texts(delivery)[0]).hex())

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The one event, named by the URL; where no events are listed its type ends with `.changed`."""
        document = self._document(delivery)
        word = self._word(delivery, way, document)
        kind = _named(self, word) if word else ""
        resource, record = _record(document, kind)
        if not word and not resource:
            raise Malformed(
                "neither URL nor body says what this is about; let the URL in Zoho end with ?event=..."
            )
        named = pointer.find(document, way.id) if way.id else record.get(f"{resource}_id")
        event = self._event(
            delivery,
            way,
            verified,
            self._fact(document),
            type=kind or f"{self.prefix}.{resource}.changed",
            native=word,
            data=document,
            organisation=_organisation(delivery, way, document),
            record_id=reading.identifier(named),
            occurred=self.instant(
                pointer.find(document, way.time) if way.time else document.get("event_time"), way
            ),
        )
        return Parsed([event])

    def types(self) -> Sequence[str]:
        """The records that are known to be sent; the admin names the verbs, in zohook.toml."""
        return [f"{self.prefix}.{resource}.*" for resource in RESOURCES]

    def _word(self, delivery: Delivery, way: Way, document: dict[str, Any]) -> str:  # noqa: ARG002 - Billing reads it
        return self._event_in_url(delivery, way)

    def _fact(self, document: dict[str, Any]) -> Sequence[object] | None:  # noqa: ARG002
        return None

    def _document(self, delivery: Delivery) -> dict[str, Any]:
        what = body.kind(delivery)
        if what == "json":
            document = strict_json.document(delivery)
        elif what in ("form", "empty"):
            document = body.form(delivery)
            packed = document.get("JSONString")
            if isinstance(packed, str):  # how older organisations are said to send the default payload
                document = strict_json.loads(packed.encode())
        else:
            raise Malformed("the body is neither JSON nor a form")
        if not isinstance(document, dict):
            raise Malformed("the body is no JSON object")
        return document


@lru_cache(256)
def _named(product: Finance, word: str) -> str:
    return product.named(word)


def signed_texts(delivery: Delivery) -> tuple[bytes, ...]:
    """What Zoho may have signed: one text, or two for a form, as it does not say if `+` is a blank."""
    query, joined = _signed_query(delivery.query)
    if body.kind(delivery) != "form":
        return (joined + delivery.body,)
    for name in body.fields(delivery.body):
        if not _FIELD.fullmatch(name):
            raise Malformed("a form field with a name that no field of Zoho has")
    joined = _joined([*query, *body.pairs(delivery.body)])
    return tuple(dict.fromkeys((unquote_to_bytes(joined.replace(b"+", b" ")), unquote_to_bytes(joined))))


@lru_cache(256)
def _signed_query(query: bytes) -> tuple[tuple[tuple[bytes, bytes], ...], bytes]:
    """The pairs of a query that a signature covers, and those joined. Remembered, as the URL is."""
    pairs = tuple(body.pairs(query))
    if [name for name, _ in pairs] not in ([], [b"event"]):
        raise Malformed(
            "the URL carries more than one ?event=..., which a signature of this kind cannot protect"
        )
    return pairs, _joined(pairs)


def _joined(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    return b"".join(name + value for name, value in sorted(pairs, key=lambda pair: pair[0]))


def _record(document: dict[str, Any], kind: str) -> tuple[str, dict[str, Any]]:
    """The record's name and fields: what the event names, else the only object with an id, else the only one."""
    wanted = kind.lower().split(".")[1] if kind else ""
    usual = document.get(wanted)
    if isinstance(usual, dict) and wanted != "data" and reading.is_name(wanted):
        return wanted, usual
    found = [
        (key, value)
        for holder in _holders(document)
        for key, value in holder.items()
        if isinstance(value, dict) and key != "data" and reading.is_name(key)
    ]
    named = [pair for pair in found if pair[0] == wanted]
    if not named and wanted and f"{wanted}_id" in document:
        return wanted, document
    with_id = [(key, value) for key, value in found if f"{key}_id" in value]
    alone = next((pairs[0] for pairs in (with_id, found) if len(pairs) == 1), (wanted, {}))
    return named[0] if named else alone


def _holders(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield document
    for name in ("data", "payload"):
        inner = document.get(name)
        if isinstance(inner, str) and inner.startswith("{"):  # Billing's events hold their payload as a text
            try:
                inner = strict_json.loads(inner.encode())
            except Malformed:
                continue
        if isinstance(inner, dict):
            yield inner


def _organisation(delivery: Delivery, way: Way, document: dict[str, Any]) -> str:
    """The body's is signed, the configured one is trusted; the header is neither and comes last."""
    said = reading.identifier(document.get("organization_id"))
    return said or way.organisation or (delivery.header(ORGANISATION) or "").strip()
