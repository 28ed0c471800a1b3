"""Retention forgets finished work whole, and nothing else."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from redis.exceptions import ResponseError

from receiver import keys, on
from receiver.errors import InvalidRequest
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger import condition, read, runs, turns
from receiver.ledger.accept import Record, accept
from receiver.ledger.runs import Ending, Opening
from receiver.routing import run
from receiver.routing.sweep import hold_lease
from receiver.settings import RetentionSettings
from receiver.upkeep import retention
from receiver.upkeep.retention import Retention
from tests.flow.kit import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from tests.flow.conftest import MakeHouse

NOW = RetentionSettings(days=-0.001, size=10**12)
"""Everything is over age."""

DEAD = Opening("rooms.broken", state="dead", reason="no")
BY = {"age": NOW, "size": RetentionSettings(days=1, size=1000)}
"""Settings by which everything finished goes: for its age, or for want of room."""


@pytest.fixture(autouse=True)
def no_rewrite(redis: Redis) -> Iterator[None]:
    """Redis does not write its append-only file anew of its own accord: that takes ten megabytes at a time, some of which it does not count."""
    (had,) = redis.config_get("auto-aof-rewrite-percentage").values()
    redis.config_set("auto-aof-rewrite-percentage", 0)
    until(lambda: not redis.info("persistence")["aof_rewrite_in_progress"])
    yield
    redis.config_set("auto-aof-rewrite-percentage", had)


def told(at: int | None = None, **fields: str) -> Event:
    """An event of CRM's, of now or then."""
    received = at or now_ms()
    return Event(id=new_id(received), type="crm.A.x", source="crm", data={}, received=received, **fields)


def routed(redis: Redis, count: int, *openings: Opening) -> list[str]:
    """So many events that came just now, each with these jobs; their ids."""
    at = now_ms()
    records = [Record(Delivery.arrive("crm", b"{}"), "accepted", events=[told(at)]) for _ in range(count)]
    ids = [record.events[0].id for record in records]
    accept(redis, records, slips=10_000)
    claims = runs.claim_many(redis, [("e", each, 1) for each in ids], "a worker", 60)
    runs.route_many(redis, [(claim, openings) for claim in claims], lease=60, again=60, claim_first=False)
    return ids


def retried(redis: Redis, event: str) -> None:
    """A person retries the dead job of an event, and it is done."""
    job = runs.job_id(event, DEAD.handler)
    assert runs.replay(redis, "j", job) == "ok"
    claim = runs.claim(redis, "j", job, read.jobs(redis, [job])[0].run + 1, "a worker", 60)
    assert runs.finish(redis, claim, Ending("done"))


@pytest.mark.parametrize("by", BY)
def test_what_is_kept_does_not_bar_the_way_to_what_can_go(redis: Redis, monkeypatch, by: str) -> None:
    """However many dead events lie before them, the finished ones are forgotten: pages of one look past 1,500 as those of 100 past many more."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)
    monkeypatch.setattr(retention, "PAGE", 1 if by == "age" else 100)
    dead = routed(redis, 1_500, DEAD)
    routed(redis, 300)
    assert Retention(redis, BY[by]).trim() == 300
    assert redis.zcard(keys.events()) == len(dead)


@pytest.mark.parametrize(
    "damage", [b"no JSON\n-{}", b"[1]\n-{}", b'{"events": 7}\n-', b'{"event": {"type": "crm.A.x"}}\n-', b""]
)
def test_what_cannot_be_read_any_more_does_not_bar_the_way(redis: Redis, damage: bytes) -> None:
    """One delivery of four is damaged: it is forgotten with the others."""
    home = routed(redis, 4)
    damaged = redis.hget(keys.event(home[1]), "delivery").decode()
    redis.set(keys.delivery(damaged), damage)
    assert Retention(redis, NOW).trim() == 4
    assert not redis.exists(keys.events(), *(keys.event(each) for each in home), keys.delivery(damaged))


@pytest.mark.parametrize("by", BY)
def test_a_round_goes_on_where_the_last_one_was(redis: Redis, monkeypatch, by: str) -> None:
    """A round without time gets a little further; at the end a walk begins anew and finds what has been finished behind it, also where another clock forgot the one that it stood at."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)
    monkeypatch.setattr(retention, "BUDGET", 0.0)
    monkeypatch.setattr(retention, "LOOK_EVERY", 1)
    dead = routed(redis, 250, DEAD)
    routed(redis, 30)
    rounds = Retention(redis, BY[by])
    assert [rounds.trim() for _ in range(2)] == [0, 0]
    walk = rounds._by_age if by == "age" else rounds._by_size
    stood_at = walk._kept[0].decode()
    retried(redis, stood_at)
    other = Retention(redis, NOW)._by_age
    assert [other.page(now_ms() + 1000) for _ in range(2)] == [0, 1]
    retried(redis, min(dead))
    assert sum(rounds.trim() for _ in range(7)) == 31
    assert redis.zcard(keys.events()) == len(dead) - 2


