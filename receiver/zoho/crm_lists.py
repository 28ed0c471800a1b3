"""Lists of CRM's, page by page: records, related records, notes, users; and what every read of CRM begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import InvalidRequest, NotFound, Unavailable
from receiver.zoho import part, texts
from receiver.zoho.ask import Ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from receiver.zoho import Zoho
    from receiver.zoho.crm_records import Record

BASE = "/crm/v8"
PAGE = 200
BY_NUMBER = 2000
"""Records that can be paged to by number; further ones need the page_token of the page before."""
FIELDS = 50
FIRST = {"page": "1"}


class Lists:
    """What is read page by page; Bigin and Recruit read alike, each under a base of its own."""

    product = "crm"
    base = BASE
    by_number = BY_NUMBER
    """Records that can be paged to by number."""

    def __init__(self, zoho: Zoho) -> None:
        self._zoho = zoho

    def list(
        self,
        module: str,
        *,
        fields: Sequence[str],
        modified_since: datetime | str | None = None,
        **params: Any,
    ) -> Iterator[Record]:
        """The records of a module one by one, at most 100,000; `params` are Zoho's own (sort_by, sort_order,
        cvid, ids, ...).

        Fields are mandatory, at most 50. Pages are read as they are needed. `modified_since` is a time with
        its zone. https://www.zoho.com/crm/developer/docs/api/v8/get-records.html
        """
        return self._pages(*self._listing(module, fields, modified_since, params))

    def page(
        self,
        module: str,
        *,
        fields: Sequence[str],
        modified_since: datetime | str | None = None,
        after: Mapping[str, str] | None = None,
        **params: Any,
    ) -> tuple[Sequence[Record], Mapping[str, str] | None]:
        """One page of `list`, and what to give as `after` for the next one; None where there is no further one.

        A place past 2,000 records is a page_token, which is good for a day.
        """
        return self._page(*self._listing(module, fields, modified_since, params), after or FIRST)

    def _listing(
        self, module: str, fields: Sequence[str], since: datetime | str | None, params: Mapping[str, Any]
    ) -> tuple[str, Mapping[str, str], Mapping[str, str]]:
        headers = {"If-Modified-Since": stamp(since)} if since else {}
        return f"/{part(module)}", {"fields": fields_of(fields), **texts(params)}, headers

    def related(
        self, module: str, record_id: str, name: str, *, fields: Sequence[str], **params: Any
    ) -> Iterator[Record]:
        """The records of a related list, one by one; `name` is the list's API name.

        https://www.zoho.com/crm/developer/docs/api/v8/get-related-records.html
        """
        path = f"/{part(module)}/{part(record_id)}/{part(name)}"
        return self._pages(path, {"fields": fields_of(fields), **texts(params)}, {})

    def notes(self, module: str, record_id: str) -> Sequence[Record]:
        """The notes on a record, with title, content, times and owner."""
        fields = ("id", "Note_Title", "Note_Content", "Created_Time", "Modified_Time", "Owner")
        return list(self.related(module, record_id, "Notes", fields=fields))

    def users(self, kind: str = "ActiveUsers") -> Iterator[Record]:
        """The users of a kind, one by one. https://www.zoho.com/crm/developer/docs/api/v8/get-users.html"""
        return self._pages("/users", {"type": kind}, {}, "users")

    def _spoken(self, module: str) -> str:
        """A module's name among those of all products."""
        return module if self.product == "crm" else f"{self.product}.{module}"

    def _read(self, path: str, **params: object) -> Any:
        return self._zoho.send(Ask(self.product, "GET", self.base + path, texts(params))).data

    def _one(self, path: str, key: str, **params: object) -> Record:
        rows = rows_of(self._read(path, **params), key)
        if not rows:
            raise NotFound(f"{self.product}: {path} is empty")
        return rows[0]

    def _pages(
        self, path: str, params: Mapping[str, str], headers: Mapping[str, str], key: str = "data"
    ) -> Iterator[Record]:
        """The rows of all pages, each read when it is needed."""
        at: Mapping[str, str] | None = FIRST
        while at is not None:
            rows, at = self._page(path, params, headers, at, key)
            yield from rows

    def _page(
        self,
        path: str,
        params: Mapping[str, str],
        headers: Mapping[str, str],
        at: Mapping[str, str],
        key: str = "data",
    ) -> tuple[Sequence[Record], Mapping[str, str] | None]:
        """By page number to 2,000 records, and by page_token from there; the two exclude each other."""
        size = int(params.get("per_page") or PAGE)
        asked = {**params, "per_page": str(size), **at}
        data = self._zoho.send(Ask(self.product, "GET", self.base + path, asked, headers=headers)).data
        rows = rows_of(data, key)
        info = info_of(data) if data else {}
        if not info.get("more_records"):
            return rows, None
        number = int(at.get("page", self.by_number)) + 1
        if number * size <= self.by_number:
            return rows, {"page": str(number)}
        if token := info.get("next_page_token"):
            return rows, {"page_token": str(token)}
        raise Unavailable(
            f"{self.product} {path}: more records, but no page_token to them", code="no_page_token"
        )


def stamp(moment: datetime | str) -> str:
    """A time as CRM takes it: ISO 8601 with its offset, whole seconds."""
    if isinstance(moment, str):
        return moment
    if moment.tzinfo is None:
        raise InvalidRequest("a time needs its zone, for example datetime.now(UTC)", code="INVALID_DATA")
    return moment.isoformat(timespec="seconds")


def fields_of(fields: Sequence[str]) -> str:
    """Names of fields as a parameter. Raises InvalidRequest for none, and for more than 50."""
    names = [fields] if isinstance(fields, str) else list(fields)
    if not 0 < len(names) <= FIELDS:
        raise InvalidRequest(f"name 1 to {FIELDS} fields, not {len(names)}", code="REQUIRED_PARAM_MISSING")
    return ",".join(names)


def rows_of(data: Any, key: str) -> list[Record]:
    """The rows under a key; none where there is no content. Raises Unavailable where the answer has another
    shape.
    """
    if data is None:
        return []
    rows = data.get(key) if isinstance(data, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable(f"crm: the answer has no list under {key!r}", code="misfit")
    return rows


def info_of(data: Any) -> Mapping[str, Any]:
    """What a list says of itself: page, count, more_records, ..."""
    info = data.get("info") if isinstance(data, dict) else None
    return info if isinstance(info, dict) else {}
