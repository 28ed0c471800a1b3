"""Orders, limits, rates and batches are leases: a worker that is killed while it holds them holds none of them for long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from receiver.ledger import read
from tests.flow.kit import seen, send, until

if TYPE_CHECKING:
    from redis import Redis

    from receiver.settings import Settings

THREADS = 10
ROOM = """
import os, time
from pathlib import Path
from receiver import on

FOLDER = Path(__file__).parent.parent

def note(text):
    with (FOLDER / "seen.txt").open("a") as file:
        file.write(text + "\\n")

def work(name, *numbers):
    note(f"begin {name} {sorted(numbers)}")
    while 0 in numbers and (FOLDER / "hang").exists():
        time.sleep(0.02)
    note(f"end {name} {sorted(numbers)}")

@on("crm.order.x", order="record")
def ordered(event):
    work("order", event.data["n"])

@on("crm.limit.x", concurrency=1)
def limited(event):
    work("limit", event.data["n"])

@on("crm.keyed.x", key="record", concurrency_per_key=1)
def keyed(event):
    work("keyed", event.data["n"])

@on("crm.rate.x", rate="2/s", concurrency=1)
def rated(event):
    work("rate", event.data["n"])

@on("crm.latest.x", latest="record", concurrency=1)
def latest(event):
    work("latest", event.data["n"])

@on("crm.debounce.x", debounce=0.1, concurrency=1)
def debounced(event):
    work("debounce", event.data["n"])

@on("crm.batch.x", batch=3, batch_for=0.3, concurrency=1)
def batched(events):
    work("batch", *(event.data["n"] for event in events))

@on("crm.stock.x", batch=5, batch_for=0)
def stock(events):
    work("stock", *(event.data["n"] for event in events))

@on("crm.alone.x", batch=3, batch_for=0.2, isolated=True)
def alone(events):
    if any(event.data["n"] == 9 for event in events):
        os.kill(os.getpid(), 9)
    work("alone", *(event.data["n"] for event in events))
"""
HELD = ("order", "limit", "keyed", "rate", "latest", "debounce")


def began(project: Settings, name: str) -> list[str]:
    """Which runs of a handler began, in their order."""
    return [line.split(" ", 2)[2] for line in seen(project) if line.startswith(f"begin {name} ")]


def test_what_a_killed_worker_held_is_free_for_the_next(project: Settings, redis: Redis, start) -> None:
    """While the first of each hangs the second waits; after kill -9 both run, an order in its order, and nothing is dead."""
    (project.folder / "hang").touch()
    for name in HELD:
        send(redis, f"crm.{name}.x", {"n": 0}, record_id="7")
    for number in (0, 1, 2):
        send(redis, "crm.batch.x", {"n": number})
    worker = start("receiver.worker")
    until(lambda: all(began(project, name) for name in (*HELD, "batch")))
    assert began(project, "batch") == ["[0, 1, 2]"]
    for name in HELD:
        send(redis, f"crm.{name}.x", {"n": 1}, record_id="7")
    for number in (3, 4, 5):
        send(redis, "crm.batch.x", {"n": number})
    time.sleep(1)
    assert {name: began(project, name) for name in HELD} == {name: ["[0]"] for name in HELD}
    assert began(project, "batch") == ["[0, 1, 2]"]
    worker.kill()
    worker.wait()
    (project.folder / "hang").unlink()
    start("receiver.worker")
    # Of latest= and debounce= the first is not tried again: the second is newer.
    until(lambda: read.totals(redis)["done"] == 2 * len(HELD) + 6 - 2, 60)
    skipped = read.jobs_in(redis, "skipped")
    assert {job.handler for job in skipped} == {"room.latest", "room.debounced"}
    assert read.totals(redis)["dead"] == 0
    assert read.totals(redis)["lost"] == len(HELD) + 3
    lines = seen(project)
    assert lines.index("begin order [1]") > lines.index("end order [0]")
    batches = began(project, "batch")[1:]
    assert {"[0]", "[1]", "[2]"} < set(batches), "what was in the batch that died runs one by one"
    assert "[3, 4, 5]" in batches
    for pattern in ("zh:c:*", "zh:o*", "zh:l:*"):
        assert redis.keys(pattern) == [], "nothing is held when all is done"


def test_a_stock_rq_worker_does_batches_too(project: Settings, redis: Redis, start) -> None:
    """Each slip leads a batch of what waits, wherever it is worked off."""
    for number in range(4):
        send(redis, "crm.stock.x", {"n": number})
    stock = start(
        *("rq.cli", "worker", "--url", project.redis.url, "--serializer", "json", "--burst"),
        *("--job-class", "receiver.routing.slips.Slip", "zohook_recovered", "zohook", "zohook_replay"),
    )
    assert stock.wait(60) == 0
    assert read.totals(redis)["done"] == 4
    ran = [int(number) for each in began(project, "stock") for number in each.strip("[]").split(", ")]
    assert sorted(ran) == [0, 1, 2, 3]


def test_an_isolated_batch_runs_together_and_who_kills_it_is_found(
    project: Settings, redis: Redis, start
) -> None:
    """One process of its own for the whole batch; when it is killed, each job runs alone until the one that kills is quarantined."""
    for number in (1, 2, 3):
        send(redis, "crm.alone.x", {"n": number})
    start("receiver.worker")
    until(lambda: read.totals(redis)["done"] == 3)
    assert began(project, "alone") == ["[1, 2, 3]"]
    for number in (8, 9):
        send(redis, "crm.alone.x", {"n": number})
    until(lambda: read.totals(redis)["dead"] == 1 and read.totals(redis)["done"] == 4, 60)
    assert began(project, "alone")[1:] == ["[8]"]
    [dead] = read.jobs_in(redis, "dead")
    assert read.event(redis, dead.event).event.data == {"n": 9}
    assert (dead.reason, dead.tries) == ("quarantined: its process died 3 times while running it alone", 0)