def test_a_round_that_had_no_time_for_all_there_is_to_forget_says_so(redis: Redis, monkeypatch) -> None:
    """The clock then comes again at once and not in a minute; it does not for what is only passed by."""
    monkeypatch.setattr(retention, "BUDGET", 0.0)
    monkeypatch.setattr(retention, "MUCH", 100)
    routed(redis, 150)
    routed(redis, 150, DEAD)
    rounds = Retention(redis, NOW)
    assert [(rounds.trim(), rounds.behind) for _ in range(3)] == [(100, True), (50, False), (0, False)]


def test_retention_by_size_looks_once_more_at_what_it_had_passed_by(redis: Redis, monkeypatch) -> None:
    """A round that begins in the middle of a walk says that nothing can go only when it has seen all."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)
    dead = routed(redis, 150, DEAD)
    rounds = Retention(redis, BY["size"])
    rounds._by_size.page(now_ms() + 1000)
    assert not rounds._by_size.begins
    retried(redis, min(dead))
    assert rounds.trim() == 1


def test_a_delivery_goes_with_the_last_of_its_events(redis: Redis) -> None:
    """A dead event of a notification of two keeps the raw bytes, though the other is forgotten; retried, done and forgotten it takes them along."""
    delivery = Delivery.arrive("crm", b'{"ids": ["1", "2"]}')
    events = [told(delivery=delivery.id) for _ in range(2)]
    done, dead = (event.id for event in events)
    accept(redis, [Record(delivery, "accepted", events=events)])
    claims = runs.claim_many(redis, [("e", done, 1), ("e", dead, 1)], "a worker", 60)
    runs.route_many(redis, [(claims[0], ()), (claims[1], (DEAD,))], lease=60, again=60, claim_first=False)
    rounds = Retention(redis, NOW)
    assert rounds.trim() == 1
    assert read.event(redis, done) is None
    kept = read.delivery(redis, delivery.id)
    assert kept is not None
    assert (kept.body, kept.verdict, kept.forgotten) == (delivery.body, "accepted", {done})
    retried(redis, dead)
    assert rounds.trim() == 1
    assert redis.keys("zh:d*") == redis.keys("zh:e:*") == redis.keys("zh:f:*") == []


def test_a_delivery_of_many_events_goes_when_all_do(redis: Redis) -> None:
    """Those that are forgotten page by page take it with the last page, and the ones that were duplicates keep nothing."""
    delivery = Delivery.arrive("crm", b"{}")
    events = [told(delivery=delivery.id, identity=str(number % 240)) for number in range(250)]
    accept(redis, [Record(delivery, "accepted", events=events, window=60)])
    claims = runs.claim_many(redis, [("e", event.id, 1) for event in events[:240]], "a worker", 60)
    runs.route_many(redis, [(claim, ()) for claim in claims], lease=60, again=60, claim_first=False)
    walk = retention.Walk(redis)
    for left in (140, 40):
        assert walk.page(now_ms() + 1000) == 100
        row = read.delivery(redis, delivery.id)
        assert row is not None
        assert len(row.forgotten) == 240 - left
    assert walk.page(now_ms() + 1000) == 40
    assert redis.keys("zh:d*") == []


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
    assert Retention(home.redis, RetentionSettings(days=1, size=10**12)).trim() == 0
    assert Retention(home.redis, NOW).trim() == 250
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
    assert Retention(home.redis, NOW).trim() == 1
    left = {row.event.id for row in read.page(home.redis).rows}
    assert left == {*kept, waiting}
    assert gone not in left
    assert len(read.jobs_in(home.redis, "dead")) == 1


def unverified(redis: Redis, count: int) -> list[str]:
    """So many deliveries that wait to be verified; their ids."""
    records = [Record(Delivery.arrive("desk", b"[]"), "unverified", "no keys") for _ in range(count)]
    accept(redis, records)
    return [record.delivery.id for record in records]


def test_what_waits_to_be_verified_is_given_up_by_age_only(redis: Redis, monkeypatch, capsys) -> None:
    """It was answered 200: want of room takes none of it, and what grows over age unverified is counted and told."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)
    (one, *_) = unverified(redis, 130)
    assert Retention(redis, BY["size"]).trim() == 0
    assert read.delivery(redis, one) is not None
    assert read.totals(redis)["unverified_given_up"] == 0
    capsys.readouterr()
    assert Retention(redis, BY["age"]).trim() == 130
    assert redis.keys("zh:d*") == []
    assert read.totals(redis)["unverified_given_up"] == 130
    said = capsys.readouterr()
    assert "retention.unverified_given_up" in said.out + said.err


