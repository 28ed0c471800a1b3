"""Desk's lists: filters, searches and pages over the rows of one kind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from receiver.simulator.desk_records import refusal
from receiver.simulator.wire import Answer, whole
from receiver.simulator.world import instant

if TYPE_CHECKING:
    from receiver.simulator.wire import Call, Json

# Desk refuses a query parameter that it doesn't know.
PARAMS = {
    "tickets": {
        "from",
        "limit",
        "departmentId",
        "departmentIds",
        "status",
        "priority",
        "channel",
        "assignee",
        "contactId",
        "sortBy",
        "include",
        "fields",
    },
    "contacts": {"from", "limit", "viewId", "sortBy", "include", "fields"},
    "search": {
        "from",
        "limit",
        "email",
        "subject",
        "ticketNumber",
        "lastName",
        "_all",
        "sortBy",
        "departmentId",
        "modifiedTimeRange",
    },
}
MOMENT = r"(?:19|20)\d\d-\d\d?-\d\d?T\d\d?:\d\d?:\d\d?(?:\.\d{0,3})?Z"
SPAN = re.compile(f"({MOMENT}),({MOMENT})")


def _known(call: Call, what: str) -> None:
    extra = [name for name, _ in call.query if name not in PARAMS[what]]
    if extra:
        raise refusal(
            422, "UNPROCESSABLE_ENTITY", f"Extra query parameter '{extra[0]}' is present in the input."
        )


def listed(call: Call, rows: dict[str, Json], what: str) -> Answer:
    _known(call, what)
    found = list(rows.values())[::-1]
    for name in ("departmentId", "status", "priority", "channel", "contactId"):
        wanted = call.param(name)
        if wanted:
            found = [row for row in found if str(row.get(name)) in wanted.split(",")]
    _sort(found, call)
    return page(call, found)


def _sort(found: list[Json], call: Call) -> None:
    key = call.param("sortBy").lstrip("-")
    if key in ("createdTime", "modifiedTime"):
        found.sort(key=lambda row: str(row[key]), reverse=call.param("sortBy").startswith("-"))


def _changed(found: list[Json], span: str) -> list[Json]:
    """Those that were changed between two times; Desk refuses any other spelling of them."""
    if not span:
        return found
    match = SPAN.fullmatch(span)
    if match is None:
        raise refusal(422, "UNPROCESSABLE_ENTITY", "The value passed for 'modifiedTimeRange' is not valid")
    low, high = (instant(each) or 0.0 for each in match.groups())
    return [row for row in found if low <= (instant(str(row["modifiedTime"])) or 0.0) <= high]


def searched(call: Call, rows: dict[str, Json]) -> Answer:
    _known(call, "search")
    found = list(rows.values())[::-1]
    for name in ("email", "subject", "ticketNumber", "lastName"):
        wanted = call.param(name).casefold()
        if wanted:
            found = [row for row in found if wanted.rstrip("*") in str(row.get(name) or "").casefold()]
    found = _changed(found, call.param("modifiedTimeRange"))
    _sort(found, call)
    everything = call.param("_all").casefold().strip("*")
    if everything:
        found = [row for row in found if everything in str(row).casefold()]
    answer = page(call, found)
    if isinstance(answer.body, dict):
        answer.body["count"] = len(found)
    return answer


def page(call: Call, found: list[Json]) -> Answer:
    start, limit = whole(call.param("from"), 0), whole(call.param("limit"), 10)
    if start is None or limit is None or not 1 <= limit <= 100:
        raise refusal(
            422, "UNPROCESSABLE_ENTITY", "The value passed for 'limit' is not within the allowed range"
        )
    shown = found[start : start + limit]
    return Answer(200, {"data": [dict(row) for row in shown]}) if shown else Answer(204)
