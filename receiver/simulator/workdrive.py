"""WorkDrive's API, version 1: files in folders. https://www.zoho.com/workdrive/developer/docs/api/v1/upload-file.html

The shape of errors is that of its forum (`{"errors": [{"id": "F6012", "title": ...}]}`); the ids used here are not all known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from receiver.simulator.thin_api import ThinApi
from receiver.simulator.wire import Answer, Refused

if TYPE_CHECKING:
    from receiver.simulator.oauth import Accounts
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import World

FOLDER = "g4xh1a7d0e5c8b2f4916b3c7d9e1f05a2c8d4"
LARGEST = 250 * 2**20
KIND = "application/vnd.api+json"
FIELDS = frozenset({"parent_id", "filename", "override-name-exist"})


class WorkDriveApi(ThinApi):
    """One folder of the person whose consent it is."""

    service: ClassVar[str] = "WorkDrive"

    def __init__(self, world: World, accounts: Accounts) -> None:
        super().__init__(world, accounts)
        self.files: dict[str, Json] = {}
        self.contents: dict[str, bytes] = {}

    def dead(self, *, given: bool) -> Refused:
        del given
        return _wrong(401, "F7003", "Invalid OAuth token.")

    def unscoped(self) -> Refused:
        return _wrong(401, "F7007", "Invalid OAuth scope.")

    def handle(self, call: Call) -> Answer:
        self.need(call, "files")
        match call.method, call.parts[3:]:
            case "POST", ["upload"]:
                return self._upload(call)
            case "GET", ["files", folder, "files"]:
                self._folder(folder)
                return self._listed(call)
            case "GET", ["files", ident] if ident in self.files:
                return _good(self.files[ident])
            case "GET", ["files", _]:
                raise _wrong(404, "F000", "No such file")
            case _:
                raise _wrong(404, "F6016", "URL Rule is not configured")

    def _upload(self, call: Call) -> Answer:
        said = call.fields()
        if said.keys() - FIELDS or call.files.keys() - {"content"}:
            raise _wrong(400, "F6012", "Number of parameters is more than specified")
        given, content = call.files.get("content", ("", b""))
        name = said.get("filename") or given
        if not name:
            raise _wrong(400, "F6004", "Content parameter is missing")
        if len(content) > LARGEST:
            raise _wrong(413, "F413", "File size is greater than 250 MB")
        self._folder(said.get("parent_id", ""), status=401)
        there = next((ident for ident, one in self.files.items() if one["attributes"]["name"] == name), "")
        if there and said.get("override-name-exist") != "true":
            raise _wrong(409, "F409", "Same file name already in this Parent folder")
        ident = there or f"f{self.world.next_id('sign')}"
        self.contents[ident] = content
        attributes = {"name": name, "type": "file", "parent_id": FOLDER, "is_folder": False}
        attributes["storage_info"] = {"size_in_bytes": len(content)}
        self.files[ident] = {"id": ident, "type": "files", "attributes": attributes}
        told = {"resource_id": ident, "FileName": name, "parent_id": FOLDER}
        told["Permalink"] = f"{self.world.base}/file/{ident}"
        return _good([{"attributes": told, "type": "files"}])

    def _listed(self, call: Call) -> Answer:
        start, most = int(call.param("page[offset]", "0")), int(call.param("page[limit]", "50"))
        if not 1 <= most <= 50:
            raise _wrong(400, "F6013", "page[limit] is at most 50")
        return _good(list(self.files.values())[start : start + most])

    def _folder(self, folder: str, status: int = 404) -> None:
        if folder != FOLDER:
            raise _wrong(status, "F000", "Parent folder does not belong to the user")


def _good(data: object) -> Answer:
    return Answer(200, {"data": data}, {"content-type": KIND})


def _wrong(status: int, code: str, title: str) -> Refused:
    return Refused(Answer(status, {"errors": [{"id": code, "title": title}]}))
