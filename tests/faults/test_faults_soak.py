"""F52: everything at random, for as long as is asked for."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faults_verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from faults_rig import House
    from faults_verdict import Tally

fault = pytest.mark.fault


@fault("F52", "soak: everything at random", long=1)
def test_f52_soak(house: House, tally: Tally, request: pytest.FixtureRequest) -> None:
    """A fault every few seconds for as long as was asked for, and at the end all is handled and nothing has grown."""
    minutes = request.config.getoption("minutes")
    if not minutes:
        pytest.skip("give --minutes to soak")
    house.with_only(web=2, worker=2, clock=1)
    house.load.begin(15, senders=3)
    until, chosen = time.monotonic() + minutes * 60, []
    rss = {each.name: each.rss() for each in house.processes if each.alive}  # one of each kind is enough
    for act in nemesis(house):
        if time.monotonic() > until:
            break
        chosen.append(act.__name__)
        act(house)
        tally.injected += 1
        time.sleep(random.uniform(1, 5))
    house.mend()
    house.with_only(web=2, worker=2, clock=1)
    sent = house.load.end()
    assert all(each.accepted for each in sent)
    tally.take(sent, judge(house, sent, within=120))
    nothing_has_grown(house, rss)
    tally.notes["chosen"] = {name: chosen.count(name) for name in sorted(set(chosen))}
    tally.notes["rss_mib"] = {each.name: round(each.rss() / 2**20) for each in house.processes if each.alive}
    tally.notes["rss_mib_before"] = {name: round(size / 2**20) for name, size in rss.items()}
    for key in house.redis.scan_iter("rq:execution*"):
        assert house.redis.ttl(key) > 0


def nothing_has_grown(house: House, rss: Mapping[str, int]) -> None:
    """Memory and open files of the processes, and what RQ keeps: none of it is left over from what is done."""
    for each in house.processes:
        if each.alive:
            assert each.rss() < 1.5 * rss[each.name] + 32 * 2**20, (each.name, each.rss(), rss)
            assert sum(1 for _ in Path(f"/proc/{each.pid}/fd").iterdir()) < 150, each.name
    jobs = [key for key in house.redis.scan_iter("rq:job:*", count=1000) if house.redis.ttl(key) < 0]
    assert not jobs, "slips that never expire"
    assert sum(1 for _ in house.redis.scan_iter("rq:*", count=1000)) < 200


def nemesis(house: House) -> Iterator[Any]:
    """Faults without end."""

    def again(name: str) -> None:
        victim = random.choice(house.living(name))
        victim.kill()
        house.start(name)

    def web_killed(house: House) -> None:
        again("web")

    def worker_killed(house: House) -> None:
        again("worker")

    def clock_killed(house: House) -> None:
        again("clock")

    def worker_stopped(house: House) -> None:
        random.choice(house.living("worker")).end()
        house.start("worker")

    def worker_frozen(house: House) -> None:
        victim = random.choice(house.living("worker"))
        victim.tell(signal.SIGSTOP)
        time.sleep(random.uniform(0.5, 4))
        victim.tell(signal.SIGCONT)

    def redis_killed(house: House) -> None:
        house.server.kill()
        time.sleep(random.uniform(0, 3))
        house.server.start()

    def redis_frozen(house: House) -> None:
        os.kill(house.server.pid, signal.SIGSTOP)
        time.sleep(random.uniform(0.5, 4))
        os.kill(house.server.pid, signal.SIGCONT)

    def redis_full(house: House) -> None:
        house.redis.config_set("maxmemory", house.redis.info("memory")["used_memory"])
        time.sleep(random.uniform(0.5, 3))
        house.redis.config_set("maxmemory", 0)

    def zoho_errs(house: House) -> None:
        house.simulator.faults.add(random.choice(["html", "cut", "lost"]), path="/Leads/upsert", times=3)

    def jobs_in_a_hurry(house: House) -> None:
        house.hurry()

    acts = [
        web_killed,
        worker_killed,
        clock_killed,
        worker_stopped,
        worker_frozen,
        redis_killed,
        redis_frozen,
        redis_full,
        zoho_errs,
        jobs_in_a_hurry,
    ]
    while True:
        yield random.choice(acts)
