"""The organisation that is played: its people, clients, grants, ids and clock; no product's rules."""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.simulator.wire import Json

OTHER_IDS = {
    "hook": 1987000000724219,
    "sign": 222008000000016069,
    "payments": 9973000000138072,
    "salesiq": 19367000000131001,
    "projects": 170876000004566013,
}
# An hour off UTC, so that a caller who throws offsets away is seen.
ORG_ZONE = timezone(timedelta(hours=1))


@dataclass(slots=True)
class User:
    """A person of the organisation."""

    id: str
    first_name: str
    last_name: str
    email: str

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}"

    def crm(self) -> Json:
        return {"name": self.name, "id": self.id, "email": self.email}


@dataclass(slots=True)
class Client:
    """An OAuth client; kind is server, self, device, mobile or browser."""

    id: str
    secret: str
    kind: str
    name: str
    redirect_uris: list[str]
    codes_made: deque[float] = field(default_factory=deque)


@dataclass(slots=True)
class Grant:
    """One consent; without a refresh token it is an online one, or a self client's own."""

    client: Client
    user: User
    scopes: tuple[str, ...]
    refresh_token: str
    made_at: float
    alive: bool = True
    minted: deque[float] = field(default_factory=deque)
    live: list[Access] = field(default_factory=list)
    refreshes: int = 0


@dataclass(slots=True)
class Access:
    """An access token."""

    token: str
    grant: Grant
    scopes: tuple[str, ...]
    expires_at: float
    dead: bool = False


class World:
    """Shared by all products of one simulator; take `lock` around every change."""

    def __init__(self, clock: Callable[[], float] = time.time, *, seed: int = 1) -> None:
        self.lock = threading.RLock()
        self.clock = clock
        self.base = "http://simulator"
        self.random = random.Random(seed)  # noqa: S311 - nothing secret comes from it
        self._crm_ids = count(5725767000000451001, 1)
        self._books_ids = count(460000000026049, 2)
        self._desk_ids = count(31138000000573164, 1)
        self._other_ids = {kind: count(start, 1) for kind, start in OTHER_IDS.items()}
        self._tick = 0
        self.zgid = "759145822"
        self.books_org = "20061234567"
        self.desk_org = "54983163"
        self.company = "Brightwater Kitchens Ltd"
        self.users = [
            User("5725767000000411001", "Mara", "Lindqvist", "mara@brightwater.example"),
            User("5725767000000411017", "Tom", "Okafor", "tom@brightwater.example"),
            User("5725767000000411033", "Ines", "Duarte", "ines@brightwater.example"),
        ]

    @property
    def admin(self) -> User:
        return self.users[0]

    def now(self) -> float:
        return self.clock()

    def tick(self) -> int:
        """Epoch milliseconds, never the same twice: they are part of what makes a notification itself."""
        with self.lock:
            self._tick = max(int(self.clock() * 1000), self._tick + 1)
            return self._tick

    def stamp(self, at: float | None = None) -> str:
        """Time as CRM writes it, by the second and with the organisation's offset."""
        return datetime.fromtimestamp(int(self.now() if at is None else at), ORG_ZONE).isoformat()

    def books_stamp(self) -> str:
        """Time as Books writes it, with an offset that has no colon."""
        return datetime.fromtimestamp(int(self.now()), ORG_ZONE).strftime("%Y-%m-%dT%H:%M:%S%z")

    def desk_stamp(self) -> str:
        """Time as Desk writes it, UTC by the millisecond."""
        return (
            datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        )

    def today(self) -> str:
        return datetime.fromtimestamp(self.now(), ORG_ZONE).date().isoformat()

    def day(self, ahead: int) -> str:
        return (datetime.fromtimestamp(self.now(), ORG_ZONE).date() + timedelta(days=ahead)).isoformat()

    def crm_id(self) -> str:
        return str(next(self._crm_ids))

    def books_id(self) -> str:
        return str(next(self._books_ids))

    def desk_id(self) -> str:
        return str(next(self._desk_ids))

    def next_id(self, kind: str) -> str:
        """An id of a product of which only the webhooks are played."""
        return str(next(self._other_ids[kind]))

    def secret(self, parts: int = 2) -> str:
        """A token in Zoho's form, `1000.` and groups of 32 hex digits."""
        return ".".join(["1000", *(secrets.token_hex(16) for _ in range(parts))])


def instant(text: str) -> float | None:
    """Epoch seconds of an ISO 8601 time with an offset, None for anything else."""
    try:
        at = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return at.timestamp() if at.tzinfo is not None else None
