"""The pages that are read: each asks `queries` for its model and draws it. Plain functions, run in threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from receiver.dashboard import queries, search
from receiver.dashboard.deliveries import body
from receiver.dashboard.errors import refusal
from receiver.dashboard.house import house, page, static
from receiver.dashboard.live import OVERVIEW
from receiver.ledger import read

if TYPE_CHECKING:
    from starlette.requests import Request


RETRY_MOST = 500
_YEAR = "public, max-age=31536000, immutable"


def overview(request: Request) -> Response:
    """How things are: rates, open work, workers, failures, the last events."""
    redis = house(request).redis
    now = queries.overview(redis)
    return page(
        request, "overview.html", now=now, parts=OVERVIEW, live="/live/overview", nav=queries.nav(redis)
    )


def events(request: Request) -> Response:
    """The events, newest first, with filters."""
    redis = house(request).redis
    filters = search.Filters.of(request.query_params)
    cursor = request.query_params.get("after", "")[:400]
    found = search.search(redis, filters, cursor)
    return page(
        request,
        "events.html",
        filters=filters,
        found=found,
        cursor=cursor,
        types=read.types(redis)[:500],
        sources=sorted(house(request).settings.sources),
        states=search.STATES,
        seq=queries.sequence(redis),
        live="" if cursor else "/live/nav",
        nav=queries.nav(redis),
    )


def event(request: Request) -> Response:
    """One event: what it said, where it came from, and all that was done about it."""
    redis = house(request).redis
    row = read.event(redis, request.path_params["id"])
    if row is None:
        raise HTTPException(404)
    said = row.event
    delivery = read.delivery(redis, said.delivery) if said.delivery else None
    return page(
        request,
        "event.html",
        row=row,
        event=said,
        word=queries.standing(row),
        stamp=queries.stamp(row),
        differences=queries.differences(said.previous, said.data, said.changed),
        delivery=delivery,
        body=body(delivery),
        live=f"/live/events/{said.id}",
        nav=queries.nav(redis),
    )


def dead(request: Request) -> Response:
    """The dead letters: jobs that will not be tried again unless somebody says so, and events that could not be routed."""
    redis = house(request).redis
    handler = request.query_params.get("handler", "").strip()[:300]
    cursor = request.query_params.get("after", "")[:400]
    jobs, after = queries.jobs_page(redis, "dead", handler, cursor)
    by_event = {
        row.event.id: row.event
        for row in read.events(redis, [job.event for job in jobs], with_jobs=False, data=False)
    }
    counts = queries.dead_counts(redis, [row["id"] for row in queries.handlers(redis)])
    total = counts.get(handler, 0) if handler else read.states(redis)["dead"]
    unrouted = (
        () if handler or cursor else read.page(redis, by="state", value="dead", count=20, data=False).rows
    )
    return page(
        request,
        "dead.html",
        jobs=jobs,
        by_event=by_event,
        after=after,
        cursor=cursor,
        handler=handler,
        counts=counts,
        total=total,
        most=RETRY_MOST,
        unrouted=unrouted,
        live="/live/nav",
        nav=queries.nav(redis),
    )


def handlers(request: Request) -> Response:
    """The handlers that the workers have, with what they ask for and what became of their jobs."""
    redis = house(request).redis
    rows = queries.handlers(redis)
    return page(request, "handlers.html", rows=rows, live="/live/nav", nav=queries.nav(redis))


async def live(request: Request) -> Response:
    """The stream of server-sent events for one page."""
    streams = house(request).live
    if streams.full:
        return refusal(request, 503, "full")
    topic = (
        request.path_params["topic"]
        if "topic" in request.path_params
        else f"event:{request.path_params['id']}"
    )
    if topic not in {"nav", "overview"} and not topic.startswith("event:"):
        raise HTTPException(404)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(streams.stream(topic), media_type="text/event-stream", headers=headers)


def file(request: Request) -> Response:
    """A static file of ours; its address carries its digest, so it may be kept for ever."""
    try:
        content, kind, version = static(request.path_params["name"])
    except KeyError:
        raise HTTPException(404) from None
    fresh = request.query_params.get("v") == version
    return Response(content, media_type=kind, headers={"cache-control": _YEAR if fresh else "no-cache"})
