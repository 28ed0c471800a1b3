"""The CRM calls that write records, a hundred at most, each with a result of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_records import Change, Place, Problem
from receiver.simulator.wire import Answer, Refused
from receiver.simulator.world import instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.simulator.crm_records import Records
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import User

TRIGGERS = frozenset({"workflow", "approval", "blueprint", "pathfinder", "orchestration"})


def fault(code: str, message: str, details: Json | None = None, status: int = 400) -> Refused:
    """A whole request's error, flat."""
    body = {"code": code, "details": details or {}, "message": message, "status": "error"}
    return Refused(Answer(status, body))


def rows(call: Call, key: str = "data", most: int = 100) -> list[Json]:
    """The request's objects, or Refused with what is wrong about them."""
    body = call.json()
    if not isinstance(body, dict):
        raise fault("INVALID_DATA", "body", {"expected_data_type": "jsonobject"})
    items = body.get(key)
    if items is None:
        raise fault(
            "MANDATORY_NOT_FOUND", "required field not found", {"api_name": key, "json_path": f"$.{key}"}
        )
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise fault("INVALID_DATA", key, {"expected_data_type": "jsonarray", "api_name": key})
    if len(items) > most:
        raise fault("INVALID_DATA", "invalid data", {"api_name": key, "maximum_length": most})
    return items


def trigger(call: Call) -> list[str] | None:
    """None is "all run", an empty list "none run"."""
    given = call.json().get("trigger")
    if given is None:
        return None
    if not isinstance(given, list) or not all(word in TRIGGERS for word in given):
        raise fault("INVALID_DATA", "invalid data", {"api_name": "trigger", "json_path": "$.trigger"})
    return given


def success(change: Change, message: str, **more: Any) -> Json:
    values = change.record.values
    who = {side: {k: values[side][k] for k in ("name", "id")} for side in ("Modified_By", "Created_By")}
    details = {
        "Modified_Time": values["Modified_Time"],
        "Created_Time": values["Created_Time"],
        "id": change.record.id,
        **who,
    }
    return {"code": "SUCCESS", **more, "details": details, "message": message, "status": "success"}


def external_of(records: Records, module: str, call: Call) -> str:
    """The field that the header X-EXTERNAL names, "" without one; it must be an external one of this very module."""
    text = call.headers.get("x-external", "")
    if not text:
        return ""
    named, _, name = text.partition(".")
    known = records.modules[module].fields.get(name)
    if named != module or known is None or not known.external:
        raise fault("INVALID_DATA", "the external field given seems to be invalid", {"header": "X-EXTERNAL"})
    return name


class Writes:
    """`publish` is told of all changes of one call at once."""

    def __init__(self, records: Records, publish: Callable[[list[Change]], None]) -> None:
        self.records = records
        self.publish = publish

    def create(self, module: str, call: Call, by: User, more: Json | None = None) -> Answer:
        """`more` goes into every record."""
        triggers = trigger(call) if isinstance(call.json(), dict) else None

        def one(index: int, row: Json) -> tuple[Json, Change]:
            change = self.records.create(module, {**row, **(more or {})}, by, Place(index))
            return success(change, "record added"), change

        return self._all(rows(call), one, triggers, 201)

    def update(self, module: str, call: Call, by: User, ident: str = "") -> Answer:
        items = rows(call)
        if ident and len(items) != 1:
            raise fault("INVALID_DATA", "invalid data", {"api_name": "data", "maximum_length": 1})
        unless, external = self._unless(call), external_of(self.records, module, call)

        def one(index: int, row: Json) -> tuple[Json, Change]:
            key = ident or str(row.get(external or "id") or "")
            if not key:
                missing = Place(index).of(external or "id")
                raise Problem("MANDATORY_NOT_FOUND", "required field not found", missing)
            key = self.records.ident(module, key, external)
            change = self.records.update(module, key, row, by, Place(index), unless=unless)
            return success(change, "record updated"), change

        return self._all(items, one, trigger(call), 200)

    def upsert(self, module: str, call: Call, by: User) -> Answer:
        items = rows(call)
        external = external_of(self.records, module, call)
        checks = (external,) if external else self._checks(module, call)
        unless = self._unless(call)

        def one(index: int, row: Json) -> tuple[Json, Change]:
            name, found = self._found(module, row, checks)
            if found is None:
                change = self.records.create(module, row, by, Place(index))
                return success(change, "record added", action="insert", duplicate_field=None), change
            change = self.records.update(module, found, row, by, Place(index), unless=unless)
            return success(change, "record updated", action="update", duplicate_field=name), change

        return self._all(items, one, trigger(call), 200)

    def delete(self, module: str, idents: list[str], by: User, call: Call) -> Answer:
        workflow = call.param("wf_trigger") != "false"
        external = external_of(self.records, module, call)
        idents = [self.records.ident(module, ident, external) for ident in idents]
        if not 1 <= len(idents) <= 100:
            raise fault("INVALID_DATA", "invalid data", {"param_name": "ids", "maximum_length": 100})

        def one(index: int, _: Json) -> tuple[Json, Change]:
            change = self.records.delete(module, idents[index], by)
            entry = {"code": "SUCCESS", "details": {"id": change.record.id}}
            return {**entry, "message": "record deleted", "status": "success"}, change

        return self._all([{} for _ in idents], one, None if workflow else [], 200)

    def _all(
        self,
        items: list[Json],
        one: Callable[[int, Json], tuple[Json, Change]],
        triggers: list[str] | None,
        good: int,
    ) -> Answer:
        entries: list[Json] = []
        changes: list[Change] = []
        codes: list[str] = []
        for index, row in enumerate(items):
            try:
                entry, change = one(index, row)
            except Problem as problem:
                codes.append(problem.code)
                entries.append(problem.entry)
                continue
            change.trigger = triggers
            entries.append(entry)
            changes.append(change)
        self.publish(changes)
        bad = 412 if set(codes) == {"ALREADY_MODIFIED"} else 400
        status = good if not codes else 207 if changes else bad
        return Answer(status, {"data": entries})

    def _checks(self, module: str, call: Call) -> tuple[str, ...]:
        given = call.json().get("duplicate_check_fields")
        spec = self.records.modules[module]
        if given is None:
            return spec.check
        if not isinstance(given, list) or not all(name in spec.fields for name in given):
            raise fault("INVALID_DATA", "invalid data", {"api_name": "duplicate_check_fields"})
        return tuple(given)

    def _found(self, module: str, row: Json, checks: tuple[str, ...]) -> tuple[str, str | None]:
        if row.get("id"):
            return "id", str(row["id"])
        for name in checks:
            if row.get(name) in (None, ""):
                continue
            record = self.records.same(module, name, row[name])
            if record is not None:
                return name, record.id
        return "", None

    def _unless(self, call: Call) -> float:
        text = call.headers.get("if-unmodified-since", "")
        if not text:
            return 0.0
        at = instant(text)
        if at is None:
            raise fault("INVALID_DATA", "invalid data", {"header": "If-Unmodified-Since"})
        return at
