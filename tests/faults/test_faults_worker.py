"""Faults of workers: they are killed, frozen, starved and stopped, and get work that kills them."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from faults_rig import children, eventually, memory_of
from faults_verdict import begun, job_of, judge

from receiver import keys
from receiver.ledger import read, runs

if TYPE_CHECKING:
    from faults_load import Sent
    from faults_rig import House
    from faults_verdict import Tally

fault = pytest.mark.fault


@fault("F19", "host lost under load: worker and all its children", short=1, long=250)
def test_f19_host_lost(house: House, tally: Tally) -> None:
    """Nothing is lost and no effect is doubled."""
    sent: list[Sent] = []
    for turn in range(tally.count):
        house.load.begin(25, senders=2)
        time.sleep(0.7)
        house.living("worker")[0].kill()
        began = time.monotonic()
        tally.injected += 1
        house.start("worker")
        sent += (now := house.load.end())
        found = judge(house, now)
        tally.recoveries.append(time.monotonic() - began)
        tally.take(now, found)
        assert turn or found.accepted


@fault("F19 two", "worker and Redis, or both workers, killed at the same moment", long=50)
def test_f19_two_deaths(house: House, tally: Tally) -> None:
    """Two deaths at once lose no more than one."""
    for turn in range(tally.count):
        house.with_only(web=1, worker=2)
        house.load.begin(20, senders=2)
        time.sleep(0.7)
        victims = house.living("worker")
        for each in victims if turn % 2 else victims[:1]:
            each.kill()
        if turn % 2 == 0:
            house.server.kill()
            house.server.start()
        began = time.monotonic()
        tally.injected += 1
        house.with_only(web=1, worker=2)
        sent = house.load.end()
        found = judge(house, sent)
        tally.recoveries.append(time.monotonic() - began)
        tally.take(sent, found)


@fault("F19 defaults", "worker killed with the settings as they come", long=3)
def test_f19_default_settings(house: House, tally: Tally) -> None:
    """A job is taken up again within 75 s, and no try is counted for the death."""
    plain = {"ZOHOOK_WORKER__LEASE": "45", "ZOHOOK_WORKER__TICK": "1", "ZOHOOK_WORKER__AGAIN": "30"}
    house.with_only(web=1)
    for _ in range(tally.count):
        victim = house.start("worker", environment=plain)
        sent = house.load.send(1, do="sleep", **{"for": 1})
        eventually(lambda sent=sent: begun(house, "begin", sent[0]))
        victim.kill()
        began = time.monotonic()
        tally.injected += 1
        house.start("worker", environment=plain)
        eventually(lambda sent=sent: len(begun(house, "begin", sent[0])) > 1, 120)
        tally.recoveries.append(time.monotonic() - began)
        tally.take(sent, judge(house, sent))
        assert job_of(house, sent[0], "apply").tries == 0
        house.with_only(web=1)
    assert max(tally.recoveries) < 75


@fault("F20", "rolling restart of two workers under load", short=1, long=250)
def test_f20_rolling_restart(house: House, tally: Tally) -> None:
    """Each ends within 10 s of what it runs, and nothing is lost, late or done again."""
    house.with_only(web=1, worker=2)
    lost = read.totals(house.redis)["lost"]
    house.load.begin(6, senders=2, do="sleep", **{"for": 0.5})
    for _ in range(tally.count):
        time.sleep(1)  # so that each has something under way
        old = house.living("worker")[0]
        began = time.monotonic()
        old.end(10)
        tally.recoveries.append(time.monotonic() - began)
        tally.injected += 1
        house.start("worker")
    sent = house.load.end()
    tally.take(sent, judge(house, sent))
    assert read.totals(house.redis)["lost"] == lost  # no lease ran out: everything was ended or given back
    for each in sent:
        (first,), (last,) = begun(house, "begin", each), begun(house, "apply", each)
        assert 0.5 <= float(last[4]) - float(first[4]) < 10


@fault("F21", "stopped twice, politely and not", long=100)
def test_f21_stopped_twice(house: House, tally: Tally) -> None:
    """A second SIGTERM changes nothing; a second Ctrl-C ends it at once, and another worker does the work."""
    for _ in range(tally.count):
        for how, pause in ((signal.SIGTERM, 0.3), (signal.SIGINT, 0.3)):
            house.with_only(web=1, worker=1)
            (worker,) = house.living("worker")
            sent = house.load.send(1, do="sleep", **{"for": 1.2})
            eventually(lambda sent=sent: begun(house, "begin", sent[0]))
            for _ in range(2):
                worker.tell(how)
                time.sleep(pause)
            eventually(lambda worker=worker: not worker.alive, 15)
            began = time.monotonic()
            tally.injected += 1
            house.start("worker")
            tally.take(sent, judge(house, sent))
            tally.recoveries.append(time.monotonic() - began)
            assert len(begun(house, "begin", sent[0])) == (1 if how == signal.SIGTERM else 2)


@fault("F22", "isolated handler that eats all memory", long=3)
def test_f22_out_of_memory(house: House, tally: Tally) -> None:
    """Three deaths quarantine it, with the evidence; its neighbours notice nothing."""
    house.with_only(web=1)
    for _ in range(tally.count):
        worker = house.start("worker")
        with memory_of(worker, 400 * 2**20) as how:
            if how != "cgroup":
                pytest.skip(
                    "no memory control group can be made here, and without one the kernel kills nobody"
                )
            (eater,) = house.load.send(1, event="item.created")
            tally.injected += 1
            neighbours = house.load.send(30, event="contact.created")
            tally.take(neighbours, judge(house, neighbours, busy=True))
            job = eventually(
                lambda eater=eater: (
                    (found := job_of(house, eater, "eat")) and found.state == "dead" and found
                ),
                90,
            )
            assert worker.alive
            assert [each["outcome"] for each in job.attempts] == ["lost"] * 3
            assert all("killed by SIGKILL" in each["reason"] for each in job.attempts)
            assert (job.deaths, job.tries) == (3, 0)


@fault("F23", "worker frozen past its lease, and thawed", short=1, long=20)
def test_f23_frozen_worker(house: House, tally: Tally) -> None:
    """Another one does the job meanwhile; what the first does late is refused."""
    for _ in range(tally.count):
        house.with_only(web=1, worker=1)
        (frozen,) = house.living("worker")
        sent = house.load.send(1, do="sleep", **{"for": 0.8})
        eventually(lambda sent=sent: begun(house, "begin", sent[0]))
        frozen.tell(signal.SIGSTOP)
        tally.injected += 1
        began = time.monotonic()
        other = house.start("worker")
        eventually(lambda sent=sent: begun(house, "apply", sent[0]))
        tally.recoveries.append(time.monotonic() - began)
        calls = len(house.simulator.journal.calls("crm", path="/Leads/upsert"))
        frozen.tell(signal.SIGCONT)
        eventually(lambda frozen=frozen: "run.fenced" in frozen.said() or "run.lost" in frozen.said())
        time.sleep(0.5)
        tally.take(sent, judge(house, sent))
        assert [line[3] for line in begun(house, "apply", sent[0])] != [str(frozen.pid)]
        assert len(begun(house, "apply", sent[0])) == 1
        assert len(house.simulator.journal.calls("crm", path="/Leads/upsert")) == calls
        other.end()


@fault("F25", "handler that always raises", short=3, long=50)
def test_f25_poison(house: House, tally: Tally) -> None:
    """As many tries as it has, then a dead letter with the traceback; others are handled meanwhile."""
    poisoned = house.load.send(tally.count, event="bill.created")
    tally.injected += len(poisoned)
    sent = house.load.send(20, event="contact.created")
    tally.take(sent, judge(house, sent, busy=True))

    def dead() -> bool:
        house.hurry()
        return all((job := job_of(house, each, "poison")) and job.state == "dead" for each in poisoned)

    eventually(dead)
    for each in poisoned:
        job = job_of(house, each, "poison")
        assert len(job.attempts) == 3
        assert "never works" in job.attempts[-1]["error"]["traceback"]
        assert house.ran("poison")[each.number] == 3


@fault("F26", "isolated handler that hangs and swallows every exception", short=1, long=20)
def test_f26_hangs(house: House, tally: Tally) -> None:
    """Its run ends at the time limit, and its process within 5 s of that."""
    (worker,) = house.living("worker")
    for _ in range(tally.count):
        (sent,) = house.load.send(1, event="expense.created")
        (line,) = eventually(lambda sent=sent: begun(house, "hang", sent))
        tally.injected += 1
        eventually(lambda line=line: int(line[3]) not in children(worker.pid), 20)
        tally.recoveries.append(time.time() - float(line[4]))
        job = job_of(house, sent, "hang")
        assert (job.tries, job.deaths) == (1, 0)
        assert "over its time limit" in job.reason
        house.redis.zrem(
            keys.due(), f"j:{job.id}"
        )  # it would come again in ten seconds; the row is about its end
    assert max(tally.recoveries) < 1 + 5


@fault("F27", "RQ hashes that cannot be read", short=1, long=50)
def test_f27_unreadable_slips(house: House, tally: Tally) -> None:
    """The worker stays up, the slips are dropped, and the events are handled by slips of ours."""
    (worker,) = house.living("worker")
    damaged: list[dict[str, Any]] = [
        {"data": b"\xff\x00garbage", "status": "queued"},
        {"data": b"[]", "status": "no such status", "created_at": "never"},
        {"status": "queued"},
    ]
    for _ in range(tally.count):
        for index, fields in enumerate(damaged):
            house.redis.hset(keys.rq_job(f"damaged{index}"), mapping=fields)
            house.redis.rpush(keys.rq_queue("zohook"), f"damaged{index}")
        house.redis.set(keys.rq_job("string"), "no hash")
        house.redis.rpush(keys.rq_queue("zohook"), "string", "nowhere")
        tally.injected += 5
        sent = house.load.send(10, event="contact.created")
        tally.take(sent, judge(house, sent))
        assert worker.alive
        house.redis.delete(keys.rq_job("string"))


@fault("F28", "handler removed from the workers, and back", short=1, long=10)
def test_f28_handler_removed(house: House, tally: Tally) -> None:
    """Its job waits as one without a handler, and runs when a worker has it again."""
    for _ in range(tally.count):
        house.with_only(web=1, worker=1)
        runs.pause(house.redis, "handler:handlers.brief")
        time.sleep(1.2)  # a worker asks once a second what is paused
        sent = house.load.send(3, event="transfer_order.created")
        eventually(
            lambda sent=sent: all(
                (job := job_of(house, each, "brief")) and job.state == "held" for each in sent
            )
        )
        house.with_only(web=1)
        without = house.start("worker", environment={"ZOHOOK_HANDLERS__OFF": '["handlers.brief"]'})
        for digest in house.redis.zrange(keys.catalogues(), 0, -2):  # 90 s pass
            house.redis.delete(keys.catalogue(digest.decode()))
        runs.resume(house.redis, "handler:handlers.brief")
        tally.injected += len(sent)
        eventually(lambda: read.parked_work(house.redis).get("no_handler:handlers.brief") == 3)
        without.end()
        began = time.monotonic()
        house.start("worker")
        eventually(lambda sent=sent: all(house.ran("brief")[each.number] for each in sent), 70)
        tally.recoveries.append(time.monotonic() - began)
        tally.accepted += len(sent)
        tally.handled += len(sent)


@fault("F29", "one slow handler of three", short=1, long=10)
def test_f29_slow_handler(house: House, tally: Tally) -> None:
    """While half of the threads wait in it, the other two handlers go on as if it were not there."""
    for _ in range(tally.count):
        slow = house.load.send(2, event="estimate.created", **{"for": 3})
        tally.injected += len(slow)
        eventually(lambda slow=slow: all(house.ran("slow")[each.number] for each in slow))
        began = time.monotonic()
        sent = house.load.send(10, event="contact.created")
        tally.take(sent, judge(house, sent, busy=True))
        tally.recoveries.append(time.monotonic() - began)
        assert {job_of(house, each, "slow").state for each in slow} == {"running"}
        eventually(lambda slow=slow: all(job_of(house, each, "slow").state == "done" for each in slow))


@fault("F51", "sweeper killed, and two at once", short=0, long=20)
def test_f51_sweepers(house: House, tally: Tally) -> None:
    """Another one sweeps within 15 s; two of them give no job twice."""
    house.with_only(web=1, worker=2)
    for _ in range(tally.count):
        holder = eventually(lambda: house.redis.get(keys.sweep())).decode()
        (victim,) = [each for each in house.living("worker") if f"-{each.pid}-" in holder]
        victim.kill()
        began = time.monotonic()
        tally.injected += 1
        house.start("worker")
        eventually(
            lambda holder=holder: (now := house.redis.get(keys.sweep())) and now.decode() != holder, 15
        )
        tally.recoveries.append(time.monotonic() - began)
        house.load.begin(30, senders=2, event="contact.created")
        until = time.monotonic() + 1
        while time.monotonic() < until:  # whoever asks gets the lease: both sweep
            house.redis.delete(keys.sweep())
        sent = house.load.end()
        tally.take(sent, judge(house, sent))
        told = house.ran("tell")
        assert {told[each.number] for each in sent} == {1}
