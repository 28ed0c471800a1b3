"""CRM, version 8. Thin: each method is one of Zoho's calls, told in our errors.
https://www.zoho.com/crm/developer/docs/api/v8/

A call for one record returns its details or raises; a call for many returns a list of `Result`, one for each
in the same order, for some may fail while others succeed. More than 100 are sent in several calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from receiver.errors import NotFound, ScopeMissing
from receiver.zoho import part
from receiver.zoho.ask import Ask
from receiver.zoho.crm_actions import Actions, Tags
from receiver.zoho.crm_reads import Reads, stamp
from receiver.zoho.crm_records import (
    Record,
    Result,
    chunked,
    differing,
    identified,
    only,
    pretended,
    results,
)

if TYPE_CHECKING:
    from datetime import datetime

    from receiver.zoho.crm_attachments import Attachments
    from receiver.zoho.crm_bulk import Bulk
    from receiver.zoho.crm_watch import Channels

Trigger = Sequence[str] | None
"""Which automations a write starts: workflow, approval, blueprint, pathfinder, orchestration. `[]` starts
none, None goes by the connection's `trigger` setting, and where that is not set by Zoho, which starts all.
"""


class Records(Reads):
    """The writing half: records and notes. Bigin and Recruit write alike."""

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
    ) -> Record: ...
    @overload
    def update(
        self, module: str, record: Sequence[Mapping[str, Any]], *, trigger: Trigger = None
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
    ) -> Record | list[Result]:
        """Changes one record (its id and the values), or many (each with its `id`).

        `only_changed` reads the record, sends what differs, and sends nothing where nothing does (`action` is
        then "none"). `unmodified_since` raises Conflict if somebody changed it after that time (412
        ALREADY_MODIFIED). https://www.zoho.com/crm/developer/docs/api/v8/update-records.html
        """
        if not isinstance(record, str):

            def send(chunk: Sequence[Record]) -> list[Result]:
                return self._write("PUT", f"/{part(module)}", module, chunk, "update", trigger)

            return self._many([{**one, "id": identified(one)} for one in record], send, "update")
        wanted = dict(values or {})
        if only_changed:
            names = list(wanted)[:50]
            wanted = differing(self.get(module, record, names if len(wanted) <= 50 else None), wanted)
            if not wanted:
                return {"id": record, "action": "none"}
        headers = {"If-Unmodified-Since": stamp(unmodified_since)} if unmodified_since else {}
        sent = [{**wanted, "id": record}]
        return only(
            self._write("PUT", f"/{part(module)}/{part(record)}", module, sent, "update", trigger, headers)[0]
        )

    @overload
    def upsert(
        self, module: str, record: Mapping[str, Any], *, by: Sequence[str], trigger: Trigger = None
    ) -> Record: ...
    @overload
    def upsert(
        self, module: str, record: Sequence[Mapping[str, Any]], *, by: Sequence[str], trigger: Trigger = None
    ) -> list[Result]: ...
    def upsert(
        self,
        module: str,
        record: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        by: Sequence[str],
        trigger: Trigger = None,
    ) -> Record | list[Result]:
        """Inserts or updates by the fields `by`, the first that matches deciding; `action` says which it was.
        Safe to repeat.

        https://www.zoho.com/crm/developer/docs/api/v8/upsert-records.html
        """

        def send(chunk: Sequence[Record]) -> list[Result]:
            extra = {"duplicate_check_fields": list(by)}
            return self._write(
                "POST", f"/{part(module)}/upsert", module, chunk, "upsert", trigger, extra=extra
            )

        return self._many(record, send, "upsert")

    def ensure(
        self, module: str, by: Mapping[str, Any], values: Mapping[str, Any], *, trigger: Trigger = None
    ) -> tuple[Record, bool]:
        """(the record with those values in `by`, whether it was made now). One that is there already is
        returned as it is.

        Looked up with COQL, which sees what was just written, and made with upsert: two at once make one
        record, provided that the fields of `by` are unique in CRM or one of its own duplicate check fields.
        """
        found = self._find(module, by)
        if found:
            return found, False
        made = self.upsert(module, {**values, **by}, by=list(by), trigger=trigger)
        return {**values, **by, **made}, made["action"] == "insert"

    @overload
    def delete(  # type: ignore[overload-overlap]  # a str is a sequence of str
        self, module: str, record: str, *, trigger: Trigger = None
    ) -> Record: ...
    @overload
    def delete(self, module: str, record: Sequence[str], *, trigger: Trigger = None) -> list[Result]: ...
    def delete(
        self, module: str, record: str | Sequence[str], *, trigger: Trigger = None
    ) -> Record | list[Result]:
        """Moves records to the recycle bin. With `trigger=[]` no workflow runs.

        https://www.zoho.com/crm/developer/docs/api/v8/delete-records.html
        """

        def send(ids: Sequence[str]) -> list[Result]:
            params = {"ids": ",".join(ids)}
            if self._trigger(trigger) == []:
                params["wf_trigger"] = "false"
            touches = tuple((module, one, None) for one in ids)
            ask = Ask(
                self.product,
                "DELETE",
                f"{self.base}/{part(module)}",
                params,
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

    def _find(self, module: str, by: Mapping[str, Any]) -> Record | None:
        where = " and ".join(f"({name} = {_literal(value)})" for name, value in by.items())
        try:
            rows = self.coql(f"select id from {module} where {where} limit 1")  # noqa: S608 - COQL, quoted below
        except ScopeMissing:  # the consent has no COQL; the upsert still keeps it to one record
            return None
        try:
            return self.get(module, str(rows[0]["id"])) if rows else None
        except NotFound:
            return None

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


class CRM(Records, Actions):
    """CRM's records and notes; what there is more of has a name of its own: channels, attachments, bulk, tags."""

    @cached_property
    def attachments(self) -> Attachments:
        """Files that hang on records."""
        from receiver.zoho.crm_attachments import Attachments  # noqa: PLC0415 - loaded when it is used

        return Attachments(self, self._zoho)

    @cached_property
    def bulk(self) -> Bulk:
        """Bulk read and bulk write: hundreds of thousands of rows in one job."""
        from receiver.zoho.crm_bulk import Bulk  # noqa: PLC0415 - loaded when it is used

        return Bulk(self._zoho)

    @cached_property
    def tags(self) -> Tags:
        """Tags of records."""
        return Tags(self._zoho)

    @cached_property
    def channels(self) -> Channels:
        """Notification channels (`/actions/watch`)."""
        from receiver.zoho.crm_watch import Channels  # noqa: PLC0415 - loaded when it is used

        return Channels(self._zoho)

    def bulk_callback(self, kind: Literal["read", "write"]) -> dict[str, str]:
        """What a bulk job's `callback` says, for its end to become `crm.BulkRead.completed` or the like.

        Raises SettingsError with the cure where no source takes callbacks.
        """
        from receiver.zoho.crm_callback import callback  # noqa: PLC0415 - loaded when it is used

        return callback(self._zoho, kind)


def _literal(value: Any) -> str:
    """A value as COQL writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
