"""CRM's bulk jobs: hundreds of thousands of rows read, tens of thousands written, by files in the background: `zoho.crm.bulk`.

https://www.zoho.com/crm/developer/docs/api/v8/bulk-read/overview.html and .../bulk-write/overview.html. A bulk read costs 50 credits, a
bulk write 500. A job takes minutes: start it with `callback=True` and go on in a handler of `crm.BulkRead.completed`, whose
`zoho.crm.bulk.rows(event.record_id)` are its rows; or wait for it here.
"""

from __future__ import annotations

import csv
import io
import tempfile
import time
import zipfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from receiver.errors import InvalidRequest, RetryLater, Unavailable
from receiver.zoho import part
from receiver.zoho.ask import Answer, Ask
from receiver.zoho.crm_callback import callback as callback_of
from receiver.zoho.crm_lists import rows_of
from receiver.zoho.crm_records import only, pretended, results
from receiver.zoho.files import upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from receiver.zoho import Zoho
    from receiver.zoho.crm_records import Record

PATH = "/crm/bulk/v8"
ROWS, MOST, LARGEST = 200_000, 25_000, 25 * 2**20
"""Rows in one page of a read; rows and bytes in one write."""
IN_MEMORY = 4 * 2**20
"""Beyond so many bytes a file on its way is on disk."""
DEADLINE = 600.0
ENDED = frozenset({"COMPLETED", "FAILURE", "FAILED", "SKIPPED"})

Kind = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class Job:
    """A bulk job as Zoho shows it. `count` is of this page; `more` says that there is another page to be read."""

    id: str
    kind: Kind
    state: str
    count: int = 0
    page: int = 1
    more: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state in ENDED

    @property
    def ok(self) -> bool:
        """Whether it ended well."""
        return self.state == "COMPLETED"


