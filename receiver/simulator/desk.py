"""Desk as its API shows it: who may call, how much, and which call it is; rows and webhooks are its rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.simulator.desk_hooks import Hooks
from receiver.simulator.desk_lists import listed, page, searched
from receiver.simulator.desk_records import Rows, refusal
from receiver.simulator.limits import Gate, Window
from receiver.simulator.oauth_scopes import covers
from receiver.simulator.wire import Answer

if TYPE_CHECKING:
    from receiver.simulator.deliver import Sender
    from receiver.simulator.limits import Limits
    from receiver.simulator.oauth import Accounts
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import World

OPERATIONS = {"GET": "READ", "POST": "CREATE", "PATCH": "UPDATE", "DELETE": "DELETE"}


class Desk:
    """The whole product; `create`, `update` and `comment` are what a person does in its pages."""

    def __init__(self, world: World, limits: Limits, accounts: Accounts, sender: Sender) -> None:
        self.world = world
        self.limits = limits
        self.accounts = accounts
        self.hooks = Hooks(world, limits, sender)
        self.rows = Rows(world, self.hooks.publish)
        self.credits, self.gate = Window(86_400.0), Gate()

    def create(self, kind: str, values: Json, *, automation: bool = False) -> Json:
        """The new ticket or contact; raises Refused where the API would answer with an error."""
        with self.world.lock:
            if kind == "contacts":
                return dict(self.rows.create_contact(values))
            return dict(self.rows.create_ticket(values, automation=automation))

    def update(self, kind: str, ident: str, values: Json, *, automation: bool = False) -> Json:
        with self.world.lock:
            if kind == "contacts":
                return dict(self.rows.update_contact(self.rows.contacts[ident], values))
            return dict(self.rows.update_ticket(self.rows.tickets[ident], values, automation=automation))

    def comment(self, ticket_id: str, content: str, *, public: bool = False) -> Json:
        with self.world.lock:
            return dict(
                self.rows.comment(self.rows.tickets[ticket_id], {"content": content, "isPublic": public})
            )

    def get(self, kind: str, ident: str) -> Json | None:
        row = (self.rows.tickets if kind == "tickets" else self.rows.contacts).get(ident)
        return dict(row) if row else None

    def all(self, kind: str, last: int = 0) -> list[Json]:
        """Oldest first; `last` gives so many of the newest only."""
        with self.world.lock:
            rows = self.rows.tickets if kind == "tickets" else self.rows.contacts
            return [dict(row) for row in list(rows.values())[-last:]]

    def comments(self, ticket_id: str) -> list[Json]:
        with self.world.lock:
            return list(self.rows.comments.get(ticket_id, {}).values())

    def enter(self, call: Call) -> bool:
        """Lets a call in, or raises Refused."""
        token = self.accounts.bearer(call)
        if token is None:
            raise refusal(401, "UNAUTHORIZED", "You are not authenticated to perform this operation.")
        call.token = self.accounts.live(token)
        if call.token is None:
            raise refusal(401, "INVALID_OAUTH", "The OAuth Token you provided is invalid.")
        now = self.world.now()
        cost = self._cost(call)
        if self.credits.used(now) + cost > self.limits.desk_credits:
            raise refusal(429, "THRESHOLD_EXCEEDED", "The credits of the day are used up")
        if not self.gate.enter(self.limits.desk_concurrency):
            raise refusal(429, "TOO_MANY_REQUESTS", "Too many requests in progress")
        self.credits.add(now, cost)
        return False

    def leave(self, *, heavy: bool) -> None:
        del heavy
        self.gate.leave()

    def headers(self) -> dict[str, str]:
        left = self.limits.desk_credits - self.credits.used(self.world.now())
        return {"X-Rate-Limit-Remaining-v3": str(left), "X-Rate-Limit-Request-Weight-v3": "1"}

    def _cost(self, call: Call) -> int:
        return 3 if call.method == "GET" and call.parts[-1] in ("tickets", "contacts", "search") else 1

    def handle(self, call: Call) -> Answer:
        parts = call.parts[2:]
        if parts == ["organizations"] and call.method == "GET":
            self._need(call, "Desk.basic.READ", "Desk.settings.READ")
            return Answer(200, {"data": [self._org()]})
        org = call.headers.get("orgid", "")
        if not org:
            raise refusal(422, "UNPROCESSABLE_ENTITY", "The header orgId is missing")
        if org != self.world.desk_org:
            raise refusal(403, "OAUTH_ORG_MISMATCH", "The OAuth token is not of this organization")
        match parts:
            case ["webhooks", *rest]:
                self._need(call, f"Desk.webhooks.{OPERATIONS.get(call.method, 'READ')}")
                self._need(call, "Desk.events.ALL", "Desk.events.READ")
                return self.hooks.handle(call, rest)
            case ["departments"] if call.method == "GET":
                self._need(call, "Desk.basic.READ", "Desk.settings.READ")
                return Answer(200, {"data": self.rows.departments})
            case ["agents"] if call.method == "GET":
                self._need(call, "Desk.basic.READ", "Desk.settings.READ")
                return Answer(200, {"data": self.rows.agents()})
            case ["tickets", *rest]:
                return self._tickets(call, rest)
            case ["contacts", *rest]:
                return self._contacts(call, rest)
            case _:
                raise self._not_found()

    def _need(self, call: Call, *either: str) -> None:
        granted = call.token.scopes if call.token else ()
        if not any(covers(granted, scope) for scope in either):
            raise refusal(403, "SCOPE_MISMATCH", "The OAuth token has no permission for this operation.")

    def _not_found(self) -> Exception:
        return refusal(404, "URL_NOT_FOUND", "The URL you requested is not found")

    def _tickets(self, call: Call, rest: list[str]) -> Answer:
        operation = "CREATE" if call.method == "POST" else OPERATIONS.get(call.method, "READ")
        if rest == ["search"]:
            return self._found(call, self.rows.tickets)
        if rest[1:2] == ["comments"]:
            self._need(call, f"Desk.tickets.{operation}", "Desk.tickets.UPDATE")
            return self._comments(call, self._row(self.rows.tickets, rest[0]), rest[2:])
        trash = rest == ["moveToTrash"]
        self._need(call, "Desk.tickets.DELETE" if trash else f"Desk.tickets.{operation}")
        match call.method, rest:
            case "GET", []:
                return listed(call, self.rows.tickets, "tickets")
            case "GET", [ident]:
                return Answer(200, dict(self._row(self.rows.tickets, ident)))
            case "POST", []:
                return Answer(200, dict(self.rows.create_ticket(self._body(call))))
            case "POST", ["moveToTrash"]:
                self.rows.trash("tickets", self._idents(call, "ticketIds"))
                return Answer(204)
            case "PATCH", [ident]:
                row = self._row(self.rows.tickets, ident)
                return Answer(200, dict(self.rows.update_ticket(row, self._body(call))))
            case _:
                raise self._method(rest)

    def _contacts(self, call: Call, rest: list[str]) -> Answer:
        if rest == ["search"]:
            return self._found(call, self.rows.contacts)
        trash = rest == ["moveToTrash"]
        operation = "DELETE" if trash else OPERATIONS.get(call.method, "READ")
        self._need(call, f"Desk.contacts.{operation}")
        match call.method, rest:
            case "GET", []:
                return listed(call, self.rows.contacts, "contacts")
            case "GET", [ident]:
                return Answer(200, dict(self._row(self.rows.contacts, ident)))
            case "GET", [ident, "tickets"]:
                self._row(self.rows.contacts, ident)
                found = [t for t in self.rows.tickets.values() if t["contactId"] == ident]
                return page(call, found)
            case "POST", []:
                return Answer(200, dict(self.rows.create_contact(self._body(call))))
            case "POST", ["moveToTrash"]:
                self.rows.trash("contacts", self._idents(call, "contactIds"))
                return Answer(204)
            case "PATCH", [ident]:
                row = self._row(self.rows.contacts, ident)
                return Answer(200, dict(self.rows.update_contact(row, self._body(call))))
            case _:
                raise self._method(rest)

    def _comments(self, call: Call, ticket: Json, rest: list[str]) -> Answer:
        kept = self.rows.comments[ticket["id"]]
        match call.method, rest:
            case "GET", []:
                return page(call, list(kept.values())[::-1])
            case "GET", [ident]:
                return Answer(200, dict(self._row(kept, ident)))
            case "POST", []:
                return Answer(200, dict(self.rows.comment(ticket, self._body(call))))
            case "PATCH", [ident]:
                return Answer(200, dict(self.rows.update_comment(self._row(kept, ident), self._body(call))))
            case "DELETE", [ident]:
                del kept[self._row(kept, ident)["id"]]
                return Answer(204)
            case _:
                raise self._method(rest)

    def _method(self, rest: list[str]) -> Exception:
        if len(rest) > 1:
            return self._not_found()
        return refusal(405, "METHOD_NOT_ALLOWED", "The HTTP method is not allowed")

    def _row(self, rows: dict[str, Json], ident: str) -> Json:
        if ident not in rows:
            raise self._not_found()
        return rows[ident]

    def _body(self, call: Call) -> Json:
        body = call.json()
        if not call.headers.get("content-type", "").startswith("application/json"):
            raise refusal(415, "UNSUPPORTED_MEDIA_TYPE", "The media type is not supported")
        if not isinstance(body, dict) or not body:
            raise refusal(400, "EMPTY_PAYLOAD", "The payload is empty")
        return body

    def _idents(self, call: Call, name: str) -> list[str]:
        given = self._body(call).get(name)
        return [str(ident) for ident in given] if isinstance(given, list) else []

    def _found(self, call: Call, rows: dict[str, Json]) -> Answer:
        self._need(call, "Desk.search.READ")
        return searched(call, rows)

    def _org(self) -> Json:
        return {
            "id": int(self.world.desk_org),
            "companyName": self.world.company,
            "isDefault": True,
            "edition": "ENTERPRISE",
        }
