"""What accepting, routing and running, a page, a sweep and retention cost with ten thousand events kept, and with ten times as many, again and again.

Nothing may grow with what is kept but by the logarithm that an index costs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
import rig

from receiver.event import Delivery
from receiver.ledger import read, runs, turns
from receiver.ledger.accept import QUEUE, Record, accept
from receiver.ledger.runs import Ending, Opening
from receiver.ledger.turns import Turn
from receiver.settings import RetentionSettings
from receiver.sources import PRODUCTS
from receiver.sources.source import Verified, Way
from receiver.upkeep.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis import Redis

BARS = {"ratio": 1.5, "page_ms": 100}
SOURCES = [Way(f"books{number}", "books", events=(rig.EVENT,)) for number in range(20)]
HANDLER = "bench.nothing"
BATCH, TURN, PROBE, LOST, RUNS = 128, 512, 20 * 128, 500, 5
DEAD_EACH = 200
OLD = 40 * 86_400_000
PASSWORD = "a-password-of-the-benchmark"
PAGES = (
    "/", "/events", "/events?type=books.invoice.paid", "/events?source=books7", "/events?record=98200000000000777",
    "/events?state=dead", "/dead", "/deliveries", "/handlers", "/sources", "/metrics",
)  # fmt: skip
PAGE_RUNS = 15


@dataclass
class Ledger:
    """Events that are put in as the door does, and worked off as a worker does, by the hundred."""

    redis: Redis
    number: int = 0

    def records(self, count: int, age: int = 0) -> list[Record]:
        """Deliveries as Books sends them, no two alike, of many sources; received `age` (ms) ago."""
        made = []
        for number in range(self.number, self.number + count):
            way = SOURCES[number % len(SOURCES)]
            headers = {**rig.HEADERS, "content-length": "800", "x-zoho-webhook-signature": "0" * 64}
            query = f"event={rig.EVENT}".encode()
            delivery = Delivery.arrive(
                way.name, rig.body(number), query=query, headers=headers, remote="127.0.0.1"
            )
            delivery = replace(delivery, received=delivery.received - age)
            events = PRODUCTS["books"].parse(delivery, way, Verified("hmac")).events
            made.append(Record(delivery, "accepted", events=events, window=PRODUCTS["books"].window(way)))
        self.number += count
        return made

    def accept(self, records: list[Record], again: float = 600) -> int:
        """Accept them in batches; how many there were."""
        for first in range(0, len(records), BATCH):
            accept(self.redis, records[first : first + BATCH], again=again)
        return len(records)

    def work(self) -> int:
        """Route and run all that is queued, in turns of a worker with very many threads; how many jobs were done."""
        said, done = Turn(want=TURN), 0
        while True:
            words = turns.ask(self.redis, "bench", [QUEUE], said, lease=600, again=600, claim_first=True)()
            told = turns.understood(said, words)
            jobs = [job for job in told.jobs if job is not None]
            claims = [each.claim for each in told.taken if not isinstance(each.claim, str | None)]
            said = Turn(
                endings=[(job, self._ending(job)) for job in jobs],
                routes=[(claim, [Opening(HANDLER)]) for claim in claims],
                done=[each.slip for each in told.taken],
                want=TURN,
            )
            done += len(jobs)
            if not (jobs or claims):
                return done

    def _ending(self, job: runs.Claim) -> Ending:
        dead = job.event.seq % DEAD_EACH == 0
        return Ending("dead", 1, reason="ValueError: no", attempt='{"run":1}') if dead else Ending("done")

    def grow(self, kept: int) -> None:
        """Work until so many events are kept."""
        while (missing := kept - int(self.redis.zcard("zh:es"))) > 0:
            self.accept(self.records(min(missing, 4 * BATCH)))
            self.work()


class Cost:
    """What things took per unit, in microseconds: all in all, and within Redis alone."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._us: dict[str, list[float]] = {}
        self._redis_us: dict[str, list[float]] = {}

    def note(self, name: str, act: Callable[[], int]) -> None:
        """Measure it once; `act` says how many units it did."""
        self._redis.config_resetstat()
        began = time.perf_counter()
        units = act()
        took = time.perf_counter() - began
        within = sum(each["usec"] for each in self._redis.info("commandstats").values())
        self._us.setdefault(name, []).append(took / units * 1e6)
        self._redis_us.setdefault(name, []).append(within / units)

    def medians(self) -> tuple[dict[str, float], dict[str, float]]:
        """Of each, all in all and within Redis."""
        us, redis_us = (
            {name: round(statistics.median(values), 1) for name, values in found.items()}
            for found in (self._us, self._redis_us)
        )
        return us, redis_us