def refused(redis: Redis, count: int, size: int) -> None:
    """So many deliveries in quarantine, of so many bytes that cannot be packed any smaller."""
    for _ in range(count):
        accept(redis, [Record(Delivery.arrive("crm", os.urandom(size)), "quarantined", "why")])


@pytest.mark.parametrize("by", BY)
def test_all_that_became_no_event_goes_at_once(redis: Redis, monkeypatch, by: str) -> None:
    """However many they are: a round takes as many pages as it has time for, and counts them in what it forgot."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)
    monkeypatch.setattr(retention, "PAGE", 20)
    monkeypatch.setattr(retention, "MUCH", 30)
    refused(redis, 150, 10)
    unverified(redis, 10)
    routed(redis, 5)
    rounds = Retention(redis, BY[by])
    with monkeypatch.context() as patch:
        patch.setattr(retention, "BUDGET", 0.0)
        assert (rounds.trim(), rounds.behind) in {(20, False), (40, True), (35, True)}
    assert rounds.trim() > 110
    left = {word: redis.zcard(keys.deliveries(word)) for word in ("quarantined", "unverified")}
    assert left == {"quarantined": 0, "unverified": 10 if by == "size" else 0}
    assert redis.zcard(keys.events()) == 0


def test_over_size_what_became_no_event_goes_before_finished_work(redis: Redis, monkeypatch) -> None:
    """Large bodies in quarantine are what takes the room: they make it, the oldest first, no more of them than it takes, and no event goes."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)
    routed(redis, 200)
    before = condition.memory(redis).used
    refused(redis, 600, 50_000)
    size = before + 10 * 2**20
    Retention(redis, RetentionSettings(days=1, size=size)).trim()
    assert condition.memory(redis).used <= size
    assert 50 <= redis.zcard(keys.deliveries("quarantined")) <= 200
    assert redis.zcard(keys.events()) == 200


def test_what_a_rewrite_of_the_file_keeps_meanwhile_makes_nothing_go(redis: Redis, monkeypatch) -> None:
    """While Redis writes its append-only file anew it holds all writes twice: that is no data, and passes."""
    monkeypatch.setattr(retention, "YOUNGEST", -1000)
    before = condition.memory(redis).used
    pid = redis.info("server")["process_id"]
    redis.bgrewriteaof()
    writers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for writer in writers:
        os.kill(int(writer), signal.SIGSTOP)
    try:
        refused(redis, 200, 50_000)
        assert redis.info("memory")["used_memory"] > before + 18 * 2**20
        assert Retention(redis, RetentionSettings(days=1, size=before + 15 * 2**20)).trim() == 0
    finally:
        for writer in writers:
            os.kill(int(writer), signal.SIGKILL)


def test_what_became_no_event_stays_while_it_is_young(redis: Redis) -> None:
    """Somebody is looking at it: over size, too, only what is older than ten minutes goes."""
    refused(redis, 5, 10)
    assert Retention(redis, BY["size"]).trim() == 0
    assert redis.zcard(keys.deliveries("quarantined")) == 5


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
    assert Retention(home.redis, RetentionSettings(days=1, size=1000)).trim() == 20
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
        assert Retention(home.redis, RetentionSettings(days=1, size=10**12)).trim() == 20
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
        assert Retention(home.redis, NOW).trim() == 5
    finally:
        home.redis.config_set("maxmemory", 0)
