"""What is to be relayed to old receivers, and what became of it. Kept beside the deliveries, so that no restart forgets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson

from receiver import keys
from receiver.ledger.rows import delivery_row
from receiver.ledger.script import call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis

    from receiver.ledger.rows import DeliveryRow

Outcome = Literal["done", "again", "failed", "off"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A delivery to relay, and what is known of its tries."""

    row: DeliveryRow
    known: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ForwardRow:
    """How far the relaying of one source is; `oldest` is since when something is due (ms, 0 where nothing is)."""

    waiting: int = 0
    oldest: int = 0
    failed: int = 0
    counts: tuple[tuple[str, int], ...] = ()


def take(redis: Redis, source: str, most: int, lease: float) -> list[Taken]:
    """Deliveries that are due, each ours for `lease` seconds."""
    found = call(redis, "forward", source, most, int(lease * 1000))
    taken = []
    for delivery_id, kept, sealed, known in zip(*(iter(found),) * 4, strict=True):
        if row := delivery_row(delivery_id.decode(), kept, (None, None, sealed, known, None)):
            taken.append(Taken(row, row.forward))
    return taken


def end(redis: Redis, taken: Taken, outcome: Outcome, known: dict[str, Any], due: int = 0) -> None:
    """Write what became of one; `due` (ms) is when it is tried again. What was relayed needs its proof no more."""
    call(
        redis,
        "forwarded",
        taken.row.meta["source"],
        taken.row.id,
        outcome,
        due,
        orjson.dumps({**known, "outcome": outcome}),
        "1" if outcome in {"done", "off"} else "",
    )


def again(redis: Redis, source: str, most: int = 5_000) -> int:
    """Relay again what was given up; how many there were."""
    return int(call(redis, "reforward", source, most))


WORDS = ("forwards_done", "forwards_retried", "forwards_failed", "forwards_lost", "forwards_off")


def rows(redis: Redis, sources: Sequence[str]) -> dict[str, ForwardRow]:
    """One row for each of the sources, in one round trip."""
    pipe = redis.pipeline(transaction=False)
    for source in sources:
        pipe.zcard(keys.forwards(source))
        pipe.zrange(keys.forwards(source), 0, 0, withscores=True)
        pipe.zcard(keys.forwards_failed(source))
        pipe.hmget(keys.counts(), [f"{word}:{source}" for word in WORDS])
    found = pipe.execute()
    made = {}
    for index, source in enumerate(sources):
        waiting, first, failed, counts = found[index * 4 : index * 4 + 4]
        oldest = int(cast("list[tuple[bytes, float]]", first)[0][1]) if first else 0
        pairs = tuple(
            (word.removeprefix("forwards_"), int(each or 0)) for word, each in zip(WORDS, counts, strict=True)
        )
        made[source] = ForwardRow(waiting, oldest, failed, pairs)
    return made