def measured(redis: Redis, ledger: Ledger) -> tuple[dict[str, float], dict[str, float]]:
    """What each thing takes with what is kept now: by event, and a sweep that finds nothing to do by sweep."""
    cost, keep = Cost(redis), RetentionSettings(days=30, size=10**15)

    def sweep() -> int:
        runs.sweep(redis, again=600, deaths=3)
        runs.refill(redis, again=600)
        runs.recheck(redis)
        return 1

    for _ in range(RUNS):
        records = ledger.records(PROBE)
        cost.note("accept", lambda records=records: ledger.accept(records))  # type: ignore[misc]
        cost.note("route_and_run", ledger.work)
        ledger.accept(ledger.records(LOST), again=0)
        redis.delete(f"rq:queue:{QUEUE}")
        time.sleep(0.002)
        cost.note("sweep", lambda: sweep() * LOST)
        ledger.work()
        cost.note("idle_sweep", sweep)
        ledger.accept(ledger.records(PROBE, OLD))
        ledger.work()
        cost.note("retention", lambda: Retention(redis, keep).trim())
    return cost.medians()


def pages(where: rig.Ground) -> dict[str, float]:
    """The median milliseconds of each page of the dashboard, from a web process on a core of its own."""
    port = rig.free_port()
    env = where.project({}, ZOHOOK_WEB__PASSWORD=PASSWORD)
    base = f"http://127.0.0.1:{port}"
    found = {}
    command = [sys.executable, "-m", "receiver.cli", "web", "--port", str(port)]
    with (
        rig.running(command, where, env) as web,
        httpx.Client(base_url=base, trust_env=False, timeout=60) as client,
    ):
        rig.wait_for_port(port, web, where)
        signed = client.post("/sign-in", data={"password": PASSWORD, "csrf": ""}, headers={"origin": base})
        if signed.status_code != 303:
            raise RuntimeError(f"the dashboard says {signed.status_code}: {signed.text[:300]}")
        for page in PAGES:
            took = []
            for _ in range(PAGE_RUNS):
                began = time.perf_counter()
                client.get(page).raise_for_status()
                took.append((time.perf_counter() - began) * 1e3)
            found[page] = round(statistics.median(took), 1)
    return found


def at(where: rig.Ground, ledger: Ledger, kept: int) -> dict[str, Any]:
    """Everything, with so many events kept."""
    rig.say(f"{kept:,} events")
    began = time.monotonic()
    with where.careless():
        ledger.grow(kept)
        rig.say(f"  kept after {time.monotonic() - began:.0f} s")
        with where.at_rest():
            us, redis_us = measured(where.redis, ledger)
    shown = pages(where)
    rig.say(f"  {us}, slowest page {max(shown.values())} ms")
    memory = where.redis.info("memory")["used_memory"]
    states = read.states(where.redis)
    if states["open"]:
        raise RuntimeError(f"not all was worked off: {states}")
    return {"us": us, "redis_us": redis_us, "pages_ms": shown, "page": max(shown.values()), "bytes": memory}


def ratios(found: dict[int, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What each costs against the smallest ledger, by the number of events kept."""
    (first, *others) = found
    base = found[first]
    told: dict[str, dict[str, float]] = {}
    for kept in others:
        one = found[kept]
        told[f"{kept:g}"] = {
            **{name: round(one["us"][name] / base["us"][name], 2) for name in base["us"]},
            **{
                f"{name}_in_redis": round(one["redis_us"][name] / base["redis_us"][name], 2)
                for name in base["redis_us"]
            },
            "page": round(
                statistics.median(one["pages_ms"][page] / base["pages_ms"][page] for page in PAGES), 2
            ),
            "slowest_page": round(max(one["pages_ms"][page] / base["pages_ms"][page] for page in PAGES), 2),
        }
    return told


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--to", type=float, default=1e5, help="how many events there are at last (1e5; 1e6 takes 4 GiB)"
    )
    parser.add_argument("--quick", action="store_true", help="1,000 and 10,000, to see that it works")
    given = parser.parse_args()
    sizes = [1_000, 10_000] if given.quick else [size for size in (10**4, 10**5, 10**6) if size <= given.to]
    source = rig.source()
    with rig.ground() as where:
        ledger = Ledger(where.redis)
        found = {size: at(where, ledger, size) for size in sizes}
        result = {
            "cost": {f"{size:g}": each for size, each in found.items()},
            "ratios": ratios(found),
            "page_ms": max(each["page"] for each in found.values()),
            "bars": BARS,
            "machine": rig.machine(where),
            "source": source,
            "source_changed": rig.source() != source,
            "versions": rig.versions("zohook", "rq", "redis", "hiredis"),
        }
    rig.print_result(result)


if __name__ == "__main__":
    main()
