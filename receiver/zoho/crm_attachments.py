"""Attachments of CRM records, in pieces both ways: `zoho.crm.attachments`.

https://www.zoho.com/crm/developer/docs/api/v8/upload-attachment.html and its neighbours. About 20 MB is the most that CRM takes.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from receiver.zoho import part
from receiver.zoho.ask import Ask
from receiver.zoho.crm_lists import BASE
from receiver.zoho.crm_records import only, pretended, results
from receiver.zoho.files import upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from receiver.zoho import Zoho
    from receiver.zoho.crm import CRM
    from receiver.zoho.crm_records import Record
    from receiver.zoho.files import Download

FIELDS = ("id", "File_Name", "Size", "Created_Time", "Modified_Time", "Created_By", "$type")
DEADLINE = 300.0
"""Seconds for one file."""


class Attachments:
    """The files that hang on a record."""

    def __init__(self, crm: CRM, zoho: Zoho) -> None:
        self._crm, self._zoho = crm, zoho

    def list(self, module: str, record_id: str) -> Iterator[Record]:
        """The attachments of a record, one by one: id, File_Name, Size (in bytes, as text), times and who."""
        return self._crm.related(module, record_id, "Attachments", fields=FIELDS)

    def upload(
        self,
        module: str,
        record_id: str,
        what: Download | Path | bytes | IO[bytes] | Iterable[bytes],
        name: str = "",
    ) -> Record:
        """Hangs a file on a record; its details, with its `id`. Never sent again by itself, for a file is read once: run the step in
        `event.step` where a second copy would harm.
        """
        return self._add(
            module,
            record_id,
            Ask("crm", "POST", _path(module, record_id), file=upload(what, name), deadline=DEADLINE),
        )

    def link(self, module: str, record_id: str, url: str, title: str = "") -> Record:
        """Hangs a link on a record; its details."""
        fields = {"attachmentUrl": url, **({"title": title} if title else {})}
        return self._add(module, record_id, Ask("crm", "POST", _path(module, record_id), form=fields))

    def open(self, module: str, record_id: str, attachment_id: str) -> AbstractContextManager[Download]:
        """An attachment, to be read within a `with` block: iterated in pieces, saved to a path, or sent on to another client."""
        ask = Ask("crm", "GET", f"{_path(module, record_id)}/{part(attachment_id)}", deadline=DEADLINE)
        return self._zoho.open(ask, attachment_id)

    def delete(self, module: str, record_id: str, attachment_id: str) -> Record:
        """Takes an attachment off a record; its details."""
        ask = Ask(
            "crm", "DELETE", f"{_path(module, record_id)}/{part(attachment_id)}",
            pretend=pretended([attachment_id], "delete"), touches=((module, record_id, None),),
        )  # fmt: skip
        return only(results(ask, self._zoho.send(ask), 1, "delete")[0])

    def _add(self, module: str, record_id: str, ask: Ask) -> Record:
        from dataclasses import replace  # noqa: PLC0415 - loaded when it is used

        ask = replace(ask, pretend=pretended([""], "insert"), touches=((module, record_id, None),))
        return only(results(ask, self._zoho.send(ask), 1, "insert")[0])


def _path(module: str, record_id: str) -> str:
    return f"{BASE}/{part(module)}/{part(record_id)}/Attachments"
