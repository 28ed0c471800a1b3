"""Delivery and Event: what came over the wire, and the fact it tells; their ids and keys are methods, each with its reason."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson

from receiver.errors import BadFraming, Skip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: no letter is taken for another, and it sorts as its number does."""

_chance = random.Random()  # noqa: S311 - ids are no secrets, and asking the kernel twice for each delivery shows
os.register_at_fork(after_in_child=_chance.seed)  # a child must not make its parent's ids again
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_LETTERS = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", ALPHABET.encode())

MAY_BE_EMPTY = ("organisation", "record_id", "native", "cause", "delivery", "connection", "verified_by")
"""Texts of an event that are not kept where they are empty."""
MINUTE = 60.0
BYTES_ONLY = "sha256:60:"
"""How an identity begins that is of bytes only, where facts of its source have better ones: a minute later the same bytes may tell another."""

Origin = Literal["live", "catchup", "poll", "handler", "backfill"]


def now_ms() -> int:
    """The wall clock in milliseconds since 1970, the unit of every time in the ledger."""
    return time.time_ns() // 1_000_000


def new_id(at: int | None = None) -> str:
    """A new id of 20 letters and digits that sorts by time: 48 bits of milliseconds and 52 of chance."""
    at = now_ms() if at is None else at
    two, rest = _PAIRS, (at & 255) << 52 | _chance.getrandbits(52)
    return (
        f"{_beginning(at >> 8)}{two[rest >> 50]}{two[rest >> 40 & 1023]}{two[rest >> 30 & 1023]}"
        f"{two[rest >> 20 & 1023]}{two[rest >> 10 & 1023]}{two[rest & 1023]}"
    )


@lru_cache(64)
def _beginning(quarters: int) -> str:
    """The letters that all ids of a quarter of a second have, 256 ms to be exact."""
    return "".join([_PAIRS[quarters >> shift & 1023] for shift in (30, 20, 10, 0)])


def id_within(whole: str, part: int | str) -> str:
    """The id of a part, the same whenever it is asked for: of the time of the whole, and of a hash in the place of chance."""
    chance = hashlib.sha256(f"{whole}|{part}".encode()).digest()[:7]
    return whole[:10] + base64.b32encode(chance)[:10].translate(_LETTERS).decode()


def moment(ms: int) -> datetime:
    """A time of the ledger as an aware datetime."""
    return datetime.fromtimestamp(ms / 1000, UTC)


class Effects(Protocol):
    """What a run does for `event.emit`, `event.cancel`, `event.step`, and in a batch for `event.fail` and `event.skip`."""

    def emit(
        self, event_type: str, data: Any, *, at: datetime | None, key: str, replace: bool, record_id: str
    ) -> str: ...

    def cancel(self, key: str) -> bool: ...

    def step(self, name: str, act: Callable[[], Any], if_unknown: str) -> Any: ...

    def fail(self, error: Exception) -> None: ...


@dataclass(slots=True)
class Delivery:
    """One HTTP request as it came, and nobody changes it. Header names are lower case; query and body are the raw bytes."""

    id: str
    source: str
    method: str
    path: str
    query: bytes
    headers: Sequence[tuple[str, str]]
    body: bytes
    received: int
    remote: str = ""
    _read: Any = field(default=None, init=False, compare=False, repr=False)

    @classmethod
    def arrive(
        cls,
        source: str,
        body: bytes = b"",
        *,
        method: str = "POST",
        query: bytes = b"",
        headers: Sequence[tuple[str, str]] | Mapping[str, str] = (),
        received: int | None = None,
        remote: str = "",
    ) -> Delivery:
        """A delivery as the door sees it, with a new id."""
        at = received if received is not None else now_ms()
        pairs = headers.items() if hasattr(headers, "items") else headers
        lowered = tuple((name.lower(), value) for name, value in pairs)
        return cls(new_id(at), source, method.upper(), f"/in/{source}", query, lowered, body, at, remote)

    def header(self, name: str) -> str | None:
        """The header's value, or None. A header that comes twice is refused: two readers might each take another one."""
        found = [value for key, value in self.headers if key == name]
        if len(found) > 1:
            raise BadFraming(f"the header {name} came {len(found)} times; send it once")
        return found[0] if found else None

    def remember(self, document: object) -> None:
        """Keep what a source read in the body, where any reader of JSON reads just that: who keeps the delivery need not read again."""
        self._read = document

    def says(self, data: object) -> bool:
        """Whether these data are surely all that the body says."""
        return data is not None and data is self._read

    def digest(self) -> str:
        """What the bytes say, for sources whose facts have no identity of their own."""
        seen = hashlib.sha256(self.method.encode() + b"\0" + self.query + b"\0" + self.body)
        return seen.hexdigest()[:40]


