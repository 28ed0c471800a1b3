"""What Desk keeps: tickets, contacts and comments, checked and changed; who is told is in desk_hooks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_schema import EMAIL
from receiver.simulator.wire import Answer, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from receiver.simulator.wire import Json
    from receiver.simulator.world import World

STATUS_TYPES = {"Open": "Open", "On Hold": "On Hold", "Escalated": "Open", "Closed": "Closed"}


def refusal(status: int, code: str, message: str, errors: list[Json] | None = None) -> Refused:
    body: dict[str, Any] = {"errorCode": code, "message": message}
    if errors:
        body["errors"] = errors
    return Refused(Answer(status, body))


def invalid(*errors: tuple[str, str]) -> Refused:
    """INVALID_DATA; each error is a field and `invalid`, `missing` or `duplicate`."""
    listed = [{"fieldName": f"/{name}", "errorType": kind, "errorMessage": ""} for name, kind in errors]
    return refusal(422, "INVALID_DATA", "The data is invalid due to validation restrictions", listed)


@dataclass(slots=True)
class Rows:
    """All rows; `told` hears of each change."""

    world: World
    told: Callable[[str, Json, Json | None, set[str], bool], None]
    tickets: dict[str, Json] = field(default_factory=dict)
    contacts: dict[str, Json] = field(default_factory=dict)
    comments: dict[str, dict[str, Json]] = field(default_factory=dict)
    departments: list[Json] = field(default_factory=list)
    custom: dict[str, str | None] = field(
        default_factory=lambda: {"cf_crm_contact": None, "cf_crm_summary": None}
    )
    _numbers: Iterator[int] = field(default_factory=lambda: count(1161))

    def create_ticket(self, given: Json, *, automation: bool = False) -> Json:
        missing = [(name, "missing") for name in ("subject", "departmentId") if given.get(name) in (None, "")]
        if missing:
            raise invalid(*missing)
        self._check_ticket(given)
        contact = self._contact_of(given)
        ident, stamp = self.world.desk_id(), self.world.desk_stamp()
        status = given.get("status", "Open")
        row: Json = {
            "id": ident,
            "ticketNumber": str(next(self._numbers)),
            "subject": given["subject"],
            "description": given.get("description"),
            "departmentId": str(given["departmentId"]),
            "contactId": contact["id"],
            "email": given.get("email") or contact["email"],
            "phone": given.get("phone") or contact["phone"],
            "status": status,
            "statusType": STATUS_TYPES[status],
            "priority": given.get("priority"),
            "channel": given.get("channel", "Email"),
            "category": given.get("category"),
            "assigneeId": given.get("assigneeId"),
            "createdTime": stamp,
            "modifiedTime": stamp,
            "closedTime": stamp if STATUS_TYPES[status] == "Closed" else None,
            "dueDate": given.get("dueDate"),
            "commentCount": "0",
            "threadCount": "1",
            "webUrl": f"{self.world.base}/agent/tickets/{ident}",
            "cf": {**self.custom, **(given.get("cf") or {})},
        }
        self.tickets[ident] = row
        self.comments[ident] = {}
        self.told("Ticket_Add", row, None, set(), automation)
        return row

    def update_ticket(self, row: Json, given: Json, *, automation: bool = False) -> Json:
        self._check_ticket(given)
        if "contactId" in given:
            self._contact_of(given)
        before = {**row, "cf": dict(row["cf"])}
        row["cf"].update(given.get("cf") or {})
        fixed = ("id", "ticketNumber", "createdTime", "modifiedTime", "statusType", "cf", "closedTime")
        row.update({name: value for name, value in given.items() if name in row and name not in fixed})
        row["statusType"] = STATUS_TYPES[row["status"]]
        if row["statusType"] != before["statusType"]:
            row["closedTime"] = self.world.desk_stamp() if row["statusType"] == "Closed" else None
        self._told_update("Ticket_Update", row, before, automation=automation)
        return row

    def create_contact(self, given: Json) -> Json:
        if not given.get("lastName"):
            raise invalid(("lastName", "missing"))
        self._check_email(given)
        stamp = self.world.desk_stamp()
        row: Json = {
            "id": self.world.desk_id(),
            "firstName": given.get("firstName"),
            "lastName": given["lastName"],
            "email": given.get("email"),
            "phone": given.get("phone"),
            "mobile": given.get("mobile"),
            "accountId": given.get("accountId"),
            "description": given.get("description"),
            "createdTime": stamp,
            "modifiedTime": stamp,
            "cf": {},
        }
        self.contacts[row["id"]] = row
        self.told("Contact_Add", row, None, set(), False)
        return row

    def update_contact(self, row: Json, given: Json) -> Json:
        self._check_email(given)
        before = dict(row)
        fixed = ("id", "createdTime", "modifiedTime", "cf")
        row.update({name: value for name, value in given.items() if name in row and name not in fixed})
        self._told_update("Contact_Update", row, before)
        return row

    def comment(self, ticket: Json, given: Json, by_agent: Json | None = None) -> Json:
        content, kind = given.get("content"), given.get("contentType", "plainText")
        if not isinstance(content, str) or not content.strip():
            raise invalid(("content", "missing" if content is None else "invalid"))
        if len(content) > 32_000:
            raise invalid(("content", "invalid"))
        if kind not in ("html", "plainText"):
            raise invalid(("contentType", "invalid"))
        if not isinstance(given.get("isPublic", False), bool):
            raise invalid(("isPublic", "invalid"))
        agent = by_agent or self.agents()[0]
        stamp = self.world.desk_stamp()
        row: Json = {
            "id": self.world.desk_id(),
            "ticketId": ticket["id"],
            "content": content,
            "contentType": kind,
            "isPublic": given.get("isPublic", False),
            "commentedTime": stamp,
            "modifiedTime": None,
            "commenterId": agent["id"],
            "commenter": {
                "name": agent["name"],
                "email": agent["emailId"],
                "type": "AGENT",
                "firstName": agent["firstName"],
                "lastName": agent["lastName"],
            },
            "attachments": [],
        }
        self.comments[ticket["id"]][row["id"]] = row
        ticket["commentCount"] = str(len(self.comments[ticket["id"]]))
        self.told("Ticket_Comment_Add", {**row, "departmentId": ticket["departmentId"]}, None, set(), False)
        return row

    def update_comment(self, row: Json, given: Json) -> Json:
        if not isinstance(given.get("content", row["content"]), str):
            raise invalid(("content", "invalid"))
        row.update({name: given[name] for name in ("content", "isPublic") if name in given})
        row["modifiedTime"] = self.world.desk_stamp()
        self.told("Ticket_Comment_Update", row, None, set(), False)
        return row

    def trash(self, kind: str, idents: list[str]) -> None:
        rows = self.tickets if kind == "tickets" else self.contacts
        if not idents or any(ident not in rows for ident in idents):
            raise invalid(("ticketIds" if kind == "tickets" else "contactIds", "invalid"))
        for ident in idents:
            row = rows.pop(ident)
            event = "Ticket_Delete" if kind == "tickets" else "Contact_Delete"
            self.told(event, {"id": ident, "departmentId": row.get("departmentId")}, None, set(), False)

    def agents(self) -> list[Json]:
        return [
            {
                "id": str(31138000000056007 + number),
                "firstName": user.first_name,
                "lastName": user.last_name,
                "name": user.name,
                "emailId": user.email,
                "status": "ACTIVE",
                "isConfirmed": True,
            }
            for number, user in enumerate(self.world.users)
        ]

    def _told_update(self, event: str, row: Json, before: Json, *, automation: bool = False) -> None:
        changed = {name for name, value in row.items() if value != before[name]}
        row["modifiedTime"] = self.world.desk_stamp()
        if changed:
            self.told(event, row, before, changed, automation)

    def _check_ticket(self, given: Json) -> None:
        if given.get("status", "Open") not in STATUS_TYPES:
            raise invalid(("status", "invalid"))
        if "subject" in given and (
            not isinstance(given["subject"], str) or not 0 < len(given["subject"]) <= 1000
        ):
            raise invalid(("subject", "invalid"))
        if "departmentId" in given and str(given["departmentId"]) not in {d["id"] for d in self.departments}:
            raise invalid(("departmentId", "invalid"))
        fields = given.get("cf") or {}
        if not isinstance(fields, dict) or any(name not in self.custom for name in fields):
            raise invalid(("cf", "invalid"))
        self._check_email(given)

    def _check_email(self, given: Json) -> None:
        email = given.get("email")
        if email is not None and (not isinstance(email, str) or not re.fullmatch(EMAIL, email)):
            raise invalid(("email", "invalid"))

    def _contact_of(self, given: Json) -> Json:
        if given.get("contactId"):
            contact = self.contacts.get(str(given["contactId"]))
            if contact is None:
                raise invalid(("contactId", "invalid"))
            return contact
        person = given.get("contact")
        if not isinstance(person, dict):
            raise invalid(("contactId", "missing"))
        for contact in self.contacts.values():
            if person.get("email") and contact["email"] == person["email"]:
                return contact
        return self.create_contact(person)
