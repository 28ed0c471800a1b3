"""The live page: server-sent events that carry fragments to swap. A fragment is drawn once a second for all who look at it,
and only while somebody does; each listener is sent what is new to it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from markupsafe import escape
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from receiver import logs
from receiver.dashboard import queries
from receiver.dashboard.house import draw
from receiver.ledger import read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from redis import Redis

log = logs.get("live")

TICK = 1.0
BEAT = 15.0
"""Seconds after which a comment is sent where nothing changed, so that proxies keep the connection and a dead one is noticed."""
LIFE = 600.0
"""Seconds after which a stream ends; the browser comes back by itself, and its session is looked at again."""
OVERVIEW = ("numbers", "rates", "work", "events", "workers", "failures")
MOST = 100
"""Listeners of one process; each costs a connection and a comparison a second."""

Fragments = dict[str, str]


@dataclass(slots=True)
class _Shared:
    """The last drawing of one topic, and the drawing under way."""

    fragments: Fragments
    drawn: float = float("-inf")
    task: asyncio.Task[Fragments] | None = None


class Live:
    """The streams of one process."""

    def __init__(self, redis: Redis, stopping: Callable[[], bool], *, tick: float = TICK) -> None:
        self._redis = redis
        self._stopping = stopping
        self._tick = tick
        self._topics: dict[str, _Shared] = {}
        self._listeners: dict[str, int] = {}
        self.drawings = 0

    @property
    def full(self) -> bool:
        """Whether no more listeners are taken."""
        return sum(self._listeners.values()) >= MOST

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return sum(self._listeners.values())

    async def stream(self, topic: str) -> AsyncIterator[bytes]:
        """The lines of one stream, until it is old, the server stops or nobody reads it."""
        self._listeners[topic] = self._listeners.get(topic, 0) + 1
        try:
            yield b"retry: 2000\n\n"
            async for line in self._lines(topic):
                yield line
        finally:
            self._listeners[topic] -= 1
            if not self._listeners[topic]:
                del self._listeners[topic]
                self._topics.pop(topic, None)

    async def _lines(self, topic: str) -> AsyncIterator[bytes]:
        known: Fragments = {}
        began = spoken = time.monotonic()
        while time.monotonic() - began < LIFE and not self._stopping():
            fragments = await self._fresh(topic)
            new = {name: text for name, text in fragments.items() if known.get(name) != text}
            known |= new
            if new:
                spoken = time.monotonic()
                yield b"data: " + orjson.dumps(new) + b"\n\n"
            elif time.monotonic() - spoken > BEAT:
                spoken = time.monotonic()
                yield b": still here\n\n"
            await asyncio.sleep(self._tick)

    async def _fresh(self, topic: str) -> Fragments:
        shared = self._topics.setdefault(topic, _Shared({}))
        if shared.task is None and time.monotonic() - shared.drawn < self._tick * 0.9:
            return shared.fragments
        if shared.task is None:
            shared.task = asyncio.get_running_loop().create_task(self._draw(topic, shared))
        return await asyncio.shield(shared.task)  # whoever leaves must not take the drawing from the others

    async def _draw(self, topic: str, shared: _Shared) -> Fragments:
        self.drawings += 1
        try:
            shared.fragments = await run_in_threadpool(fragments_of, self._redis, topic)
        except RedisError as error:
            log.warning("live.redis", error=str(error))
            shared.fragments = {"trouble": "Redis does not answer; what you see is old."}
        finally:
            shared.drawn = time.monotonic()
            shared.task = None
        return shared.fragments


def fragments_of(redis: Redis, topic: str) -> Fragments:
    """Element id -> its content now. Topics: `nav`, `overview`, `event:ID`. `seq` and `stamp` are no elements: the page
    compares them, to say that there are newer events and to fetch itself again when a job moved.
    """
    nav = queries.nav(redis)
    fragments = {
        "trouble": str(escape(nav["alarm"])),
        "dead-count": draw("parts/dead_count.html", {"nav": nav}),
    }
    kind, _, event_id = topic.partition(":")
    if kind == "overview":
        fragments |= overview(redis)
    elif kind == "event":
        fragments["stamp"] = "".join(queries.stamp(row) for row in read.events(redis, [event_id], data=False))
    else:
        fragments["seq"] = str(queries.sequence(redis))
    return fragments


def overview(redis: Redis) -> Fragments:
    """The parts of the first page."""
    now = queries.overview(redis)
    return {name: draw(f"parts/{name}.html", {"now": now}) for name in OVERVIEW}
