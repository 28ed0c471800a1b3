"""The live page: what is sent, to whom, how often, and when it ends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from dashboard_kit import HANDLER, Seed
from starlette.applications import Starlette

from receiver.dashboard import live, routes
from receiver.dashboard.live import OVERVIEW, Live, fragments_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dashboard_kit import Visitor
    from redis import Redis

    from receiver.settings import Settings


class Listener:
    """One open stream, spoken to as a server does."""

    def __init__(self, app: Any, cookies: Any, path: str) -> None:
        self.lines: asyncio.Queue[bytes] = asyncio.Queue()
        self.status = 0
        self.gone = asyncio.Event()
        headers = [
            (b"host", b"hooks.test"),
            (b"cookie", "; ".join(f"{k}={v}" for k, v in cookies.items()).encode()),
        ]
        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers, "http_version": "1.1",
                 "asgi": {"version": "3.0", "spec_version": "2.3"}, "scheme": "http", "server": ("hooks.test", 80),
                 "client": ("192.0.2.1", 1), "root_path": "", "raw_path": path.encode()}  # fmt: skip
        self.task = asyncio.ensure_future(app(scope, self.receive, self.send))

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        if message.get("body"):
            await self.lines.put(message["body"])

    async def news(self) -> dict[str, str]:
        """The next fragments."""
        while True:
            line = await asyncio.wait_for(self.lines.get(), 10)
            if line.startswith(b"data: "):
                found: dict[str, str] = orjson.loads(line[6:])
                return found

    async def leave(self) -> None:
        """Close the connection."""
        self.gone.set()
        await asyncio.wait_for(self.task, 5)


@pytest.fixture
def streams(operator: Visitor, known: Settings, redis: Redis) -> Callable[..., None]:
    """Runs a test's coroutine with a way to open streams, on an application whose ticks are short."""
    stopping = [False]
    app = Starlette(routes=routes(known, redis, lambda: stopping[0]))
    here = app.routes[0].app.house  # type: ignore[attr-defined]
    here.live._tick = 0.05

    def run(test: Callable[[Callable[[str], Listener], Live, list[bool]], Awaitable[None]]) -> None:
        async def go() -> None:
            await test(lambda path: Listener(app, operator.cookies, path), here.live, stopping)

        asyncio.run(go())

    return run


def test_what_happens_is_sent_without_being_asked(streams: Any, seed: Seed) -> None:
    """The first message has every part of the page, the next ones only what changed."""

    async def test(listen: Callable[[str], Listener], here: Live, _: list[bool]) -> None:
        listener = listen("/live/overview")
        first = await listener.news()
        assert set(OVERVIEW) <= set(first)
        event = await asyncio.to_thread(seed.accept, "crm.Leads.created")
        second = await listener.news()
        assert event.id in second["events"]
        assert "failures" not in second
        await listener.leave()
        assert here.listeners == 0

    streams(test)


def test_one_drawing_serves_all_and_none_serves_nobody(streams: Any) -> None:
    """Ten listeners cost the drawings of one, and when they have left nothing is drawn any more."""

    async def test(listen: Callable[[str], Listener], here: Live, _: list[bool]) -> None:
        listeners = [listen("/live/nav") for _ in range(10)]
        for each in listeners:
            await each.news()
        before, began = here.drawings, time.monotonic()
        await asyncio.sleep(0.5)
        assert here.drawings - before <= (time.monotonic() - began) / 0.05 + 2
        for each in listeners:
            await each.leave()
        drawn = here.drawings
        await asyncio.sleep(0.2)
        assert here.drawings == drawn
        assert not here._topics

    streams(test)


def test_a_stream_ends_when_the_server_stops(streams: Any) -> None:
    """Open streams do not hold up a shutdown."""

    async def test(listen: Callable[[str], Listener], _: Live, stopping: list[bool]) -> None:
        listener = listen("/live/overview")
        await listener.news()
        stopping[0] = True
        await asyncio.wait_for(listener.task, 2)

    streams(test)


