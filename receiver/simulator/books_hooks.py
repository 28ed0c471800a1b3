"""Books' webhooks: one URL per rule, signed with the rule's secret where it has one."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlencode, urlsplit

import orjson

from receiver.simulator.books_fields import KINDS
from receiver.simulator.deliver import Parcel

if TYPE_CHECKING:
    from receiver.simulator.deliver import Sender
    from receiver.simulator.wire import Json
    from receiver.simulator.world import World

VERBS = ("created", "updated", "deleted", "sent", "paid", "partially_paid", "void", "draft")
FORM = "application/x-www-form-urlencoded;charset=UTF-8"


@dataclass(slots=True)
class Hook:
    """`event` is `<entity>.<verb>`; `params` are form names and the payload keys that fill them."""

    id: str
    url: str
    event: str
    secret: str = ""
    format: str = "json"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    numeric_ids: bool = False


class Hooks:
    """All rules of the organisation."""

    def __init__(self, world: World, sender: Sender) -> None:
        self.world = world
        self.sender = sender
        self.hooks: list[Hook] = []

    def add(self, url: str, event: str, **about: Any) -> Hook:
        """ValueError for what the product's form would not take."""
        hook = Hook(self.world.books_id(), url, event, **about)
        entity, _, verb = event.partition(".")
        if entity not in {kind.one for kind in KINDS.values()} or verb not in VERBS:
            raise ValueError(f"no such event: {event}")
        if hook.secret and not (
            hook.secret.isascii() and hook.secret.isalnum() and 12 <= len(hook.secret) <= 50
        ):
            raise ValueError("secret: 12 to 50 letters and digits")
        if hook.format not in ("json", "form", "jsonstring") or hook.method not in ("POST", "PUT", "DELETE"):
            raise ValueError("format: json, form or jsonstring; method: POST, PUT or DELETE")
        self.hooks.append(hook)
        return hook

    def publish(self, kind: str, verb: str, row: Json) -> None:
        entity = KINDS[kind].one
        for hook in self.hooks:
            if hook.event == f"{entity}.{verb}":
                self._send(hook, entity, row)

    def _send(self, hook: Hook, entity: str, row: Json) -> None:
        shown = {k: _number(v) if hook.numeric_ids and k.endswith("_id") else v for k, v in row.items()}
        payload = orjson.dumps({entity: shown})
        is_form = hook.format != "json"
        if hook.format == "form":
            names = hook.params or {KINDS_BY_ONE[entity]: KINDS_BY_ONE[entity]}
            payload = urlencode({name: str(row.get(key, "")) for name, key in names.items()}).encode()
        elif hook.format == "jsonstring":
            payload = urlencode({"JSONString": payload}).encode()
        headers = {
            **hook.headers,
            "content-type": FORM if is_form else "application/json;charset=UTF-8",
            "X-com-zoho-organizationid": self.world.books_org,
        }
        if hook.secret:
            headers["X-Zoho-Webhook-Signature"] = sign(hook.secret, hook.url, payload, is_form=is_form)
        digest = hashlib.sha256(hook.url.encode() + b"\0" + payload).hexdigest()
        self.sender.put(
            Parcel("books", hook.event, hook.url, payload, headers, (f"books:{digest}",), method=hook.method)
        )


KINDS_BY_ONE = {kind.one: kind.id for kind in KINDS.values()}


def sign(secret: str, url: str, body: bytes, *, is_form: bool) -> str:
    """https://www.zoho.com/us/subscriptions/kb/webhooks/securing-webhooks.html"""
    text = canonical(urlsplit(url).query.encode(), body, is_form=is_form)
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def canonical(query: bytes, body: bytes, *, is_form: bool) -> bytes:
    """Sorted pairs without separators, then the raw body; a form has its pairs decoded and no body."""
    pairs = _pairs(query) + (_pairs(body) if is_form else [])
    joined = b"".join(key + value for key, value in sorted(pairs, key=lambda pair: pair[0]))
    return unquote_plus(joined.decode()).encode() if is_form else joined + body


def _pairs(text: bytes) -> list[tuple[bytes, bytes]]:
    pieces = (part.partition(b"=") for part in text.split(b"&") if part)
    return [(key, value) for key, _, value in pieces]


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value
