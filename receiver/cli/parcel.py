"""What `zohook send` sends: a sample made new or a file as it is, changed as asked, and signed as the product signs."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

import httpx
import orjson
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from receiver.errors import Malformed, SettingsError
from receiver.event import Delivery, now_ms
from receiver.sources import fresh, samples, strict_json

if TYPE_CHECKING:
    from pathlib import Path

    from receiver.cli.send import Wish
    from receiver.intake.keyring import Lock
    from receiver.settings import Settings

FORM = "application/x-www-form-urlencoded"
OUR_WEBHOOK = "1"
"""The webhook id in a token of the simulator, where the source takes any."""


def packed(lock: Lock, case: str, wish: Wish, agent: str) -> Delivery:
    """The delivery before it is signed."""
    way = lock.way
    if wish.file is None:
        headers = samples.headers(way.product, case)
        body = samples.body(way.product, case)
    else:
        headers = {}
        try:
            body = wish.file.read_bytes()
        except OSError as error:
            raise SettingsError(f"{wish.file}: cannot be read: {error.strerror}") from error
    headers = {"content-type": _kind(body), **{name.lower(): value for name, value in headers.items()}}
    headers |= dict(_header(text) for text in wish.headers)
    form = headers["content-type"].startswith(FORM)
    document = _read(body, form=form)
    new = document
    if wish.file is None and not wish.as_captured:
        guide = lock.source.guide
        ids = tuple(dict.fromkeys(filter(None, (*guide.ids, way.id))))
        times = tuple(dict.fromkeys(filter(None, (*guide.times, way.time))))
        new = fresh.renewed(new, replace(guide, ids=ids, times=times), now_ms(), way.organisation)
    for change in wish.changes:
        new = _set(new, change, form=form)
    if new != document:  # else the very bytes
        body = urlencode(new).encode() if form else orjson.dumps(new)
    return Delivery.arrive(
        way.name, body, query=_query(lock, wish.event, new), headers={**headers, "user-agent": agent}
    )


def signed(delivery: Delivery, lock: Lock, settings: Settings, key: Path | None = None) -> Delivery:
    """The delivery with its proof. Raises SettingsError where nobody but Zoho can give it, or no secret is known."""
    if key is not None:
        return lock.source.sign(delivery, lock.way, _signature(delivery, lock, key))
    if lock.source.guide.whose == "public":
        return lock.source.sign(delivery, lock.way, _by_simulator(delivery, lock, settings))
    if not lock.keys.secrets:
        raise SettingsError(
            f"{lock.source.guide.title} has told {lock.way.name} no secret yet, as far as its Redis can be reached: "
            f"zohook source arm {lock.way.name}; --unsigned sends without proof"
        )
    try:
        return lock.source.sign(delivery, lock.way, lock.keys.secrets[0])
    except Malformed as error:
        raise SettingsError(
            f"this body cannot be signed: {error}; --unsigned sends it without proof"
        ) from None


def _by_simulator(delivery: Delivery, lock: Lock, settings: Settings) -> str:
    """What the simulated Zoho proves the delivery with, where this source trusts it."""
    connection = settings.connections.get(lock.way.connection)
    simulated = connection is None or connection.dc.startswith("simulator")
    if not settings.simulator.url or not simulated:
        raise SettingsError(
            f"only Zoho has the private key that {lock.source.guide.title} signs with, so nobody else can send to "
            f'{lock.way.name}; with a connection of dc = "simulator" the simulator signs, with --key a key of your own, and --unsigned sends without proof'
        )
    asked = {
        "product": lock.way.product,
        "body": b64encode(delivery.body).decode(),
        "org": lock.way.organisation or _organisation(delivery, lock),
        "webhook": next(iter(lock.way.audience), OUR_WEBHOOK),
    }
    url = f"{settings.simulator.url}/_console/signature"
    try:
        answer = httpx.post(url, json=asked, timeout=5, trust_env=False)
        return str(answer.raise_for_status().json()["proof"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise SettingsError(f"the simulator at {settings.simulator.url} signs nothing: {error}") from None


def _signature(delivery: Delivery, lock: Lock, key: Path) -> str:
    """An RSA signature with a private key of one's own, the public half of which stands in the source's public_keys."""
    if lock.source.needs != "public":
        raise SettingsError(f"{lock.way.name} is not proven by public_keys, so --key is of no use to it")
    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{key}: is no private key in PEM without a password: {error}") from None
    if not isinstance(private, RSAPrivateKey):
        raise SettingsError(f"{key}: is no RSA key")
    return b64encode(private.sign(delivery.body, PKCS1v15(), SHA256())).decode()


def _organisation(delivery: Delivery, lock: Lock) -> str:
    document = _read(delivery.body, form=False)
    found = (value for at in lock.source.guide.organisations for value in fresh.values(document, at))
    return str(next(found, "1"))


def _kind(body: bytes) -> str:
    if body.lstrip()[:1] in (b"{", b"["):
        return "application/json"
    return FORM if b"=" in body and body.isascii() else "application/octet-stream"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable():
        raise SettingsError(f"--header {text!r}: write it as Name: value")
    return name.strip().lower(), value.strip()


def _read(body: bytes, *, form: bool) -> Any:
    """The document that a body is; None for what is neither JSON nor a form, which is sent as it is."""
    if form and body.lstrip()[:1] not in (b"{", b"["):
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    try:
        return strict_json.loads(body)
    except Malformed:
        return None


def _query(lock: Lock, event: str, document: Any) -> bytes:
    """`?event=`: the one asked for, or else the listed one that fits the body, or the first."""
    way, guide = lock.way, lock.source.guide
    if not event and guide.by_event and way.events:
        names = document.keys() if isinstance(document, dict) else ()
        event = next(
            (each for each in way.events if each.rpartition(".")[0].rpartition(".")[2] in names),
            way.events[0],
        )
    return f"event={quote(event, safe='.')}".encode() if event else b""


def _set(document: Any, change: str, *, form: bool) -> Any:
    """The document with `path=value`: a path is /a/b/0 or a.b.0, a value is JSON or else text; in a form it is text."""
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise SettingsError(f"--set {change!r}: write it as path=value, for example invoice.total=99.5")
    if not isinstance(document, dict | list):
        raise SettingsError(f"--set {path}: the body is neither JSON nor a form, so it has no such place")
    value: Any = text
    if not form:
        with suppress(ValueError):
            value = json.loads(text)
    parts = path.removeprefix("/").split("/") if path.startswith("/") else path.split(".")
    return _put(document, parts, value, path)


def _put(document: Any, parts: list[str], value: Any, path: str) -> Any:
    if not parts:
        return value
    first, rest = parts[0].replace("~1", "/").replace("~0", "~"), parts[1:]
    if isinstance(document, dict):
        return {**document, first: _put(document.get(first, {} if rest else None), rest, value, path)}
    if isinstance(document, list) and first.isdecimal() and int(first) <= len(document):
        index = int(first)
        inner = document[index] if index < len(document) else {} if rest else None
        return [*document[:index], _put(inner, rest, value, path), *document[index + 1 :]]
    raise SettingsError(f"--set {path}: there is no place {first!r} in a {type(document).__name__}")
