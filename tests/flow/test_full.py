"""Redis at its limit: whoever starts then is not kept from finishing and forgetting, which is what makes room again."""

from __future__ import annotations

import signal

from receiver import keys
from receiver.event import now_ms
from receiver.ledger import read
from tests.flow.kit import seen, send, until

ROOM = """
from pathlib import Path
from receiver import on

LOG = Path(__file__).parent.parent / "seen.txt"

@on("crm.Deals.updated")
def quick(event):
    with LOG.open("a") as file:
        file.write(event.id + "\\n")

@on("crm.Leads.updated", order="record")
def ordered(event):
    with LOG.open("a") as file:
        file.write(event.id + "\\n")
"""


def test_a_worker_starts_in_a_full_redis_and_works_off_what_is_there(project, redis, start) -> None:
    """RQ's registration is refused, and made up for once there is room: the work does not wait for it."""
    ids = send(redis, count=40) + send(redis, "crm.Leads.updated", count=5, record_id="1")
    redis.config_set("maxmemory", 1)
    try:
        worker = start("receiver.worker")
        until(lambda: read.totals(redis)["done"] == 45)
        assert read.workers(redis) == []
        assert sorted(seen(project)) == sorted(ids)
        assert worker.poll() is None
    finally:
        redis.config_set("maxmemory", 0)
    until(lambda: len(read.workers(redis)) == 1)
    last = send(redis)
    until(lambda: seen(project)[-1:] == last)
    redis.config_set("maxmemory", 1)
    try:
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(15) == 0
    finally:
        redis.config_set("maxmemory", 0)


def test_a_clock_that_starts_in_a_full_redis_makes_room(project, redis, start) -> None:
    """Retention comes before whatever else the clock does, and needs no memory."""
    send(redis, count=30)
    worker = start("receiver.worker")
    until(lambda: read.totals(redis)["done"] == 30)
    worker.send_signal(signal.SIGTERM)
    worker.wait(15)
    old = now_ms() - 31 * 86_400_000
    for each, _ in redis.zscan_iter(keys.events()):
        redis.zadd(keys.events(), {each: old})
    redis.config_set("maxmemory", 1)
    try:
        start("receiver.cli", "clock")
        until(lambda: redis.zcard(keys.events()) == 0)
    finally:
        redis.config_set("maxmemory", 0)
