"""The deliveries that became no event: lists by verdict, one as it came, run anyway, and verified again once a mistake is mended."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from anyio import from_thread
from starlette.exceptions import HTTPException

from receiver import logs
from receiver.dashboard import queries
from receiver.dashboard.house import back, form, house, page
from receiver.intake.anyway import run_anyway
from receiver.intake.reverify import VERDICTS, Reverifier, Wanted, choose
from receiver.ledger import read
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis
    from starlette.requests import Request
    from starlette.responses import Response

    from receiver.dashboard.house import House
    from receiver.ledger.rows import DeliveryRow

log = logs.get("dashboard")
PAGE, BATCH = 50, 100
MOST, LONGEST = 2_000, 0.08
"""Rows that one search looks at, and seconds that it takes, before it says how far it came."""
VERIFY_MOST, VERIFY_LONGEST = 500, 10.0
"""How many deliveries one click verifies again, and for how many seconds: a person waits for it."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What the person asks for: a verdict, a source, and a part of the reason."""

    verdict: str
    source: str = ""
    reason: str = ""

    @classmethod
    def of(cls, said: Mapping[str, str]) -> Filters:
        """Those of a query string or a form. Raises HTTPException where there is no such verdict."""
        verdict = said.get("verdict", queries.VERDICTS[0])
        if verdict not in queries.VERDICTS:
            raise HTTPException(404)
        source, reason = (said.get(name, "").strip()[:300] for name in ("source", "reason"))
        return cls(verdict, source, reason)

    def __bool__(self) -> bool:
        return bool(self.source or self.reason)

    def query(self, **more: str) -> str:
        """The query string of these filters and more."""
        said = {"verdict": self.verdict, "source": self.source, "reason": self.reason, **more}
        return urlencode({name: value for name, value in said.items() if value})

    def wanted(self) -> Wanted:
        """The same, of the ledger."""
        return Wanted(verdicts=(self.verdict,), source=self.source, reason=self.reason)


@dataclass(frozen=True, slots=True)
class Found:
    """Rows, the cursor of the next page, and, where a bound ended the search, the time that it came back to."""

    rows: tuple[DeliveryRow, ...]
    cursor: str = ""
    back_to: int = 0


def search(redis: Redis, filters: Filters, cursor: str = "") -> Found:
    """One page of the deliveries that pass the filters, newest first."""
    rows: list[DeliveryRow] = []
    began, wanted, looked = time.monotonic(), filters.wanted(), 0
    while True:
        batch, after = queries.deliveries_page(redis, filters.verdict, cursor, BATCH if filters else PAGE)
        for row in batch:
            if wanted.fits(row):
                rows.append(row)
            if len(rows) == PAGE:
                return Found(tuple(rows), row.id if after or row is not batch[-1] else "")
        looked, cursor = looked + len(batch), after
        if not cursor:
            return Found(tuple(rows))
        if looked >= MOST or time.monotonic() - began > LONGEST:
            return Found(tuple(rows), cursor, batch[-1].meta["received"])


def deliveries(request: Request) -> Response:
    """The deliveries that became no event, and why."""
    here = house(request)
    filters = Filters.of(request.query_params)
    cursor = request.query_params.get("after", "")[:400]
    return page(
        request,
        "deliveries.html",
        filters=filters,
        found=search(here.redis, filters, cursor),
        cursor=cursor,
        verdict=filters.verdict,
        again=filters.verdict in VERDICTS,
        most=VERIFY_MOST,
        sources=sorted(here.settings.sources),
        counts=queries.delivery_counts(here.redis),
        live="/live/nav",
        nav=queries.nav(here.redis),
    )


def delivery(request: Request) -> Response:
    """One delivery as it came: request line, headers without secrets, and the raw body."""
    redis = house(request).redis
    row = read.delivery(redis, request.path_params["id"])
    if row is None:
        raise HTTPException(404)
    events, same = queries.told(redis, row)
    return page(
        request,
        "delivery.html",
        row=row,
        events=events,
        same=same,
        again=row.verdict in VERDICTS,
        body=body(row),
        live="/live/nav",
        nav=queries.nav(redis),
    )


def body(row: DeliveryRow | None) -> dict[str, Any] | None:
    """A raw body as it is shown: text, or the bytes in hexadecimal where it is none."""
    if row is None or row.body is None:
        return None
    try:
        return {"text": logs.mask(row.body.decode()), "binary": False, "size": len(row.body)}
    except UnicodeDecodeError:
        return {"text": row.body[:4096].hex(" "), "binary": True, "size": len(row.body)}


def run_delivery(request: Request) -> Response:
    """Accept a duplicate after all, at somebody's word."""
    here, found = house(request), request.path_params["id"]
    word = run_anyway(here.redis, here.keyring.locks, found, again=here.settings.worker.again)
    log.info("run_anyway", delivery=found, answer=word)
    return back(f"/deliveries/{found}" if word != "gone" else "/deliveries?verdict=duplicate", word)


def verify_delivery(request: Request) -> Response:
    """Verify one kept delivery again."""
    here, found = house(request), request.path_params["id"]
    outcome = next(_reverifier(here).run([found]), None)
    if outcome is None:
        return back("/deliveries", "gone")
    return back(f"/deliveries/{found}", f"verified_{outcome.word}")


def verify_deliveries(request: Request) -> Response:
    """Verify again all that pass the filters, oldest first, as many as one click may."""
    here = house(request)
    filters = Filters.of({name: values[0] for name, values in form(request).items()})
    if filters.verdict not in VERDICTS:
        raise HTTPException(404)
    until = time.monotonic() + VERIFY_LONGEST
    ids = choose(here.redis, filters.wanted())[:VERIFY_MOST]
    outcomes = _reverifier(here).run(takewhile(lambda _: time.monotonic() < until, ids))
    words = Counter(outcome.word for outcome in outcomes)
    return back(
        f"/deliveries?{filters.query()}",
        "verified" if words["accepted"] else "verified_none",
        words["accepted"],
    )


def _reverifier(here: House) -> Reverifier:
    vault = Vault.open_or_make(here.settings)
    return Reverifier(
        here.redis,
        here.settings,
        here.keyring,
        vault,
        lambda lock: from_thread.run(here.keyring.refresh, lock),
    )
