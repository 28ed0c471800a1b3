"""Dead letters: found by a filter and run again, one, those shown, or all that fit; the replays, and how far they are."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from receiver import logs
from receiver.dashboard import queries
from receiver.dashboard.house import back, form, house, page, session
from receiver.event import now_ms
from receiver.ledger import read
from receiver.routing import dead_letters, replays

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from redis import Redis
    from starlette.requests import Request
    from starlette.responses import Response

    from receiver.ledger.rows import JobRow

log = logs.get("dashboard")
PAGE, BATCH = 50, 100
MOST, LONGEST = 2_000, 0.08
"""Rows that one search looks at, and seconds that it takes, before it says how far it came."""
AT_ONCE = 10_000
"""Jobs that one click looks through: a person waits for it."""
LISTED = 200
"""Jobs of which it is listed what a rerun repeats, before it is done."""
SINCE = {
    "1h": ("the last hour", 3_600_000),
    "1d": ("the last day", 86_400_000),
    "7d": ("the last week", 604_800_000),
}


@dataclass(frozen=True, slots=True)
class Filters:
    """What the person asks for; empty is anything. `since` is a key of SINCE."""

    handler: str = ""
    type: str = ""
    source: str = ""
    record: str = ""
    error: str = ""
    since: str = ""

    @classmethod
    def of(cls, said: Mapping[str, str]) -> Filters:
        """Those of a query string or a form."""
        told = {name: said.get(name, "").strip()[:300] for name in cls.__slots__}
        return cls(**{**told, "since": told["since"] if told["since"] in SINCE else ""})

    def __bool__(self) -> bool:
        return any(asdict(self).values())

    def query(self, **more: str) -> str:
        """The query string of these filters and more."""
        return urlencode({name: value for name, value in {**asdict(self), **more}.items() if value})

    def wanted(self) -> dead_letters.Filter:
        """The same, of the ledger."""
        since = now_ms() - SINCE[self.since][1] if self.since else 0
        return dead_letters.Filter(
            "dead", self.handler, self.type, self.source, self.record, self.error, since
        )


@dataclass(frozen=True, slots=True)
class Found:
    """Jobs, the cursor of the next page, and, where a bound ended the search, the time that it came back to."""

    jobs: tuple[JobRow, ...]
    cursor: str = ""
    back_to: int = 0


def search(redis: Redis, filters: Filters, cursor: str = "") -> Found:
    """One page of the dead jobs that fit, newest first."""
    found: list[JobRow] = []
    began, wanted, looked = time.monotonic(), filters.wanted(), 0
    names = read.handler_names(redis, filters.handler) if filters.handler else []
    index = filters.handler if len(names) == 1 else ""
    while True:
        batch, after = queries.jobs_page(redis, "dead", index, cursor, BATCH if filters else PAGE)
        for job in dead_letters.fitting(redis, batch, wanted, names):
            found.append(job)
            if len(found) == PAGE:
                return Found(tuple(found), job.id if after or job.id != batch[-1].id else "")
        looked, cursor = looked + len(batch), after
        if not cursor or (batch and batch[-1].ended < wanted.since):
            return Found(tuple(found))
        if looked >= MOST or time.monotonic() - began > LONGEST:
            return Found(tuple(found), cursor, batch[-1].ended)


def dead(request: Request) -> Response:
    """The jobs that will not be tried again unless somebody says so, the events that could not be routed, and the replays."""
    redis = house(request).redis
    filters = Filters.of(request.query_params)
    cursor = request.query_params.get("after", "")[:400]
    found = search(redis, filters, cursor)
    by_event = {
        row.event.id: row.event
        for row in read.events(redis, [job.event for job in found.jobs], with_jobs=False, data=False)
    }
    counts = {row["id"]: row["dead_now"] for row in queries.handlers(redis) if row["dead_now"]}
    asked = "rerun" in request.query_params
    plain = not filters and not cursor
    return page(
        request,
        "dead.html",
        filters=filters,
        found=found,
        by_event=by_event,
        cursor=cursor,
        counts=counts,
        total=read.states(redis)["dead"],
        since={name: words for name, (words, _) in SINCE.items()},
        at_once=AT_ONCE,
        rerun=_rerun(redis, filters) if asked else None,
        listed=LISTED,
        rate=replays.RATE,
        replays=replays.recorded(redis, 10),
        unrouted=read.page(redis, by="state", value="dead", count=20, data=False).rows if plain else (),
        live="/live/nav",
        nav=queries.nav(redis),
    )


def _rerun(redis: Redis, filters: Filters) -> tuple[int, Counter[str]]:
    """How many jobs a rerun means, and what it will do again, of the newest of them."""
    jobs = _chosen(redis, filters)
    return len(jobs), dead_letters.all_repeats(redis, jobs[:LISTED])


def _chosen(redis: Redis, filters: Filters) -> list[str]:
    return [job.id for job in dead_letters.select(redis, filters.wanted(), AT_ONCE)]


def replay(request: Request) -> Response:
    """Run all dead jobs that fit again, in a replay: the newest ten thousand that are looked through."""
    said = {name: values[0] for name, values in form(request).items()}
    filters, here = Filters.of(said), house(request)
    mode: Literal["retry", "rerun"] = "rerun" if said.get("mode") == "rerun" else "retry"
    jobs = _chosen(here.redis, filters)
    to = "/dead" + (f"?{filters.query()}" if filters else "")
    if not jobs:
        return back(to, "none")
    known = session(request)
    by = f"dashboard, {known.role}" if known else "dashboard"
    replays.start(here.redis, mode, filters.wanted(), jobs, rate=_rate(said.get("rate", "")), by=by)
    return back(to, "replay", len(jobs))


def _rate(text: str) -> float:
    """Jobs a second; the usual rate for what is none."""
    try:
        return min(1000.0, max(0.1, float(text)))
    except ValueError:
        return replays.RATE


def cancel(request: Request) -> Response:
    """Cancel a replay: what it has not given stays dead, and what fails of it is not tried again."""
    word = replays.cancel(house(request).redis, request.path_params["id"])
    return back("/dead", "gone" if word == "gone" else "replay_cancelled")
