"""Faults of the web process, and of those who send to it."""

from __future__ import annotations

import os
import random
import resource
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from faults_proxy import Proxy, Trap, digest
from faults_rig import eventually, memory_of
from faults_verdict import judge

if TYPE_CHECKING:
    from faults_load import Sent
    from faults_rig import House
    from faults_verdict import Tally

fault = pytest.mark.fault


@fault("F1", "web process killed while requests are under way", short=2, long=500)
def test_f1_web_killed_mid_request(house: House, tally: Tally) -> None:
    """Whatever was answered is kept; what was not is sent again and is one event."""
    house.load.begin(60)
    for _ in range(tally.count):
        time.sleep(random.uniform(0.2, 0.25))
        house.living("web")[0].kill()
        tally.injected += 1
        began = time.monotonic()
        house.start("web")
        tally.recoveries.append(time.monotonic() - began)
    sent = house.load.end()
    assert all(each.accepted for each in sent)
    tally.take(sent, judge(house, sent))


@fault("F2", "web process killed between the accept script and its answer", short=1, long=500)
def test_f2_web_killed_after_accept(house: House, tally: Tally) -> None:
    """The script is done and nobody knows: the delivery that is sent again is its duplicate, and runs once."""
    house.with_only(web=0, worker=1)
    proxy = Proxy(house.socket)
    house.more.append(proxy)
    found = []
    for _ in range(tally.count):
        web = house.start("web", environment={"ZOHOOK_REDIS__URL": proxy.url})
        proxy.trap = Trap(digest("accept"), "after", web.kill)
        house.load.begin(0, senders=1, most=1)
        eventually(lambda web=web: not web.alive)
        tally.injected += 1
        proxy.trap = None
        web = house.start("web", environment={"ZOHOOK_REDIS__URL": proxy.url})
        (sent,) = house.load.end(stop=False)
        assert (sent.verdict, len(sent.failures) > 0) == ("duplicate", True)
        found.append(sent)
        web.end()
    tally.take(found, judge(house, found))
    assert all(count == 1 for count in house.ran("tell").values())


@fault("F3", "web process restarted by SIGTERM under load", short=1, long=50)
def test_f3_web_restarted_under_load(house: House, tally: Tally) -> None:
    """What is under way is answered, and the next process takes what waits at the door: no 5xx, no reset."""
    house.load.begin(200, senders=8, event="contact.created", one_each=True)
    for _ in range(tally.count):
        time.sleep(0.5)
        (old,) = house.living("web")
        house.start("web")
        assert old.end(10) in {0, -signal.SIGTERM}
        tally.injected += 1
    sent = house.load.end()
    assert [each.failures for each in sent if each.failures] == []
    tally.take(sent, judge(house, sent))


@fault("F4", "bodies of any size in little memory", short=0, long=10)
def test_f4_memory_cap(house: House, tally: Tally) -> None:
    """What is too large is refused while it comes, the process stays, and good deliveries pass."""
    house.with_only(worker=1)
    web = house.start("web")
    with memory_of(web, 160 * 2**20) as how:
        tally.notes["limit"] = how
        for _ in range(tally.count):
            with ThreadPoolExecutor(24) as pool:
                statuses = list(pool.map(lambda _: flood_body(house.port, 4 * 2**20), range(48)))
            tally.injected += len(statuses)
            assert set(statuses) <= {413, 0}, statuses  # 0: hung up on while it still sent
            sent = house.load.send(10)
            tally.take(sent, judge(house, sent))
        tally.notes["rss_mib"] = web.rss() // 2**20
        assert web.alive


