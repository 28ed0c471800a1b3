"""The worker as a process, a stock RQ worker in its place, and what a forged slip gets."""

from __future__ import annotations

import json
import signal
import time

import pytest
from rq.defaults import RQ_KEY_PREFIX

from receiver import keys
from receiver.ledger import read, runs
from tests.flow.kit import seen, send, until

ROOM = '''
import os, signal, time
from pathlib import Path
from receiver import on

LOG = Path(__file__).parent.parent / "seen.txt"

def note(text):
    with LOG.open("a") as file:
        file.write(text + "\\n")

@on("crm.Deals.updated")
def quick(event):
    """Does next to nothing."""
    note(f"{event.id} {os.getpid()}")

@on("crm.Slow.updated", share=1)
def slow(event):
    note(f"begin {event.id}")
    time.sleep(event.data["for"])
    note(f"end {event.id}")

@on("crm.Hog.updated")
def hog(event):
    note(f"hog {event.id}")
    time.sleep(event.data["for"])

@on("crm.Queued.updated", queue="others")
def queued(event):
    note(f"queued {event.id}")

@on("crm.Deadly.updated")
def deadly(event):
    os.kill(os.getpid(), signal.SIGKILL)
'''


def test_a_worker_handles_what_is_accepted_and_leaves_rq_clean(project, redis, start) -> None:
    """Every event is handled once; no slip, execution or registry entry is left; RQ knows the worker."""
    ids = send(redis, count=30)
    worker = start("receiver.worker")
    until(lambda: read.totals(redis)["done"] == 30)
    assert sorted(line.split()[0] for line in seen(project)) == sorted(ids)
    assert len(read.workers(redis)) == 1
    until(lambda: not redis.keys("rq:job:*"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    assert redis.keys("rq:execution*") == []
    assert redis.zcard("rq:wip:zohook") == 0
    assert read.workers(redis) == []
    assert read.states(redis)["open"] == 0


def test_sigterm_lets_running_work_end_and_gives_the_rest_back(project, redis, start) -> None:
    """The worker ends after what it runs, and what it had not begun is still queued and due."""
    send(redis, "crm.Slow.updated", {"for": 1.5}, count=10)
    worker = start("receiver.worker")
    until(lambda: sum(line.startswith("begin") for line in seen(project)) == 4)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(15) == 0
    assert sum(line.startswith("end") for line in seen(project)) == 4
    assert read.totals(redis)["done"] == 4
    assert read.states(redis)["running"] == 0
    start("receiver.worker")
    until(lambda: read.totals(redis)["done"] == 10)
    assert read.totals(redis)["lost"] == 0


def test_a_slow_handler_leaves_threads_to_others(project, redis, start) -> None:
    """It has its half of them, however much of it waits, and a job of another handler begins at once."""
    send(redis, "crm.Hog.updated", {"for": 5}, count=30)
    start("receiver.worker")
    until(lambda: sum(line.startswith("hog") for line in seen(project)) == 2)
    time.sleep(0.3)
    began = time.monotonic()
    (event,) = send(redis)
    until(lambda: any(line.startswith(event) for line in seen(project)))
    assert time.monotonic() - began < 2
    assert sum(line.startswith("hog") for line in seen(project)) == 2


def test_a_burst_leaves_what_waits_for_room_in_a_queue_of_others(project, redis, start, environment) -> None:
    """It ends all the same; a burst that serves that queue does all of it."""
    environment |= {"ZOHOOK_WORKER__SLIPS": "3", "ZOHOOK_WORKER__AGAIN": "30"}
    send(redis, "crm.Queued.updated", count=10)
    assert start("receiver.cli", "worker", "--burst", "--queue", "zohook").wait(30) == 0
    assert redis.llen("rq:queue:zohook_others") == 3
    assert read.waiting(redis) == {("crm", "zohook_others"): 7}
    assert seen(project) == []
    assert start("receiver.cli", "worker", "--burst", "--queues", "zohook,others").wait(30) == 0
    assert len(seen(project)) == 10
    assert read.waiting(redis) == {}


def test_workers_of_named_queues_serve_what_died_and_what_is_run_again(project, redis, start) -> None:
    """With `--queue` everywhere, recovered work and replays are nobody's own, and done all the same."""
    (event,) = send(redis, "crm.Slow.updated", {"for": 1.5})
    worker = start("receiver.cli", "worker", "--queue", "zohook")
    until(lambda: any(line.startswith("begin") for line in seen(project)))
    worker.kill()
    worker.wait()
    start("receiver.cli", "worker", "--queue", "zohook")
    start("receiver.cli", "worker", "--queue", "others")
    until(lambda: read.totals(redis)["done"] == 1)
    (job,) = read.event(redis, event).jobs
    assert runs.replay(redis, "j", job.id) == "ok"
    until(lambda: read.totals(redis)["done"] == 2)


def test_sigkill_loses_nothing(project, redis, start) -> None:
    """What a killed worker had under way is run again by the next, and what was done is not."""
    ids = send(redis, "crm.Slow.updated", {"for": 0.3}, count=12)
    worker = start("receiver.worker")
    until(lambda: any(line.startswith("end") for line in seen(project)))
    worker.kill()
    worker.wait()
    start("receiver.worker")
    until(lambda: read.totals(redis)["done"] == 12)
    ends = [line.split()[1] for line in seen(project) if line.startswith("end")]
    assert set(ends) == set(ids)
    assert read.totals(redis)["dead"] == 0


def test_a_job_that_kills_its_process_is_quarantined_and_spares_the_others(project, redis, start) -> None:
    """The first death makes suspects, which run in processes of their own; three deaths there quarantine the deadly one."""
    (deadly,) = send(redis, "crm.Deadly.updated")
    start("receiver.worker").wait(20)
    send(redis, count=5)
    start("receiver.worker")
    until(lambda: read.totals(redis)["dead"] == 1, 40)
    until(lambda: read.totals(redis)["done"] == 5)
    job = read.event(redis, deadly).jobs[0]
    assert "died 3 times" in job.reason
    assert job.tries == 0
    assert [each["outcome"] for each in job.attempts] == ["lost"] * 4
    assert all(each["worker"] and each["started"] <= each["ended"] for each in job.attempts)
    assert [each["reason"].partition(": ")[2] for each in job.attempts] == ["", *["killed by SIGKILL"] * 3]


def test_a_stock_rq_worker_does_the_same_jobs(project, redis, start) -> None:
    """`rq worker --serializer json` with our job class handles events without our worker."""
    ids = send(redis, count=3)
    url = project.redis.url
    stock = start(
        *(
            "rq.cli",
            "worker",
            "--url",
            url,
            "--serializer",
            "json",
            "--job-class",
            "receiver.routing.slips.Slip",
        ),
        *("--burst", "zohook_recovered", "zohook", "zohook_replay"),
    )
    assert stock.wait(60) == 0
    assert sorted(line.split()[0] for line in seen(project)) == sorted(ids)
    assert read.totals(redis)["done"] == 3
    assert redis.keys("rq:job:*") == []


@pytest.mark.parametrize("stock", [True, False])
def test_a_forged_slip_runs_nothing(project, redis, start, tmp_path, stock) -> None:
    """Neither a function, nor a callback, nor metadata of a forged RQ job is ever imported or called; it is counted."""
    target = tmp_path / "owned"
    commands = {
        "data": json.dumps(["os.system", None, [f"touch {target}"], {}]),
        "success_callback_name": "os.system",
        "failure_callback_name": "os.system",
        "meta": b"\x80\x04cos\nsystem\n(S'touch " + str(target).encode() + b"'\ntR.",
        "status": "queued",
        "origin": "zohook",
        "created_at": "2026-01-01T00:00:00.000000Z",
        "webhooks": json.dumps([{"url": "http://127.0.0.1:9/", "statuses": ["failed"]}]),
    }
    good = json.dumps(["receiver.routing.slips.work", None, ["e", "nothing", 1], {}])
    for index, data in enumerate((commands["data"], good)):
        redis.hset(f"rq:job:forged{index}", mapping={**commands, "data": data})
        redis.rpush("rq:queue:zohook", f"forged{index}")
    redis.sadd("rq:queues", "rq:queue:zohook")
    ids = send(redis)
    if stock:
        start(
            *("rq.cli", "worker", "--url", project.redis.url, "--serializer", "json"),
            *("--job-class", "receiver.routing.slips.Slip", "--burst", "zohook"),
        ).wait(60)
    else:
        start("receiver.worker")
    until(lambda: len(seen(project)) == 1)
    assert seen(project)[0].split()[0] == ids[0]
    assert not target.exists()
    assert read.totals(redis)["forged"] == 1


def test_rq_keys_are_spelled_as_rq_does() -> None:
    """Our spelling of RQ's prefix is RQ's own."""
    assert keys.RQ == RQ_KEY_PREFIX
