"""The CRM's bulk jobs: made, asked for, and told of by a callback when they end; what they read and write is in crm_bulk_files.

https://www.zoho.com/crm/developer/docs/api/v8/bulk-read/create-job.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import orjson

from receiver.simulator import crm_bulk_files
from receiver.simulator.crm_write import fault
from receiver.simulator.deliver import Parcel
from receiver.simulator.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.simulator.crm_records import Change, Records
    from receiver.simulator.deliver import Sender
    from receiver.simulator.limits import Limits
    from receiver.simulator.wire import Call, Json

CREDITS = {"read": 50, "write": 500}
"""What it costs to start a job: https://www.zoho.com/crm/developer/docs/api/v8/api-limits.html"""


@dataclass(slots=True)
class Job:
    """One job; `state` is Zoho's word, and reading and writing spell theirs differently."""

    id: str
    kind: str
    module: str
    callback: str = ""
    state: str = "ADDED"
    made: str = ""
    operation: str = "insert"
    result: bytes = b""
    about: Json = field(default_factory=dict)


class Bulk:
    """Answers /crm/bulk/v8. A job ends at once, unless `limits.bulk_by_hand` leaves that to `end`."""

    def __init__(
        self, records: Records, limits: Limits, sender: Sender, publish: Callable[[list[Change]], None]
    ) -> None:
        self.records = records
        self.limits = limits
        self.sender = sender
        self.jobs: dict[str, Job] = {}
        self.files: dict[str, bytes] = {}
        self.publish = publish

    def upload(self, call: Call) -> Answer:
        """https://www.zoho.com/crm/developer/docs/api/v8/bulk-write/upload-file.html"""
        name, content = call.files.get("file", ("", b""))
        if (
            call.headers.get("feature") != "bulk-write"
            or call.headers.get("x-crm-org") != self.records.world.zgid
        ):
            raise fault("INVALID_REQUEST", "the headers feature and X-CRM-ORG are needed")
        if not name.endswith(".zip") or not crm_bulk_files.columns(content):
            raise fault("INVALID_FILE_FORMAT", "the file is no zip of one CSV")
        ident = self.records.world.crm_id()
        self.files[ident] = content
        details = {"file_id": ident, "created_time": self.records.world.stamp()}
        return Answer(
            200,
            {
                "status": "success",
                "code": "FILE_UPLOAD_SUCCESS",
                "message": "file uploaded.",
                "details": details,
            },
        )

    def handle(self, call: Call, parts: list[str]) -> Answer:
        match call.method, parts:
            case "POST", ["read"]:
                return self._created(self._read(call))
            case "POST", ["write"]:
                return self._created(self._write(call))
            case "GET", ["read" | "write" as kind, ident, "result"]:
                job = self.jobs.get(ident)
                if job is None or job.kind != kind or job.state != "COMPLETED":
                    raise fault("RESOURCE_NOT_FOUND", "The requested resource doesn't exist.", status=404)
                return Answer(200, job.result, {"content-disposition": f'attachment; filename="{ident}.zip"'})
            case "GET", ["read" | "write" as kind, ident]:
                job = self.jobs.get(ident)
                if job is None or job.kind != kind:
                    gone = {"resource": f"/{kind}/{ident}"}
                    raise fault("RESOURCE_NOT_FOUND", "The requested resource doesn't exist.", gone, 404)
                shown = self.shown(job)
                return Answer(200, {"data": [shown]} if kind == "read" else shown)
            case _:
                raise fault("INVALID_URL_PATTERN", "Please check the URL", status=404)

    def make(
        self, kind: str, module: str, callback: str = "", about: Json | None = None, operation: str = "insert"
    ) -> Job:
        """A job that any program of the organisation has made; `about` is the rest of its query."""
        world = self.records.world
        with world.lock:
            job = Job(
                world.crm_id(),
                kind,
                module,
                callback,
                made=world.stamp(),
                operation=operation,
                about=about or {},
            )
            self.jobs[job.id] = job
        if not self.limits.bulk_by_hand:
            self.end(job.id)
        return job

    def end(self, ident: str, state: str = "COMPLETED", *, tell: bool = True) -> None:
        """The job comes to this state; without `tell` its callback is lost."""
        job = self.jobs[ident]
        if state == "COMPLETED" and not job.result:
            self._do(job)
        job.state = state
        if tell and job.callback:
            body, headers = orjson.dumps(self.shown(job)), {"content-type": "application/json"}
            fact = f"bulk:{job.kind}:{ident}:{state}"
            self.sender.put(Parcel("crm_bulk", f"bulk.{job.kind}", job.callback, body, headers, (fact,)))

    def _do(self, job: Job) -> None:
        """Reads, or writes what was uploaded, as of now."""
        if job.kind == "read":
            job.result = crm_bulk_files.read(
                self.records,
                job.module,
                job.about.get("fields") or [],
                int(job.about.get("page") or 1),
                self.limits.bulk_rows,
            )
            return
        if job.about.get("file_id") not in self.files:
            return
        changes, job.result = crm_bulk_files.write(
            self.records, job.module, self.files[job.about["file_id"]], job.operation, job.about
        )
        self.publish(changes)

    def _write(self, call: Call) -> Job:
        body = call.json()
        resource = body.get("resource") if isinstance(body, dict) else None
        if not isinstance(resource, list) or not resource or not isinstance(resource[0], dict):
            raise fault("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "resource"})
        about, operation = resource[0], body.get("operation")
        module = (about.get("module") or {}).get("api_name")
        if about.get("file_id") not in self.files:
            raise fault("INVALID_DATA", "the file_id given is invalid", {"api_name": "file_id"})
        if operation not in ("insert", "update", "upsert") or module not in self.records.modules:
            raise fault(
                "INVALID_DATA",
                "invalid data",
                {"api_name": "operation" if module in self.records.modules else "module"},
            )
        if operation != "insert" and not about.get("find_by"):
            raise fault("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "find_by"})
        return self.make("write", module, self._callback(body.get("callback")), about, operation)

    def shown(self, job: Job) -> Json:
        who = self.records.world.admin
        by = {"id": who.id, "name": who.name}
        module = {"api_name": job.module, "id": self.records.modules[job.module].id}
        common: Json = {"id": job.id, "created_by": by, "created_time": job.made}
        done = job.state == "COMPLETED"
        where = f"/crm/bulk/v8/{job.kind}/{job.id}/result"
        if job.kind == "read":
            page, rows = int(job.about.get("page") or 1), self.limits.bulk_rows
            total = len(self.records.table(job.module))
            count = max(0, min(rows, total - rows * (page - 1)))
            result = {
                "page": page,
                "per_page": rows,
                "count": count,
                "download_url": where,
                "more_records": total > rows * page,
            }
            return {
                **common, "operation": "read", "state": job.state, "file_type": "csv",
                "query": {"page": 1, **job.about, "module": module}, **({"result": result} if done else {}),
            }  # fmt: skip
        return {
            **common, "operation": job.operation, "status": job.state, "character_encoding": "UTF-8",
            "resource": [{"status": job.state, "type": "data", "module": module}],
            "callback": {"url": job.callback, "method": "post"}, **({"result": {"download_url": where}} if done else {}),
        }  # fmt: skip

    def _created(self, job: Job) -> Answer:
        details = {
            "id": job.id,
            "operation": job.kind,
            "state": "ADDED",
            "created_time": job.made,
        }
        entry = {
            "status": "success",
            "code": "ADDED_SUCCESSFULLY",
            "message": "Added successfully.",
            "details": details,
        }
        return Answer(201, {"data": [entry], "info": {}})

    def _read(self, call: Call) -> Job:
        body = call.json()
        query = body.get("query") if isinstance(body, dict) else None
        named = query.get("module") if isinstance(query, dict) else None
        if not isinstance(body, dict) or not isinstance(query, dict) or not isinstance(named, dict):
            raise fault("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "module"})
        module = named.get("api_name")
        if module not in self.records.modules:
            raise fault("INVALID_DATA", "the module name given seems to be invalid", {"api_name": "module"})
        about = {name: value for name, value in query.items() if name != "module"}
        return self.make("read", str(module), self._callback(body.get("callback")), about)

    def _callback(self, given: object) -> str:
        if given is None:
            return ""
        about = given if isinstance(given, dict) else {}
        url = about.get("url")
        if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
            raise fault("INVALID_DATA", "invalid data", {"api_name": "url", "json_path": "$.callback.url"})
        if about.get("method") != "post":
            raise fault(
                "INVALID_DATA", "invalid data", {"api_name": "method", "json_path": "$.callback.method"}
            )
        return url
