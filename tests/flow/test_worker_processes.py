"""`zohook worker --processes N`: several workers under one supervisor, killed under load and stopped in order."""

from __future__ import annotations

import os
import signal

import pytest

from receiver.ledger import read
from tests.flow.kit import seen, send, until

THREADS = 2
ROOM = '''
import os, time
from pathlib import Path
from receiver import on

LOG = Path(__file__).parent.parent / "seen.txt"

@on("crm.Deals.updated")
def slow(event):
    """Takes as long as it is told to."""
    time.sleep(event.data.get("for", 0))
    with LOG.open("a") as file:
        file.write(f"{event.id} {os.getpid()}\\n")
'''
COMMAND = ("receiver.cli", "worker", "--processes", "2")


def pids(redis) -> set[int]:
    """The processes of the living workers, as RQ knows them."""
    return {int(row["pid"]) for row in read.workers(redis)}


def test_one_that_is_killed_under_load_is_replaced_and_nothing_is_lost(project, redis, start) -> None:
    """Both work, each under a name of its own; the other goes on while one is dead, and told to stop all end after what they run."""
    ids = send(redis, data={"for": 0.1}, count=60)
    supervisor = start(*COMMAND)
    until(lambda: len({line.split()[1] for line in seen(project)}) == 2)
    names = {row["name"] for row in read.workers(redis)}
    first = pids(redis)
    assert len(names) == len(first) == 2
    os.kill(min(first), signal.SIGKILL)
    until(lambda: len(pids(redis) - first) == 1)
    until(lambda: read.totals(redis)["done"] == 60)
    assert {line.split()[0] for line in seen(project)} == set(ids)
    last = send(redis, data={"for": 1}, count=1)
    until(lambda: read.states(redis)["running"] == 1)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(20) == 0
    assert seen(project)[-1].split()[0] == last[0]
    assert read.states(redis)["open"] == 0
    assert not [pid for pid in pids(redis) - first if os.path.exists(f"/proc/{pid}")]  # noqa: PTH110


def test_a_burst_ends_when_each_has_nothing_left(project, redis, start) -> None:
    """With status 0, and nobody is started again."""
    send(redis, count=20)
    assert start(*COMMAND, "--burst", "--queues", "zohook_recovered,zohook").wait(30) == 0
    assert read.totals(redis)["done"] == 20
    assert read.workers(redis) == []


@pytest.mark.parametrize("wrong", ["import nothing_of_that_name", "1 +"])
def test_handlers_that_cannot_be_loaded_end_all_with_the_reason(project, start, wrong: str) -> None:
    """Starting them again and again would help nobody."""
    (project.folder / "handlers" / "room.py").write_text(wrong)
    assert start(*COMMAND).wait(30) != 0
