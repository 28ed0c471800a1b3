"""What can be read from CRM: records, lists, searches, COQL, related records, people and fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import InvalidRequest, NotFound, Unavailable
from receiver.zoho import part, texts
from receiver.zoho.ask import Ask
from receiver.zoho.crm_external import naming
from receiver.zoho.gather import Reader

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


class Reads:
    """The reading half of CRM's client; Bigin and Recruit read alike, each under a base of its own."""

    product = "crm"
    base = BASE
    by_number = BY_NUMBER
    """Records that can be paged to by number."""

    def __init__(self, zoho: Zoho) -> None:
        self._zoho = zoho

    def get(
        self,
        module: str,
        record_id: str,
        fields: Sequence[str] | None = None,
        *,
        max_age: float = 0.0,
        external: str = "",
    ) -> Record:
        """One record with all its fields, or with those named. Raises NotFound. With `external` its id is a value of that field.

        Reads of many jobs at one moment share calls of up to 100 ids. With `max_age` a record that this process read at most
        so many seconds ago will do. https://www.zoho.com/crm/developer/docs/api/v8/get-records.html; a missing one is a 204,
        a 404 or INVALID_DATA.
        """
        part(record_id)
        if external:
            record = self._get_one(module, record_id, None, naming(module, external))
            return record if fields is None else {name: record.get(name) for name in ("id", *fields)}
        named = None if fields is None else _fields(fields)
        reader = Reader(
            lambda found: self._get_one(module, found, named), lambda ids: self._get_many(module, ids, named)
        )
        key = (self._zoho.connection, self._spoken(module), named)
        record, shared = self._zoho.gather.get(key, record_id, reader, max_age)
        if shared:
            self._zoho.note_shared(self.product, f"{self.base}/{part(module)}/{record_id}")
        return record

    def _get_one(
        self, module: str, record_id: str, named: str | None, headers: Mapping[str, str] | None = None
    ) -> Record:
        if named is None:
            path = f"{self.base}/{part(module)}/{part(record_id)}"
            data = self._zoho.send(Ask(self.product, "GET", path, headers=headers or {})).data
        else:  # only the list takes fields
            data = self._read(f"/{part(module)}", ids=record_id, fields=named)
        records = rows_of(data, "data")
        if not records:
            raise NotFound(f"{self.product}: there is no {module} {record_id}", code="NO_CONTENT", status=204)
        return records[0]

    def _get_many(self, module: str, ids: Sequence[str], named: str | None) -> dict[str, Record]:
        """Records by id. Without named fields those that the module has, fifty in a call, are put together."""
        names = [named] if named else self._all_fields(module)
        found: dict[str, Record] = {}
        for some in names:
            for row in rows_of(self._read(f"/{part(module)}", ids=ids, fields=some, per_page=PAGE), "data"):
                found.setdefault(str(row.get("id")), {}).update(row)
        return found

    def _all_fields(self, module: str) -> Sequence[str]:
        """The module's fields in as many lists as calls take. Raises InvalidRequest where it can only be read record by record."""
        key = (self._zoho.connection, self._spoken(module))
        names = self._zoho.gather.fields(key, lambda: self.fields(module))
        if not names:
            raise InvalidRequest(f"{self.product}: {module} is read record by record", code="not_together")
        return [",".join(names[at : at + FIELDS]) for at in range(0, len(names), FIELDS)]

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
        return f"/{part(module)}", {"fields": _fields(fields), **texts(params)}, headers

    def search(
        self,
        module: str,
        criteria: str | None = None,
        *,
        email: str | None = None,
        phone: str | None = None,
        word: str | None = None,
        fields: Sequence[str] | None = None,
        limit: int = PAGE,
    ) -> Sequence[Record]:
        """The records found by one of criteria, email, phone or word, at most `limit` (Zoho gives 2,000 in
        all).

        The index lags behind writes: for "is it there yet" use `coql`.
        https://www.zoho.com/crm/developer/docs/api/v8/search-records.html
        """
        by = {
            name: value
            for name, value in zip(
                ("criteria", "email", "phone", "word"), (criteria, email, phone, word), strict=True
            )
            if value
        }
        if len(by) != 1:
            raise InvalidRequest(
                "search takes one of criteria, email, phone and word", code="REQUIRED_PARAM_MISSING"
            )
        asked = {**by, **texts({"fields": fields})}
        found: list[Record] = []
        for page in range(1, -(-min(limit, BY_NUMBER) // PAGE) + 1):
            data = self._read(f"/{part(module)}/search", **asked, page=page, per_page=min(PAGE, limit))
            found += rows_of(data, "data")
            if not data or not _info(data).get("more_records"):
                break
        return found[:limit]

    def coql(self, query: str) -> Sequence[Record]:
        """The rows of a COQL query, at most 2,000 in one call; an empty list where there are none.

        https://www.zoho.com/crm/developer/docs/api/v8/COQL-Overview.html
        """
        ask = Ask(
            self.product, "POST", f"{self.base}/coql", json={"select_query": query}, safe=True, write=False
        )
        return rows_of(self._zoho.send(ask).data, "data")

    def related(
        self, module: str, record_id: str, name: str, *, fields: Sequence[str], **params: Any
    ) -> Iterator[Record]:
        """The records of a related list, one by one; `name` is the list's API name.

        https://www.zoho.com/crm/developer/docs/api/v8/get-related-records.html
        """
        path = f"/{part(module)}/{part(record_id)}/{part(name)}"
        return self._pages(path, {"fields": _fields(fields), **texts(params)}, {})

    def notes(self, module: str, record_id: str) -> Sequence[Record]:
        """The notes on a record, with title, content, times and owner."""
        fields = ("id", "Note_Title", "Note_Content", "Created_Time", "Modified_Time", "Owner")
        return list(self.related(module, record_id, "Notes", fields=fields))

    def user(self) -> Record:
        """The user whose consent this is. https://www.zoho.com/crm/developer/docs/api/v8/get-users.html"""
        return self._one("/users", "users", type="CurrentUser")

    def org(self) -> Record:
        """The organisation: its `zgid`, name, time zone, edition.
        https://www.zoho.com/crm/developer/docs/api/v8/get-org-data.html
        """
        return self._one("/org", "org")

    def users(self, kind: str = "ActiveUsers") -> Iterator[Record]:
        """The users of a kind, one by one. https://www.zoho.com/crm/developer/docs/api/v8/get-users.html"""
        return self._pages("/users", {"type": kind}, {}, "users")

    def fields(self, module: str, *, fresh: bool = False) -> Sequence[Record]:
        """The fields of a module, with api_name, data_type, pick_list_values and more.

        Asked of Zoho once by all processes and kept for ten minutes; `fresh=True` asks anew, which the others hear within seconds.
        https://www.zoho.com/crm/developer/docs/api/v8/field-meta.html
        """
        return self._described(
            f"{self.product}.{module}.fields", "/settings/fields", "fields", fresh=fresh, module=module
        )

    def modules(self, *, fresh: bool = False) -> Sequence[Record]:
        """The modules, with api_name, plural_label and what may be done to them; kept as `fields` are.
        https://www.zoho.com/crm/developer/docs/api/v8/modules-api.html
        """
        return self._described(f"{self.product}.modules", "/settings/modules", "modules", fresh=fresh)

    def _described(
        self, what: str, path: str, key: str, *, fresh: bool, **params: object
    ) -> Sequence[Record]:
        def ask() -> Sequence[Record]:
            return rows_of(self._read(path, **params), key)

        found: Sequence[Record] = self._zoho.shelf.get(self._zoho.connection, what, ask, fresh=fresh)
        return found

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
        info = _info(data) if data else {}
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


def _fields(fields: Sequence[str]) -> str:
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


def _info(data: Any) -> Mapping[str, Any]:
    info = data.get("info") if isinstance(data, dict) else None
    return info if isinstance(info, dict) else {}
