"""Callbacks of CRM's bulk jobs. What they say is a hint: a handler of Zohook's own asks CRM how the job has ended.

https://www.zoho.com/crm/developer/docs/api/v8/bulk-read/create-job.html. Nothing is signed and no page prints the body's exact form, so the URL
that the job is given bears a secret, and of the body the job's id is read and no more.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from receiver.errors import Malformed
from receiver.sources import body, reading, static_secret, strict_json
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK, Product
from receiver.sources.source import Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Need, Verified, Way

PARAMETER = "token"
"""As `zoho.crm.bulk_callback` writes it."""

KINDS = {
    "read": "BulkRead",
    "insert": "BulkWrite",
    "update": "BulkWrite",
    "upsert": "BulkWrite",
    "write": "BulkWrite",
}
"""What the URL's `job` or the body's `operation` says, and the resource of the event."""

_ID = re.compile(r"\w{1,100}")

GUIDE = Guide(
    title="Zoho CRM, bulk jobs",
    proof="a secret that is derived from Zohook's own key, in the URL of the callback",
    whose="derived",
    screen="""\
1. Nothing is typed at Zoho. Let the handler that makes a bulk job give it the callback of this source ({name}):

       zoho.request("crm", "POST", "/crm/bulk/v8/read",
                    json={"callback": zoho.crm.bulk_callback("read"), "query": {"module": {"api_name": "Deals"}}})

2. Another handler waits for its end: @on("crm.BulkRead.completed"), or crm.BulkRead.failed, crm.BulkWrite.completed, ...
""",
    ids=("/id",),
)


class CrmBulk(Product):
    """One event for each callback: `crm.BulkRead.reported` or `crm.BulkWrite.reported`."""

    life = WEEK
    guide = GUIDE
    needs: Need = "own"
    proof_members = frozenset({"url"})
    """A job that writes tells the URL of its callback too."""

    def settled(self, way: Way) -> Way:
        """The secret is in the URL's parameter and nowhere else."""
        return replace(way, secret_header="", secret_parameter=PARAMETER)

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A bare request without the parameter."""
        return super().handshake(delivery, way) and PARAMETER.encode() not in delivery.query

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The URL is one that we made."""
        return static_secret.verify(delivery, self.settled(way), keys)._replace(by="token")

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:
        """The URL with the secret."""
        return static_secret.sign(delivery, self.settled(way), secret)

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The hint, which names a job."""
        document = strict_json.document(delivery) if body.kind(delivery) == "json" else body.form(delivery)
        told = _job(document)
        job_id = next(
            (found for name in ("id", "job_id") if (found := reading.identifier(told.get(name)))), ""
        )
        if not _ID.fullmatch(job_id):
            raise Malformed("the body names no job")
        query = body.fields(delivery.query)
        said = query.get("job") or told.get("operation")
        kind = KINDS.get(said.lower()) if isinstance(said, str) else None
        if kind is None:
            raise Malformed("neither URL nor body says whether the job reads or writes")
        state = reading.identifier(told.get("state")) or reading.identifier(told.get("status"))
        event = self._event(
            delivery,
            way,
            verified,
            (job_id, state),
            type=f"{self.prefix}.{kind}.reported",
            native=state,
            data=told,
            organisation=reading.identifier(query.get("org")) or way.organisation,
            record_id=job_id,
        )
        return Parsed([event])

    def types(self) -> Sequence[str]:
        """The hints, and what CRM says when it is asked."""
        verbs = ("reported", "completed", "failed", "skipped")
        return [f"{self.prefix}.{kind}.{verb}" for kind in ("BulkRead", "BulkWrite") for verb in verbs]


def _job(document: Any) -> dict[str, Any]:
    """The job, alone or wrapped in `data` as CRM's own answers wrap it."""
    inner = document.get("data") if isinstance(document, dict) else None
    if isinstance(inner, list) and inner:
        inner = inner[0]
    found = inner if isinstance(inner, dict) else document
    if not isinstance(found, dict):
        raise Malformed("the body is no JSON object")
    return {name: value for name, value in found.items() if name not in (PARAMETER, "callback")}
