"""Zohook's own handler: how a bulk job of CRM's has ended, asked of Zoho itself. What a callback says is a hint and no more.

https://www.zoho.com/crm/developer/docs/api/v8/bulk-read/job-details.html
https://www.zoho.com/crm/developer/docs/api/v8/bulk-write/get-job-details.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import HandlerError, NotFound, RetryLater, Skip
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.ledger.accept import Record, accept
from receiver.ledger.connect import connect
from receiver.routing.plugins import on
from receiver.routing.resources import resource
from receiver.zoho import part
from receiver.zoho.crm_callback import source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.settings import Settings
    from receiver.zoho import Zoho

STARTED = "app.bulk.started"
"""A handler that makes a job may emit it, with `{"kind": "read", "id": ...}`: the job's end is then found without a callback too."""
ENDED = {"COMPLETED": "completed", "FAILURE": "failed", "FAILED": "failed", "SKIPPED": "skipped"}
"""Zoho's words for a job that changes no more. Reading and writing have different ones, and only COMPLETED is sure to be theirs."""
WEEK = 7 * 86_400.0
SOONEST, LATEST = 15.0, 600.0


@resource
def zohook_ledger(settings: Settings) -> Iterator[Redis]:
    """The ledger of this process."""
    redis = connect(settings)
    yield redis
    redis.close()


@on("crm.BulkRead.reported", "crm.BulkWrite.reported", STARTED, retry_for="2d")
def poll_bulk_job(event: Event, zoho: Zoho, zohook_ledger: Redis) -> None:
    """Ask Zoho how a bulk job has ended, and make that an event: crm.BulkRead.completed, crm.BulkWrite.failed, ..."""
    kind, job_id = _which(event)
    told = _asked(zoho, kind, job_id)
    state = str(told.get("state") or told.get("status") or "")
    verb = ENDED.get(state.upper())
    if verb is None:
        age = (now_ms() - event.received) / 1000
        raise RetryLater(min(max(SOONEST, age / 4), LATEST), reason=f"the job is {state or 'in no state'}")
    found = Event(
        id=new_id(),
        type=f"crm.Bulk{kind.capitalize()}.{verb}",
        source=source(zoho),
        data={name: value for name, value in told.items() if name != "callback"},
        received=now_ms(),
        organisation=event.organisation,
        record_id=job_id,
        native=state,
        origin="poll",
        cause=event.id,
        connection=zoho.connection,
        verified_by="poll",
        identity=f"bulk:{zoho.connection}:{kind}:{job_id}:{verb}",
        depth=event.depth + 1,
    )
    record = Record(Delivery.arrive(found.source, method="POLL"), "emitted", events=[found], window=WEEK)
    accept(zohook_ledger, [record])


def _which(event: Event) -> tuple[str, str]:
    if event.type.lower() != STARTED:
        return event.resource.lower().removeprefix("bulk"), event.record_id
    said = event.data if isinstance(event.data, dict) else {}
    kind, job_id = said.get("kind"), said.get("id")
    if kind not in ("read", "write") or not isinstance(job_id, str) or not job_id:
        raise HandlerError(f'{STARTED} takes {{"kind": "read" or "write", "id": "the id of the job"}}')
    return kind, job_id


def _asked(zoho: Zoho, kind: str, job_id: str) -> dict[str, Any]:
    """The job as Zoho tells of it, which wraps the one kind in a list and not the other."""
    try:
        said = zoho.request("crm", "GET", f"/crm/bulk/v8/{kind}/{part(job_id)}")
    except NotFound:
        raise Skip(f"{zoho.connection} has no bulk {kind} job {job_id}: it is none of ours") from None
    data = said.get("data") if isinstance(said, dict) else None
    if isinstance(data, list) and data and isinstance(data[0], dict):
        return data[0]
    return said if isinstance(said, dict) else {}
