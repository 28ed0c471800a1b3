"""RQ's commands to a worker: stop a job, kill what runs, shut down; and what it does with one that it cannot read."""

from __future__ import annotations

import time

import pytest
from rq.command import (
    PUBSUB_CHANNEL_TEMPLATE,
    send_kill_horse_command,
    send_shutdown_command,
    send_stop_execution_command,
    send_stop_job_command,
)
from rq.executions import Execution

from receiver.ledger import read
from receiver.routing.slips import Slip
from tests.flow.kit import seen, send, until

THREADS = 2
ROOM = """
import time
from pathlib import Path
from receiver import on

LOG = Path(__file__).parent.parent / "seen.txt"

def wait(event):
    with LOG.open("a") as file:
        file.write(f"begin {event.id}\\n")
    until = time.monotonic() + event.data["for"]
    while time.monotonic() < until:
        time.sleep(0.01)
    with LOG.open("a") as file:
        file.write(f"end {event.id}\\n")

@on("crm.Deals.updated", share=1)
def long(event):
    wait(event)

@on("crm.Leads.updated", isolated=True, share=1)
def apart(event):
    wait(event)
"""


def slips(redis) -> list[str]:
    """The slips under way."""
    return [
        key.decode().rpartition(":")[2] for key in redis.keys("rq:job:*") if redis.hget(key, "worker_name")
    ]


def name(redis) -> str:
    """The one worker."""
    (row,) = read.workers(redis)
    return str(row["name"])


@pytest.mark.parametrize("kind", ["crm.Deals.updated", "crm.Leads.updated"])
def test_a_job_that_is_stopped_is_dead_and_says_who(project, redis, start, kind: str) -> None:
    """In a thread or in a process of its own: it ends the way a time limit does, counts no death, and its worker goes on."""
    (event,) = send(redis, kind, {"for": 60})
    start("receiver.worker")
    until(lambda: seen(project))
    until(lambda: len(slips(redis)) == 1)
    send_stop_job_command(redis, slips(redis)[0])
    until(lambda: read.states(redis)["dead"] == 1)
    job = read.event(redis, event).jobs[0]
    assert (job.reason, job.deaths, job.tries) == ("stopped by an operator", 0, 1)
    assert job.attempts[-1]["error"]["type"] == "StoppedByOperator"
    last = send(redis, kind, {"for": 0}, count=3)
    until(lambda: read.totals(redis)["done"] == 3)
    assert {line.split()[1] for line in seen(project) if line.startswith("end")} == set(last)
    assert read.totals(redis)["lost"] == 0
    until(lambda: not redis.keys("rq:job:*"))


def test_one_execution_is_stopped_and_no_other(project, redis, start) -> None:
    """RQ's `stop-execution` names the run; an old one is ignored."""
    send(redis, data={"for": 60})
    start("receiver.worker")
    until(lambda: seen(project) and len(slips(redis)) == 1)
    (slip,) = slips(redis)
    (execution,) = Slip.fetch(slip, connection=redis).get_executions()
    redis.publish(
        PUBSUB_CHANNEL_TEMPLATE % name(redis),
        f'{{"command": "stop-execution", "job_id": "{slip}", "execution_id": "another"}}',
    )
    time.sleep(0.2)
    assert read.states(redis)["running"] == 1
    assert isinstance(execution, Execution)
    send_stop_execution_command(redis, slip, execution.id)
    until(lambda: read.states(redis)["dead"] == 1)


def test_killing_the_horse_fails_all_that_runs_and_policy_tries_it_again(project, redis, start) -> None:
    """There is no horse: every run under way has failed, a try is counted, and it comes due again."""
    events = send(redis, data={"for": 60}, count=1) + send(redis, "crm.Leads.updated", {"for": 60})
    start("receiver.worker")
    until(lambda: len(seen(project)) == 2)
    send_kill_horse_command(redis, name(redis))
    until(lambda: read.totals(redis)["retried"] == 2)
    for event in events:
        job = read.event(redis, event).jobs[0]
        assert (job.state, job.tries, job.deaths) == ("due", 1, 0)
        assert "KilledByOperator" in job.reason
    assert len(read.workers(redis)) == 1


def test_shutdown_lets_what_runs_end(project, redis, start) -> None:
    """As SIGTERM does, however often it is said; and a command that nobody can read before it is only logged."""
    send(redis, data={"for": 1})
    worker = start("receiver.worker")
    until(lambda: seen(project))
    for wrong in ("{", "[]", '{"command": "dance"}', "{}", '{"command": "stop-job"}', "\xff"):
        redis.publish(PUBSUB_CHANNEL_TEMPLATE % name(redis), wrong)
    for _ in range(3):
        send_shutdown_command(redis, name(redis))
    assert worker.wait(15) == 0
    assert read.totals(redis)["done"] == 1
    assert read.workers(redis) == []
