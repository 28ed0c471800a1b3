"""`/in/{source}`: read within limits, answer handshakes, verify, parse, accept, answer.

A plain ASGI application, without a router or objects for request and response: each delivery would pay for them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from receiver import logs, metrics
from receiver.errors import (
    BadFraming,
    DeliveryError,
    LedgerUnavailable,
    TooLarge,
    Unauthenticated,
    UnknownSource,
    UnsupportedEncoding,
)
from receiver.event import Delivery, new_id, now_ms
from receiver.intake.judge import judge, lacks_key
from receiver.intake.limits import subject
from receiver.ledger.accept import Record
from receiver.sources import mistaken_for

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from receiver.intake.committer import Committer
    from receiver.intake.judge import Judged
    from receiver.intake.keyring import Keyring, Lock
    from receiver.intake.limits import Buckets
    from receiver.intake.seals import Seals
    from receiver.intake.uses import Uses
    from receiver.ledger.accept import Answer

log = logs.get("delivery")
PATH = "/in/"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE"})
UNKNOWN = "(unknown)"
TOO_MANY = {
    "error": "too_many",
    "message": "too many requests without proof came from this address; slow down",
}
UNAVAILABLE = {"error": "unavailable", "message": "the delivery could not be kept; send it again"}
JSON = (b"content-type", b"application/json")
FRAMING = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class Gone(Exception):
    """The client hung up before its request was complete."""


def way_in(scope: Scope) -> str:
    """The source that an HTTP request is for: one name behind `/in/`, perhaps with a slash. "" where it is not the door's."""
    path: str = scope["path"]
    if not path.startswith(PATH) or scope["method"] not in METHODS:
        return ""
    name = path[len(PATH) :].removesuffix("/")
    return "" if "/" in name else name


