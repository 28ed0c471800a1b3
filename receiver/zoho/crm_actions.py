"""What CRM does to records at a word: tags, the conversion of a lead, the same change to many, several calls in one.

https://www.zoho.com/crm/developer/docs/api/v8/add-tags.html, .../convert-lead.html, .../mass-update-records.html and .../composite-api.html.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from receiver.errors import InvalidRequest, Unavailable
from receiver.zoho import part
from receiver.zoho.ask import Ask
from receiver.zoho.crm_lists import BASE, rows_of
from receiver.zoho.crm_records import chunked, only, pretended, results
from receiver.zoho.failures import error_of
from receiver.zoho.outcomes import judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from receiver.zoho import Zoho
    from receiver.zoho.ask import Answer
    from receiver.zoho.crm_records import Record, Result

TOGETHER = 5
"""Calls in one composite call."""
MASS = 500
"""Records in one mass update, by id."""
EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """The answer to one call of a composite one: its data, or its error as a value."""

    status: int
    data: Any
    error: Exception | None = None


class Tags:
    """Tags of records: `zoho.crm.tags`."""

    def __init__(self, zoho: Zoho) -> None:
        self._zoho = zoho

    def add(
        self, module: str, record_ids: str | Sequence[str], *names: str, over: bool = False
    ) -> list[Result]:
        """Puts tags on records, at most 100 in a call; one result for each, in order. `over` takes the other ones off."""
        return self._change("add_tags", module, record_ids, names, over_write=over)

    def remove(self, module: str, record_ids: str | Sequence[str], *names: str) -> list[Result]:
        """Takes tags off records; one result for each, in order."""
        return self._change("remove_tags", module, record_ids, names)

    def of(self, module: str) -> Sequence[Record]:
        """The tags of a module: name, id, colour."""
        data = self._zoho.send(Ask("crm", "GET", f"{BASE}/settings/tags", {"module": part(module)})).data
        return rows_of(data, "tags")

    def _change(
        self, action: str, module: str, record_ids: str | Sequence[str], names: Sequence[str], **more: Any
    ) -> list[Result]:
        if not names:
            raise InvalidRequest("name at least one tag", code="REQUIRED_PARAM_MISSING")

        def send(ids: Sequence[str]) -> list[Result]:
            body = {"tags": [{"name": name} for name in names], "ids": list(ids), **more}
            ask = Ask(
                "crm", "POST", f"{BASE}/{part(module)}/actions/{action}", json=body, safe=True,
                pretend=pretended(ids, action), touches=tuple((module, one, {"Tag": list(names)}) for one in ids),
            )  # fmt: skip
            return results(ask, self._zoho.send(ask), len(ids), action)

        return chunked([record_ids] if isinstance(record_ids, str) else list(record_ids), send, action)


class Actions:
    """The rest, mixed into the CRM client."""

    _zoho: Zoho

    def convert(self, lead: str, **options: Any) -> Record:
        """Turns a lead into a contact, an account and, with `Deals={...}`, a deal; their ids and names as Zoho says them.

        `options` are Zoho's own: Deals, Accounts, Contacts, overwrite, notify_lead_owner, notify_new_entity_owner, move_attachments_to.
        Costs five credits, and is never sent again by itself.
        """
        ask = Ask(
            "crm", "POST", f"{BASE}/Leads/{part(lead)}/actions/convert", json={"data": [options]},
            pretend=pretended([lead], "convert"), touches=(("Leads", lead, None),),
        )  # fmt: skip
        return only(results(ask, self._zoho.send(ask), 1, "convert")[0])

    def mass_update(
        self,
        module: str,
        values: Mapping[str, Any],
        *,
        ids: Sequence[str] = (),
        view: str = "",
        over: bool = False,
        wait: float = 60.0,
    ) -> Record:
        """The same values into many records, by their ids (at most 500) or a custom view's id; what came of it. `over` takes off the
        other values of a multi-select field, to which Zoho else adds; Zoho's description of version 8 no longer names it.

        Zoho does it later; for `wait` seconds at most the end is asked for. The answer has Status, and Failed_Count, Updated_Count,
        Not_Updated_Count and Total_Count once it has ended.
        """
        if bool(ids) == bool(view) or len(ids) > MASS:
            raise InvalidRequest(
                f"give ids, at most {MASS}, or a view, and one of the two", code="REQUIRED_PARAM_MISSING"
            )
        body: dict[str, Any] = {"data": [dict(values)], **({"over_write": True} if over else {})}
        body |= {"ids": list(ids)} if ids else {"cvid": view}
        path = f"{BASE}/{part(module)}/actions/mass_update"
        touches = tuple((module, one, values) for one in ids) or ((module, "", values),)
        ask = Ask("crm", "POST", path, json=body, pretend=pretended([""], "mass_update"), touches=touches)
        made = only(results(ask, self._zoho.send(ask), 1, "mass_update")[0])
        job = str(made.get("job_id") or "")
        if not job:
            return made
        until, said = time.monotonic() + wait, dict(made)
        while str(said.get("Status", "")).upper() not in {"COMPLETED", "FAILED"} and time.monotonic() < until:
            rows = rows_of(self._zoho.send(Ask("crm", "GET", path, {"job_id": job})).data, "data")
            said = {**made, **(rows[0] if rows else {})}
            if str(said.get("Status", "")).upper() not in {"COMPLETED", "FAILED"}:
                time.sleep(min(EVERY, max(0.0, until - time.monotonic())))
        return said

    def composite(self, *calls: Ask, rollback: bool = False, parallel: bool = False) -> list[Part]:
        """Up to five calls of CRM in one, each with an answer of its own; with `rollback` all of them or none.

        `calls` are made with `receiver.zoho.ask.Ask`. With `parallel` they must not need each other.
        """
        if not 0 < len(calls) <= TOGETHER:
            raise InvalidRequest(
                f"1 to {TOGETHER} calls go into one, not {len(calls)}", code="LIMIT_EXCEEDED"
            )
        entries = [
            {
                "sub_request_id": str(number),
                "method": each.method,
                "uri": each.path,
                **({"params": dict(each.params)} if each.params else {}),
                **({"body": each.json} if each.json is not None else {}),
            }
            for number, each in enumerate(calls)
        ]
        body = {"rollback_on_fail": rollback, "parallel_execution": parallel, "__composite_requests": entries}
        touches = tuple(touch for each in calls for touch in each.touches)
        ask = Ask(
            "crm", "POST", f"{BASE}/__composite_requests", json=body, touches=touches,
            safe=all(each.repeatable for each in calls), write=any(each.writes for each in calls),
            pretend={"__composite_requests": [{"sub_request_id": str(at), "details": {"statusCode": 200, "response": {"body": each.pretend}}} for at, each in enumerate(calls)]},
        )  # fmt: skip
        return list(_parts(calls, self._zoho.send(ask)))


def _parts(calls: Sequence[Ask], answer: Answer) -> Iterator[Part]:
    rows = {str(row.get("sub_request_id")): row for row in rows_of(answer.data, "__composite_requests")}
    for number, each in enumerate(calls):
        details = rows.get(str(number), {}).get("details") or {}
        status = int(details.get("statusCode") or 0)
        if not status:
            raise Unavailable(
                f"crm: no answer came back for call {number + 1} of {len(calls)}", code="misfit"
            )
        said = (details.get("response") or {}).get("body")
        verdict = judge("crm", status, {}, b"" if said is None else orjson.dumps(said))
        error = error_of(each, verdict, each.path, status) if verdict.error else None
        yield Part(status, verdict.data, error)
