"""A worker's round trips: turns, in which it ends, opens and takes runs all at once; heartbeats; slips given back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from receiver import keys, logs
from receiver.ledger import runs
from receiver.ledger.accept import SLIPS
from receiver.ledger.script import Argument, call, iso, lists, send_as_one

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis

    from receiver.ledger.runs import Claim, Ending, Kind, Route

log = logs.get("slips")
Words = Sequence[list[Any]]
"""The answer to a turn as it came: a flat list of each of its scripts."""
FUNCTION = "receiver.routing.slips.work"
BEAT = 90
"""Seconds for which RQ's record of what is under way counts without a heartbeat."""


class Slip(NamedTuple):
    """One RQ job that a worker took."""

    id: str
    queue: str
    execution: str
    data: bytes

    def ids(self) -> tuple[Kind, str, int] | None:
        """(kind, id, run), or None where it is no slip of ours: whoever can write to Redis must not run code here."""
        try:
            raw = self.data
            if raw[:1] != b"[":
                raw = zlib.decompressobj().decompress(raw, 65_536)
            function, instance, args, kwargs = json.loads(raw)
            kind, found, run = args
        except (ValueError, TypeError, zlib.error, RecursionError):
            return None
        fits = function == FUNCTION and instance is None and not kwargs and kind in {"e", "j"}
        return (kind, found, run) if fits and isinstance(found, str) and type(run) is int else None


class Taken(NamedTuple):
    """A slip and what it led to: a claim, or the word why there is none. Neither where its spelling is not the ledger's own."""

    slip: Slip
    claim: Claim | str | None


@dataclass(slots=True)
class Turn:
    """What a worker tells the ledger in one round trip: runs that ended, events that are routed, slips that are done."""

    endings: Sequence[tuple[Claim, Ending]] = ()
    routes: Sequence[Route] = ()
    done: Sequence[Slip] = ()
    want: int = 0
    replays: int = 0
    """How many of what it wants may be replays."""
    rooms: Mapping[str, int] = field(default_factory=dict)
    """How many threads more each handler may take whose runs take long; the slips of others are not held back."""
    spent: float = 0
    """Seconds that threads have worked since the last turn."""


@dataclass(slots=True)
class Answer:
    """What it hears: per ending whether the run was still its own, per route the job that it has now, the slips that it took, and
    how many RQ sees under way with it.
    """

    own: list[bool] = field(default_factory=list)
    jobs: list[Claim | None] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    under_way: int = 0
    suspended: bool = False
    writes: bool = True
    asides: tuple[str, ...] = ()
    """The queues of what was set aside for want of room, `QUEUE/HANDLER`, whoever did that."""


def _flat(slips: Sequence[Slip]) -> list[Argument]:
    return [part for slip in slips for part in slip[:3]]


def _turn_args(
    worker: str,
    queues: Sequence[str],
    done: Sequence[Slip],
    *,
    lease: float = 0,
    again: float = 30,
    want: int = 0,
    replays: int = 0,
    slips: int = SLIPS,
    rooms: bytes = b"",
    failed: int = 0,
    spent: float = 0,
) -> list[Argument]:
    head: list[Argument] = [iso(), worker, BEAT, int(lease * 1000), want, replays, slips, int(again * 1000)]
    struck = orjson.dumps([slip[:3] for slip in done])
    return [*head, rooms, len(queues), *queues, struck, failed, f"{spent:.6f}"]


def _slip(found: Sequence[bytes]) -> Slip:
    return Slip(found[0].decode(), found[1].decode(), found[2].decode(), found[3])


def _taken(found: Sequence[Any]) -> Taken:
    slip = _slip(found)
    if len(found) == 4:
        return Taken(slip, None)
    kind, found_id, run, token = found[4:8]
    return Taken(slip, runs.claimed(kind.decode(), found_id.decode(), int(run), token.decode(), found[8:]))


def ask(
    redis: Redis,
    worker: str,
    queues: Sequence[str],
    said: Turn,
    *,
    lease: float,
    again: float,
    claim_first: bool,
    slips: int = SLIPS,
    left: str = "",
) -> Callable[[], Words]:
    """Ask for one turn: what was said is written, and up to `want` slips are taken and claimed, oldest of the first queue first.
    What is returned waits for the answer, which `understood` reads, and must be called once.

    `lease` and `again` in seconds; `left` are the queues, a line each, whose jobs are not taken as they are opened. Asked again
    after a lost answer, it tells the same of endings and routes; what was taken in the turn whose answer was lost is found by
    `taken_before`.
    """
    calls: list[tuple[str, Sequence[Argument]]] = []
    if said.endings:
        calls.append(("finish", runs.finish_args(said.endings)))
    rooms = orjson.dumps(said.rooms) if said.rooms else b""
    if said.routes:
        opening = partial(runs.route_args, said.routes, claim_first=claim_first, left=left)
        calls.append(("route", opening(lease=lease, again=again, slips=slips, rooms=rooms)))
    taking = partial(_turn_args, worker, queues, said.done, want=said.want, replays=said.replays)
    taking = partial(taking, failed=_failed(said.endings), spent=said.spent)
    calls.append(("turn", taking(lease=lease, again=again, slips=slips, rooms=rooms)))
    return send_as_one(redis, calls)


def _failed(endings: Sequence[tuple[Claim, Ending]]) -> int:
    """How many of RQ's jobs ended in an error; the jobs of a batch are one of them."""
    return sum(it.state in {"due", "dead"} and it.leads and not it.quiet for _, it in endings)


def understood(said: Turn, answers: Words) -> Answer:
    """What a turn's answer says. Reading it takes as long as Redis takes for the next turn."""
    told = Answer()
    if said.endings:
        told.own = runs.finished(said.endings, answers[0])
    if said.routes:
        told.jobs = runs.routed(said.routes, answers[-2])
    told.under_way, suspended, writes, asides, *found = answers[-1]
    told.suspended, told.writes = bool(suspended), bool(writes)
    told.asides = tuple(asides.decode().split("\n")) if asides else ()
    told.taken = [_taken(each) for each in lists(found)]
    return told


def turn(redis: Redis, worker: str, queues: Sequence[str], want: int, done: Sequence[Slip]) -> list[Slip]:
    """Strike off the slips that are done and take up to `want` new ones, without claiming what they name."""
    _, _, _, _, *found = call(redis, "turn", *_turn_args(worker, queues, done, want=want, replays=want))
    return [_slip(each) for each in lists(found)]


def taken_before(redis: Redis, worker: str, known: Sequence[Slip], lease: float) -> list[Taken]:
    """The slips that RQ has under way with this worker though it does not know them, claimed: the answer to their turn was lost."""
    found = call(redis, "adopt", iso(), worker, int(lease * 1000), *_flat(known))
    return [_taken(each) for each in lists(found)]


def beat(redis: Redis, worker: str, queues: Sequence[str], under_way: Sequence[Slip]) -> int:
    """Keep RQ's records of what is under way alive; how many silent ones of other workers were struck off."""
    return int(call(redis, "beat", worker, BEAT, len(queues), *queues, *_flat(under_way)))


def give_back(redis: Redis, worker: str, slips: Sequence[Slip]) -> None:
    """Put slips that were taken but not begun at the head of their queues again."""
    if slips:
        call(redis, "back", worker, *_flat(slips))


def forged(redis: Redis, slip_id: str, queue: str) -> None:
    """Note an RQ job that is no slip of ours. The count is for an alarm: somebody else writes to this Redis."""
    log.error("slip.forged", id=slip_id, queue=queue)
    redis.hincrby(keys.counts(), "forged", 1)
