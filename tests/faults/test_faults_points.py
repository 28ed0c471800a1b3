"""F18: a worker killed at each of the points at which a queue that trusts its workers loses or doubles work."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from faults_proxy import Proxy, Trap, digest
from faults_rig import children, eventually
from faults_verdict import begun, job_of, judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults_load import Sent
    from faults_rig import House, Process
    from faults_verdict import Tally

POINTS: dict[str, tuple[tuple[str, ...], str, bytes, dict[str, Any]]] = {
    # name: scripts of the call, when, what the answer must hold, what the delivery wants. Taking and claiming is one script: B and C are A.
    "A after taking and claiming": (("turn",), "after", b"books.", {}),
    "E before the end is written": (("finish", "turn"), "before", b"", {}),
    "F after the end is written": (("finish", "turn"), "after", b"ok", {}),
    "R before a retry is written": (("finish", "turn"), "before", b"", {"do": "once"}),
}
SHORT = ("A after taking and claiming",)


def rows() -> list[Any]:
    """The points as rows of the matrix; two of them in the short form."""
    return [
        pytest.param(
            name,
            id=name[0],
            marks=pytest.mark.fault(
                f"F18 {name[0]}", f"worker killed {name[2:]}", short=int(name in SHORT), long=50
            ),
        )
        for name in POINTS
    ]


def killed_with(house: House, tally: Tally, kill: Callable[[Process, Proxy], list[Sent]]) -> list[Sent]:
    """What was sent to a worker that died of it while the other one stood still; then that one goes on."""
    (rescuer,) = house.living("worker")
    rescuer.tell(signal.SIGSTOP)
    proxy = Proxy(house.socket)
    house.more.append(proxy)
    try:
        victim = house.start("worker", environment={"ZOHOOK_REDIS__URL": proxy.url})
        sent = kill(victim, proxy)
    finally:
        rescuer.tell(signal.SIGCONT)
    tally.injected += 1
    began = time.monotonic()
    found = judge(house, sent)
    while found.wrong() and not found.double:
        house.hurry()
        found = judge(house, sent, within=3)
        assert time.monotonic() - began < 75
    tally.recoveries.append(time.monotonic() - began)
    tally.take(sent, found)
    return sent


@pytest.mark.parametrize("point", rows())
def test_f18_killed_at_a_point(house: House, tally: Tally, point: str) -> None:
    """The job runs again, its effect is there once, and no try is counted for the death."""
    names, when, reply, wish = POINTS[point]

    def kill(victim: Process, proxy: Proxy) -> list[Sent]:
        proxy.trap = Trap(digest(*names), when, victim.kill, reply)
        sent = house.load.send(1, **wish)
        eventually(lambda: not victim.alive)
        return sent

    for _ in range(tally.count):
        (sent,) = killed_with(house, tally, kill)
        assert job_of(house, sent, "apply").tries == (1 if wish else 0)


def kill_while_it_runs(house: House, victim: Process, _proxy: Proxy) -> list[Sent]:
    """D: worker and children in the middle of a job."""
    sent = house.load.send(1, do="sleep", **{"for": 0.5})
    eventually(lambda: begun(house, "begin", sent[0]))
    victim.kill()
    return sent


@pytest.mark.fault("F18 D", "worker killed in the middle of a job", short=1, long=50)
def test_f18_d_killed_in_mid_job(house: House, tally: Tally) -> None:
    """The job runs again, its effect is there once, and its history tells of the death."""
    for _ in range(tally.count):
        (sent,) = killed_with(house, tally, partial(kill_while_it_runs, house))
        job = job_of(house, sent, "apply")
        assert [each["outcome"] for each in job.attempts] == ["lost", "done"]
        assert job.tries == 0


@pytest.mark.fault("F18 G", "isolated process killed in the middle of a job", short=0, long=50)
def test_f18_g_isolated_process_killed(house: House, tally: Tally) -> None:
    """The worker lives, the death is noted with its signal, and the job runs again at once."""
    (worker,) = house.living("worker")
    for _ in range(tally.count):
        sent = house.load.send(1, event="vendorpayment.created", **{"for": 0.8})
        (line,) = eventually(lambda sent=sent: begun(house, "begin_alone", sent[0]))
        for pid in children(worker.pid):
            if pid == int(line[3]):
                os.kill(pid, signal.SIGKILL)
        tally.injected += 1
        began = time.monotonic()
        eventually(lambda sent=sent: begun(house, "alone", sent[0]))
        tally.recoveries.append(time.monotonic() - began)
        job = eventually(
            lambda sent=sent: (found := job_of(house, sent[0], "alone")) and found.state == "done" and found
        )
        assert [each["outcome"] for each in job.attempts] == ["lost", "done"]
        assert "killed by SIGKILL" in job.attempts[0]["reason"]
        tally.accepted += 1
        tally.handled += 1
        assert worker.alive


@pytest.mark.fault("F18 H", "worker killed while its isolated process lives", short=0, long=50)
def test_f18_h_orphan(house: House, tally: Tally) -> None:
    """The orphan keeps its lease and ends its job; nobody runs it a second time."""
    for _ in range(tally.count):
        house.with_only(web=1, worker=1)
        (worker,) = house.living("worker")
        sent = house.load.send(1, event="vendorpayment.created", **{"for": 2.5})
        eventually(lambda sent=sent: begun(house, "begin_alone", sent[0]))
        worker.tell(signal.SIGKILL)
        worker.popen.wait()
        tally.injected += 1
        house.start("worker")
        job = eventually(
            lambda sent=sent: (found := job_of(house, sent[0], "alone")) and found.state == "done" and found
        )
        assert len(begun(house, "begin_alone", sent[0])) == 1
        assert job.run == 1
        tally.accepted += 1
        tally.handled += 1
