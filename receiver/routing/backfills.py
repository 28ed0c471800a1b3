"""Backfills: a handler run over records that had no event.

A backfill is a replay, so the workers give its jobs out at a rate, and it goes on whoever dies. Before that a command asks Zoho which
records there are and puts them down page by page, each with the place of the next one in the same step; the same command goes on at
that place. Its jobs are outside of `order=`, `latest=` and `debounce=`, as those of a retry are: live events do not wait for them.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

import orjson

from receiver import keys
from receiver.errors import SettingsError
from receiver.event import new_id
from receiver.ledger.backfills import event_of
from receiver.ledger.condition import time_of
from receiver.routing import pacing, replays
from receiver.routing.backfill_pages import Page, Wish, module_of, page
from receiver.routing.dead_letters import Filter
from receiver.sources import known_types, native_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from redis import Redis
    from redis.client import Pipeline

    from receiver.routing.plugins import Handler
    from receiver.routing.replays import Replay
    from receiver.zoho import Zoho

OPEN = ("due", "running", "held")
ENDED = ("skipped", "dead")
STEP = 1_000


@dataclass(frozen=True, slots=True)
class Backfill:
    """A handler, the event type that it is run with, and over what. `said` is how the wish was written, which tells two apart."""

    handler: Handler
    type: str
    wish: Wish
    connection: str
    said: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The same for the same arguments."""
        told = orjson.dumps([self.handler.id, self.type, self.connection, *self.said])
        return hashlib.sha256(told).hexdigest()[:32]


@dataclass(slots=True)
class Progress:
    """How far one is: records known, given to the workers, and their jobs by state; `why` of those on hold."""

    state: str
    chosen: int
    given: int
    jobs: dict[str, int] = field(default_factory=dict)
    why: str = ""

    @property
    def open(self) -> int:
        """Jobs that are not over yet."""
        return sum(self.jobs.get(state, 0) for state in OPEN)

    @property
    def over(self) -> bool:
        """Whether nothing is to come any more."""
        return self.state == "cancelled" or (self.state == "done" and not self.open)


def chosen(handlers: Mapping[str, Handler], name: str) -> Handler:
    """The handler of that id, or of one that it had. Raises SettingsError with the nearest where there is none."""
    found = handlers.get(name) or next((each for each in handlers.values() if name in each.options.was), None)
    if found is None:
        close = difflib.get_close_matches(name, handlers, n=1, cutoff=0.4)
        hint = (
            f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(handlers)) or 'none'}"
        )
        raise SettingsError(f"there is no handler {name!r}{hint}")
    origins = found.options.origins
    if origins and "backfill" not in origins:
        raise SettingsError(
            f'{found.id} wants events of origins= {", ".join(sorted(origins))} only; add "backfill" to them to run it so'
        )
    return found


def type_for(handler: Handler, module: str) -> str:
    """The event type to run a handler with: the first of its own about that module, "" for the only one that it is about.

    Raises SettingsError where it is about no record, or about several modules.
    """
    own, _, named = module.rpartition(".")
    wanted: dict[tuple[str, str], str] = {}
    loose: list[str] = []
    for pattern in handler.patterns:
        product, *middle = _exact(native_pattern(pattern) or pattern).split(".")
        resource = ".".join(middle[:-1]) if len(middle) > 1 else "*"
        verb = middle[-1] if len(middle) > 1 and "*" not in middle[-1] else "updated"
        if product == "app":
            continue
        if "*" in product or "*" in resource or not middle:
            loose.append("" if "*" in product else product)
        else:
            wanted.setdefault((product, resource), f"{product}.{resource}.{verb}")
    fits = [
        found
        for (product, resource), found in wanted.items()
        if not named or (resource.lower() == named.lower() and own.lower() in {"", product})
    ]
    if named and not fits:
        products = {each for each in loose if own in {"", each}} or ({own} if own and "" in loose else set())
        if len(products) == 1 and (product := products.pop()):
            return _exact(f"{product}.{named}.updated")
    if len(fits) == 1:
        return fits[0]
    if not wanted and not loose:
        raise SettingsError(
            f"{handler.id} wants no record of Zoho's ({', '.join(handler.patterns)}): there is nothing to run it over"
        )
    about = ", ".join(sorted(".".join(each) for each in wanted)) or "any module"
    if named:
        raise SettingsError(f"{handler.id} is not about {module}, but about {about}")
    raise SettingsError(
        f"{handler.id} is about {about}: say which with --module, for example --module crm.Deals"
    )


def _exact(event_type: str) -> str:
    """A type with its module as Zoho spells it, where we know how."""
    for known in known_types():
        head, _, _ = known.rpartition(".")
        if event_type.lower().rpartition(".")[0] == head.lower():
            return f"{head}.{event_type.rpartition('.')[2].lower()}"
    product, _, rest = event_type.partition(".")
    return f"{product.lower()}.{rest}"


def type_for_query(query: str, handler: Handler, module: str) -> str:
    """The type to run a handler with over the rows of a query, which names the module itself."""
    named = module_of(query)
    if not named:
        raise SettingsError("the query names no module: write `select id from MODULE where ...`")
    if module and module.rpartition(".")[2].lower() != named.lower():
        raise SettingsError(f"--module is {module}, and the query reads {named}")
    verb = type_for(handler, f"crm.{named}").rpartition(".")[2]
    return f"crm.{named}.{verb}"


