"""`/in/{source}`: look at the head, answer handshakes, verify, parse, accept, and say what to answer.

It knows nothing of sockets: `visit.py` brings it requests and takes its answers, without ASGI, a router or objects for request and
response between them, for each delivery would pay for those.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from receiver import logs, metrics
from receiver.errors import (
    DeliveryError,
    LedgerUnavailable,
    TooLarge,
    TooManyUnverified,
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
    from collections.abc import Sequence

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


class Reply(NamedTuple):
    """What to answer: the status, the JSON, and the seconds of Retry-After or ""."""

    status: int
    body: bytes
    retry_after: str = ""

    @classmethod
    def of(cls, status: int, body: dict[str, Any], retry_after: str = "") -> Reply:
        """A reply with that object in its body."""
        return cls(status, orjson.dumps(body), retry_after)


TOO_MANY = Reply.of(
    429,
    {"error": "too_many", "message": "too many requests without proof came from this address; slow down"},
    "1",
)
UNAVAILABLE = Reply.of(
    503, {"error": "unavailable", "message": "the delivery could not be kept; send it again"}, "5"
)

UNVERIFIED = Reply.of(
    503,
    {
        "error": "unavailable",
        "message": "the keys to verify it cannot be had, and too many deliveries wait for them; send it again",
    },
    "60",
)

CROWDED = Reply.of(
    503,
    {"error": "unavailable", "message": "too many large bodies are under way; send it again"},
    "5",
)


@dataclass(slots=True)
class Head:
    """A request before its body: for whom, how, and from where. Names of headers are in lower case; `size` is that of the URL and
    all headers, `length` that of the body where it is told, else 0.
    """

    source: str
    method: str
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    remote: str
    size: int
    length: int
    encoded: bool
    began: float = field(default_factory=time.perf_counter)


def way_in(path: str, method: str) -> str:
    """The source that a request is for: one name behind `/in/`, perhaps with a slash. "" where it is not the door's.

    A method that no product uses is not the door's either.
    """
    if not path.startswith(PATH) or method not in METHODS:
        return ""
    name = path[len(PATH) :].removesuffix("/")
    return "" if "/" in name else name


class Door:
    """Every source's way in."""

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

    def admit(self, head: Head) -> Lock | Reply:
        """The lock of the source, where the body may come; else what to answer at once."""
        lock = self._keyring.locks.get(head.source)
        if not self._buckets.admits(subject(head.remote), _label(head, lock)):
            metrics.delivered(_label(head, lock), "limited").inc()  # a flood: counted only
            return TOO_MANY
        try:
            if lock is None:
                raise UnknownSource(
                    f"there is no source {head.source[:80]!r}; the URL is /in/ and a name from [sources] of zohook.toml"
                )
            self._check(head, lock)
        except DeliveryError as error:
            return self.refuse(head, lock, error)
        return lock

    def _check(self, head: Head, lock: Lock) -> None:
        if head.size > self._header_limit:
            raise TooLarge(f"the URL and the headers are over {self._header_limit} bytes")
        if head.encoded:
            raise UnsupportedEncoding("send the body without Content-Encoding; no Zoho product compresses")
        if head.length > lock.body_limit:
            raise too_large(lock)

    def has_proved(self, head: Head) -> bool:
        """Whether its client has proved lately who he is."""
        return self._buckets.has_proved(subject(head.remote), head.source)

    def crowded(self, head: Head, lock: Lock | None) -> Reply:
        """The answer to a body for which there is no room among those that are under way."""
        metrics.delivered(_label(head, lock), "unavailable").inc()
        log.warning("delivery", source=head.source[:80], verdict="unavailable", reason="no room for its body")
        return CROWDED

    async def take(self, head: Head, lock: Lock, body: bytes) -> Reply:
        """Take a whole request: 200 once it is durable, else one clear JSON body."""
        at = now_ms()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        delivery = Delivery(
            new_id(at), head.source, head.method, PATH + head.source, head.query, headers, body, at, head.remote
        )  # fmt: skip
        try:
            said = await self._take(delivery, lock)
        except DeliveryError as error:
            return self.refuse(head, lock, error, delivery)
        except LedgerUnavailable as error:
            metrics.delivered(head.source, "unavailable").inc()
            log.error("delivery", source=head.source, verdict="unavailable", reason=str(error))  # noqa: TRY400
            return UNVERIFIED if isinstance(error, TooManyUnverified) else UNAVAILABLE
        metrics.delivered(head.source, said["verdict"]).inc()
        line = {"source": head.source, "delivery": delivery.id, "size": len(body), "ms": _ms(head), **said}
        if "reason" in said:  # it may quote what came
            log.info("delivery", **line)
        else:
            logs.say_own("delivery", "delivery", line)
        return Reply(200, orjson.dumps(said))

    async def _take(self, delivery: Delivery, lock: Lock) -> dict[str, Any]:
        if lock.source.handshake(delivery, lock.way):
            self._buckets.failed(subject(delivery.remote), delivery.source)
            return {"verdict": "handshake"}
        if lacks_key(delivery, lock) and not await self._keyring.refresh(lock):
            self._buckets.failed(subject(delivery.remote), delivery.source)
            record = Record(delivery, "unverified", lock.missing)
            kept = await self._committer.commit(self._seals.close(record, lock))
            if kept is not None and kept.full:
                raise TooManyUnverified("too many deliveries wait to be verified")
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

    def refuse(
        self, head: Head, lock: Lock | None, error: DeliveryError, delivery: Delivery | None = None
    ) -> Reply:
        """The answer to what does not become an event; it is kept with the reason, or counted."""
        delivery = delivery or _unread(head, lock)
        reason = str(error)
        if lock is not None and isinstance(error, Unauthenticated):
            mistake = mistaken_for(lock.way.product, delivery)
            reason += f"; {mistake}" if mistake else ""
        address = subject(head.remote)
        if self._buckets.quiet(address):  # what a flood brings is counted, and not written
            self._committer.note(self._seals.close(Record(delivery, "rejected", reason), lock))
        self._buckets.failed(address, _label(head, lock))
        metrics.delivered(_label(head, lock), "rejected").inc()
        log.warning(
            "delivery", source=head.source[:80], delivery=delivery.id, verdict="rejected", status=error.status,
            error=error.code, reason=reason, ms=_ms(head),
        )  # fmt: skip
        return Reply.of(error.status, {"error": error.code, "message": reason})

    def gone(self, head: Head, lock: Lock | None) -> None:
        """The client hung up before its request was complete."""
        metrics.delivered(_label(head, lock), "gone").inc()
        log.info("delivery", source=head.source[:80], verdict="gone", ms=_ms(head))


def too_large(lock: Lock) -> TooLarge:
    """What is said of a body over the limit of its source."""
    return TooLarge(f"the body is over {lock.body_limit} bytes")


def _unread(head: Head, lock: Lock | None) -> Delivery:
    """A request that was refused before its body was read, as it is kept; all unknown sources share one name."""
    return Delivery(
        id=new_id(),
        source=UNKNOWN if lock is None else head.source,
        method=head.method,
        path=f"{PATH}{head.source}"[:200],
        query=head.query[:1000],
        headers=tuple(
            (name.decode("latin-1")[:100], value.decode("latin-1")[:500]) for name, value in head.headers[:50]
        ),
        body=b"",
        received=now_ms(),
        remote=head.remote,
    )


def _label(head: Head, lock: Lock | None) -> str:
    """The source, for a count: one of the caller's own choice would let him fill our memory."""
    return "unknown" if lock is None else head.source


def _ms(head: Head) -> float:
    return round((time.perf_counter() - head.began) * 1000, 1)


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
