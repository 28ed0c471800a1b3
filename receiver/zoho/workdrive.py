"""WorkDrive: files put into folders, in pieces. https://www.zoho.com/workdrive/developer/docs/api/v1/upload-file.html

It answers as JSON:API says, and is called on the host of the REST API. Up to 250 MB come this way; larger ones have a host of their own.
"""

from __future__ import annotations

from dataclasses import replace as changed
from typing import IO, TYPE_CHECKING, Any

from receiver.errors import Unavailable
from receiver.zoho import part
from receiver.zoho.ask import Ask
from receiver.zoho.files import LONGEST, upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from receiver.zoho import Zoho
    from receiver.zoho.files import Download

Record = dict[str, Any]
BASE = "/workdrive/api/v1"
PAGE = 50


class WorkDrive:
    """The files of the person whose consent it is. Handlers declare what they need: `scopes=["WorkDrive.files.ALL"]`."""

    def __init__(self, zoho: Zoho) -> None:
        self._zoho = zoho

    def upload(
        self,
        folder: str,
        what: Download | Path | bytes | IO[bytes] | Iterable[bytes],
        name: str = "",
        *,
        replace: bool = False,
    ) -> Record:
        """Puts a file into a folder; its attributes (resource_id, FileName, Permalink, parent_id). A name that is there already is a
        Conflict, or with `replace` a new version of that file. Never sent again by itself, for a file is read once.
        """
        file = upload(what, name, part="content")
        fields = {"parent_id": folder, "filename": file.name, "override-name-exist": str(replace).lower()}
        ask = Ask(
            "workdrive", "POST", f"{BASE}/upload", file=changed(file, more=fields), deadline=LONGEST,
            pretend={"data": [{"attributes": {"resource_id": "shadow", "FileName": file.name, "parent_id": folder}}]},
            touches=(("files", "", dict(fields)),),
        )  # fmt: skip
        rows = _rows(self._zoho.send(ask).data)
        if not rows:
            raise Unavailable("workdrive: the answer has no file", code="misfit")
        return dict(rows[0]["attributes"])

    def get(self, file: str) -> Record:
        """One file or folder: id, and attributes (name, type, parent_id, ...). Raises NotFound where there is none.
        https://www.zoho.com/workdrive/developer/docs/api/v1/get-file-folder-info.html
        """
        data = self._zoho.send(Ask("workdrive", "GET", f"{BASE}/files/{part(file)}")).data
        found = data.get("data") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            raise Unavailable("workdrive: the answer has no file", code="misfit")
        return found

    def list(self, folder: str) -> Iterator[Record]:
        """What a folder holds, one by one. Pages of 50."""
        start = 0
        while True:
            page = {"page[limit]": str(PAGE), "page[offset]": str(start)}
            ask = Ask("workdrive", "GET", f"{BASE}/files/{part(folder)}/files", page)
            rows = _rows(self._zoho.send(ask).data)
            yield from rows
            if len(rows) < PAGE:
                return
            start += PAGE


def _rows(data: Mapping[str, Any] | None) -> list[Record]:
    rows = data.get("data") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not all(
        isinstance(one, dict) and isinstance(one.get("attributes"), dict) for one in rows
    ):
        raise Unavailable("workdrive: the answer has no list of files", code="misfit")
    return rows
