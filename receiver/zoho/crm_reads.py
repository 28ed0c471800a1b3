"""What can be read from CRM beside its lists: single records, searches, COQL, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.errors import InvalidRequest, NotFound
from receiver.zoho import part, texts
from receiver.zoho.ask import Ask
from receiver.zoho.crm_external import naming
from receiver.zoho.crm_lists import BY_NUMBER, FIELDS, PAGE, Lists, fields_of, info_of, rows_of
from receiver.zoho.gather import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from receiver.zoho.crm_records import Record


class Reads(Lists):
    """The reading half of CRM's client; Bigin and Recruit read alike."""

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

        Reads of many jobs at one moment share calls of up to 100 ids. With `max_age` a record will do that this process read at most
        so many seconds ago, after the event of the job came and after its last write. https://www.zoho.com/crm/developer/docs/api/v8/get-records.html; a missing one is a 204,
        a 404 or INVALID_DATA.
        """
        part(record_id)
        if external:
            record = self._get_one(module, record_id, None, naming(self.product, module, external))
            return record if fields is None else {name: record.get(name) for name in ("id", *fields)}
        named = None if fields is None else fields_of(fields)
        reader = Reader(
            lambda found: self._get_one(module, found, named), lambda ids: self._get_many(module, ids, named)
        )
        key = (self._zoho.connection, self._spoken(module), named)
        record, shared = self._zoho.gather.get(key, record_id, reader, max_age, self._zoho.since)
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
            if not data or not info_of(data).get("more_records"):
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

    def user(self) -> Record:
        """The user whose consent this is. https://www.zoho.com/crm/developer/docs/api/v8/get-users.html"""
        return self._one("/users", "users", type="CurrentUser")

    def org(self) -> Record:
        """The organisation: its `zgid`, name, time zone, edition.
        https://www.zoho.com/crm/developer/docs/api/v8/get-org-data.html
        """
        return self._one("/org", "org")

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