@dataclass(slots=True, kw_only=True)
class Event:
    """One fact: what happened to what, where and when.

    `data` is what the delivery said, as Zoho said it; `previous` the state before, where the product gives it;
    `changed` the names of the changed fields, or None where nobody knows. `record` is the record as it is now, read for
    handlers that ask for it with `record=True`.
    """

    id: str
    type: str
    source: str
    data: Any
    received: int
    organisation: str = ""
    record_id: str = ""
    occurred: int | None = None
    native: str = ""
    changed: frozenset[str] | None = None
    previous: Any = None
    origin: Origin = "live"
    cause: str = ""
    delivery: str = ""
    connection: str = ""
    verified_by: str = ""
    identity: str = ""
    seq: int = 0
    record: Any = None
    tries: int = 0
    idempotency_key: str = ""
    depth: int = 0
    effects: Effects | None = field(default=None, repr=False, compare=False)

    def emit(
        self,
        event_type: str,
        data: Any = None,
        *,
        at: datetime | None = None,
        key: str = "",
        replace: bool = False,
        record_id: str = "",
    ) -> str:
        """Make an event of one's own (`app.*`), now or at a time with its zone; its id. A retry makes it no second time.

        Under a `key` one event waits at a time: a second one is dropped in favour of the first, or takes its place with
        `replace=True`.
        """
        return self._effects().emit(event_type, data, at=at, key=key, replace=replace, record_id=record_id)

    def cancel(self, key: str) -> bool:
        """Cancel the event that waits under a key; False if none does."""
        return self._effects().cancel(key)

    def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        if_unknown: Literal["repeat", "stop"] = "repeat",
        **named: Any,
    ) -> Any:
        """Do something once for this job, whoever it is done to: `event.step("mail", send, address)`.

        A retry does not repeat it and gets what it returned then (JSON). Where it was begun and nobody knows whether it
        happened, it is repeated, or with `if_unknown="stop"` the job dies for a person to decide.
        """
        return self._effects().step(name, lambda: function(*args, **named), if_unknown)

    def fail(self, error: Exception) -> None:
        """Say that one event of a batch has failed, as if a handler of it alone had raised that error; the others have not.

        `RetryLater` and every error of Zoho's mean what they mean when they are raised.
        """
        if not isinstance(error, Exception):
            raise TypeError(
                f'event.fail takes an error, for example ValueError("no such customer"), not {error!r}'
            )
        self._effects().fail(error)

    def skip(self, reason: str) -> None:
        """Say that there is nothing to do for one event of a batch, and why."""
        self._effects().fail(Skip(reason))

    def _effects(self) -> Effects:
        if self.effects is None:
            raise RuntimeError(
                "an event can emit, cancel, step, fail and skip only while a handler runs on it"
            )
        return self.effects

    @property
    def product(self) -> str:
        """The first part of the type: `crm`, `books`, `desk`, ..."""
        return self.type.split(".", 1)[0]

    @property
    def resource(self) -> str:
        """The middle of the type: the module or thing, as Zoho spells it."""
        return _resource(self.type.split("."))

    @property
    def verb(self) -> str:
        """The last part of the type: what happened."""
        return self.type.rsplit(".", 1)[-1]

    @property
    def occurred_at(self) -> datetime | None:
        """When it happened by Zoho's own clock, in UTC; None where the product does not say."""
        return None if self.occurred is None else moment(self.occurred)

    @property
    def received_at(self) -> datetime:
        """When it came in at our door, in UTC."""
        return moment(self.received)

    def record_key(self) -> str:
        """What it is about, the key of the index by record and of `order="record"`; empty where it is about no record."""
        return f"{_kind(self.type)}:{self.record_id}" if self.record_id else ""

    def dedupe_key(self) -> str:
        """The mark that a redelivery of the same fact finds: the identity the source found in it, hashed to one length."""
        if not self.identity:
            return ""
        return hashlib.sha256(f"{self.source}\0{self.identity}".encode()).hexdigest()[:32]

    def mark_life(self, window: float) -> float:
        """For how many seconds its mark lives, where `window` is how long those of its source do."""
        return min(window, MINUTE) if self.identity.startswith(BYTES_ONLY) else window

    def job_key(self, handler: str, generation: int = 0) -> str:
        """The idempotency key of this event for one handler: the same over all tries, new with every rerun."""
        return hashlib.sha256(f"{self.id}|{handler}|{generation}".encode()).hexdigest()[:32]

    def meta(self) -> dict[str, Any]:
        """What it is, as the ledger keeps it; empty fields are left out."""
        kept: dict[str, Any] = {"type": self.type, "source": self.source, "received": self.received}
        for name in MAY_BE_EMPTY:
            if text := getattr(self, name):
                kept[name] = text
        if self.occurred is not None:
            kept["occurred"] = self.occurred
        if self.changed is not None:
            kept["changed"] = sorted(self.changed)
        if self.origin != "live":
            kept["origin"] = self.origin
        if self.depth:
            kept["depth"] = self.depth
        return kept

    def pack(self) -> tuple[bytes, bytes]:
        """(what it is, what it says) as the ledger keeps them."""
        said = (
            {"data": self.data} if self.previous is None else {"data": self.data, "previous": self.previous}
        )
        return orjson.dumps(self.meta()), orjson.dumps(said)

    @classmethod
    def unpack(cls, event_id: str, meta: bytes, body: bytes, seq: int = 0) -> Event:
        """The event that `pack` packed."""
        return cls.of(event_id, orjson.loads(meta), orjson.loads(body), seq)

    @classmethod
    def of(cls, event_id: str, meta: Mapping[str, Any], said: Mapping[str, Any], seq: int = 0) -> Event:
        """The event of which `pack` told that. What a newer version added to it is left out: both run while one is exchanged."""
        fields = dict(meta)
        if (changed := fields.get("changed")) is not None:
            fields["changed"] = frozenset(changed)
        own: dict[str, Any] = {
            "id": event_id,
            "seq": seq,
            "data": said.get("data"),
            "previous": said.get("previous"),
        }
        try:
            return cls(**own, **fields)
        except TypeError:
            known = {name: value for name, value in fields.items() if name in cls.__dataclass_fields__}
            return cls(**{"type": "", "source": ""} | known | own)


@lru_cache(1024)
def _kind(event_type: str) -> str:
    """Product and resource of a type: what its verb happened to."""
    parts = event_type.split(".")
    return f"{parts[0]}.{_resource(parts)}"


def _resource(parts: Sequence[str]) -> str:
    return ".".join(parts[1:-1]) if len(parts) > 2 else parts[-1]