class Bulk:
    """Starts jobs, asks how they are, and reads what they bring, row by row."""

    def __init__(self, zoho: Zoho) -> None:
        self._zoho = zoho

    def start_read(
        self,
        module: str,
        fields: Sequence[str],
        *,
        criteria: Mapping[str, Any] | None = None,
        page: int = 1,
        callback: bool = False,
    ) -> str:
        """The id of a job that reads one page of at most 200,000 records. `criteria` is Zoho's own
        (`{"field": {"api_name": "Stage"}, "comparator": "equal", "value": "Closed Won"}`).
        """
        query: dict[str, Any] = {"module": {"api_name": module}, "fields": list(fields), "page": page}
        if criteria:
            query["criteria"] = dict(criteria)
        body: dict[str, Any] = {"query": query, "file_type": "csv"}
        if callback:
            body["callback"] = callback_of(self._zoho, "read")
        ask = Ask("crm", "POST", f"{PATH}/read", json=body, write=False, safe=True)
        return str(only(results(ask, self._zoho.send(ask), 1, "read")[0])["id"])

    def start_write(
        self,
        module: str,
        records: Iterable[Mapping[str, Any]],
        *,
        operation: Literal["insert", "update", "upsert"],
        find_by: str = "",
        ignore_empty: bool = False,
        callback: bool = False,
    ) -> str:
        """The id of a job that writes at most 25,000 records, which are sent as a file. For update and upsert `find_by` is the field that
        tells which record is meant ("id" or a unique one). Never sent again by itself.
        """
        if operation != "insert" and not find_by:
            raise InvalidRequest(
                f"{operation} needs find_by=, the field by which a record is found",
                code="REQUIRED_PARAM_MISSING",
            )
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            names = _zipped(records, file, module)
            file.seek(0)
            file_id = self._send_file(file, _size(file), f"{module}.zip")
        resource: dict[str, Any] = {
            "type": "data",
            "module": {"api_name": module},
            "file_id": file_id,
            "ignore_empty": ignore_empty,
            "field_mappings": [{"api_name": name, "index": index} for index, name in enumerate(names)],
        }
        if find_by:
            resource["find_by"] = find_by
        body: dict[str, Any] = {"operation": operation, "resource": [resource]}
        if callback:
            body["callback"] = callback_of(self._zoho, "write")
        ask = Ask(
            "crm",
            "POST",
            f"{PATH}/write",
            json=body,
            pretend=pretended([""], operation),
            touches=((module, "", None),),
        )
        data = self._zoho.send(ask).data
        details = data.get("details") if isinstance(data, dict) else None
        if isinstance(details, dict) and details.get("id"):
            return str(details["id"])
        return str(only(results(ask, Answer(201, data, {}), 1, operation)[0])["id"])

    def job(self, kind: Kind, job_id: str) -> Job:
        """How a job is. Raises NotFound where there is none."""
        data = self._zoho.send(Ask("crm", "GET", f"{PATH}/{kind}/{part(job_id)}")).data
        rows = rows_of(data, "data") if kind == "read" else [data]
        row = rows[0] if rows and isinstance(rows[0], dict) else {}
        told = row.get("result") or {}
        state = str(row.get("state" if kind == "read" else "status") or "")
        count = told.get("count") or next(
            (
                each.get("file", {}).get("total_count", 0)
                for each in row.get("resource", ())
                if each.get("file")
            ),
            0,
        )
        return Job(
            job_id,
            kind,
            state,
            int(count or 0),
            int(told.get("page") or 1),
            bool(told.get("more_records")),
            row,
        )

    def wait(self, kind: Kind, job_id: str, *, seconds: float = 300.0, every: float = 5.0) -> Job:
        """The job once it has ended. Raises RetryLater after so many seconds, which costs the job no try: ask again then, with the same
        id from an `event.step`.
        """
        until = time.monotonic() + seconds
        while not (found := self.job(kind, job_id)).ended:
            if time.monotonic() + every > until:
                raise RetryLater(60, reason=f"the bulk {kind} {job_id} is {found.state or 'under way'}")
            time.sleep(every)
        return found

    def rows(self, job_id: str) -> Iterator[Record]:
        """The rows of one page that a bulk read brought, one by one, as texts. The file is kept by Zoho for a day."""
        return self._file_rows("read", job_id)

    def outcomes(self, job_id: str) -> Iterator[Record]:
        """What became of each row of a bulk write: the row, with STATUS, RECORD_ID and ERRORS. Kept by Zoho for a week."""
        return self._file_rows("write", job_id)

    def read(
        self,
        module: str,
        fields: Sequence[str],
        *,
        criteria: Mapping[str, Any] | None = None,
        seconds: float = 300.0,
        every: float = 5.0,
    ) -> Iterator[Record]:
        """All records of a module, row by row, page after page, waiting for each."""
        page, more = 1, True
        while more:
            ended = self.wait(
                "read",
                self.start_read(module, fields, criteria=criteria, page=page),
                seconds=seconds,
                every=every,
            )
            if not ended.ok:
                raise Unavailable(f"crm: the bulk read of {module} ended as {ended.state}", code=ended.state)
            yield from self.rows(ended.id)
            page, more = page + 1, ended.more

    def write(
        self, module: str, records: Iterable[Mapping[str, Any]], *, operation: Literal["insert", "update", "upsert"],
        find_by: str = "", seconds: float = 300.0, every: float = 5.0,
    ) -> Iterator[Record]:  # fmt: skip
        """Writes records and waits; what became of each of them."""
        job_id = self.start_write(module, records, operation=operation, find_by=find_by)
        ended = self.wait("write", job_id, seconds=seconds, every=every)
        if ended.state in {"FAILED", "FAILURE"}:
            raise Unavailable(
                f"crm: the bulk write to {module} failed: {ended.details.get('result')}", code=ended.state
            )
        return self.outcomes(job_id)

    def _send_file(self, file: Any, size: int, name: str) -> str:
        organisation = self._zoho.crm.org()["zgid"]
        sent = upload(file, name)
        ask = Ask(
            "content", "POST", "/crm/v8/upload", headers={"feature": "bulk-write", "X-CRM-ORG": str(organisation)}, deadline=DEADLINE,
            file=replace(sent, size=size), pretend={"details": {"file_id": "shadow"}},
        )  # fmt: skip
        data = self._zoho.send(ask).data
        details = data.get("details") if isinstance(data, dict) else None
        if not isinstance(details, dict) or not details.get("file_id"):
            raise Unavailable("crm: no file_id came back for the file of a bulk write", code="misfit")
        return str(details["file_id"])

    def _file_rows(self, kind: Kind, job_id: str) -> Iterator[Record]:
        path = f"{PATH}/{kind}/{part(job_id)}/result"
        if kind == "write":
            path = str((self.job("write", job_id).details.get("result") or {}).get("download_url") or path)
            path = "/" + path.split("://", 1)[-1].partition("/")[2] if "://" in path else path
        with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
            with self._zoho.open(Ask("crm", "GET", path, deadline=DEADLINE), f"{job_id}.zip") as download:
                for piece in download:
                    file.write(piece)
            file.seek(0)
            try:
                with zipfile.ZipFile(file) as packed:
                    for name in packed.namelist():
                        with packed.open(name) as raw:
                            yield from csv.DictReader(io.TextIOWrapper(raw, "utf-8-sig", newline=""))
            except zipfile.BadZipFile as error:
                raise Unavailable(
                    f"crm: the result of bulk {kind} {job_id} is no zip file", code="misfit"
                ) from error


def _size(file: Any) -> int:
    at = file.tell()
    file.seek(0, io.SEEK_END)
    size = int(file.tell())
    file.seek(at)
    return size


def _zipped(records: Iterable[Mapping[str, Any]], out: Any, module: str) -> list[str]:
    """Records as the one CSV of a zip file; the names of its columns. The first record says which there are."""
    names: list[str] = []
    count = 0
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed, packed.open(f"{module}.csv", "w") as raw:
        text = io.TextIOWrapper(raw, "utf-8", newline="")
        writer = csv.writer(text)
        for record in records:
            if not names:
                names = list(record)
                writer.writerow(names)
            strange = set(record) - set(names)
            if strange or count >= MOST:
                what = f"{min(strange)} is not in the first record" if strange else f"over {MOST} records"
                raise InvalidRequest(f"crm: a bulk write of {module}: {what}", code="INVALID_DATA")
            writer.writerow([_cell(record.get(name)) for name in names])
            count += 1
        text.flush()
        text.detach()
    if not count:
        raise InvalidRequest(f"crm: a bulk write of {module} has no records", code="INVALID_DATA")
    if _size(out) > LARGEST:
        raise InvalidRequest(f"crm: a bulk write of {module} is over {LARGEST} bytes", code="INVALID_DATA")
    return names


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return str(value.get("id", ""))
    return "" if value is None else str(value)
