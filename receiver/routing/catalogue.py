"""What the workers can do, as they publish it: only a process with the newest catalogue routes."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, cast

import orjson

from receiver import keys
from receiver.ledger.condition import time_of, unless_full

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

    from receiver.routing.plugins import Handler

LIFE = 90
"""Seconds for which a catalogue counts as living without being published again."""


class Catalogue:
    """The handlers of this process, and how they stand among those of others."""

    def __init__(self, redis: Redis, handlers: Iterable[Handler]) -> None:
        self._redis = redis
        rows = sorted((handler.about() for handler in handlers), key=lambda row: str(row["id"]))
        self._text = orjson.dumps(rows, option=orjson.OPT_SORT_KEYS)
        self.digest = hashlib.sha256(self._text).hexdigest()[:16]
        self._newest_until = 0.0

    def publish(self, *, born: bool = False) -> None:
        """Say that this catalogue lives. A newborn process makes its own the newest, by the ledger's clock, which is everybody's."""
        pipe = self._redis.pipeline()
        pipe.set(keys.catalogue(self.digest), self._text, ex=LIFE)
        pipe.zadd(keys.catalogues(), {self.digest: time_of(self._redis)}, nx=not born)
        with unless_full():
            pipe.execute()

    def may_route(self) -> bool:
        """Whether no living catalogue is newer than ours: an old worker must not say that nobody wants an event."""
        if time.monotonic() < self._newest_until:
            return True
        ranked = cast("list[bytes]", self._redis.zrevrange(keys.catalogues(), 0, 9))
        for each in ranked:
            digest = each.decode()
            if digest == self.digest:
                self._newest_until = time.monotonic() + 1
                return True
            if self._redis.exists(keys.catalogue(digest)):
                return False
            self._redis.zrem(keys.catalogues(), digest)
        self.publish(born=True)
        return True

    def elsewhere(self, handler: str) -> bool:
        """Whether a living catalogue has the handler, under that id or since it was renamed."""
        for each in cast("list[bytes]", self._redis.zrange(keys.catalogues(), 0, -1)):
            text = cast("bytes | None", self._redis.get(keys.catalogue(each.decode())))
            if text and any(
                handler in (row["id"], *row["options"].get("was", ())) for row in orjson.loads(text)
            ):
                return True
        return False
