"""Retention forgets finished work whole, and nothing else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError

from receiver import keys, on
from receiver.errors import InvalidRequest
from receiver.ledger import condition, read, runs, turns
from receiver.routing import run
from receiver.routing.sweep import hold_lease
from receiver.settings import RetentionSettings
from receiver.upkeep import retention

if TYPE_CHECKING:
    from tests.flow.conftest import MakeHouse

NOW = RetentionSettings(days=-0.001, size=10**12)
"""Everything is over age."""


def test_finished_events_go_with_all_that_belongs_to_them(house: MakeHouse) -> None:
    """No key of a forgotten event is left, whatever it was: done, skipped, unmatched."""

    @on("crm.Deals.*")
    def handler(event):
        pass

    home = house(handler)
    before = set(home.redis.keys("*"))
    for number in range(250):
        home.accept(
            "crm.Deals.updated" if number % 2 else "crm.Leads.created", {"x": number}, record_id=str(number)
        )
    home.work()
    assert retention.trim(home.redis, RetentionSettings(days=1, size=10**12)) == 0
    assert retention.trim(home.redis, NOW) == 250
    left = {key.decode() for key in set(home.redis.keys("*")) - before}
    kept = {"zh:n", "zh:seq", "zh:types", "zh:ms", "zh:recent", "zh:wake", "zh:slips:zohook", "rq:queues"}
    assert {key for key in left if not key.startswith(("zh:n:", "zh:m:"))} <= kept, left
    assert read.page(home.redis).rows == ()


def test_what_is_open_or_dead_stays(house: MakeHouse) -> None:
    """A dead letter never expires while it is undelivered, nor does anything that still waits."""

    @on("crm.Deals.deleted")
    def deadly(event):
        raise InvalidRequest("no")

    @on("crm.Deals.updated")
    def later(event):
        raise ValueError("later")

    home = house(deadly, later)
    kept = {home.accept("crm.Deals.deleted").id, home.accept("crm.Deals.updated").id}
    gone = home.accept("crm.Leads.created").id
    home.work()
    waiting = home.accept("crm.Leads.created").id
    assert retention.trim(home.redis, NOW) == 1
    left = {row.event.id for row in read.page(home.redis).rows}
    assert left == {*kept, waiting}
    assert gone not in left
    assert len(read.jobs_in(home.redis, "dead")) == 1


def test_retention_by_size_ends_where_nothing_finished_is_left(house: MakeHouse, monkeypatch) -> None:
    """Over its size the oldest finished events go first, and what cannot go does not make it run for ever."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)

    @on("crm.Deals.deleted")
    def deadly(event):
        raise InvalidRequest("no")

    home = house(deadly)
    dead = home.accept("crm.Deals.deleted").id
    for _ in range(20):
        home.accept("crm.Leads.created")
    home.work()
    assert retention.trim(home.redis, RetentionSettings(days=1, size=1000)) == 20
    assert [row.event.id for row in read.page(home.redis).rows] == [dead]


def test_retention_keeps_room_in_a_small_redis(house: MakeHouse, monkeypatch) -> None:
    """Where 70 % of maxmemory is less than the size of the settings, that is what is aimed at."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)
    home = house()
    for _ in range(20):
        home.accept("crm.Leads.created")
    home.work()
    used = condition.memory(home.redis).used
    home.redis.config_set("maxmemory", int(used / 0.75))
    try:
        assert condition.memory(home.redis).word == "filling"
        assert retention.trim(home.redis, RetentionSettings(days=1, size=10**12)) == 20
    finally:
        home.redis.config_set("maxmemory", 0)


def test_what_rq_keeps_of_the_dead_is_swept(house: MakeHouse) -> None:
    """Failed and finished jobs, executions and workers that are gone leave nothing; what lives and other people's queues stay."""
    home = house()
    home.accept("crm.Leads.created")
    redis, now = home.redis, int(time.time())
    turns.turn(redis, "living", ["zohook"], 1, [])
    redis.sadd("rq:queues", "rq:queue:zohook_slow", "rq:queue:theirs")
    redis.zadd("rq:failed:zohook", {"gone": now + 10**6, "eternal": now + 10**6, "young": now + 10**6})
    redis.hset("rq:job:eternal", "data", "x")
    redis.hset("rq:job:young", "data", "x")
    redis.expire("rq:job:young", 100)
    redis.zadd("rq:finished:zohook_slow", {"gone": -1})
    redis.zadd("rq:wip:zohook_slow", {"dead:e1": now - 100})
    redis.hset("rq:job:dead", "data", "x")
    redis.zadd("rq:failed:theirs", {"gone": now})
    redis.hset("rq:worker:living", "birth", "x")
    redis.sadd("rq:workers", "rq:worker:living", "rq:worker:killed")
    redis.sadd("rq:workers:zohook", "rq:worker:killed")
    assert retention.tidy(redis) == 5
    assert redis.ttl("rq:job:eternal") == 3600
    assert redis.zrange("rq:failed:zohook", 0, -1) == [b"eternal", b"young"]
    assert (
        redis.exists("rq:finished:zohook_slow", "rq:wip:zohook_slow", "rq:job:dead", "rq:workers:zohook") == 0
    )
    assert redis.smembers("rq:workers") == {b"rq:worker:living"}
    assert redis.zcard("rq:wip:zohook") == 1
    assert redis.exists("rq:failed:theirs") == 1
    assert retention.tidy(redis) == 0


def test_work_ends_in_a_redis_that_is_full(house: MakeHouse) -> None:
    """Over maxmemory nothing new is taken, and what is there is claimed, handled, recovered and forgotten all the same."""
    seen = []

    @on("crm.Deals.updated")
    def handler(event):
        seen.append(event.id)

    home = house(handler, lease=0.2)
    ids = [home.accept("crm.Deals.updated").id for _ in range(5)]
    (slip,) = home.slips(1)
    runs.claim(home.redis, *slip.ids(), "a worker that dies", 0.2)
    home.sweeper.once()
    home.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(ResponseError, match="OOM"):
            home.accept("crm.Deals.updated")
        home.work()
        time.sleep(0.25)
        assert hold_lease(home.redis, keys.clock(), "the clock", 1)
        assert home.sweeper.once()[2] == 1
        for recovered in home.slips():
            run.work(home.process, *recovered.ids(), alone=True)
        home.work()
        assert sorted(seen) == sorted(ids)
        assert retention.trim(home.redis, NOW) == 5
    finally:
        home.redis.config_set("maxmemory", 0)
