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
