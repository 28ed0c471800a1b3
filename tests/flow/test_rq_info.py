"""What RQ's own tools say of a worker of ours: its queues, its state, and how many jobs ended how."""

from __future__ import annotations

import subprocess
import sys

from rq import Worker

from receiver.ledger import read
from tests.flow.kit import send, until

ROOM = """
import time
from receiver import on

@on("crm.Deals.updated", share=1)
def naps(event):
    time.sleep(0.05)

@on("crm.Leads.updated")
def fails(event):
    raise ValueError("no")

@on("crm.Tasks.updated", batch=3, batch_for=0.5)
def fails_together(events):
    raise ValueError("no")
"""


def test_rq_info_shows_queues_and_workers_and_how_jobs_ended(project, redis, start) -> None:
    """A batch is one of RQ's jobs. Its counters are kept in the turns themselves."""
    start("receiver.worker")
    until(lambda: read.workers(redis))
    send(redis, count=4)
    send(redis, "crm.Leads.updated", count=2)
    until(lambda: read.totals(redis)["done"] + read.totals(redis)["retried"] == 6)
    until(lambda: not redis.keys("rq:job:*"))
    (worker,) = Worker.all(redis)
    assert (worker.successful_job_count, worker.failed_job_count) == (4, 2)
    until(lambda: worker.refresh() or 0.15 < worker.total_working_time < 20)
    redis.set("rq:suspended", 1)
    until(lambda: read.workers(redis)[0]["state"] == "suspended")
    send(redis, count=7)
    command = [sys.executable, "-m", "rq.cli", "info", "--url", project.redis.url]
    said = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout.decode()
    assert "zohook " in said
    assert " 7" in next(line for line in said.splitlines() if line.startswith("zohook "))
    assert "jobs: 4 finished, 2 failed" in said
    assert "zohook_recovered, zohook, zohook_replay" in said
    redis.delete("rq:suspended")
    send(redis, "crm.Tasks.updated", count=3)
    until(lambda: read.totals(redis)["retried"] == 5)
    until(lambda: not redis.keys("rq:job:*"))
    worker.refresh()
    assert worker.failed_job_count == 3
