"""A batch at the door, in one script: what it writes is the same as if each had come alone."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from receiver import keys
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger import accept as accepting
from receiver.ledger import read
from receiver.ledger.accept import QUEUE, Record, accept
from receiver.sources import PRODUCTS
from receiver.sources.source import Verified, Way

if TYPE_CHECKING:
    from redis import Redis


def record(*facts: tuple[str, str], source: str = "crm") -> Record:
    """A delivery that tells these facts: (type, identity)."""
    delivery = Delivery.arrive(source, b"{}")
    events = [
        Event(
            id=new_id(),
            type=kind,
            source=source,
            data={},
            received=delivery.received,
            delivery=delivery.id,
            record_id=identity,
            identity=identity,
        )
        for kind, identity in facts
    ]
    return Record(delivery, "accepted", events=events, window=60)


def test_a_batch_is_in_every_index_and_counted_without_a_gap(redis: Redis) -> None:
    """Thousands of events of several sources and types: each is found by all that it can be found by, and has a slip; duplicates leave no gap."""
    facts = [(f"crm.Deals.v{number % 3}", str(number)) for number in range(2500)]
    records = [
        record(*facts[:2000]),
        record(facts[0], facts[2000], facts[2000]),
        record(*facts[2000:], source="b"),
    ]
    answers = accept(redis, records, slips=5_000)
    assert [len(answer.new) for answer in answers] == [2000, 1, 500]
    assert [pair[1] for pair in answers[1].duplicates] == [answers[0].new[0], answers[1].new[0]]

    new = {event for answer in answers for event in answer.new}
    found = {each.decode() for each in redis.zrange(keys.events(), 0, -1)}
    assert found == new == {each.decode() for each in redis.zrange(keys.unrouted(), 0, -1)}
    assert [score for _, score in redis.zrange(keys.unrouted(), 0, -1, withscores=True)] == list(
        range(1, len(new) + 1)
    )
    assert int(redis.get(keys.sequence())) == len(new)
    by_type = sum(redis.zcard(keys.events_of_type(f"crm.Deals.v{number}")) for number in range(3))
    by_source = redis.zcard(keys.events_of_source("crm")) + redis.zcard(keys.events_of_source("b"))
    assert by_type == by_source == redis.zcard(keys.due()) == redis.llen(keys.rq_queue(QUEUE)) == len(new)
    assert redis.smembers(keys.types()) == {b"crm.Deals.v0", b"crm.Deals.v1", b"crm.Deals.v2"}
    assert redis.llen(keys.wake()) == 64
    assert read.totals(redis)["accepted"] == len(new)
    assert read.totals(redis)["deliveries"] == 3


def test_a_batch_that_comes_again_changes_nothing(redis: Redis) -> None:
    """Its answers are as before, and there is no second slip: the reply of Redis may be lost on its way."""
    records = [record(("crm.Deals.updated", "1")), record(("crm.Deals.updated", "2"))]
    first = accept(redis, records)
    assert accept(redis, records) == first
    assert redis.llen(keys.rq_queue(QUEUE)) == 2
    assert int(redis.get(keys.sequence())) == 2


def test_bytes_are_known_again_for_a_minute_whatever_the_clock_shows(redis: Redis) -> None:
    """The minute is counted from the first of them: the turn of the clock's minute between two deliveries changes nothing."""
    turn = now_ms() // 60_000 * 60_000
    answers = [accept(redis, [called(at)])[0] for at in (turn - 5, turn + 5, turn + 59_000)]
    assert [len(answer.new) for answer in answers] == [1, 0, 0]
    (mark,) = redis.scan_iter(keys.mark("*"))
    assert 0 < redis.pttl(mark) <= 60_000
    redis.pexpire(mark, 1)
    time.sleep(0.005)
    assert accept(redis, [called(turn + 61_000)])[0].new


def test_what_waits_to_be_verified_is_not_pushed_out_by_what_comes_later(redis: Redis, monkeypatch) -> None:
    """One more than may wait is refused, and nothing of it is written; what waits, comes again or is something else is as ever."""
    monkeypatch.setattr(accepting, "KEPT", 3)
    first, *others = (Record(Delivery.arrive("desk", b"[]"), "unverified", "no keys") for _ in range(3))
    assert [answer.kept for answer in accept(redis, [first, *others])] == [True] * 3
    late, event = Record(Delivery.arrive("desk", b"[]"), "unverified"), record(("crm.Deals.updated", "1"))
    refused = [Record(Delivery.arrive("crm", b""), "quarantined", "why") for _ in range(4)]
    answers = accept(redis, [late, event, first, *refused])
    assert [answer.full for answer in answers] == [True] + [False] * 6
    assert [answer.kept for answer in answers] == [False] + [True] * 6
    assert read.delivery(redis, first.delivery.id) is not None
    assert not redis.exists(keys.delivery(late.delivery.id), keys.verdict(late.delivery.id))
    totals = read.totals(redis)
    assert (totals["unverified"], totals["deliveries"], totals["accepted"]) == (4, 8, 1)
    assert (redis.zcard(keys.deliveries("unverified")), redis.zcard(keys.deliveries("quarantined"))) == (3, 3)
    accept(redis, [Record(first.delivery, "rejected", "its key is not Desk's")])
    assert accept(redis, [late])[0].kept


def called(received: int) -> Record:
    """A call of Cliq that does not say when it was made, though most do: there are only its bytes."""
    way = Way("cliq", "cliq")
    delivery = Delivery.arrive(
        "cliq", b'{"type": "message", "name": "bot", "handler": {"type": "message_handler"}}'
    )
    delivery = replace(delivery, received=received)
    events = PRODUCTS["cliq"].parse(delivery, way, Verified("signature")).events
    return Record(delivery, "accepted", events=events, window=PRODUCTS["cliq"].window(way))