class Door:
    """The endpoint of every source."""

    def __init__(
        self,
        keyring: Keyring,
        committer: Committer,
        buckets: Buckets,
        seals: Seals,
        uses: Uses,
        *,
        header_limit: int,
    ) -> None:
        self._keyring = keyring
        self._committer = committer
        self._buckets = buckets
        self._seals = seals
        self._uses = uses
        self._header_limit = header_limit

    async def answer(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request for what may be a source, as an ASGI application does: 200 once it is durable, else one clear JSON body."""
        started = time.perf_counter()
        lock = self._keyring.locks.get(name)
        delivery: Delivery | None = None
        if not self._buckets.admits(subject(_remote(scope)), _label(name, lock)):
            # A flood: answered before its body is read, and counted only.
            metrics.delivered(_label(name, lock), "limited").inc()
            await _answer(send, 429, TOO_MANY, "1")
            return
        try:
            if lock is None:
                raise UnknownSource(
                    f"there is no source {name[:80]!r}; the URL is /in/ and a name from [sources] of zohook.toml"
                )
            headers = self._head(scope, lock)
            body = await _body(receive, lock.body_limit)
            at = now_ms()
            delivery = Delivery(
                new_id(at), name, scope["method"], scope["path"], scope["query_string"], headers, body, at, _remote(scope),
            )  # fmt: skip
            said = await self._take(delivery, lock)
        except DeliveryError as error:
            await self._refuse(send, name, delivery or _unread(name, scope, lock), error, started)
        except Gone:
            metrics.delivered(_label(name, lock), "gone").inc()
            log.info("delivery", source=name, verdict="gone", ms=_ms(started))
        except LedgerUnavailable as error:
            metrics.delivered(name, "unavailable").inc()
            log.error("delivery", source=name, verdict="unavailable", reason=str(error))  # noqa: TRY400
            await _answer(send, 503, UNAVAILABLE, "5")
        else:
            metrics.delivered(name, said["verdict"]).inc()
            line = {"source": name, "delivery": delivery.id, "size": len(body), "ms": _ms(started), **said}
            if "reason" in said:  # it may quote what came
                log.info("delivery", **line)
            else:
                logs.say_own("delivery", "delivery", line)
            await _answer(send, 200, said)

    def _head(self, scope: Scope, lock: Lock) -> list[tuple[str, str]]:
        """The headers as a delivery has them; raises DeliveryError where they are no good."""
        size = 0
        headers, framing = [], []
        for key, value in scope["headers"]:
            size += len(key) + len(value)
            headers.append((key.decode("latin-1"), value.decode("latin-1")))
            if key in FRAMING:
                framing.append(headers[-1])
        if size > self._header_limit:
            raise TooLarge(f"the headers are over {self._header_limit} bytes")
        lengths = [value for key, value in framing if key == "content-length"]
        if len(framing) > len(lengths):
            if any(key == "content-encoding" and value.lower() != "identity" for key, value in framing):
                raise UnsupportedEncoding(
                    "send the body without Content-Encoding; no Zoho product compresses"
                )
            if lengths and any(key == "transfer-encoding" for key, _ in framing):
                raise BadFraming("Content-Length and Transfer-Encoding contradict each other")
        if len(lengths) > 1:
            raise BadFraming("Content-Length came twice")
        if lengths and lengths[0].isdecimal() and int(lengths[0]) > lock.body_limit:
            raise TooLarge(f"the body is over {lock.body_limit} bytes")
        return headers

    async def _take(self, delivery: Delivery, lock: Lock) -> dict[str, Any]:
        if lock.source.handshake(delivery, lock.way):
            self._buckets.failed(subject(delivery.remote), delivery.source)
            return {"verdict": "handshake"}
        if lacks_key(delivery, lock) and not await self._keyring.refresh(lock):
            self._buckets.failed(subject(delivery.remote), delivery.source)
            record = Record(delivery, "unverified", lock.missing)
            kept = await self._committer.commit(self._seals.close(record, lock))
            return {"verdict": "unverified"} | _where(kept)
        offer = lock.source.offered(delivery, lock.keys)
        if offer and await self._keyring.take(lock, offer.secret) and not offer.signed:
            return {"verdict": "handshake"}
        judged = judge(delivery, lock)
        self._buckets.proved(subject(delivery.remote), delivery.source)
        self._uses.saw(lock, judged.verified.secret, delivery.received)
        kept = await self._committer.commit(self._seals.close(judged.record, lock))
        if judged.record.verdict == "quarantined":
            return {"verdict": "quarantined", "reason": judged.record.reason} | _where(kept)
        return _said(kept, judged)

    async def _refuse(
        self, send: Send, name: str, delivery: Delivery, error: DeliveryError, started: float
    ) -> None:
        lock = self._keyring.locks.get(name)
        reason = str(error)
        if lock is not None and isinstance(error, Unauthenticated):
            mistake = mistaken_for(lock.way.product, delivery)
            reason += f"; {mistake}" if mistake else ""
        address = subject(delivery.remote)
        if self._buckets.quiet(address):  # what a flood brings is counted, and not written
            self._committer.note(self._seals.close(Record(delivery, "rejected", reason), lock))
        self._buckets.failed(address, _label(name, lock))
        metrics.delivered(_label(name, lock), "rejected").inc()
        log.warning(
            "delivery", source=name[:80], delivery=delivery.id, verdict="rejected", status=error.status,
            error=error.code, reason=reason, ms=_ms(started),
        )  # fmt: skip
        await _answer(send, error.status, {"error": error.code, "message": reason})


async def _body(receive: Receive, limit: int) -> bytes:
    """The whole body; most come in one piece."""
    message = await receive()
    body = bytearray()
    while True:
        if message["type"] != "http.request":
            raise Gone
        piece: bytes = message.get("body", b"")
        if len(body) + len(piece) > limit:
            raise TooLarge(f"the body is over {limit} bytes")
        if not message.get("more_body", False):
            return bytes(body + piece) if body else piece
        body += piece
        message = await receive()


async def _answer(send: Send, status: int, body: dict[str, Any], retry_after: str = "") -> None:
    said = orjson.dumps(body)
    headers = [JSON, (b"content-length", b"%d" % len(said))]
    if retry_after:
        headers.append((b"retry-after", retry_after.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": said})


def _unread(name: str, scope: Scope, lock: Lock | None) -> Delivery:
    """A request that was refused before its body was read, as it is kept; all unknown sources share one name."""
    return Delivery(
        id=new_id(),
        source=UNKNOWN if lock is None else name,
        method=scope["method"],
        path=f"{PATH}{name}"[:200],
        query=scope["query_string"][:1000],
        headers=tuple(
            (key.decode("latin-1")[:100], value.decode("latin-1")[:500])
            for key, value in scope["headers"][:50]
        ),
        body=b"",
        received=now_ms(),
        remote=_remote(scope),
    )


def _label(name: str, lock: Lock | None) -> str:
    """The source, for a count: one of the caller's own choice would let him fill our memory."""
    return "unknown" if lock is None else name


def _remote(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _where(kept: Answer | None) -> dict[str, Any]:
    return {"spooled": True} if kept is None else {}


def _said(answer: Answer | None, judged: Judged) -> dict[str, Any]:
    if answer is None:  # whether it is a duplicate turns out when it is drained
        said: dict[str, Any] = {
            "verdict": "spooled",
            "events": [event.id for event in judged.record.events],
        }
    else:
        said = {"verdict": "accepted" if answer.new else "duplicate", "events": list(answer.new)}
    if answer is not None and answer.duplicates:
        said["same_as"] = [first for _, first in answer.duplicates]
    if judged.bad:
        said["bad"] = judged.bad
    if judged.verified.secret:
        # Not called "secret": the log masks what is. The newest is number 1, and goes without saying.
        said["secret_number"] = judged.verified.secret + 1
    return said


def _ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)
