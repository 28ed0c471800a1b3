"""What is in the files of bulk jobs: a zip of one CSV, both ways."""

from __future__ import annotations

import csv
import io
import zipfile
from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_records import Place, Problem

if TYPE_CHECKING:
    from receiver.simulator.crm_records import Change, Records
    from receiver.simulator.wire import Json


def columns(content: bytes) -> list[str]:
    """The header of an uploaded file; none where it is no zip of one CSV."""
    try:
        return next(csv.reader(_text(content)), [])
    except (zipfile.BadZipFile, IndexError, UnicodeDecodeError):
        return []


def read(records: Records, module: str, fields: list[str], page: int, rows: int) -> bytes:
    """One page of a module's records; without fields, all of them."""
    names = fields or list(records.modules[module].fields)
    found = list(records.table(module).values())[rows * (page - 1) : rows * page]
    return _zip([names, *([_cell(record.values.get(name)) for name in names] for record in found)], module)


def write(
    records: Records, module: str, content: bytes, operation: str, about: Json
) -> tuple[list[Change], bytes]:
    """(the changes, the file that says what became of each row)."""
    header, *lines = list(csv.reader(_text(content)))
    names = [""] * len(header)
    for mapping in about.get("field_mappings") or [
        {"api_name": name, "index": index} for index, name in enumerate(header)
    ]:
        names[int(mapping["index"])] = str(mapping["api_name"])
    changes: list[Change] = []
    told: list[list[str]] = [[*header, "STATUS", "RECORD_ID", "ERRORS"]]
    for index, line in enumerate(lines):
        given = {
            name: value
            for name, value in zip(names, line, strict=False)
            if name and (value or not about.get("ignore_empty"))
        }
        try:
            change = _one(records, module, given, operation, str(about.get("find_by") or ""), index)
        except Problem as problem:
            told.append(
                [
                    *line,
                    "SKIPPED" if problem.code == "INVALID_DATA" else "FAILED",
                    "",
                    f"{problem.code}:{problem.entry['details'].get('api_name', '')}",
                ]
            )
            continue
        changes.append(change)
        told.append([*line, "ADDED" if change.op == "insert" else "UPDATED", change.record.id, ""])
    return changes, _zip(told, module)


def _one(records: Records, module: str, given: Json, operation: str, find_by: str, index: int) -> Change:
    by, place = records.world.admin, Place(index)
    values = {name: value for name, value in given.items() if name != "id"}
    if operation == "insert":
        return records.create(module, values, by, place)
    if find_by == "id":
        ident = str(given.get("id") or "")
    else:
        found = records.same(module, find_by, given.get(find_by)) if given.get(find_by) else None
        ident = found.id if found else ""
    if not ident and operation == "upsert":
        return records.create(module, values, by, place)
    return records.update(module, ident, values, by, place)


def _text(content: bytes) -> io.StringIO:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        return io.StringIO(packed.read(packed.namelist()[0]).decode("utf-8-sig"), newline="")


def _zip(rows: list[list[str]], module: str) -> bytes:
    text, out = io.StringIO(newline=""), io.BytesIO()
    csv.writer(text).writerows(rows)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{module}.csv", text.getvalue())
    return out.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return str(value.get("id", ""))
    return "" if value is None else str(value)
