"""The CRM's records: kept, checked and changed one at a time; who is told of a change is not decided here."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_schema import LOOKUP_TYPES, Field, Module, modules

if TYPE_CHECKING:
    from receiver.simulator.wire import Json
    from receiver.simulator.world import User, World


@dataclass(slots=True)
class Record:
    """A record's values under their API names; `values` has the system fields too."""

    module: str
    id: str
    values: Json
    born: float
    changed: float


@dataclass(slots=True)
class Gone:
    """A deleted record, as the recycle bin lists it."""

    record: Record
    by: User
    at: float


@dataclass(slots=True)
class Change:
    """One write that took place; `op` is insert, update or delete."""

    op: str
    record: Record
    fields: list[str]
    before: Json
    by: User
    trigger: list[str] | None = None


class Problem(Exception):
    """Why one record was not taken, as the entry that answers it."""

    def __init__(self, code: str, message: str, details: Json) -> None:
        super().__init__(code, details)
        self.entry: Json = {"code": code, "details": details, "message": message, "status": "error"}

    @property
    def code(self) -> str:
        return str(self.entry["code"])


@dataclass(slots=True)
class Place:
    """Where in the request a record stands, for json_path."""

    index: int = 0

    def of(self, name: str) -> Json:
        return {"api_name": name, "json_path": f"$.data[{self.index}].{name}"}


NOWHERE = Place()


@dataclass(slots=True)
class Records:
    """All records of all modules."""

    world: World
    modules: dict[str, Module] = field(default_factory=modules)
    rows: dict[str, dict[str, Record]] = field(default_factory=dict)
    gone: dict[str, dict[str, Gone]] = field(default_factory=dict)
    writes: deque[Change] = field(default_factory=lambda: deque(maxlen=20_000))

    def table(self, module: str) -> dict[str, Record]:
        return self.rows.setdefault(module, {})

    def create(self, module: str, given: Json, by: User, place: Place = NOWHERE) -> Change:
        spec = self.modules[module]
        values = self._clean(spec, given, place)
        for name, known in spec.fields.items():
            if known.mandatory and values.get(name) in (None, "", {}):
                raise Problem("MANDATORY_NOT_FOUND", "required field not found", place.of(name))
        self._unique(spec, values, "", place)
        now = self.world.now()
        record = Record(module, self.world.crm_id(), {}, now, now)
        stamp = self.world.stamp()
        record.values = {
            **dict.fromkeys(spec.fields),
            "Owner": by.crm(),
            **values,
            "id": record.id,
            "Created_By": by.crm(),
            "Modified_By": by.crm(),
            "Created_Time": stamp,
            "Modified_Time": stamp,
        }
        self._name(record)
        self.table(module)[record.id] = record
        return Change("insert", record, [n for n, v in values.items() if v is not None], {}, by)

    def update(
        self, module: str, ident: str, given: Json, by: User, place: Place = NOWHERE, *, unless: float = 0.0
    ) -> Change:
        """`unless` is the time after which the record must not have changed."""
        record = self.table(module).get(ident)
        if record is None:
            raise Problem("INVALID_DATA", "the id given seems to be invalid", place.of("id"))
        if unless and int(record.changed) > int(unless):
            raise Problem("ALREADY_MODIFIED", "The record has been already modified", {"id": ident})
        spec = self.modules[module]
        values = self._clean(spec, given, place)
        for name, known in spec.fields.items():
            if known.mandatory and name in values and values[name] in (None, "", {}):
                raise Problem("INVALID_DATA", "invalid data", place.of(name))
        self._unique(spec, values, ident, place)
        changed = [name for name, value in values.items() if record.values.get(name) != value]
        before = {name: record.values.get(name) for name in changed}
        record.changed = self.world.now()
        record.values.update(values, Modified_By=by.crm(), Modified_Time=self.world.stamp())
        self._name(record)
        return Change("update", record, changed, before, by)

    def delete(self, module: str, ident: str, by: User) -> Change:
        record = self.table(module).pop(ident, None)
        if record is None:
            raise Problem("INVALID_DATA", "the id given seems to be invalid", {"id": ident})
        self.gone.setdefault(module, {})[ident] = Gone(record, by, self.world.now())
        return Change("delete", record, [], dict(record.values), by)

    def title(self, record: Record) -> str:
        return str(record.values.get(self.modules[record.module].title) or "")

    def same(self, module: str, name: str, value: Any, but: str = "") -> Record | None:
        """Another record with this value in this field; text compares without case."""
        wanted = _plain(value)
        for record in self.table(module).values():
            if record.id != but and _plain(record.values.get(name)) == wanted:
                return record
        return None

    def ident(self, module: str, value: str, external: str) -> str:
        """A record's id for a value of its external field, "" where none has it; without such a field the value is the id."""
        if not external:
            return value
        found = self.same(module, external, value)
        return found.id if found else ""

    def _clean(self, spec: Module, given: Json, place: Place) -> Json:
        """The known, writable values; like Zoho, names that it doesn't know are passed over."""
        values: Json = {}
        for name, value in given.items():
            known = spec.fields.get(name)
            if known is None or known.read_only:
                continue
            fault = known.fault(value)
            if fault is not None:
                raise Problem("INVALID_DATA", "invalid data", {**fault, **place.of(name)})
            lookup = known.data_type in LOOKUP_TYPES and value is not None
            values[name] = self._linked(known, value, place) if lookup else value
        return values

    def _linked(self, known: Field, value: Any, place: Place) -> Json:
        ident = str(value.get("id", "")) if isinstance(value, dict) else str(value)
        if known.data_type == "ownerlookup":
            for user in self.world.users:
                if user.id == ident:
                    return user.crm()
            raise Problem("INVALID_DATA", "the id given seems to be invalid", place.of(known.api_name))
        within = known.lookup
        if not within and isinstance(value, dict) and isinstance(value.get("module"), dict):
            within = str(value["module"].get("api_name", ""))
        for module in (within,) if within else self.modules:
            record = self.table(module).get(ident) if module in self.modules else None
            if record is not None:
                linked: Json = {"name": self.title(record), "id": ident}
                if not known.lookup:
                    linked["module"] = {"api_name": module, "id": self.modules[module].id}
                return linked
        raise Problem("INVALID_DATA", "the id given seems to be invalid", place.of(known.api_name))

    def _unique(self, spec: Module, values: Json, but: str, place: Place) -> None:
        for name, value in values.items():
            if not spec.fields[name].unique or value in (None, ""):
                continue
            other = self.same(spec.api_name, name, value, but)
            if other is not None:
                owner = other.values["Owner"]
                twin = {
                    "id": other.id,
                    "module": {"api_name": spec.api_name, "id": spec.id},
                    "Owner": {"id": owner["id"], "name": owner["name"]},
                }
                raise Problem(
                    "DUPLICATE_DATA", "duplicate data", {**place.of(name), "duplicate_record": twin}
                )

    def _name(self, record: Record) -> None:
        if "Full_Name" in self.modules[record.module].fields:
            parts = (record.values.get("First_Name"), record.values.get("Last_Name"))
            record.values["Full_Name"] = " ".join(part for part in parts if part)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return value.get("id")
    return value.casefold() if isinstance(value, str) else value
