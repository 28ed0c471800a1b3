"""Runs in a process of their own: who ends them, what their deaths count for, and that none stays behind."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from receiver import keys, on
from receiver.ledger import read, runs
from receiver.routing import run
from tests.flow.kit import drain, seen, send, until

if TYPE_CHECKING:
    from tests.flow.conftest import MakeHouse

THREADS = 2
ROOM = '''
import ctypes, os, signal, subprocess, time
from pathlib import Path
from receiver import on

LOG = Path(__file__).parent.parent / "seen.txt"

def note(text):
    with LOG.open("a") as file:
        file.write(text + "\\n")

@on("crm.Apart.updated", isolated=True)
def apart(event):
    note(f"begin {os.getpid()}")
    time.sleep(event.data["for"])
    note(f"end {os.getpid()}")

@on("crm.Asked.updated", isolated=True)
def asked(event):
    """As a process that nobody has taught to ignore it, four times."""
    note(f"asked {os.getpid()}")
    if LOG.read_text().count("asked") < 5:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

@on("crm.Gone.updated", isolated=True)
def gone(event):
    os._exit(0)

@on("crm.Starts.updated", isolated=True)
def starts(event):
    """Ends a program that it has started, the polite way."""
    program = subprocess.Popen(["sleep", "30"])
    program.terminate()
    note(f"ended {program.wait(5)}")

@on("crm.Deaf.updated", isolated=True, timeout=0.5)
def deaf(event):
    """Holds the interpreter, so that no thread of its process can do anything."""
    note(f"deaf {os.getpid()}")
    library, lock = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(lock)
    library.pthread_mutex_lock(lock)  # which no signal interrupts
'''


def apart_of(worker: int) -> list[int]:
    """The processes that a worker has started."""
    found = [each.read_text() for each in Path(f"/proc/{worker}/task").glob("*/children")]
    return [int(pid) for each in found for pid in each.split()]


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_a_group_that_is_told_to_end_lets_an_isolated_run_end(project, redis, start) -> None:
    """As systemd does it: every process of the group hears SIGTERM, and the run goes on until it is over."""
    send(redis, "crm.Apart.updated", {"for": 1.5})
    worker = start("receiver.worker")
    until(lambda: seen(project))
    for _ in range(2):
        for pid in (int(seen(project)[0].split()[1]), worker.pid):
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.2)
    assert worker.wait(15) == 0
    assert [line.split()[0] for line in seen(project)] == ["begin", "end"]
    assert (read.totals(redis)["done"], read.totals(redis)["lost"]) == (1, 0)


def test_one_that_is_only_starting_hears_nothing_yet(project, redis, start) -> None:
    """Told to end before it has come to itself, it does its run all the same."""
    worker = start("receiver.worker")
    until(lambda: read.workers(redis))
    send(redis, "crm.Apart.updated", {"for": 0.1})
    until(lambda: apart_of(worker.pid))
    (first,) = apart_of(worker.pid)
    for _ in range(10):
        with suppress(ProcessLookupError):
            os.kill(first, signal.SIGTERM)
        time.sleep(0.02)
    until(lambda: read.totals(redis)["done"] == 1)
    assert seen(project) == [f"begin {first}", f"end {first}"]


def test_what_a_handler_starts_can_be_told_to_end(project, redis, start) -> None:
    """The programs of an isolated handler are no deafer than those of any other."""
    send(redis, "crm.Starts.updated")
    start("receiver.worker")
    until(lambda: read.totals(redis)["done"] == 1)
    assert seen(project) == [f"ended {-signal.SIGTERM}"]


def test_runs_that_were_told_to_end_count_nothing(project, redis, start) -> None:
    """Four deaths by SIGTERM, told in the attempts, and the fifth run is done."""
    (event,) = send(redis, "crm.Asked.updated")
    start("receiver.worker")
    until(lambda: read.totals(redis)["done"] == 1, 60)
    (job,) = read.event(redis, event).jobs
    assert [each["outcome"] for each in job.attempts] == ["lost"] * 4 + ["done"]
    assert all(each["reason"].endswith("killed by SIGTERM") for each in job.attempts[:4])
    assert read.totals(redis)["dead"] == 0
    assert redis.hmget(keys.job(job.id), "deaths", "spared", "suspect", "how", "blamed") == [None] * 5


def test_one_that_is_killed_while_its_worker_stops_counts_nothing(project, redis, start) -> None:
    """Whoever stops a host asks first and kills then; the worker may see the one before the other comes to it."""
    (event,) = send(redis, "crm.Apart.updated", {"for": 4})
    worker = start("receiver.worker")
    until(lambda: seen(project))
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    os.kill(int(seen(project)[0].split()[1]), signal.SIGKILL)
    assert worker.wait(15) == 0
    job = keys.job(f"{event}:room.apart")
    assert redis.hmget(job, "how", "blamed") == [b"killed by SIGKILL", b""]
    start("receiver.worker")
    until(lambda: redis.hget(job, "spared") == b"1")
    assert redis.hget(job, "deaths") == b"0"
    until(lambda: read.totals(redis)["done"] == 1)


def test_a_handler_that_ends_its_process_is_quarantined(project, redis, start) -> None:
    """Status 0 is no ending of the run: three such deaths are enough, and none waits for a lease."""
    (event,) = send(redis, "crm.Gone.updated")
    start("receiver.worker")
    until(lambda: read.totals(redis)["dead"] == 1)
    (job,) = read.event(redis, event).jobs
    assert "died 3 times" in job.reason
    assert [each["reason"].partition(": ")[2] for each in job.attempts] == ["exit status 0"] * 3


def test_what_routes_a_suspect_event_runs_none_of_its_jobs(house: MakeHouse) -> None:
    """Its process has the time of a routing, and a handler its own."""
    began = []

    @on("**", timeout=600)
    def handler(event):
        began.append(event.id)

    home = house(handler)
    event = home.accept()
    [slip] = home.slips(1)
    runs.claim(home.redis, *slip.ids(), "dies", 0.01)
    time.sleep(0.05)
    home.sweeper.once()
    assert run.work(home.process, "e", event.id, 2, alone=True) == "routed"
    assert began == []
    drain(home)
    assert began == [event.id]


def test_none_outlives_its_worker_for_ever(project, redis, start) -> None:
    """Its worker is killed, its handler holds the interpreter and it hears no SIGTERM: the kernel ends it."""
    send(redis, "crm.Deaf.updated")
    worker = start("receiver.worker")
    until(lambda: seen(project))
    worker.kill()
    pid = int(seen(project)[0].split()[1])
    os.kill(pid, signal.SIGTERM)
    time.sleep(1)
    assert lives(pid)
    until(lambda: not lives(pid), 25)
