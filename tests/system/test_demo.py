"""`zohook demo` as a person runs it: every accepted event is handled, whatever is killed, and nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.system.conftest import eventually, linux

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.system.conftest import House

    Start = Callable[..., Any]

pytestmark = [linux, pytest.mark.timeout(240)]
KEYS = ["accepted", "handled", "dead", "duplicates", "zoho_calls", "token_refreshes", "latency_ms"]


def all_handled(found: dict[str, Any], events: int) -> None:
    """Nothing that was accepted is missing."""
    assert found["accepted"] >= events
    assert (found["handled"], found["dead"]) == (found["accepted"], 0)


def under_way(running: House, events: int = 15) -> dict[str, int]:
    """The processes of a demo that has accepted so many events."""
    eventually(lambda: running.accepted() >= events or running.process.poll() is not None)
    eventually(
        lambda: running.pids().keys() == {"redis", "simulator", "web", "worker", "clock"}
    )  # one was killed a moment ago
    pids: dict[str, int] = running.pids()
    return pids


def ends(running: House, how: signal.Signals) -> None:
    """Told to stop in the middle it ends with status 0 in a few seconds, and with it everything that it started."""
    running.pids()
    running.process.send_signal(how)
    assert running.process.wait(30) == 0, running.err.read_text()
    assert running.left() == {}
    assert "Traceback" not in running.err.read_text()


def test_the_demo_handles_every_event(house: Start) -> None:
    """`zohook demo --events 40` ends by itself with status 0 and one JSON line: all handled, none dead, one token refresh.

    ZOHOOK_ variables, a real Redis above all, do not reach it.
    """
    real = {"ZOHOOK_REDIS__URL": "redis://127.0.0.1:1", "ZOHOOK_WEB__PORT": "nonsense"}
    with house("demo", "--events", "40", "--rate", "15", environment=real) as running:
        found = running.finish()
    assert list(found) == KEYS
    all_handled(found, 40)
    assert found["token_refreshes"] == 1
    assert found["zoho_calls"] > 0
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert running.left() == {}


def test_a_killed_worker_costs_no_event(house: Start) -> None:
    """After SIGKILL of the worker and all that it started, twice and in the middle, every event is handled still."""
    with house("demo", "--events", "80", "--rate", "12") as running:
        for events in (15, 40):
            before = under_way(running, events)["worker"]
            os.killpg(before, signal.SIGKILL)
            eventually(lambda killed=before: running.pids().get("worker", killed) != killed, 20)
        all_handled(running.finish(180), 80)


def test_without_any_key_of_rqs_no_event_is_lost(house: Start) -> None:
    """After every `rq:*` key was deleted in the middle every event is handled still."""
    with house("demo", "--events", "80", "--rate", "12") as running:
        under_way(running)
        client = running.redis()
        for _ in range(20):
            for key in client.scan_iter("rq:*"):
                client.delete(key)
            eventually(lambda: True)
        client.close()
        all_handled(running.finish(180), 80)


def test_any_other_process_may_die_too(house: Start) -> None:
    """A web process, clock and Redis killed in the middle are started again, and every accepted event is handled."""
    with house("demo", "--events", "180", "--rate", "15") as running:
        for name, events in (("web", 15), ("clock", 50), ("redis", 85)):
            before = under_way(running, events)[name]
            os.kill(before, signal.SIGKILL)
            eventually(lambda name=name, before=before: running.pids().get(name, before) != before)
        all_handled(running.finish(180), 180)


def test_ctrl_c_leaves_no_process(house: Start) -> None:
    """As SIGTERM and SIGHUP, which end two of the demos below."""
    with house("demo", "--rate", "15") as running:
        under_way(running)
        ends(running, signal.SIGINT)


def test_ctrl_c_at_any_moment_leaves_no_process(house: Start) -> None:
    """Told to stop while it still starts things, the demo leaves nothing behind either."""
    for lines in range(5):
        with house("demo") as running:
            eventually(
                (running.folder / ".zohook" / "demo.lock").exists
            )  # earlier it is Python that is interrupted
            (running.folder / ".zohook" / "demo.lock").unlink()
            eventually(lambda running=running, lines=lines: running.out.read_text().count("\n") >= lines)
            running.pids()
            running.process.send_signal(signal.SIGINT)
            running.process.wait(20)
            eventually(lambda running=running: running.left() == {}, 30)
            assert "Traceback" not in running.err.read_text()


def test_a_killed_demo_takes_everything_with_it(house: Start) -> None:
    """After SIGKILL of the demo itself nothing that it started goes on: a worker does not wait long for a Redis that went first."""
    with house("demo", "--rate", "15") as running:
        under_way(running)
        running.process.kill()
        running.process.wait()
        eventually(lambda: running.left() == {}, 30)


def test_one_demo_at_a_time_in_a_folder(house: Start) -> None:
    """A second demo in the same folder is refused with the reason, and the first goes on unharmed until SIGTERM."""
    with house("demo", "--rate", "15") as first:
        eventually(lambda: "dashboard" in first.out.read_text())
        with house("demo", "--events", "1") as second:
            assert second.process.wait(20) == 2
            assert "--folder" in second.err.read_text()
        assert first.process.poll() is None
        under_way(first)
        ends(first, signal.SIGTERM)


def test_the_demo_shows_its_dashboard_and_keeps_its_secrets(house: Start) -> None:
    """The address and password printed open the dashboard; no other secret is printed, logged or on a command line.

    SIGHUP, as of a terminal that is closed, ends it.
    """
    with house("demo", "--rate", "10") as running:
        under_way(running, 5)
        line = next(line for line in running.out.read_text().splitlines() if line.startswith("dashboard"))
        url, password = line.split()[1].rstrip(","), line.split()[-1]
        assert httpx.get(url, follow_redirects=True, trust_env=False).status_code == 200
        commands = " ".join(
            command for _, command in __import__("tests.system.conftest", fromlist=["table"]).table().values()
        )
        logs = {path: path.read_text() for path in (running.folder / ".zohook").rglob("*.log")}
        assert password not in commands
        assert not [path for path, text in logs.items() if password in text or "1000." in text]
        for log in logs.values():
            for entry in log.splitlines():
                if entry.startswith("{"):
                    json.loads(entry)
        ends(running, signal.SIGHUP)


def test_keep_goes_on_with_the_data_of_the_last_demo(house: Start) -> None:
    """Without --keep a demo begins empty; with it the events of the last one are there, and are not counted again."""
    with house("demo", "--events", "10", "--rate", "15") as first:
        first.finish()
    with house("demo", "--events", "5", "--rate", "15", "--keep") as second:
        eventually(lambda: "worker " in second.out.read_text())
        client = second.redis()
        assert client.zcard("zh:es") >= 10
        client.close()
        found = second.finish()
        assert found["accepted"] < 15
        all_handled(found, 5)
    with house("demo", "--events", "3", "--rate", "15") as third:
        assert third.finish()["accepted"] < 10
