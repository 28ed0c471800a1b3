"""Writing CRM's records and notes; Bigin and Recruit write alike. Thin: each method is one of Zoho's calls, told in our errors.
https://www.zoho.com/crm/developer/docs/api/v8/

A call for one record returns its details or raises; a call for many returns a list of `Result`, one for each
in the same order, for some may fail while others succeed. More than 100 are sent in several calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from receiver.errors import InvalidRequest
from receiver.zoho import part
from receiver.zoho.ask import Ask
from receiver.zoho.crm_external import named, naming, together
from receiver.zoho.crm_lists import stamp
from receiver.zoho.crm_reads import Reads
from receiver.zoho.crm_records import (
    Record,
    Result,
    chunked,
    differing,
    only,
    pretended,
    results,
)

if TYPE_CHECKING:
    from datetime import datetime


Trigger = Sequence[str] | None
"""Which automations a write starts: workflow, approval, blueprint, pathfinder, orchestration. `[]` starts
none, None goes by the connection's `trigger` setting, and where that is not set by Zoho, which starts all.
"""


class Writes(Reads):
    """The writing half: records and notes."""

    @overload
    def create(self, module: str, record: Mapping[str, Any], *, trigger: Trigger = None) -> Record: ...
    @overload
    def create(
        self, module: str, record: Sequence[Mapping[str, Any]], *, trigger: Trigger = None
    ) -> list[Result]: ...
    def create(
        self, module: str, record: Mapping[str, Any] | Sequence[Mapping[str, Any]], *, trigger: Trigger = None
    ) -> Record | list[Result]:
        """Inserts records. One gives `{"id", "Created_Time", ..., "action"}`, or raises (DuplicateData names
        the other one).

        Never sent again once it may have arrived, so a lost answer raises Unavailable and the record may be
        there: prefer `upsert` or `ensure`. https://www.zoho.com/crm/developer/docs/api/v8/insert-records.html
        """

        def send(chunk: Sequence[Record]) -> list[Result]:
            return self._write("POST", f"/{part(module)}", module, chunk, "insert", trigger)

        return self._many(record, send, "insert")

    @overload
    def update(
        self,
        module: str,
        record: str,
        values: Mapping[str, Any],
        *,
        trigger: Trigger = None,
        only_changed: bool = False,
        unmodified_since: datetime | str | None = None,
        external: str = "",
    ) -> Record: ...
    @overload
    def update(
        self,
        module: str,
        record: Sequence[Mapping[str, Any]],
        *,
        trigger: Trigger = None,
        external: str = "",
    ) -> list[Result]: ...
    def update(
        self,
        module: str,
        record: str | Sequence[Mapping[str, Any]],
        values: Mapping[str, Any] | None = None,
        *,
        trigger: Trigger = None,
        only_changed: bool = False,
        unmodified_since: datetime | str | None = None,
        external: str = "",
    ) -> Record | list[Result]:
        """Changes one record (its id and the values), or many (each with its `id`). With `external` ids are values of that field.

        `only_changed` reads the record, sends what differs, and sends nothing where nothing does (`action` is
        then "none"). `unmodified_since` raises Conflict if somebody changed it after that time (412
        ALREADY_MODIFIED). https://www.zoho.com/crm/developer/docs/api/v8/update-records.html
        """
        if not isinstance(record, str):

            def send(chunk: Sequence[Record]) -> list[Result]:
                return self._write(
                    "PUT",
                    f"/{part(module)}",
                    module,
                    chunk,
                    "update",
                    trigger,
                    naming(self.product, module, external),
                )

            return self._many(
                [{**one, external or "id": named(one, external)} for one in record], send, "update"
            )
        wanted = dict(values or {})
        if only_changed:
            names = list(wanted)[:50]
            known = self.get(module, record, names if len(wanted) <= 50 else None, external=external)
            wanted = differing(known, wanted)
            if not wanted:
                return {"id": record, "action": "none"}
        headers = naming(self.product, module, external)
        if unmodified_since:
            headers["If-Unmodified-Since"] = stamp(unmodified_since)
        sent = [wanted if external else {**wanted, "id": record}]
        return only(
            self._write("PUT", f"/{part(module)}/{part(record)}", module, sent, "update", trigger, headers)[0]
        )

    @overload
    def upsert(
        self,
        module: str,
        record: Mapping[str, Any],
        *,
        by: Sequence[str] = (),
        trigger: Trigger = None,
        external: str = "",
        unmodified_since: datetime | str | None = None,
    ) -> Record: ...
    @overload
    def upsert(
        self,
        module: str,
        record: Sequence[Mapping[str, Any]],
        *,
        by: Sequence[str] = (),
        trigger: Trigger = None,
        external: str = "",
        unmodified_since: datetime | str | None = None,
    ) -> list[Result]: ...
    def upsert(
        self,
        module: str,
        record: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        by: Sequence[str] = (),
        trigger: Trigger = None,
        external: str = "",
        unmodified_since: datetime | str | None = None,
    ) -> Record | list[Result]:
        """Inserts or updates by the fields `by`, the first that matches deciding, or by the `external` field; `action` says which
        it was. Safe to repeat. `unmodified_since` leaves alone, as Conflict, one that somebody changed after that time.

        https://www.zoho.com/crm/developer/docs/api/v8/upsert-records.html
        """
        if bool(by) == bool(external):
            raise InvalidRequest(
                "upsert goes by the fields of by=, or by the one of external=", code="bad_by"
            )
        headers, extra = (
            naming(self.product, module, external),
            {"duplicate_check_fields": [external] if external else list(by)},
        )
        if unmodified_since:
            headers["If-Unmodified-Since"] = stamp(unmodified_since)

        def send(chunk: Sequence[Record]) -> list[Result]:
            return self._write(
                "POST", f"/{part(module)}/upsert", module, chunk, "upsert", trigger, headers, extra=extra
            )

        return self._many(record, send, "upsert")

    @overload
    def delete(  # type: ignore[overload-overlap]  # a str is a sequence of str
        self, module: str, record: str, *, trigger: Trigger = None, external: str = ""
    ) -> Record: ...
    @overload
    def delete(
        self, module: str, record: Sequence[str], *, trigger: Trigger = None, external: str = ""
    ) -> list[Result]: ...
    def delete(
        self, module: str, record: str | Sequence[str], *, trigger: Trigger = None, external: str = ""
    ) -> Record | list[Result]:
        """Moves records to the recycle bin, named by their ids or by values of the `external` field. With `trigger=[]` no workflow
        runs.

        https://www.zoho.com/crm/developer/docs/api/v8/delete-records.html
        """

        def send(ids: Sequence[str]) -> list[Result]:
            alone = external and isinstance(record, str)
            params = {} if alone else {"ids": together(list(ids))}
            if self._trigger(trigger) == []:
                params["wf_trigger"] = "false"
            touches = tuple((module, "" if external else one, None) for one in ids)
            ask = Ask(
                self.product,
                "DELETE",
                f"{self.base}/{part(module)}" + (f"/{part(ids[0])}" if alone else ""),
                params,
                headers=naming(self.product, module, external),
                pretend=pretended(ids, "delete"),
                touches=touches,
            )
            return results(ask, self._zoho.send(ask), len(ids), "delete")

        if isinstance(record, str):
            return only(send([record])[0])
        return chunked([str(one) for one in record], send, "delete")

    def note(self, module: str, record_id: str, title: str, content: str) -> Record:
        """Adds a note to a record; its details.
        https://www.zoho.com/crm/developer/docs/api/v8/create-notes.html
        """
        parent = {"module": {"api_name": module}, "id": record_id}
        values = {"Note_Title": title, "Note_Content": content, "Parent_Id": parent}
        return only(self._write("POST", "/Notes", "Notes", [values], "insert", None)[0])

    def _trigger(self, given: Trigger) -> list[str] | None:
        chosen = self._zoho.connection_settings.trigger if given is None else given
        return None if chosen is None else list(chosen)

    def _write(
        self,
        method: str,
        path: str,
        module: str,
        records: Sequence[Mapping[str, Any]],
        action: str,
        trigger: Trigger,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> list[Result]:
        chosen = self._trigger(trigger)
        body = {"data": list(records), **(extra or {}), **({} if chosen is None else {"trigger": chosen})}
        ids = [str(record.get("id", "")) for record in records]
        ask = Ask(
            self.product,
            method,
            self.base + path,
            json=body,
            headers=headers or {},
            safe=method == "PUT" or action == "upsert",
            pretend=pretended(ids, "insert" if action == "upsert" else action),
            touches=tuple((module, one, record) for one, record in zip(ids, records, strict=True)),
        )
        told = results(ask, self._zoho.send(ask), len(records), action)
        for one, record, result in zip(ids, records, told, strict=True):
            if result.ok and not one:
                self._zoho.made(self.product, module, result.id, record)
        return told

    def _many(
        self,
        given: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        send: Callable[[Sequence[Record]], list[Result]],
        action: str,
    ) -> Record | list[Result]:
        if isinstance(given, Mapping):
            return only(send([dict(given)])[0])
        return chunked([dict(one) for one in given], send, action)
