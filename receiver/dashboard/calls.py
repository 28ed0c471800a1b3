"""The page of API activity: what was called at Zoho lately, and how much on each day."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

import orjson

from receiver import keys
from receiver.dashboard import queries
from receiver.dashboard.house import house, page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis
    from starlette.requests import Request
    from starlette.responses import Response

SHOWN, STEP, DAYS = 50, 500, 14
SEARCHED = ("path", "code", "job", "params")
"""Where the words of a search are looked for."""
LONGEST = 0.08
"""Seconds that one search may take; it goes on where it stopped at a click."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the calls is to be seen; an empty filter is none."""

    connection: str = ""
    product: str = ""
    failed: str = ""
    path: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Wanted:
        """The filters of a query."""
        return cls(
            **{
                name: given.get(name, "").strip()[:200]
                for name in ("connection", "product", "failed", "path")
            }
        )

    def __bool__(self) -> bool:
        return any((self.connection, self.product, self.failed, self.path))

    def query(self, **more: object) -> str:
        """The filters as a query again."""
        own = {
            "connection": self.connection,
            "product": self.product,
            "failed": self.failed,
            "path": self.path,
        }
        return urlencode({name: value for name, value in {**own, **more}.items() if value})

    def fits(self, call: Mapping[str, Any]) -> bool:
        """Whether a call is wanted."""
        return (
            (not self.connection or call.get("connection") == self.connection)
            and (not self.product or call.get("product") == self.product)
            and (not self.failed or bool(call.get("code")) or not 200 <= int(call.get("status") or 0) < 400)
            and (
                not self.path
                or any(self.path.lower() in str(call.get(name, "")).lower() for name in SEARCHED)
            )
        )


def calls(request: Request) -> Response:
    """The calls of all processes, newest first, and the sums of the last days."""
    redis = house(request).redis
    wanted = Wanted.of(request.query_params)
    start = _number(request.query_params.get("after", ""))
    rows, after = found(redis, wanted, start)
    return page(
        request, "calls.html", rows=rows, wanted=wanted, after=after, start=start, days=days(redis),
        connections=sorted(house(request).settings.connections), live="/live/nav", nav=queries.nav(redis),
    )  # fmt: skip


def found(redis: Redis, wanted: Wanted, start: int) -> tuple[list[dict[str, Any]], int]:
    """(up to 50 calls that fit from that place of the list on, where to go on, or 0 at its end)."""
    rows: list[dict[str, Any]] = []
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        lines = cast("list[bytes]", redis.lrange(keys.calls_log(), start, start + STEP - 1))
        for line in lines:
            start += 1
            call = orjson.loads(line)
            if wanted.fits(call):
                rows.append(call)
                if len(rows) == SHOWN:
                    return rows, start
        if len(lines) < STEP:
            return rows, 0
    return rows, start


def days(redis: Redis) -> list[dict[str, Any]]:
    """The sums of each connection and product on each of the last days, newest first."""
    today = datetime.now(UTC).date()
    names = [(today - timedelta(days=back)).isoformat() for back in range(DAYS)]
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hgetall(keys.calls_of_day(name))
    rows = []
    for name, sums in zip(names, pipe.execute(), strict=True):
        counted: dict[tuple[str, str], dict[str, int]] = {}
        for field, value in sums.items():
            connection, product, what = field.decode().split(":")
            counted.setdefault((connection, product), {})[what] = int(value)
        rows += [
            {
                "day": name,
                "connection": connection,
                "product": product,
                "n": 0,
                "failed": 0,
                "credits": 0,
                "ms": 0,
                **each,
            }
            for (connection, product), each in sorted(counted.items())
        ]
    return rows


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