def begin(
    redis: Redis, backfill: Backfill, *, rate: float, by: str = "", again: bool = False
) -> tuple[Replay, bool]:
    """(the backfill with these arguments, whether it was there already). `again` begins a new one where the last is over."""
    known = cast("bytes | None", redis.get(keys.backfill(backfill.digest)))
    found = replays.one(redis, known.decode()) if known else None
    if found is not None and (found.state in {"reading", "running"} or not again):
        return found, True
    made = replays.Replay(
        new_id(),
        "backfill",
        "reading",
        Filter(state="", handler=backfill.handler.id, type=backfill.type),
        rate,
        by,
        time_of(redis),
        0,
    )
    beside = {
        "handler": backfill.handler.id,
        "type": backfill.type,
        "connection": backfill.connection,
        "queue": f"zohook_{backfill.handler.options.queue}" if backfill.handler.options.queue else "",
        "wish": orjson.dumps(asdict(backfill.wish)),
        "place": "",
    }
    pipe = redis.pipeline()
    replays.record(pipe, made)
    pipe.hset(keys.replay(made.id), mapping=cast("Mapping[Any, Any]", beside))
    pipe.set(keys.backfill(backfill.digest), made.id, ex=replays.LIFE)
    pipe.execute()
    return made, False


def pages(zoho: Zoho, wish: Wish, place: str = "") -> Iterator[Page]:
    """The pages of a wish from a place on. What its pages have twice comes twice. Raises as `page` does."""
    while True:
        found = page(zoho, wish, place)
        yield found
        place = found.after
        if not place and not found.anew:
            return


def read(redis: Redis, found: str, handler: Handler, zoho: Zoho) -> Iterator[int]:
    """Ask Zoho for the records of a backfill, from where it was left; how many are known after each page. Then it runs.

    A page and the place of the next are put down in one step, so whoever dies here loses nothing and writes nothing twice.
    """
    said = _told(redis, found)
    wish = Wish(**{**orjson.loads(said["wish"]), "ids": tuple(orjson.loads(said["wish"])["ids"])})
    known, seen = int(said["chosen"]), set[str]()
    for one in pages(zoho, wish, said["place"]):
        rows = [
            _row(found, said, handler, each, data) for each, data in one.rows if one.anew or each not in seen
        ]
        seen |= {each for each, _ in one.rows}
        known = len(rows) + (0 if one.anew else known)
        if not _put_down(redis, found, one, rows, known):
            return
        yield known


def _put_down(redis: Redis, found: str, page: Page, rows: Sequence[bytes], known: int) -> bool:
    """Keep a page and the place of the next; after the last one it runs. False where somebody has cancelled it meanwhile."""
    over = not page.after and not page.anew
    now = time_of(redis)

    def put(pipe: Pipeline) -> bool:
        reading = pipe.hget(keys.replay(found), "state") == b"reading"
        pipe.multi()
        if not reading:
            return False
        if page.anew:
            pipe.delete(keys.replay_jobs(found))
        if rows:
            pipe.rpush(keys.replay_jobs(found), *rows)
        pipe.expire(keys.replay_jobs(found), replays.LIFE)
        pipe.hset(keys.replay(found), mapping={"place": page.after, "chosen": known})
        if over:
            pipe.hset(keys.replay(found), mapping={"state": "running" if known else "done", "last": now})
        if over and known:
            pipe.sadd(keys.replays_running(), found)
        return True

    done = redis.transaction(put, keys.replay(found), value_from_callable=True)  # type: ignore[arg-type]
    return bool(done)


def _row(found: str, said: Mapping[str, str], handler: Handler, record_id: str, data: Any) -> bytes:
    event = event_of(found, said["type"], record_id, data, said["connection"])
    text = pacing.policy(handler, event)
    if text:
        kept = {name: value for name, value in orjson.loads(text).items() if name not in pacing.OF_LIVE}
        text = orjson.dumps(kept).decode() if kept else ""
    return orjson.dumps({"id": record_id, "data": data, "policy": text})


def progress(redis: Redis, found: str) -> Progress:
    """How far a backfill is. Reads only, and in pages, whatever it has."""
    said = _told(redis, found)
    told = Progress(said["state"], int(said["chosen"]), int(said["ok"]))
    began, prefix = int(said["at"]), found[:10].encode()
    for state in (*OPEN, *ENDED):
        index = keys.jobs_of_handler(said["handler"], state)
        mine = [job for job in _since(redis, index, began) if job.startswith(prefix)]
        if mine:
            told.jobs[state] = len(mine)
            if state == "held":
                why = cast("bytes | None", redis.hget(keys.job(mine[0].decode()), "reason"))
                told.why = (why or b"").decode()
    told.jobs["done"] = max(0, told.given - sum(told.jobs.values()))
    return told


def _since(redis: Redis, index: str, began: int) -> Iterator[bytes]:
    start = 0
    while members := cast("Sequence[bytes]", redis.zrangebyscore(index, began, "+inf", start, STEP)):
        yield from members
        start += STEP


def _told(redis: Redis, found: str) -> dict[str, str]:
    row = cast("dict[bytes, bytes]", redis.hgetall(keys.replay(found)))
    if b"state" not in row:
        raise SettingsError(f"there is no backfill {found!r} any more")
    return {name.decode(): value.decode() for name, value in row.items()}
