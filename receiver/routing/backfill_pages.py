"""Where the records of a backfill come from: ids that were named, a COQL query, or what was changed since a time, page by page.

A place is what stands between two pages, as text: whoever keeps it can go on from there in another process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from receiver.errors import InvalidRequest, SettingsError
from receiver.zoho.costs import FINANCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from receiver.zoho import Zoho

Row = tuple[str, Any]
"""A record's id and what the event says of it."""
IDS = 500
ROWS = 2_000
"""Rows of one COQL call, and 100,000 over all pages: https://www.zoho.com/crm/developer/docs/api/v8/COQL-Limitations.html."""
CRM_KIN = frozenset({"crm", "bigin", "recruit"})
ENDED = frozenset({"EXPIRED_VALUE", "TOKEN_BOUND_DATA_MISMATCH"})
"""What CRM says of a page_token that is older than a day: the list begins anew."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a backfill is to run over: one of ids, coql and since. `since` is in milliseconds since 1970."""

    product: str
    resource: str
    ids: tuple[str, ...] = ()
    coql: str = ""
    since: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, and the place of the next page; "" where there is none. `anew`: all pages before are to be forgotten."""

    rows: Sequence[Row]
    after: str = ""
    anew: bool = False


def page(zoho: Zoho, wish: Wish, place: str) -> Page:
    """The page at a place, "" for the first. Raises a ZohoError, and SettingsError for what cannot be read so."""
    if wish.ids:
        start = int(place or 0)
        end = start + IDS
        rows = [(each, {"id": each}) for each in wish.ids[start:end]]
        return Page(rows, str(end) if end < len(wish.ids) else "")
    if wish.coql:
        return _coql(zoho, wish, int(place or 0))
    if wish.product in CRM_KIN:
        return _crm(zoho, wish, place)
    if wish.product in FINANCE:
        return _finance(zoho, wish, int(place or 1))
    if wish.product == "desk":
        return _desk(zoho, wish, int(place or 0))
    raise SettingsError(
        f"--since is for crm, books and its kin, and desk; name {wish.product}'s records with --id"
    )


def module_of(query: str) -> str:
    """The module that a COQL query reads; "" where it names none."""
    found = re.search(r"\bfrom\s+([A-Za-z_][\w]*)", query, re.IGNORECASE)
    return found[1] if found else ""


def _coql(zoho: Zoho, wish: Wish, start: int) -> Page:
    """One page. Unless the query says so itself it is in the order of the ids, for pages need one, and goes on to its end."""
    query = wish.coql.strip().rstrip(";").strip()
    own = re.search(r"\blimit\s+\d+", query, re.IGNORECASE)
    if not own:
        if not re.search(r"\border\s+by\b", query, re.IGNORECASE):
            query += " order by id asc"
        query += f" limit {start}, {ROWS}"
    found = zoho.crm.coql(query)
    if found and "id" not in found[0]:
        raise InvalidRequest("the rows have no id: write `select id, ... from ...`", code="no_id")
    rows = [(str(row["id"]), dict(row)) for row in found]
    return Page(rows, str(start + ROWS) if not own and len(rows) == ROWS else "")


def _crm(zoho: Zoho, wish: Wish, place: str) -> Page:
    client = getattr(zoho, wish.product)
    after = orjson.loads(place) if place else None
    try:
        found, following = client.page(
            wish.resource, fields=["id", "Modified_Time"], modified_since=_moment(wish.since), after=after,
            sort_by="id", sort_order="asc",
        )  # fmt: skip
    except InvalidRequest as error:
        if after and error.code in ENDED:
            return Page((), anew=True)
        raise
    rows = [(str(row["id"]), row) for row in found]
    return Page(rows, orjson.dumps(dict(following)).decode() if following else "")


def _finance(zoho: Zoho, wish: Wish, number: int) -> Page:
    """https://www.zoho.com/books/api/v3/invoices/#list-invoices: `last_modified_time`. The newest come first: what is made meanwhile moves
    some rows to a page where they come again, which is no harm.
    """
    since = datetime.fromtimestamp(wish.since / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
    found, following = getattr(zoho, wish.product).page(
        many_of(wish.resource), number, last_modified_time=since, sort_column="created_time"
    )
    rows = [(_finance_id(wish.resource, row), {wish.resource: row}) for row in found]
    return Page(rows, str(following) if following else "")


def _desk(zoho: Zoho, wish: Wish, start: int) -> Page:
    """https://desk.zoho.com/DeskAPIDocument#Search: `modifiedTimeRange`, two times with a comma."""
    moments = (wish.since, 4_102_358_400_000)  # Desk knows no later year than 2099
    span = ",".join(
        datetime.fromtimestamp(each / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z") for each in moments
    )
    found, following = zoho.desk.page(
        many_of(wish.resource), start, search=True, modifiedTimeRange=span, sortBy="createdTime"
    )
    return Page([(str(row["id"]), row) for row in found], str(following) if following else "")


def many_of(resource: str) -> str:
    """A resource as its product's paths name it: invoice -> invoices, Ticket -> tickets."""
    small = resource.lower()
    return small[:-1] + "ies" if small.endswith("y") else f"{small}s"


def _finance_id(resource: str, row: Mapping[str, Any]) -> str:
    found = row.get(f"{resource}_id") or row.get(f"{resource.removeprefix('customer')}_id")
    if not found:
        raise InvalidRequest(
            f"the rows of {resource} have no id of their own: name them with --id", code="no_id"
        )
    return str(found)


def _moment(since: int) -> str:
    return datetime.fromtimestamp(since / 1000, UTC).isoformat(timespec="seconds")
