"""Pausing a handler, a source or a queue, and resuming it: deliveries are still accepted, and the work waits on hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver import logs
from receiver.dashboard import queries
from receiver.dashboard.house import back, form, house, page
from receiver.ledger import read, runs
from receiver.ledger.accept import QUEUE, RECOVERED, REPLAY

if TYPE_CHECKING:
    from redis import Redis
    from starlette.requests import Request
    from starlette.responses import Response

    from receiver.settings import Settings

log = logs.get("dashboard")


def handlers(request: Request) -> Response:
    """The handlers that the workers have, with what they ask for and what became of their jobs; what can be paused, and what is."""
    here = house(request)
    paused = read.paused(here.redis)
    rows = queries.handlers(here.redis)
    for row in rows:
        names = (row["id"], *row["options"].get("was", ()))
        row["paused"] = next((f"handler:{name}" for name in names if f"handler:{name}" in paused), "")
    return page(
        request,
        "handlers.html",
        rows=rows,
        ways=_ways(here.redis, here.settings, paused),
        paused=paused,
        live="/live/nav",
        nav=queries.nav(here.redis),
    )


def _ways(redis: Redis, settings: Settings, paused: dict[str, int]) -> list[dict[str, Any]]:
    """Every source and queue, with what waits for it where it is paused."""
    queues = {name.partition("/")[0] for name in read.queues(redis) if name.startswith(QUEUE)} - {
        RECOVERED,
        REPLAY,
    } | {QUEUE}
    names = [f"source:{name}" for name in sorted(settings.sources)]
    names += [runs.pausable(f"queue:{name}") for name in sorted(queues)]
    names += [name for name in paused if not name.startswith("handler:") and name not in names]
    return [{"what": name, "paused": name in paused, "waiting": paused.get(name, 0)} for name in names]


def pause(request: Request) -> Response:
    """Pause what the form names."""
    return _change(request, "paused")


def resume(request: Request) -> Response:
    """End the pause of what the form names."""
    return _change(request, "resumed")


def _change(request: Request, word: str) -> Response:
    redis = house(request).redis
    try:
        what = runs.pausable(form(request).get("what", [""])[0])
    except ValueError:
        return back("/handlers", "not_pausable")
    log.info("dashboard.pause", what=what, word=word)
    if word == "paused":
        runs.pause(redis, what)
        return back("/handlers", word)
    return back("/handlers", word, runs.resume(redis, what))
