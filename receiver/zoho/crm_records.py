"""CRM's per-record answers: one entry for each record sent, in the same order, good and bad ones mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from receiver.errors import DuplicateData, Request, Unavailable, ZohoError
from receiver.zoho.failures import existing
from receiver.zoho.outcomes import entries, record_error

if TYPE_CHECKING:
    from receiver.zoho.ask import Answer, Ask

Record = dict[str, Any]
LIMIT = 100
"""Records in one write call."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one record of many. `action` is Zoho's word (insert, update, delete); `error` is None
    where `ok`.
    """

    ok: bool
    id: str = ""
    action: str = ""
    error: ZohoError | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def results(ask: Ask, answer: Answer, count: int, action: str) -> list[Result]:
    """One result for each of the `count` records sent; raises Unavailable where the answer does not fit
    them.
    """
    found = entries(answer.data)
    if found is None or len(found) != count:
        seen = "no entries" if found is None else f"{len(found)} entries"
        raise Unavailable(
            f"crm {ask.path}: {seen} came back for {count} records", code="misfit", status=answer.status
        )
    return [_result(ask, answer.status, entry, action) for entry in found]


def _result(ask: Ask, status: int, entry: Mapping[str, Any], action: str) -> Result:
    told = entry.get("details")
    details: Record = told if isinstance(told, dict) else {}
    if entry.get("status") == "success":
        return Result(True, str(details.get("id", "")), str(entry.get("action") or action), None, details)
    kind = record_error(entry)
    error = kind(
        f"crm {ask.method} {ask.path}: {entry.get('message') or entry.get('code')}",
        code=str(entry.get("code", "")),
        status=status,
        request=Request(ask.method, ask.path, "crm"),
        details=details,
    )
    if isinstance(error, DuplicateData):
        error.existing_id = existing(details)
    return Result(False, str(details.get("id", "")), action, error, details)


def failed(count: int, error: ZohoError, action: str) -> list[Result]:
    """The results of records whose call failed as a whole."""
    return [Result(False, "", action, error)] * count


def only(result: Result) -> Record:
    """The details of the one record sent, with what was done to it as `action`; raises its error."""
    if result.error:
        raise result.error
    return {**result.details, "action": result.action}


def pretended(ids: Sequence[str], action: str) -> dict[str, Any]:
    """The answer that shadow mode gives in place of CRM's."""
    return {
        "data": [
            {
                "code": "SUCCESS",
                "status": "success",
                "action": action,
                "message": "not sent",
                "details": {"id": one or "shadow"},
            }
            for one in ids
        ]
    }


def differing(record: Mapping[str, Any], values: Mapping[str, Any]) -> Record:
    """Those of the values that the record does not have yet; a lookup is the same if its id is."""
    return {name: value for name, value in values.items() if _plain(record.get(name)) != _plain(value)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping) and "id" in value:
        return str(value["id"])
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def chunked(
    things: Sequence[Any], send: Callable[[Sequence[Any]], list[Result]], action: str
) -> list[Result]:
    """Sends a hundred at a time. If a later call fails as a whole, the results so far are kept, and the rest
    is marked with its error and not sent; if the first one does, it raises.
    """
    done: list[Result] = []
    for start in range(0, len(things), LIMIT):
        try:
            done += send(things[start : start + LIMIT])
        except ZohoError as error:
            if not done:
                raise
            return done + failed(len(things) - len(done), error, action)
    return done
