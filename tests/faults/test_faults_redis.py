"""Faults of Redis, of its disk, and of the way to it."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from faults_power import compiled, cut_to_what_was_synced, restart
from faults_proxy import Proxy, Trap, digest
from faults_rig import eventually
from faults_verdict import judge

from receiver import keys
from receiver.ledger import condition, read
from receiver.ledger.embedded import Embedded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from faults_load import Sent
    from faults_rig import House, Process
    from faults_verdict import Tally

fault = pytest.mark.fault


def p99(sent: Sequence[Sent]) -> float:
    """Seconds to an answer."""
    return round(sorted(each.seconds for each in sent)[int(len(sent) * 0.99)], 2)


def through(house: House, name: str) -> tuple[Process, Proxy]:
    """A process that reaches Redis through a proxy of its own."""
    proxy = Proxy(house.socket)
    house.more.append(proxy)
    return house.start(name, environment={"ZOHOOK_REDIS__URL": proxy.url}), proxy


@fault("F6", "Redis killed, and started again after a while", short=1, long=20)
def test_f6_redis_killed(house: House, tally: Tally, long: bool) -> None:
    """Deliveries are answered 200 within 2 s all the while, wait in the spool, and run when it is back."""
    for turn in range(tally.count):
        house.load.begin(40)
        time.sleep(0.3)
        house.server.kill()
        tally.injected += 1
        time.sleep((30 if turn % 10 == 9 else 2) if long else 1)
        house.server.start()
        began = time.monotonic()
        eventually(lambda: house.load.latest == "accepted")
        tally.recoveries.append(time.monotonic() - began)
        sent = house.load.end()
        assert {each.status for each in sent} == {200}
        assert {"spooled", "accepted"} == {each.verdict for each in sent}
        tally.notes["answer_p99"] = p99(sent)
        assert p99(sent) <= (2 if long else 4)  # the short form may meet a busy machine
        tally.take(sent, judge(house, sent))


@fault("F7", "power cut: what was not synced is gone", short=1, long=50)
def test_f7_power_cut(house: House, tally: Tally, tmp_path: Path, long: bool) -> None:
    """With `appendfsync always` nothing that was answered is lost; what `everysec` would lose is told."""
    library = compiled("fsyncs", tmp_path)
    for sync in ("always", "everysec") if long else ("always",):
        for _ in range(tally.count if sync == "always" else 3):
            log = tmp_path / "synced"
            log.unlink(missing_ok=True)
            restart(house, {"LD_PRELOAD": str(library), "FSYNC_LOG": str(log)})
            house.redis.config_set("appendfsync", sync)
            house.load.begin(150, event="contact.created")
            eventually(lambda: len(house.load.sent) > 60 and house.load.sent[40].verdict == "accepted")
            eventually(log.exists)  # with `everysec` the first sync may be a second away
            house.server.kill()
            cut_to_what_was_synced(log)
            house.server.start()
            sent = house.load.end()
            tally.injected += 1
            if sync == "always":
                tally.take(sent, judge(house, sent))
            else:
                lost = len(judge(house, sent, within=5).undurable)
                tally.notes["everysec_lost"] = tally.notes.get("everysec_lost", 0) + lost


@fault("F8", "Redis frozen", short=1, long=3)
def test_f8_redis_frozen(house: House, tally: Tally, long: bool) -> None:
    """Answers come within 2 s, into the spool; the workers live, and go on when it does."""
    (worker,) = house.living("worker")
    for _ in range(tally.count):
        os.kill(house.server.pid, signal.SIGSTOP)
        tally.injected += 1
        try:
            house.load.begin(20)
            time.sleep(60 if long else 2.5)
        finally:
            os.kill(house.server.pid, signal.SIGCONT)
        began = time.monotonic()
        sent = house.load.end()
        tally.notes["answer_p99"] = p99(sent)
        assert {each.status for each in sent} == {200}
        assert p99(sent) <= (2 if long else 4)  # the short form may meet a busy machine
        tally.take(sent, judge(house, sent))
        tally.recoveries.append(time.monotonic() - began)
        assert worker.alive


@fault("F8 writes", "Redis whose writes stand still", short=1, long=10)
def test_f8_redis_writes_stand_still(house: House, tally: Tally, long: bool) -> None:
    """As while it fails over: it answers what is read, deliveries go to the spool, none of them to the quarantine, and all are handled."""
    for _ in range(tally.count):
        house.load.begin(40, event="contact.created")
        eventually(lambda: house.load.latest == "accepted")
        house.redis.execute_command("CLIENT", "PAUSE", 20_000 if long else 4_000, "WRITE")
        tally.injected += 1
        began = time.monotonic()
        eventually(lambda: house.load.latest == "spooled")
        eventually(lambda: house.load.latest == "accepted")
        tally.recoveries.append(time.monotonic() - began)
        sent = house.load.end()
        tally.notes["answer_p99"] = p99(sent)
        assert {each.status for each in sent} == {200}
        assert {each.verdict for each in sent} == {"spooled", "accepted"}
        tally.take(sent, judge(house, sent))


@fault("F9", "slow Redis", short=1, long=10)
def test_f9_redis_slow(house: House, tally: Tally) -> None:
    """Each answer waits for Redis, or goes to the spool at the deadline; nothing fails."""
    house.with_only(worker=1)
    web, proxy = through(house, "web")
    proxy.delay = (0.0, 0.4)
    for _ in range(tally.count):
        sent = house.load.send(20, senders=8)
        tally.injected += 1
        assert {each.status for each in sent} == {200}
        assert {each.verdict for each in sent} <= {"accepted", "spooled"}
        tally.notes["answer_p99"] = p99(sent)
        tally.take(sent, judge(house, sent))
    web.end()


@fault("F10", "answer of the accept script lost on the wire", short=5, long=200)
def test_f10_accept_answer_lost(house: House, tally: Tally) -> None:
    """It is in Redis, and goes to the spool as well: one event, run once."""
    house.with_only(worker=1)
    web, proxy = through(house, "web")
    house.load.send(1)
    sent: list[Sent] = []
    for _ in range(tally.count):
        proxy.trap = Trap(digest("accept"), "after")
        sent += house.load.send(1)
        eventually(lambda: proxy.trap.sprung == 1)
        tally.injected += 1
    proxy.trap = None
    assert all(each.accepted for each in sent)
    tally.take(sent, judge(house, sent))
    runs = house.ran("tell")
    assert {runs[each.number] for each in sent} == {1}
    web.end()


@fault("F11", "slips taken from the queue, and lost on the wire", short=3, long=200)
def test_f11_pop_answer_lost(house: House, tally: Tally) -> None:
    """The worker never heard of them: the sweep gives new ones."""
    house.with_only(web=1)
    worker, proxy = through(house, "worker")
    for _ in range(tally.count):
        proxy.trap = Trap(digest("turn"), "after", reply=b"books.")
        sent = house.load.send(1)
        eventually(lambda: proxy.trap.sprung == 1)
        tally.injected += 1
        began = time.monotonic()
        tally.take(sent, judge(house, sent))
        tally.recoveries.append(time.monotonic() - began)
    assert worker.alive
    assert max(tally.recoveries) < 30 + house.settings_given["again"]


@fault("F12", "Redis full", short=1, long=20)
def test_f12_redis_full(house: House, tally: Tally) -> None:
    """Deliveries go to the spool, what Redis holds is handled all the same, and the rest when there is room.

    Twice: short of memory, and without any.
    """
    for share, event in ((0.93, "invoice.paid"), (1.0, "contact.created")) * tally.count:
        house.load.begin(40, event=event)
        time.sleep(0.3)
        house.redis.config_set("maxmemory", int(house.redis.info("memory")["used_memory"] / share))
        tally.injected += 1
        eventually(lambda: house.load.latest == "spooled")
        kept = [each for each in house.load.sent if each.verdict == "accepted"]
        found = judge(house, kept, busy=True)
        assert not found.wrong()
        health = httpx.get(f"http://127.0.0.1:{house.port}/healthz").json()
        house.redis.config_set("maxmemory", 0)
        began = time.monotonic()
        sent = house.load.end()
        assert health == {"status": "full", "redis": "full"}
        assert all(each.accepted for each in sent)
        tally.take(sent, judge(house, sent))
        tally.recoveries.append(time.monotonic() - began)


@fault("F13", "Redis that evicts, that forgets, and that is too old", short=1, long=1)
def test_f13_unfit_redis(house: House, tally: Tally) -> None:
    """Every process refuses to start on it, and says what to set."""
    proxy = Proxy(house.socket)
    house.more.append(proxy)
    cases: list[tuple[str, dict[str, str], str]] = [
        ("worker", {"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy noeviction"),
        ("web", {"appendonly": "no"}, "appendonly yes"),
        ("clock", {}, "too old; Zohook needs 6.2"),
    ]
    version = str(house.redis.info("server")["redis_version"])
    for name, wrong, words in cases:
        right = {key: house.redis.config_get(key)[key] for key in wrong}
        for key, value in wrong.items():
            house.redis.config_set(key, value)
        if not wrong:
            proxy.rewrite = (f"redis_version:{version}".encode(), f"redis_version:5.{version[2:]}".encode())
        ended = house.command(name, ZOHOOK_REDIS__URL=proxy.url, ZOHOOK_WEB__PORT="0")
        for key, value in right.items():
            house.redis.config_set(key, value)
        tally.injected += 1
        assert ended.returncode == 2, ended.stderr
        assert words in ended.stderr


@fault("F14", "disk full under the append-only file", short=1, long=10)
def test_f14_disk_full(house: House, tally: Tally, long: bool) -> None:
    """Nothing that was answered is lost, deliveries go to the spool, and with room again all is handled without a hand.

    With `always` Redis ends at such an error, and whoever looks after it starts it again; with `everysec` it goes on by itself.
    """
    for sync in ("always", "everysec") if long else ("everysec",):
        for _ in range(tally.count):
            house.redis.config_set("appendfsync", sync)
            size = sum(path.stat().st_size for path in house.server.place.rglob("*.aof"))
            resource.prlimit(house.server.pid, resource.RLIMIT_FSIZE, (size + 20_000, -1))
            house.load.begin(60, event="contact.created")
            tally.injected += 1
            eventually(lambda: house.load.latest == "spooled")
            time.sleep(0.3)
            if sync == "always":
                eventually(lambda: not house.server.alive())
                house.server.kill()
                house.server.start()
            else:
                resource.prlimit(house.server.pid, resource.RLIMIT_FSIZE, (-1, -1))
            began = time.monotonic()
            eventually(lambda: house.load.latest == "accepted")
            tally.recoveries.append(time.monotonic() - began)
            sent = house.load.end()
            assert {each.status for each in sent} == {200}
            tally.take(sent, judge(house, sent))
            house.redis.config_set("appendfsync", "always")


@fault("F15", "torn tail of the append-only file", short=2, long=100)
def test_f15_torn_tail(house: House, tally: Tally) -> None:
    """A command that was half written when the power went is dropped by Redis, and nothing that was answered with it."""
    for _ in range(tally.count):
        sent = house.load.send(10, event="contact.created")
        house.server.kill()
        file = max(house.server.place.rglob("*.aof"), key=lambda path: path.stat().st_size)
        whole = b"*3\r\n$3\r\nSET\r\n$4\r\ntorn\r\n$4096\r\n" + b"x" * 4096
        with file.open("ab") as tail:
            tail.write(whole[: random.randint(1, 4096)])
        tally.injected += 1
        began = time.monotonic()
        house.server.start()
        tally.recoveries.append(time.monotonic() - began)
        tally.take(sent, judge(house, sent))


@fault("F16", "Redis emptied, and an older backup put back", short=1, long=10)
def test_f16_emptied_and_restored(house: House, tally: Tally, tmp_path: Path) -> None:
    """It is found and told within 30 s, what a backup lacks is counted exactly, and every process goes on as it is."""
    running = [each.pid for each in house.processes if each.alive]
    for _ in range(tally.count):
        before = house.load.send(5)
        tally.take(before, judge(house, before))
        house.redis.flushall()
        noticed(house, tally, "emptied", 0)
        house.prepare()
        sent = house.load.send(5)
        tally.take(sent, judge(house, sent))

        backup = tmp_path / "backup"
        shutil.rmtree(backup, ignore_errors=True)
        shutil.copytree(
            house.server.place,
            backup,
            ignore=lambda _, names: [n for n in names if not n.endswith((".aof", ".rdb"))],
        )
        later = house.load.send(7, event="contact.created")
        tally.take(later, judge(house, later))
        house.server.kill()
        for file in backup.iterdir():
            shutil.copy(file, house.server.place / file.name)
        house.server.start()
        noticed(house, tally, "behind", 7)
        sent = house.load.send(5)
        tally.take(sent, judge(house, sent))
    assert running == [each.pid for each in house.processes if each.alive]


def noticed(house: House, tally: Tally, kind: str, missing: int) -> None:
    """The alarm: in the ledger, in the log, in the metrics."""
    began = time.monotonic()
    tally.injected += 1
    (found,) = eventually(
        lambda: [each for each in condition.breaks(house.redis) if each.kind == kind][:1], 30
    )
    tally.recoveries.append(time.monotonic() - began)
    assert found.missing == missing
    alarm = (f'"kind":"{kind}"', "ledger.broke")
    running = [each for each in house.processes if each.alive]
    eventually(lambda: any(all(word in each.said() for word in alarm) for each in running), 30)
    said = httpx.get(f"http://127.0.0.1:{house.port}/metrics").text
    assert f'zohook_ledger_breaks_found{{kind="{kind}"}} 1.0' in said
    house.redis.delete(keys.breaks())


@fault("F17", "failover to a replica that lacks the last writes", short=1, long=10)
def test_f17_failover(house: House, tally: Tally, tmp_path: Path) -> None:
    """What the replica lacks is counted exactly and told, and the same processes go on with it."""
    house.with_only()
    for turn in range(tally.count):
        front, stream = Proxy(house.socket), Proxy(house.socket)
        house.more += [front, stream]
        running = [
            house.start(name, environment={"ZOHOOK_REDIS__URL": front.url}) for name in ("web", "worker")
        ]
        replica = Embedded(tmp_path / f"replica{turn}", share=False).start()
        try:
            fail_over(house, tally, replica, front, stream)
            assert all(each.alive for each in running)
        finally:
            for each in running:
                each.kill()
            replica.kill()
            house.mend()
            # The old master is no ledger of this host any more: it would be found behind, rightly.
            (house.folder / ".zohook" / "spool" / "spool.ledger").unlink()
            house.prepare()


def fail_over(house: House, tally: Tally, replica: Embedded, front: Proxy, stream: Proxy) -> None:
    """Let the replica lack some writes, kill the master, and send everybody to the replica."""
    master = house.redis
    with replica.client() as other:
        master.delete(keys.breaks())
        missed = read.totals(master)["missing"]
        other.execute_command("REPLICAOF", "127.0.0.1", stream.port)
        sent = house.load.send(5)
        tally.take(sent, judge(house, sent))
        eventually(lambda: other.info("replication").get("master_link_status") == "up")
        eventually(lambda: other.get(keys.sequence()) == master.get(keys.sequence()))
        stream.flowing.clear()
        lacking = house.load.send(random.randint(3, 9), event="contact.created")
        assert {each.verdict for each in lacking} == {"accepted"}
        house.server.kill()
        other.execute_command("REPLICAOF", "NO", "ONE")
        front.upstream = str(replica.place / "redis.sock")
        front.cut()
        tally.injected += 1
        began = time.monotonic()
        house.load.begin(30)
        (found,) = eventually(lambda: condition.breaks(other), 30)
        tally.recoveries.append(time.monotonic() - began)
        assert (found.kind, found.missing) == ("behind", len(lacking))
        assert read.totals(other)["missing"] == missed + len(lacking)
        tally.notes["missing_counted"] = tally.notes.get("missing_counted", 0) + len(lacking)
        house.redis = other
        try:
            sent = house.load.end()
            tally.take(sent, judge(house, sent))
        finally:
            house.redis = master


def test_the_recorder_of_power_cuts_cuts(tmp_path: Path) -> None:
    """Without it F7 would prove nothing: a Redis that never syncs loses what it was told."""
    library = compiled("fsyncs", tmp_path)
    log = tmp_path / "synced"
    with Embedded(tmp_path / "own", appendfsync="always", share=False) as server:
        fake: Any = type("Fake", (), {"server": server})
        restart(fake, {"LD_PRELOAD": str(library), "FSYNC_LOG": str(log)})
        client = server.client()
        client.set("kept", 1)
        client.config_set("appendfsync", "no")
        client.set("lost", 1)
        server.kill()
        cut_to_what_was_synced(log)
        server.start()
        assert (client.get("kept"), client.get("lost")) == (b"1", None)
        client.close()
