"""`zohook retry`, `rerun`, `cancel`, `pause` and `resume`: the real commands, on a worker that runs."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

import pytest

from receiver import cli
from receiver.ledger import read
from receiver.routing import replays
from tests.flow.kit import seen, send, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

    from receiver.settings import Settings

ROOM = """
import time
from pathlib import Path
from receiver import on
from receiver.errors import InvalidRequest

FOLDER = Path(__file__).parent.parent

def note(text):
    with (FOLDER / "seen.txt").open("a") as file:
        file.write(text + "\\n")

@on("crm.Deals.updated")
def bill(event):
    event.step("mail", lambda: None)
    note(event.idempotency_key)
    if not (FOLDER / "fixed").exists():
        raise InvalidRequest("the field Amount is wrong", code="INVALID_DATA")

@on("crm.Leads.updated")
def greet(event):
    raise InvalidRequest("no such owner", code="NO_OWNER")

@on("crm.Slow.updated")
def slow(event):
    if not (FOLDER / "fixed").exists():
        raise InvalidRequest("not yet")
    note("begin slow")
    time.sleep(0.4)
    note("end slow")
"""


@pytest.fixture
def zohook(
    project: Settings,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., str]:
    """Runs a command as the program does, in this process; what it says, after checking its status."""
    for name in [name for name in environment if name.startswith("ZOHOOK_")]:
        monkeypatch.setenv(name, environment[name])
    monkeypatch.chdir(project.folder)

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["zohook", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == status, out + err
        return err if status else out

    return run


def test_dead_letters_are_counted_then_retried_and_the_replay_is_recorded(
    project, redis: Redis, start, zohook
) -> None:
    """A dry run changes nothing; the retry of a filter keeps the keys and leaves the others dead; one job can be named."""
    send(redis, count=25)
    [other] = send(redis, "crm.Leads.updated")
    start("receiver.worker")
    until(lambda: read.totals(redis)["dead"] == 26)
    before = sorted(seen(project))
    said = zohook("retry", "--handler", "room.bill")
    assert said.startswith("25 dead jobs\n")
    assert said.count("Zoho will not take this: the field Amount is wrong") == 20
    assert "... and 5 more" in said
    assert "nothing was done; add --yes to retry them" in said
    assert zohook("retry", "--error", "no_owner", "--type", "Leads.edit", "--since", "1h").startswith(
        "1 dead job\n"
    )
    assert zohook("retry", "--until", "1h").startswith("0 dead jobs")
    assert read.totals(redis)["replayed"] == 0

    said = zohook("rerun", "--handler", "room.bill")
    assert "it will do again:\n  25 x step mail" in said
    assert "nothing was done; add --yes to rerun them" in said

    (project.folder / "fixed").touch()
    said = zohook("retry", "--handler", "room.bill", "--yes", "--rate", "0")
    assert "done: 25 given to the workers, 0 open already, 0 gone" in said
    until(lambda: read.totals(redis)["done"] == 25)
    assert sorted(seen(project)[25:]) == before
    assert [job.event for job in read.jobs_in(redis, "dead")] == [other]

    found = re.search(r"replay (\w+)", said)[1]
    listed = zohook("cancel")
    assert f"{found}  " in listed
    assert "retry done: 25 of 25 given, by command line (state dead, handler room.bill)" in listed

    job = f"{other}:room.greet"
    assert "nothing was done; add --yes to rerun it" in zohook("rerun", job)
    assert f"{job} runs again" in zohook("retry", job)
    until(lambda: read.totals(redis)["dead"] == 27)
    assert "there is no job nobody:here" in zohook("retry", "nobody:here", status=2)
    assert f"(state dead, job {job})" in zohook("cancel")


def test_an_event_is_routed_again(project, redis: Redis, start, zohook) -> None:
    """One that nobody wanted when it came, say; the jobs that it has are left alone."""
    [event] = send(redis, "crm.Nobody.updated")
    start("receiver.worker")
    until(lambda: read.totals(redis)["unmatched"] == 1)
    assert f"{event} is routed again" in zohook("retry", event)
    until(lambda: read.totals(redis)["unmatched"] == 2)
    assert f"retry done: 1 of 1 given, by command line (state dead, job {event})" in zohook("cancel")
    assert "there is no event nobody" in zohook("retry", "nobody", status=2)
    assert f"zohook retry {event} routes the event again" in zohook("rerun", event, status=2)


@pytest.mark.parametrize("lane", ["replay", "recovered", "zohook_replay"])
def test_a_lane_cannot_be_paused(project, redis: Redis, zohook, lane: str) -> None:
    """It would hold nothing; what does is said."""
    said = zohook("pause", f"queue:{lane}", status=2)
    assert "is a lane" in said
    assert "zohook cancel stops a replay" in said
    assert read.paused(redis) == {}


def test_replays_leave_half_of_the_threads_to_live_events(project, redis: Redis, start, zohook) -> None:
    """Eight slow ones are given at once: two of four threads do them, and what comes in live need not wait for their end."""
    send(redis, "crm.Slow.updated", count=8)
    start("receiver.worker")
    until(lambda: read.totals(redis)["dead"] == 8)
    (project.folder / "fixed").touch()
    zohook("retry", "--yes", "--rate", "0")
    until(lambda: seen(project))
    send(redis)
    until(lambda: read.totals(redis)["done"] == 9)
    at_once, lines = [], seen(project)
    for line in lines:
        at_once.append((at_once[-1] if at_once else 0) + {"begin slow": 1, "end slow": -1}.get(line, 0))
    assert max(at_once) == 2
    live = next(index for index, line in enumerate(lines) if not line.endswith("slow"))
    assert lines[:live].count("end slow") < 8


def test_a_replay_can_be_cancelled_and_waits_for_a_worker(project, redis: Redis, start, zohook) -> None:
    """Without a worker it is only noted; cancelled, nothing of it is ever given out."""
    ids = send(redis, count=3)
    worker = start("receiver.worker")
    until(lambda: read.totals(redis)["dead"] == 3)
    worker.terminate()
    worker.wait()
    said = zohook("retry", "--yes", "--rate", "1")
    assert "no worker is running: it begins when one does" in said
    found = re.search(r"replay (\w+)", said)[1]
    assert "nothing more is given to the workers" in zohook("cancel", found)
    assert "all its jobs were given already" in zohook("cancel", found)
    assert "there is no replay 'nobody'; zohook cancel lists the last ones" in zohook(
        "cancel", "nobody", status=2
    )
    start("receiver.worker")
    until(lambda: read.workers(redis))
    assert replays.one(redis, found).ok == 0
    assert read.states(redis)["dead"] == len(ids)


def test_a_pause_holds_what_it_names_until_it_is_resumed(project, redis: Redis, start, zohook) -> None:
    """Deliveries are accepted meanwhile; the queue of all handlers without one of their own has a name too."""
    (project.folder / "fixed").touch()
    start("receiver.worker")
    for what in ("handler:room.bill", "queue:zohook", "source:crm"):
        done = read.totals(redis)["done"]
        assert f"{what} is paused; zohook resume {what} goes on" in zohook("pause", what)
        time.sleep(1.1)  # a worker asks once a second
        send(redis)
        until(lambda what=what: read.parked_work(redis) == {f"paused:{what}": 1})
        assert f"{what} goes on; 1 waited" in zohook("resume", what)
        until(lambda done=done: read.totals(redis)["done"] == done + 1)
    assert "no living worker has a handler room.bil" in zohook("pause", "handler:room.bil")
    assert "queue:slow is paused" in zohook("pause", "queue:zohook_slow")
    assert zohook("pause") == "handler:room.bil  0 waiting\nqueue:slow  0 waiting\n"
    assert "no handler of a living worker has queue='slo'" in zohook("pause", "queue:slo")
    assert "zohook.toml has no source books" in zohook("pause", "source:books")
    assert "cannot be paused; write handler:ID, queue:NAME or source:NAME" in zohook(
        "pause", "everything", status=2
    )
