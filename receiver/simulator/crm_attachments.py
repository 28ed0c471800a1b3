"""Attachments of the CRM's records: https://www.zoho.com/crm/developer/docs/api/v8/upload-attachment.html."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.simulator.crm_write import fault
from receiver.simulator.wire import Answer

if TYPE_CHECKING:
    from receiver.simulator.crm_records import Records
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import User

LARGEST = 20 * 2**20


@dataclass(slots=True)
class Attached:
    """One attachment; a link has no bytes."""

    id: str
    name: str
    content: bytes
    made: str
    by: Json
    link: str = ""


class Attachments:
    """By module and record."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.kept: dict[tuple[str, str], dict[str, Attached]] = {}

    def of(self, module: str, ident: str) -> list[Attached]:
        """What hangs on a record."""
        return list(self.kept.get((module, ident), {}).values())

    def shown(self, module: str, ident: str) -> list[Json]:
        """The related list."""
        return [
            {
                "id": one.id, "File_Name": one.name, "Size": str(len(one.content)), "Created_Time": one.made,
                "Modified_Time": one.made, "Created_By": one.by, "$type": "Link URL" if one.link else "Attachment",
            }
            for one in self.of(module, ident)
        ]  # fmt: skip

    def handle(self, module: str, ident: str, rest: list[str], call: Call, by: User) -> Answer:
        if ident not in self.records.table(module):
            raise fault(
                "INVALID_DATA", "the related id given seems to be invalid", {"resource_path_index": 1}
            )
        kept = self.kept.setdefault((module, ident), {})
        match call.method, rest:
            case "POST", []:
                return self._add(kept, call, by)
            case (("GET" | "DELETE"), [attachment]) if attachment not in kept:
                raise fault("INVALID_DATA", "the id given seems to be invalid", {"resource_path_index": 3})
            case "GET", [attachment]:
                one = kept[attachment]
                name = one.name.replace('"', "")
                return Answer(200, one.content, {"content-disposition": f'attachment; filename="{name}"'})
            case "DELETE", [attachment]:
                del kept[attachment]
                return Answer(200, {"data": [_entry(attachment, "record deleted")]})
            case _:
                raise fault("INVALID_REQUEST_METHOD", "The http request method type is not a valid one")

    def _add(self, kept: dict[str, Attached], call: Call, by: User) -> Answer:
        form = dict(call.form)
        link = form.get("attachmentUrl", "")
        name, content = call.files.get("file", ("", b""))
        if not link and not name:
            raise fault(
                "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", {"param_name": "file"}
            )
        if len(content) > LARGEST:
            raise fault("FILE_SIZE_EXCEEDS", "the file is too large", status=413)
        world = self.records.world
        one = Attached(
            world.crm_id(), name or form.get("title") or link, content, world.stamp(), by.crm(), link
        )
        kept[one.id] = one
        return Answer(200, {"data": [_entry(one.id, "attachment uploaded successfully")]})


def _entry(ident: str, message: str) -> Json:
    return {"code": "SUCCESS", "details": {"id": ident}, "message": message, "status": "success"}
