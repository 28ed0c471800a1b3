"""Reading writes nothing, and what a page costs does not grow with the number of events."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from dashboard_kit import HANDLER
from dashboard_scene import scene

from receiver import keys
from receiver.dashboard import live, search
from receiver.dashboard.search import Filters
from receiver.event import now_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from dashboard_kit import Seed, Visitor
    from redis import Redis

    from receiver.ledger.embedded import Embedded

READS = {
    "GET", "GETRANGE", "MGET", "HGET", "HMGET", "HGETALL", "LRANGE", "LLEN", "SMEMBERS", "SCARD", "ZCARD", "ZCOUNT", "ZRANGE", "ZREVRANGE", "ZREVRANGEBYSCORE",
    "ZREVRANK", "HVALS", "INFO", "PING", "CLIENT", "HELLO", "SELECT", "AUTH", "TTL", "EXISTS",
}  # fmt: skip
SESSIONS = keys.session("")
PAGES = ("/", "/events", "/dead", "/deliveries", "/sources", "/handlers", "/connections")


def watched(server: Embedded, do: Callable[[], Any]) -> list[list[str]]:
    """Every command that Redis was given meanwhile."""
    seen: list[list[str]] = []
    with server.client() as client, client.monitor() as monitor:
        do()
        with server.client() as other:
            other.echo("over")
        for each in monitor.listen():
            words = each["command"].split()
            if words[0].upper() == "ECHO":
                return seen
            seen.append(words)
    return seen


def test_looking_changes_nothing(operator: Visitor, redis: Redis, redis_server: Embedded) -> None:
    """A click through everything, live streams included, gives Redis no command that writes but to sessions."""
    ids = scene(redis)
    refused = redis.zrevrange(keys.deliveries("rejected"), 0, 0)[0].decode()
    pages = [*PAGES, "/healthz", "/metrics", f"/deliveries/{refused}", "/deliveries?verdict=duplicate"]
    pages += [f"/events/{each}" for name, each in ids.items() if name not in {"rejected", "quarantined"}]
    pages += [f"/events?state={state}" for state in search.STATES]
    pages += ["/events?type=crm.*", "/events?record=4876000000331", "/dead?handler=mirror.records", "/nope"]

    def click() -> None:
        for path in pages:
            assert operator.get(
                path, headers={"authorization": "Bearer correct horse battery"}
            ).status_code in {200, 404}, path
        for topic in ("nav", "overview", f"event:{ids['dead']}"):
            live.fragments_of(redis, topic)

    commands = watched(redis_server, click)
    assert len(commands) > 100
    wrong = [
        each
        for each in commands
        if each[0].upper() not in READS and not all(key.startswith(SESSIONS) for key in each[1:2])
    ]
    assert not wrong


def test_the_sign_in_writes_to_sessions_only(visitor: Any, redis_server: Embedded) -> None:
    """Signing in, right and wrong, and out again touches no key of the ledger."""
    guest = visitor()

    def come_and_go() -> None:
        guest.post("/sign-in", {"password": "wrong"})
        guest.sign_in()
        guest.post("/sign-out")

    commands = watched(redis_server, come_and_go)
    writes = [each for each in commands if each[0].upper() not in READS | {"MULTI", "EXEC"}]
    assert writes
    assert all(each[1].startswith(SESSIONS) for each in writes)


def fill(seed: Seed, first: int, last: int) -> None:
    """Events done, dead and unmatched by turns."""
    begin = now_ms() - 1_000_000
    for number in range(first, last):
        event = seed.accept(record_id=str(number), received=begin + number)
        if number % 3:
            seed.route(event, HANDLER)
            seed.run(
                event, state="dead" if number % 3 == 2 else "done", reason="no" if number % 3 == 2 else ""
            )
        else:
            seed.route(event)
        if number % 10 == 0:
            seed.refuse()


def test_a_page_costs_the_same_with_many_events(
    operator: Visitor, seed: Seed, redis_server: Embedded
) -> None:
    """From 400 events, where every page is full, to 3,000: not one command to Redis more, and within 100 ms."""
    pages = [
        *PAGES,
        "/events?type=crm.Deals.updated",
        "/events?record=7",
        "/events?state=dead",
        "/events?state=unmatched",
    ]
    fill(seed, 0, 600)
    seed.catalogue({"id": HANDLER, "doc": "", "patterns": [], "options": {}})
    before = {path: len(watched(redis_server, lambda path=path: operator.get(path))) for path in pages}
    fill(seed, 600, 3000)
    for path in pages:
        assert len(watched(redis_server, lambda path=path: operator.get(path))) <= before[path], path
    took = []
    for path in pages:
        began = time.perf_counter()
        operator.get(path)
        took.append(time.perf_counter() - began)
    assert sorted(took)[len(took) // 2] < 0.1


def test_a_search_without_an_index_says_how_far_it_came(operator: Visitor, seed: Seed) -> None:
    """After 2,000 rows or 80 ms it stops, and its cursor goes on from there until all is searched."""
    old = seed.accept("crm.Leads.created", record_id="x", received=now_ms() - 10_000_000)
    for _ in range(450):
        seed.accept()
    found = search.search(seed.redis, Filters(type="crm.Lea*"), most=200, longest=60)
    assert not found.rows
    assert found.back_to > old.received
    steps = 1
    while not found.rows:
        found = search.search(seed.redis, Filters(type="crm.Lea*"), found.cursor, most=200, longest=60)
        steps += 1
    assert steps == 3
    assert [row.event.id for row in found.rows] == [old.id]
    began = time.perf_counter()
    search.search(seed.redis, Filters(type="*.nothing"), longest=0.0)
    assert time.perf_counter() - began < 2


def test_a_search_that_stopped_is_shown_with_its_time(
    operator: Visitor, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says back to when it searched, and offers to go on."""
    monkeypatch.setattr(search, "BATCH", 10)
    monkeypatch.setattr("receiver.dashboard.search.search.__kwdefaults__", {"most": 20, "longest": 60})
    for _ in range(40):
        seed.accept()
    text = operator.get("/events?type=*.nothing").text
    assert "Searched back to" in text
    assert "/events?type=%2A.nothing&amp;after=" in text


def test_a_list_does_not_load_what_it_does_not_show(operator: Visitor, seed: Seed) -> None:
    """Fifty events with a megabyte each make a page as small and quick as any."""
    for _ in range(12):
        seed.accept(data={"text": "z" * 1_000_000}, body=b"{}")
    sent = seed.redis.info("stats")["total_net_output_bytes"]
    assert len(operator.get("/events").text) < 100_000
    assert seed.redis.info("stats")["total_net_output_bytes"] - sent < 500_000


def test_pages_are_drawn_side_by_side(operator: Visitor, redis: Redis) -> None:
    """Many readers at once get their pages: views run in threads and share no state."""
    import httpx

    scene(redis)

    async def all_at_once() -> list[int]:
        async with httpx.AsyncClient(
            transport=operator.transport, base_url=operator.base, cookies=operator.cookies
        ) as client:
            answers = await asyncio.gather(*(client.get(path) for path in PAGES * 5))
            return [answer.status_code for answer in answers]

    assert set(asyncio.run(all_at_once())) == {200}
