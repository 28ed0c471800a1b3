"""The page of API activity: what is kept of each call, what is found, and what it costs to look."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from receiver import keys
from receiver.dashboard.calls import Wanted, found

if TYPE_CHECKING:
    from dashboard_kit import Visitor


def call(**given: Any) -> bytes:
    """One line of the log, as the transport writes it."""
    line = {
        "at": 1_790_000_000_000, "connection": "acme", "product": "crm", "method": "GET", "path": "/crm/v8/Deals/1", "params": {},
        "status": 200, "code": "", "ms": 12, "credits": None, "write": False, "repeated": False,
    }  # fmt: skip
    return orjson.dumps({**line, **given})


def test_a_refused_call_shows_what_was_sent_and_said(operator: Visitor, redis: Any) -> None:
    """Time, product, endpoint, Zoho's code, both bodies, and the job that made it; markup in them is text."""
    redis.lpush(
        keys.calls_log(),
        call(method="POST", path="/crm/v8/Leads", status=400, code="INVALID_DATA", write=True, job="0abc:leads.greet",
             request='{"data":[{"Email":"<script>x"}]}', answer='{"code":"INVALID_DATA"}'),
    )  # fmt: skip
    text = operator.get("/calls").text
    for words in ("/crm/v8/Leads", "INVALID_DATA", "&lt;script&gt;x", "/events/0abc", "leads.greet"):
        assert words in text
    assert "<script>x" not in text


def test_days_are_summed_by_connection_and_product(operator: Visitor, redis: Any) -> None:
    """Calls, failures, their mean time and credits of each day."""
    day = datetime.now(UTC).date().isoformat()
    redis.hset(
        keys.calls_of_day(day),
        mapping={
            "acme:books:n": 4,
            "acme:books:failed": 1,
            "acme:books:ms": 400,
            "acme:crm:n": 1,
            "acme:crm:ms": 5,
            "acme:crm:credits": 50,
        },
    )
    text = operator.get("/calls").text
    assert text.index("books") < text.index(">crm<")
    assert "100 ms" in text


@pytest.mark.parametrize(
    ("wanted", "count"),
    [(Wanted(), 5), (Wanted(connection="acme"), 4), (Wanted(product="books"), 1), (Wanted(failed="1"), 2), (Wanted(path="DEALS"), 3),
     (Wanted(path="timeout"), 1), (Wanted(path="rooms.bill"), 1)],
)  # fmt: skip
def test_calls_are_found_by_each_filter(redis: Any, wanted: Wanted, count: int) -> None:
    """Connection, product, outcome and a part of path, code or job, each alone."""
    redis.rpush(
        keys.calls_log(), call(), call(connection="other"), call(product="books", path="/books/v3/invoices"),
        call(status=429, code="44", path="/x", job="e:rooms.bill"), call(status=0, code="timeout"),
    )  # fmt: skip
    assert len(found(redis, wanted, 0)[0]) == count


def test_pages_go_on_where_the_last_one_ended(redis: Any) -> None:
    """Every call of a long list is seen once, page by page."""
    redis.rpush(keys.calls_log(), *(call(path=f"/{number}") for number in range(120)))
    seen, start = [], 0
    while True:
        rows, start = found(redis, Wanted(), start)
        seen += [row["path"] for row in rows]
        if not start:
            break
    assert seen == [f"/{number}" for number in range(120)]


def test_odd_places_are_the_beginning(operator: Visitor) -> None:
    """What is no place of the list is read as its beginning."""
    for after in ("-1", "x", "9" * 30, "²"):
        assert operator.get(f"/calls?after={after}").status_code == 200
