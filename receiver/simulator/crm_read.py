"""The CRM calls that read records by list, id, relation or from the recycle bin; search is in crm_search."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_write import fault
from receiver.simulator.wire import Answer, whole
from receiver.simulator.world import instant

if TYPE_CHECKING:
    from receiver.simulator.crm_records import Gone, Record, Records
    from receiver.simulator.limits import Limits
    from receiver.simulator.wire import Call, Json

RELATED = {
    ("Accounts", "Contacts"): ("Contacts", "Account_Name"),
    ("Accounts", "Deals"): ("Deals", "Account_Name"),
    ("Contacts", "Deals"): ("Deals", "Contact_Name"),
    ("Contacts", "Tasks"): ("Tasks", "Who_Id"),
    ("Accounts", "Tasks"): ("Tasks", "What_Id"),
    ("Deals", "Tasks"): ("Tasks", "What_Id"),
    ("Leads", "Tasks"): ("Tasks", "What_Id"),
}

# Each keeps a list of ids; a page_token older than so many is forgotten.
MOST_BOOKMARKS = 1_000


@dataclass(slots=True)
class Bookmark:
    """What a page_token stands for: the rows that are left, for the same question only."""

    question: tuple[str, ...]
    rows: list[str]
    seen: int
    expires_at: float


@dataclass(slots=True)
class Reads:
    """Answers GETs."""

    records: Records
    limits: Limits
    bookmarks: dict[str, Bookmark] = field(default_factory=dict)

    def listed(self, module: str, call: Call) -> Answer:
        """https://www.zoho.com/crm/developer/docs/api/v8/get-records.html"""
        names = self.names(call)
        order = self._order(call)
        size = self._size(call)
        idents = [i for i in call.param("ids").split(",") if i]
        since = self._since(call)
        question = (module, ",".join(names), call.param("ids"), *order, str(since))
        token = call.param("page_token")
        if token:
            mark = self._bookmark(token, question)
            rows, seen = mark.rows, mark.seen
            page = seen // size + 1
        else:
            page = whole(call.param("page"), 1) or 0
            if page < 1:
                raise fault("INVALID_DATA", "invalid data", {"param_name": "page"})
            if page * size > self.limits.crm_rows_by_page and page > 1:
                limit = {"limit": self.limits.crm_rows_by_page, "param_name": "page"}
                raise fault("DISCRETE_PAGINATION_LIMIT_EXCEEDED", "use page_token beyond this limit", limit)
            found = [r for r in self.records.table(module).values() if not idents or r.id in idents]
            if since:
                found = [r for r in found if int(r.changed) > since]
                if not found:
                    return Answer(304)
            rows = [r.id for r in self._sorted(found, *order)]
            seen = (page - 1) * size
            rows = rows[seen:]
        table = self.records.table(module)
        picked = [table[i] for i in rows[:size] if i in table]
        if not picked:
            return Answer(204)
        info: Json = {"per_page": size, "count": len(picked), "page": page, "more_records": len(rows) > size}
        info |= {"sort_by": order[0], "sort_order": order[1]}
        info |= self._next(question, rows[size:], seen + size)
        return Answer(200, {"data": [self.shown(r, names) for r in picked], "info": info})

    def one(self, module: str, ident: str, external: str = "") -> Answer:
        if external and not ident:
            return Answer(204)
        if not ident.isdecimal() or not 15 <= len(ident) <= 19:
            raise fault("INVALID_DATA", "the id given seems to be invalid", {"resource_path_index": 1})
        record = self.records.table(module).get(ident)
        return Answer(204) if record is None else Answer(200, {"data": [dict(record.values)]})

    def related(self, module: str, ident: str, name: str, call: Call) -> Answer:
        if ident not in self.records.table(module):
            raise fault(
                "INVALID_DATA", "the related id given seems to be invalid", {"resource_path_index": 1}
            )
        names = self.names(call)
        child, link = ("Notes", "Parent_Id") if name == "Notes" else RELATED.get((module, name), ("", ""))
        if not child:
            raise fault(
                "INVALID_DATA", "the relation name given seems to be invalid", {"resource_path_index": 2}
            )
        found = [r for r in self.records.table(child).values() if (r.values[link] or {}).get("id") == ident]
        return self.paged(found, names, call)

    def deleted(self, module: str, call: Call) -> Answer:
        kind = call.param("type", "all")
        if kind not in ("all", "recycle", "permanent"):
            raise fault("INVALID_DATA", "invalid data", {"param_name": "type"})
        since = self._since(call)
        bin_ = self.records.gone.get(module, {}).values() if kind != "permanent" else ()
        found = [self._binned(gone) for gone in bin_ if int(gone.at) > since]
        if since and not found:
            return Answer(304)
        size, page = self._size(call), whole(call.param("page"), 1) or 1
        shown = found[(page - 1) * size : page * size]
        if not shown:
            return Answer(204)
        info = {"per_page": size, "count": len(shown), "page": page, "more_records": len(found) > page * size}
        return Answer(200, {"data": shown, "info": info})

    def paged(self, found: list[Record], names: list[str], call: Call, most: int = 0) -> Answer:
        """A page of what was found; past `most` rows there is LIMIT_REACHED."""
        size, page = self._size(call), whole(call.param("page"), 1) or 1
        if most and page * size > most:
            raise fault("LIMIT_REACHED", "the limit of records is reached", {"limit": most})
        rows = found[(page - 1) * size : page * size]
        if not rows:
            return Answer(204)
        info = {"per_page": size, "count": len(rows), "page": page, "more_records": len(found) > page * size}
        return Answer(200, {"data": [self.shown(r, names) for r in rows], "info": info})

    def shown(self, record: Record, names: list[str]) -> Json:
        """The asked fields and always the id; no names means all."""
        if not names:
            return dict(record.values)
        return {name: record.values[name] for name in (*names, "id") if name in record.values}

    def names(self, call: Call) -> list[str]:
        names = [name for name in call.param("fields").split(",") if name]
        if not names:
            missing = {"param_name": "fields"}
            raise fault("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", missing)
        if len(names) > 50:
            raise fault("LIMIT_EXCEEDED", "fields limit exceeded", {"limit": 50, "param_name": "fields"})
        return names

    def _order(self, call: Call) -> tuple[str, str]:
        by, order = call.param("sort_by", "id"), call.param("sort_order", "desc")
        if by not in ("id", "Created_Time", "Modified_Time") or order not in ("asc", "desc"):
            raise fault("INVALID_DATA", "invalid data", {"param_name": "sort_by"})
        return by, order

    def _sorted(self, found: list[Record], by: str, order: str) -> list[Record]:
        def rank(record: Record) -> tuple[Any, int]:
            moment = {"Created_Time": record.born, "Modified_Time": record.changed}.get(by, 0.0)
            return int(moment), int(record.id)

        return sorted(found, key=rank, reverse=order == "desc")

    def _size(self, call: Call) -> int:
        size = whole(call.param("per_page"), 200)
        if size is None or not 1 <= size <= 200:
            raise fault("INVALID_DATA", "invalid data", {"param_name": "per_page", "maximum_length": 200})
        return size

    def _since(self, call: Call) -> int:
        text = call.headers.get("if-modified-since", "")
        if not text:
            return 0
        at = instant(text)
        if at is None:
            raise fault("INVALID_DATA", "invalid data", {"header": "If-Modified-Since"})
        return int(at)

    def _bookmark(self, token: str, question: tuple[str, ...]) -> Bookmark:
        mark = self.bookmarks.get(token)
        if mark is None:
            raise fault("INVALID_DATA", "invalid data", {"param_name": "page_token"})
        if mark.expires_at <= self.records.world.now():
            raise fault("EXPIRED_VALUE", "page_token has expired", {"param_name": "page_token"})
        if mark.question != question:
            raise fault(
                "TOKEN_BOUND_DATA_MISMATCH", "page_token is of another request", {"param_name": "page_token"}
            )
        if mark.seen >= self.limits.crm_rows_by_token:
            limit = {"limit": self.limits.crm_rows_by_token}
            raise fault("PAGINATION_LIMIT_EXCEEDED", "pagination limit exceeded", limit)
        return mark

    def _next(self, question: tuple[str, ...], rest: list[str], seen: int) -> Json:
        if not rest:
            return {"next_page_token": None, "page_token_expiry": None}
        token = secrets.token_hex(40)
        until = self.records.world.now() + self.limits.crm_page_token_life
        while len(self.bookmarks) >= MOST_BOOKMARKS:
            del self.bookmarks[next(iter(self.bookmarks))]
        self.bookmarks[token] = Bookmark(question, rest, seen, until)
        return {"next_page_token": token, "page_token_expiry": self.records.world.stamp(until)}

    def _binned(self, gone: Gone) -> Json:
        return {
            "deleted_by": {"name": gone.by.name, "id": gone.by.id},
            "id": gone.record.id,
            "display_name": self.records.title(gone.record),
            "type": "recycle",
            "created_by": gone.record.values["Created_By"],
            "deleted_time": self.records.world.stamp(gone.at),
        }
