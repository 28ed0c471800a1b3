"""`/in/{source}`: read within limits, answer handshakes, verify, parse, accept, answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response

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
    from starlette.requests import Request

    from receiver.intake.committer import Committer
    from receiver.intake.judge import Judged
    from receiver.intake.keyring import Keyring, Lock
    from receiver.intake.limits import Buckets
    from receiver.intake.seals import Seals
    from receiver.ledger.accept import Answer

log = logs.get("delivery")
UNKNOWN = "(unknown)"
TOO_MANY = {
    "error": "too_many",
    "message": "too many requests without proof came from this address; slow down",
}


class Door:
    """The endpoint of every source."""

    def __init__(
        self, keyring: Keyring, committer: Committer, buckets: Buckets, seals: Seals, *, header_limit: int
    ) -> None:
        self._keyring = keyring
        self._committer = committer
        self._buckets = buckets
        self._seals = seals
        self._header_limit = header_limit

    async def receive(self, request: Request) -> Response:
        """Answer one request: 200 once it is durable, else one clear JSON body."""
        started = time.perf_counter()
        name = request.path_params["source"]
        delivery: Delivery | None = None
        if not self._buckets.admits(_address(request), _known(self, name)):
            return self._too_many(name)
        try:
            lock = self._lock(name)
            request.scope["zohook.known"] = True
            self._check_head(request, lock)
            delivery = await self._read(request, name, lock)
            answer = await self._take(delivery, lock)
        except DeliveryError as error:
            return self._refuse(name, delivery or _unread(request), error, started)
        except ClientDisconnect:
            metrics.DELIVERIES.labels(_known(self, name), "gone").inc()
            log.info("delivery", source=name, verdict="gone", ms=_ms(started))
            return Response(status_code=400)  # nobody hears it
        except LedgerUnavailable as error:
            metrics.DELIVERIES.labels(_known(self, name), "unavailable").inc()
            log.error("delivery", source=name, verdict="unavailable", reason=str(error))  # noqa: TRY400
            body = {"error": "unavailable", "message": "the delivery could not be kept; send it again"}
            return _json(503, body, {"retry-after": "5"})
        metrics.DELIVERIES.labels(name, answer["verdict"]).inc()
        log.info(
            "delivery", source=name, delivery=delivery.id, size=len(delivery.body), ms=_ms(started), **answer
        )
        return _json(200, answer)

    def _lock(self, name: str) -> Lock:
        lock = self._keyring.locks.get(name)
        if lock is None:
            raise UnknownSource(
                f"there is no source {name[:80]!r}; the URL is /in/ and a name from [sources] of zohook.toml"
            )
        return lock

    def _check_head(self, request: Request, lock: Lock) -> None:
        headers = request.headers
        if sum(len(key) + len(value) for key, value in headers.raw) > self._header_limit:
            raise TooLarge(f"the headers are over {self._header_limit} bytes")
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedEncoding("send the body without Content-Encoding; no Zoho product compresses")
        lengths = headers.getlist("content-length")
        if len(lengths) > 1 or (lengths and "transfer-encoding" in headers):
            raise BadFraming("Content-Length and Transfer-Encoding contradict each other")
        if lengths and lengths[0].isdecimal() and int(lengths[0]) > lock.body_limit:
            raise TooLarge(f"the body is over {lock.body_limit} bytes")

    async def _read(self, request: Request, name: str, lock: Lock) -> Delivery:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > lock.body_limit:
                raise TooLarge(f"the body is over {lock.body_limit} bytes")
        return Delivery.arrive(
            name,
            bytes(body),
            method=request.method,
            query=request.scope["query_string"],
            headers=[(key.decode("latin-1"), value.decode("latin-1")) for key, value in request.headers.raw],
            remote=request.client.host if request.client else "",
        )

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
        kept = await self._committer.commit(self._seals.close(judged.record, lock))
        if judged.record.verdict == "quarantined":
            return {"verdict": "quarantined", "reason": judged.record.reason} | _where(kept)
        return _said(kept, judged)

    def _refuse(self, name: str, delivery: Delivery, error: DeliveryError, started: float) -> Response:
        lock = self._keyring.locks.get(name)
        reason = str(error)
        if lock is not None and isinstance(error, Unauthenticated):
            mistake = mistaken_for(lock.way.product, delivery)
            reason += f"; {mistake}" if mistake else ""
        address = subject(delivery.remote)
        if self._buckets.quiet(address):  # what a flood brings is counted, and not written
            self._committer.note(self._seals.close(Record(delivery, "rejected", reason), lock))
        self._buckets.failed(address, _known(self, name))
        metrics.DELIVERIES.labels(_known(self, name), "rejected").inc()
        log.warning(
            "delivery", source=name[:80], delivery=delivery.id, verdict="rejected", status=error.status,
            error=error.code, reason=reason, ms=_ms(started),
        )  # fmt: skip
        return _json(error.status, {"error": error.code, "message": reason})

    def _too_many(self, name: str) -> Response:
        """A flood: answered before its body is read, and counted only."""
        metrics.DELIVERIES.labels(_known(self, name), "limited").inc()
        return _json(429, TOO_MANY, {"retry-after": "1"})

    def known(self, name: str) -> bool:
        """Whether there is a source of that name."""
        return name in self._keyring.locks


def _unread(request: Request) -> Delivery:
    """A request that was refused before its body was read, as it is kept; all unknown sources share one name."""
    name = request.path_params["source"]
    return Delivery(
        id=new_id(),
        source=name if request.scope.get("zohook.known") else UNKNOWN,
        method=request.method,
        path=f"/in/{name}"[:200],
        query=request.scope["query_string"][:1000],
        headers=tuple(
            (key.decode("latin-1")[:100], value.decode("latin-1")[:500])
            for key, value in request.headers.raw[:50]
        ),
        body=b"",
        received=now_ms(),
        remote=request.client.host if request.client else "",
    )


def _known(door: Door, name: str) -> str:
    return (
        name if door.known(name) else "unknown"
    )  # a label of the caller's own would let him fill our memory


def _address(request: Request) -> str:
    return subject(request.client.host) if request.client else ""


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


def _json(status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, {"content-type": "application/json", **(headers or {})})