def test_a_stream_that_is_cut_off_takes_nothing_from_the_others(streams: Any) -> None:
    """One listener's end in the middle of a drawing is no other's."""

    async def test(listen: Callable[[str], Listener], here: Live, _: list[bool]) -> None:
        stays, leaves = listen("/live/nav"), listen("/live/nav")
        await stays.news()
        leaves.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves.task
        assert here.listeners == 1
        drawn = here.drawings
        await asyncio.sleep(0.2)
        assert here.drawings > drawn
        await stays.leave()

    streams(test)


def test_a_quiet_stream_says_that_it_is_there(streams: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing changes a comment goes out, so that proxies and dead connections are noticed."""
    monkeypatch.setattr(live, "BEAT", 0.1)

    async def test(listen: Callable[[str], Listener], _: Live, __: list[bool]) -> None:
        listener = listen("/live/nav")
        lines = [await asyncio.wait_for(listener.lines.get(), 5) for _ in range(3)]
        assert lines[0].startswith(b"retry:")
        assert lines[2].startswith(b":")
        await listener.leave()

    streams(test)


def test_a_stream_does_not_live_for_ever(streams: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends after a while, so that a session that is over is noticed when the browser comes back."""
    monkeypatch.setattr(live, "LIFE", 0.2)

    async def test(listen: Callable[[str], Listener], _: Live, __: list[bool]) -> None:
        listener = listen("/live/nav")
        await asyncio.wait_for(listener.task, 5)
        assert listener.status == 200

    streams(test)


def test_too_many_streams_are_refused(streams: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process serves a bounded number; the page itself works without."""
    monkeypatch.setattr(live, "MOST", 1)

    async def test(listen: Callable[[str], Listener], _: Live, __: list[bool]) -> None:
        first = listen("/live/nav")
        await first.news()
        second = listen("/live/nav")
        await asyncio.wait_for(second.task, 5)
        assert second.status == 503
        await first.leave()

    streams(test)


def test_redis_away_is_said_and_the_stream_goes_on(streams: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drawing that fails becomes a sentence on the page, and the next one takes it away."""
    from redis.exceptions import ConnectionError as NotReached

    real, away = live.fragments_of, [True]

    def sometimes(redis: Redis, topic: str) -> dict[str, str]:
        if away[0]:
            raise NotReached("refused")
        return real(redis, topic)

    monkeypatch.setattr(live, "fragments_of", sometimes)

    async def test(listen: Callable[[str], Listener], _: Live, __: list[bool]) -> None:
        listener = listen("/live/nav")
        assert "Redis does not answer" in (await listener.news())["trouble"]
        away[0] = False
        assert (await listener.news())["trouble"] == ""
        await listener.leave()

    streams(test)


def test_the_stamp_of_an_event_moves_with_its_jobs(seed: Seed) -> None:
    """A page about one event learns when to fetch itself again."""
    event = seed.accept()
    topic = f"event:{event.id}"
    stamps = [fragments_of(seed.redis, topic)["stamp"]]
    seed.route(event, HANDLER)
    stamps.append(fragments_of(seed.redis, topic)["stamp"])
    seed.run(event)
    stamps.append(fragments_of(seed.redis, topic)["stamp"])
    assert len(set(stamps)) == 3
    assert fragments_of(seed.redis, "event:none")["stamp"] == ""


def test_the_number_of_new_events_is_counted(seed: Seed) -> None:
    """A list of events learns how many came since it was drawn."""
    seed.accept()
    assert fragments_of(seed.redis, "nav")["seq"] == "1"


@pytest.mark.parametrize("path", ["/live/", "/live/none", "/live/events", "/live/overview/x"])
def test_there_are_no_other_streams(path: str, operator: Visitor) -> None:
    """An address that is no stream is 404."""
    assert operator.get(path).status_code == 404
