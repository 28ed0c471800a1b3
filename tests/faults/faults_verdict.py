"""The verdict of every row: was everything that somebody was promised done, once, and is nothing left lying about."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from faults_rig import WITHIN

from receiver import keys
from receiver.intake.spoolfile import Flag, SpoolFile
from receiver.ledger import read
from receiver.ledger.turns import Slip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults_load import Sent
    from faults_rig import House

    from receiver.ledger.read import JobRow

HANDLERS = {"invoice.paid": ("apply", "tell"), "contact.created": ("tell",)}


@dataclass
class Tally:
    """One row of the report."""

    fault: str
    about: str
    count: int
    seed: int = 0
    injected: int = 0
    accepted: int = 0
    handled: int = 0
    lost: int = 0
    double: int = 0
    recoveries: list[float] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def take(self, sent: Sequence[Sent], verdict: Verdict) -> None:
        """Add a verdict, and hold the row to it."""
        self.accepted += verdict.accepted
        self.handled += verdict.handled
        self.lost += len(verdict.lost)
        self.double += len(verdict.double)
        assert not verdict.wrong(), (
            verdict.wrong(),
            [each for each in sent if each.number in verdict.lost][:5],
        )

    def row(self) -> dict[str, Any]:
        """As the report shows it."""
        times = sorted(self.recoveries)
        p50, p99 = (
            times[min(len(times) - 1, int(len(times) * part))] if times else None for part in (0.5, 0.99)
        )
        return {
            "fault": self.fault, "about": self.about, "injected": self.injected, "accepted": self.accepted,
            "handled": self.handled, "lost": self.lost, "double": self.double,
            "recovery_p50": p50 and round(p50, 2), "recovery_p99": p99 and round(p99, 2), **self.notes,
        }  # fmt: skip


@dataclass
class Verdict:
    """What is wrong is named by number: (a) and (b) lost, (b) double, (c) not durable, (d) still open, (e) stuck."""

    accepted: int = 0
    handled: int = 0
    lost: list[int] = field(default_factory=list)
    double: list[int] = field(default_factory=list)
    undurable: list[int] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    def wrong(self) -> dict[str, Any]:
        """The letters that do not hold."""
        names = ("lost", "double", "undurable", "open", "stuck")
        return {name: getattr(self, name)[:10] for name in names if getattr(self, name)}


def judge(
    house: House,
    sent: Sequence[Sent],
    *,
    within: float = WITHIN,
    parked: Sequence[str] = (),
    busy: bool = False,
) -> Verdict:
    """Wait until all is well, `within` seconds at most, and say what is not. `busy`: others still send, so work may be open."""
    until = time.monotonic() + within
    while True:
        found = _look(house, sent, parked, busy=busy)
        if not found.wrong() or found.double or time.monotonic() > until:
            return found
        time.sleep(0.1)


def _look(house: House, sent: Sequence[Sent], parked: Sequence[str], *, busy: bool) -> Verdict:
    promised = [each for each in sent if each.accepted]
    found = Verdict(accepted=len(promised))
    applied, told, known = house.applied(), house.ran("tell"), house.redis.exists
    for each in promised:
        number, wanted = each.number, HANDLERS.get(each.event, ())
        done = ("apply" not in wanted or applied[number] > 0) and ("tell" not in wanted or told[number] > 0)
        found.handled += done
        if wanted and not done:
            found.lost.append(number)
        if applied[number] > 1:
            found.double.append(number)
    for first in range(0, len(promised), 500):
        pipe = house.redis.pipeline(transaction=False)
        for each in promised[first : first + 500]:
            ids = () if each.perhaps_again else each.events
            pipe.exists(*(keys.event(event) for event in ids)) if ids else pipe.ping()
        answers = pipe.execute()
        found.undurable += [
            each.number for each, there in zip(promised[first:], answers, strict=False) if not there
        ]
    if not busy:
        found.open = [each.decode() for each in house.redis.zrange(keys.due(), 0, 9)]
        found.open += [f"{source} waits for room in {queue}" for source, queue in read.waiting(house.redis)]
        found.open += [reason for reason in read.parked_work(house.redis) if reason not in parked]
        found.open += _spooled(house)
    found.stuck = _stuck(house, known)
    return found


def _spooled(house: House) -> list[str]:
    """What waits on the disk of the house, and what the ledger refused of it."""
    path = house.spool
    if not path.exists():
        return []
    with SpoolFile(path, Flag(path.with_suffix(".flag"))) as file:
        depth = file.depth()
    counts = {"wait in the spool": depth.depth, "are quarantined in the spool": depth.quarantined}
    return [f"{count} {what}" for what, count in counts.items() if count]


def _stuck(house: House, known: Any) -> list[str]:
    """RQ ids, in a queue or under way, that no event of the ledger stands behind."""
    stuck = []
    for queue in read.queues(house.redis):
        under_way = [each.partition(b":")[0] for each in house.redis.zrange(keys.rq_wip(queue), 0, -1)]
        for rq_id in [*house.redis.lrange(keys.rq_queue(queue), 0, 999), *under_way]:
            data = house.redis.hget(keys.rq_job(rq_id.decode()), "data")
            ids = Slip(rq_id.decode(), queue, "", data).ids() if data else None
            if ids is not None and not known(keys.event(ids[1].partition(":")[0])):
                stuck.append(rq_id.decode())
    return stuck


def job_of(house: House, sent: Sent, handler: str) -> JobRow | None:
    """The job of a handler for what was sent."""
    row = read.event(house.redis, sent.events[0])
    return next((job for job in row.jobs if job.handler.endswith(f".{handler}")), None) if row else None


def begun(house: House, handler: str, sent: Sent) -> list[list[str]]:
    """What a handler wrote for what was sent."""
    return [line for line in house.seen() if line[0] == handler and line[1] == str(sent.number)]
