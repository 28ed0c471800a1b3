"""Descriptions that Zoho gives of itself, asked for once by all processes and kept for a while: the fields of a module and the like."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import orjson
from redis.exceptions import RedisError

from receiver import keys
from receiver.ledger.pack import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

LIFE = 600
"""Seconds for which a description is used."""
RECENT = 15.0
"""Seconds for which a process goes by its own copy, so that one who asks anew is heard by all soon."""
LEASE = 35
PATIENCE = 10.0


class Shelf:
    """What a process has one of; safe from many threads. Without Redis every process asks for itself."""

    def __init__(self, redis: Redis | None = None) -> None:
        self._redis = redis
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._mine: dict[tuple[str, str], tuple[float, bytes]] = {}

    def get(self, connection: str, what: str, ask: Callable[[], Any], *, fresh: bool = False) -> Any:
        """What `ask` answers (JSON), or answered to anybody at most ten minutes ago; `fresh` asks now, for all. Raises what it raises.

        Each caller gets a copy of his own.
        """
        key = (connection, what)
        if not fresh and (known := self._own(key)) is not None:
            return orjson.loads(known)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            known = None if fresh else self._own(key) or self._shared(key)
            if known is None:
                known = self._asked(key, ask)
            self._mine[key] = (time.monotonic() + RECENT, known)
        return orjson.loads(known)

    def _asked(self, key: tuple[str, str], ask: Callable[[], Any]) -> bytes:
        try:
            known = orjson.dumps(ask())
            self._try(lambda redis: redis.set(keys.described(*key), pack(known), ex=LIFE))
        finally:
            self._try(lambda redis: redis.delete(keys.describing(*key)))
        return known

    def _own(self, key: tuple[str, str]) -> bytes | None:
        until, known = self._mine.get(key, (0.0, b""))
        return known if time.monotonic() < until else None

    def _shared(self, key: tuple[str, str]) -> bytes | None:
        """What is kept for all. Where nothing is, None for the one who is to ask; the others wait for his answer."""
        if self._redis is None:
            return None
        until = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < until:
                if (kept := cast("bytes | None", self._redis.get(keys.described(*key)))) is not None:
                    return unpack(kept)
                if self._redis.set(keys.describing(*key), os.getpid(), nx=True, ex=LEASE):
                    if not self._redis.exists(keys.described(*key)):
                        return None
                    self._redis.delete(keys.describing(*key))  # another was done between the two looks
                    continue
                time.sleep(0.05)
        except RedisError:
            return None
        return None

    def _try(self, write: Callable[[Redis], Any]) -> None:
        if self._redis is not None:
            with suppress(RedisError):
                write(self._redis)
