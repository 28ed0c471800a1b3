"""Writing deliveries and their events: what the door, the spool and a re-verification all go through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from receiver.event import Delivery
from receiver.ledger.pack import alone, join, places, short, within
from receiver.ledger.script import Argument, call, iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis import Redis

    from receiver.event import Event
    from receiver.ledger.witness import Witness

Verdict = Literal["accepted", "rejected", "quarantined", "unverified", "emitted"]
SLIPS = 1_000
"""How many slips of one source wait in a queue at most, where nobody says otherwise."""
QUEUE, RECOVERED, REPLAY = "zohook", "zohook_recovered", "zohook_replay"
BEHIND = [b"behind"]
TAKEN = frozenset({b"new", b"same"})
KEPT = 5_000
"""How many deliveries of each verdict but accepted are kept: the newest, but of those that wait to be verified the oldest."""


@dataclass(slots=True)
class Record:
    """One delivery as it is to be kept, with the events that it tells and how long each one's mark lives (seconds).

    Its secrets are covered already; `sealed` has them encrypted where they may be needed again.
    """

    delivery: Delivery
    verdict: Verdict
    reason: str = ""
    events: Sequence[Event] = ()
    window: float = 0
    verified_by: str = ""
    secret: int = 0
    sealed: str = ""
    due: int = 0
    key: str = ""
    replace: bool = False
    forward: bool = False
    """Whether it is to be relayed to an old receiver."""

    def meta(self) -> dict[str, Any]:
        """What is kept beside the body."""
        delivery = self.delivery
        return {
            "source": delivery.source,
            "method": delivery.method,
            "path": delivery.path,
            "query": delivery.query.decode("latin-1"),
            "headers": delivery.headers,
            "received": delivery.received,
            "remote": delivery.remote,
            "size": len(delivery.body),
            "reason": self.reason,
            "verified_by": self.verified_by,
            "secret": self.secret,
            "events": [event.id for event in self.events],
        }

    def args(self) -> list[Argument]:
        """The record as the arguments of `accept.lua`."""
        delivery, line = self.delivery, short(self)
        only = self.events[0] if len(self.events) == 1 and self.verdict == "accepted" else None
        where = places(delivery, only) if only else None
        if only and where:
            line["event"] = within(line, delivery.id, only, where)
        kept = join(orjson.dumps(line), delivery.body)
        found: list[Argument] = [delivery.id, delivery.source, self.verdict, kept, self.sealed]
        found += [delivery.received, "1" if self.forward else "", len(self.events)]
        for event in self.events:
            window = int(event.mark_life(self.window) * 1000)
            mark = event.dedupe_key() if window else ""
            found += [event.id, event.type, mark, window, b"" if where else alone(event), event.record_key()]
            found += [self.due, self.key, "1" if self.replace else ""]
        return found


def delivery_of(delivery_id: str, meta: Mapping[str, Any], body: bytes) -> Delivery:
    """The delivery that `Record.meta` tells of. Raises KeyError where it does not."""
    return Delivery(
        delivery_id,
        meta["source"],
        meta["method"],
        meta["path"],
        meta["query"].encode("latin-1"),
        tuple((name, value) for name, value in meta["headers"]),
        body,
        meta["received"],
        meta["remote"],
    )


class Answer(NamedTuple):
    """What became of one record: its new events, those that are duplicates (with the id of the first), and whether it was kept.

    `full`: nothing of it is written, for as many deliveries as may wait to be verified already.
    """

    new: tuple[str, ...]
    duplicates: tuple[tuple[str, str], ...]
    kept: bool = True
    full: bool = False


def head(
    records: Sequence[Record], told: int, *, again: float, cap: int, slips: int = SLIPS
) -> list[Argument]:
    """What comes before the records.

    `told`: the highest sequence that this host was told; `again`: seconds until a slip is looked for; `cap`: how many rejected
    deliveries are kept per source and minute; `slips`: how many slips of a source wait at most.
    """
    events = sum(len(record.events) for record in records)
    return [iso(), int(again * 1000), QUEUE, slips, told, cap, KEPT, len(records), events]


def answers(records: Sequence[Record], found: Sequence[bytes]) -> list[Answer]:
    """What the script said of each record."""
    said, at = [], 0
    for record in records:
        if not record.events:
            said.append(Answer((), (), kept=found[at] == b"kept", full=found[at] == b"full"))
            at += 1
            continue
        new, duplicates = [], []
        for event in record.events:
            word = found[at]
            at += 1
            if word in TAKEN:
                new.append(event.id)
            else:
                duplicates.append((event.id, word.decode()))
        said.append(Answer(tuple(new), tuple(duplicates)))
    return said


def accept(
    redis: Redis,
    records: Sequence[Record],
    *,
    again: float = 30,
    cap: int = 10,
    slips: int = SLIPS,
    witness: Witness | None = None,
) -> list[Answer]:
    """Keep records, all or none, and say what became of each.

    A `witness` hears the sequence, and counts what is missing before a ledger that is behind takes anything.
    """
    rest = [each for record in records for each in record.args()]
    told = witness.told if witness else 0
    found = call(redis, "accept", *head(records, told, again=again, cap=cap, slips=slips), *rest)
    if witness and found == BEHIND:
        witness.look(redis)
        found = call(redis, "accept", *head(records, 0, again=again, cap=cap, slips=slips), *rest)
    if witness:
        witness.note(int(found[-1]))
    return answers(records, found)