def flood_body(port: int, size: int) -> int:
    """Send a body in chunks until somebody says stop; the status, 0 where the connection just went."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        with suppress(OSError):
            sock.sendall(
                b"POST /in/load?event=invoice.paid HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for _ in range(size // 65_536):
                sock.sendall(b"10000\r\n" + bytes(65_536) + b"\r\n")
        with suppress(OSError):
            head = sock.recv(100)
            return int(head.split()[1]) if head else 0
        return 0


@fault("F5", "web process without file descriptors", short=1, long=10)
def test_f5_no_file_descriptors(house: House, tally: Tally) -> None:
    """Nobody gets in for a while, nothing that was promised is lost, and it is well again within 5 s."""
    house.with_only(worker=1)
    web = house.start("web", environment={"ZOHOOK_WEB__HEADER_TIME": "1"})
    for _ in range(tally.count):
        resource.prlimit(web.pid, resource.RLIMIT_NOFILE, (64, 4096))
        idle = [socket.create_connection(("127.0.0.1", house.port)) for _ in range(150)]
        house.load.begin(20, senders=2)
        time.sleep(1)
        tally.injected += len(idle)
        for each in idle:
            each.close()
        began = time.monotonic()
        sent = house.load.end()
        tally.recoveries.append(time.monotonic() - began)
        resource.prlimit(web.pid, resource.RLIMIT_NOFILE, (4096, 4096))
        assert web.alive
        assert all(each.accepted for each in sent)
        tally.take(sent, judge(house, sent))
    assert max(tally.recoveries) < 5


@fault("F41", "log that nobody reads, and one on a full disk", short=1, long=3)
def test_f41_log_blocked(house: House, tally: Tally, long: bool) -> None:
    """A reader that stands still and a disk without room cost lines, not deliveries."""
    house.with_only(worker=1)
    for _ in range(tally.count):
        reading, writing = os.pipe()
        with Path("/dev/full").open("wb") as full:
            for sink in (writing, full.fileno()) if long else (writing,):
                web = house.start("web", ready=False, stderr=sink, stdout=sink)
                tally.injected += 1
                first = house.load.send(1, event="contact.created")
                sent = house.load.send(500, event="contact.created")
                slowest = max(each.seconds for each in sent)
                tally.notes["slowest"] = round(max(slowest, tally.notes.get("slowest", 0)), 2)
                assert web.alive
                assert slowest < 2
                tally.take(first + sent, judge(house, first + sent))
                web.kill()
        os.close(reading)
        os.close(writing)


@fault("F45", "flood", short=1, long=300)
def test_f45_flood(house: House, tally: Tally) -> None:
    """As many senders as can be, for so many seconds: what is accepted is handled, and memory is bounded."""
    (web,) = house.living("web")
    before = web.rss()
    house.load.begin(0, senders=24, event="contact.created", again=False)
    time.sleep(tally.count)
    sent = house.load.end()
    tally.injected = len(sent)
    tally.notes["per_second"] = round(len(sent) / tally.count)
    tally.notes["grown_mib"] = round((web.rss() - before) / 2**20, 1)
    assert {each.status for each in sent} <= {200, 429, 503}
    assert web.rss() - before < 64 * 2**20
    tally.take(sent, judge(house, sent, within=120 + tally.count))


@fault("F46", "the same deliveries sent many times over", short=2, long=100)
def test_f46_replay_storm(house: House, tally: Tally, long: bool) -> None:
    """Each runs once."""
    numbers = house.load.numbers(1000 if long else 40)
    found = []
    for _ in range(tally.count):
        found = [house.load.post(number, "invoice.paid") for number in numbers]
        tally.injected += len(found)
    tally.take(found, judge(house, found))
    runs = house.ran("tell")
    assert {runs[number] for number in numbers} == {1}


@fault("F47", "one delivery at several web processes at the same instant", short=20, long=1000)
def test_f47_at_one_instant(house: House, tally: Tally, long: bool) -> None:
    """It is one event, whoever was first."""
    webs = 4 if long else 2
    house.with_only(web=webs, worker=1)
    first = []
    for number in house.load.numbers(tally.count):
        barrier = threading.Barrier(4)

        def post(number: int = number, barrier: threading.Barrier = barrier) -> Sent:
            barrier.wait()
            return house.load.post(number, "contact.created")

        with ThreadPoolExecutor(4) as pool:
            sent = [each.result() for each in [pool.submit(post) for _ in range(4)]]
        tally.injected += 1
        assert sorted(each.verdict for each in sent) == ["accepted", *["duplicate"] * 3]
        assert len({each.events for each in sent}) == 1
        first += sent[:1]
    tally.take(first, judge(house, first))
    runs = house.ran("tell")
    assert {runs[each.number] for each in first} == {1}
