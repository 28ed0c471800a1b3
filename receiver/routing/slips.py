"""The RQ side: the one function that a slip may name, and the job class that refuses every other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from rq.job import Job
from rq.serializers import JSONSerializer

from receiver import keys
from receiver.errors import LedgerError
from receiver.ledger import runs, turns
from receiver.routing import process, run

if TYPE_CHECKING:
    from receiver.ledger.runs import Kind

REFUSED = (
    "success_callback_name",
    "failure_callback_name",
    "stopped_callback_name",
    "webhooks",
    "meta",
    "dependency_ids",
    "dependency_id",
)
"""What RQ would import, call or fetch because a job's hash says so."""


class ForgedSlip(LedgerError):
    """An RQ job that is no slip of ours: whoever can write to Redis could otherwise run code in the workers."""


def work(kind: str, found_id: str, run_number: int) -> str:
    """Do what a slip says: route an event ("e") or run a job ("j"). What RQ workers call; a word for their log."""
    ours = process.this()
    word = run.work(ours, cast("Kind", kind), found_id, run_number)
    # RQ's own workers take slips behind the ledger's back, and do not sweep: they too make room for what waits.
    if ours.redis.exists(keys.waits()):
        settings = ours.settings.worker
        runs.refill(ours.redis, again=settings.again, slips=settings.slips)
    return word


class Slip(Job):
    """RQ's job, read as JSON whatever the worker was started with, without callbacks, webhooks or metadata."""

    def __init__(self, id: str | None = None, connection: Any = None, serializer: Any = None) -> None:  # noqa: A002, ARG002
        super().__init__(id, connection, JSONSerializer)
        self._told = False

    def restore(self, raw_data: dict[Any, Any]) -> Any:
        """RQ's restore, without the fields that would make it import, call or fetch anything."""
        refused = {each.encode() for each in REFUSED}
        return super().restore({key: value for key, value in raw_data.items() if key not in refused})

    def _slip(self) -> tuple[str, str, int]:
        ids = turns.Slip(self.id, self.origin, "", self.data).ids()
        if ids is None:
            if not self._told:
                turns.forged(self.connection, self.id, self.origin)
            self._told = True
            raise ForgedSlip(f"the RQ job {self.id} is no slip of Zohook's and was not run")
        return ids

    def _deserialize_data(self) -> None:
        """The four parts of a slip, or ForgedSlip: nothing else is ever named, imported or called."""
        kind, found, number = self._slip()
        self._func_name, self._instance, self._args, self._kwargs = (
            turns.FUNCTION,
            None,
            (kind, found, number),
            {},
        )

    def _execute(self) -> Any:
        return work(*self._slip())
