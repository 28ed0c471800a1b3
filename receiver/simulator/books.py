"""Books as its API shows it: who may call, how often, and which call it is; rows are in books_records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from receiver.simulator.books_fields import KINDS, Kind, wrong
from receiver.simulator.books_hooks import Hook, Hooks
from receiver.simulator.books_lists import listed
from receiver.simulator.books_records import Ledgers
from receiver.simulator.limits import Gate, Window
from receiver.simulator.oauth_scopes import covers
from receiver.simulator.wire import Answer

if TYPE_CHECKING:
    from receiver.simulator.deliver import Sender
    from receiver.simulator.limits import Limits
    from receiver.simulator.oauth import Accounts
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import World

OPERATIONS = {"GET": "READ", "POST": "CREATE", "PUT": "UPDATE", "DELETE": "DELETE"}
SCOPES = {
    "contacts": "contacts",
    "items": "settings",
    "invoices": "invoices",
    "customerpayments": "customerpayments",
}


@dataclass(frozen=True, slots=True)
class Kin:
    """How a product of the family differs: its path, its service in scopes, and where it wants the organisation ("" in the query)."""

    path: tuple[str, str]
    service: str
    header: str = ""


KIN = {
    "books": Kin(("books", "v3"), "ZohoBooks"),
    "inventory": Kin(("inventory", "v1"), "ZohoInventory"),
    "invoice": Kin(("invoice", "v3"), "ZohoInvoice"),
    "billing": Kin(("billing", "v1"), "ZohoSubscriptions", "x-com-zoho-subscriptions-organizationid"),
    "expense": Kin(("expense", "v1"), "ZohoExpense", "x-com-zoho-expense-organizationid"),
}


class Books:
    """One product of the family, whole; `create`, `update` and `pay` are what a person does in its pages."""

    def __init__(
        self, world: World, limits: Limits, accounts: Accounts, sender: Sender, product: str = "books"
    ) -> None:
        self.kin = KIN[product]
        self.world = world
        self.limits = limits
        self.accounts = accounts
        self.hooks = Hooks(world, sender)
        self.ledgers = Ledgers(world, self.hooks.publish)
        self.minute, self.day, self.gate = Window(60.0), Window(86_400.0), Gate()
        self.blocked_until = 0.0

    def create(self, kind: str, values: Json, *, sent: bool = False) -> Json:
        """The new row; raises Refused where the API would answer with an error."""
        with self.world.lock:
            return dict(self.ledgers.create(kind, values, own_number=True, sent=sent))

    def update(self, kind: str, ident: str, values: Json) -> Json:
        with self.world.lock:
            return dict(self.ledgers.update(kind, self.ledgers.rows[kind][ident], values))

    def pay(self, invoice_id: str) -> Json:
        """The payment that settles an invoice; its webhooks say `invoice.paid` and `payment.created`."""
        with self.world.lock:
            return dict(self.ledgers.pay(invoice_id))

    def get(self, kind: str, ident: str) -> Json | None:
        row = self.ledgers.rows[kind].get(ident)
        return dict(row) if row else None

    def all(self, kind: str, last: int = 0) -> list[Json]:
        """Oldest first; `last` gives so many of the newest only."""
        with self.world.lock:
            return [dict(row) for row in list(self.ledgers.rows[kind].values())[-last:]]

    def add_webhook(self, url: str, event: str, **about: Any) -> Hook:
        """A rule with a webhook; see Hook for what may be said."""
        return self.hooks.add(url, event, **about)

    def enter(self, call: Call) -> bool:
        """Lets a call in, or raises Refused."""
        token = self.accounts.bearer(call)
        if token is None:
            raise wrong(14, "Invalid value passed for authtoken", 401)
        call.token = self.accounts.live(token)
        if call.token is None:
            raise wrong(57, "You are not authorized to perform this operation", 401)
        now = self.world.now()
        self.minute.span = self.limits.books_minute
        if self.minute.used(now) >= self.limits.books_per_minute:
            self.blocked_until = now + self.limits.books_block
        if now < self.blocked_until:
            message = (
                "For security reasons you have been blocked for some time as you have exceeded "
                "the maximum number of requests per minute."
            )
            raise wrong(44, message, 429)
        if self.day.used(now) >= self.limits.books_per_day:
            raise wrong(45, "You have exceeded the maximum number of calls per day", 429)
        if not self.gate.enter(self.limits.books_concurrency):
            raise wrong(1070, "You have exceeded the maximum number of in process requests allowed", 429)
        self.minute.add(now)
        self.day.add(now)
        return False

    def leave(self, *, heavy: bool) -> None:
        del heavy
        self.gate.leave()

    def headers(self) -> dict[str, str]:
        return {}

    def handle(self, call: Call) -> Answer:
        parts = call.parts
        if tuple(parts[:2]) != self.kin.path or len(parts) < 3:
            raise wrong(5, "Invalid URL Passed", 404)
        if parts[2:] == ["organizations"] and call.method == "GET":
            self._need(call, "settings")
            return Answer(200, {"code": 0, "message": "success", "organizations": [self._org()]})
        named = call.headers.get(self.kin.header, "") if self.kin.header else call.param("organization_id")
        if not named:
            raise wrong(4, "Invalid value passed for organization_id")
        if named != self.world.books_org:
            raise wrong(6041, "This user is not associated with the CompanyID/CompanyName", 401)
        spec = KINDS.get(parts[2])
        if spec is None:
            raise wrong(5, "Invalid URL Passed", 404)
        self._need(call, SCOPES[spec.plural])
        return self._route(call, spec, parts[3:])

    def _need(self, call: Call, name: str) -> None:
        granted = call.token.scopes if call.token else ()
        if not covers(granted, f"{self.kin.service}.{name}.{OPERATIONS.get(call.method, 'READ')}"):
            raise wrong(57, "You are not authorized to perform this operation", 401)

    def _route(self, call: Call, spec: Kind, rest: list[str]) -> Answer:
        match call.method, rest:
            case "GET", []:
                return listed(self.ledgers, spec, call)
            case "GET", [ident]:
                return self._shown(spec, self._row(spec, ident), "success")
            case "POST", []:
                return self._create(call, spec)
            case "PUT", []:
                return self._by_key(call, spec)
            case "PUT", [ident]:
                row = self.ledgers.update(spec.plural, self._row(spec, ident), self._body(call))
                return self._shown(spec, row, f"The {spec.one} has been updated.")
            case "DELETE", [ident]:
                self.ledgers.delete(spec.plural, self._row(spec, ident))
                return Answer(200, {"code": 0, "message": f"The {spec.one} has been deleted."})
            case "POST", [ident, "status", ("sent" | "void" | "draft") as status] if (
                spec.plural == "invoices"
            ):
                self.ledgers.mark(self._row(spec, ident), status)
                return Answer(200, {"code": 0, "message": f"Invoice status has been changed to {status}."})
            case "POST", [ident, ("active" | "inactive") as status] if spec.plural in ("contacts", "items"):
                self._row(spec, ident)["status"] = status
                return Answer(200, {"code": 0, "message": f"The {spec.one} has been marked as {status}."})
            case _:
                raise wrong(5, "Invalid URL Passed", 405 if len(rest) < 2 else 404)

    def _row(self, spec: Kind, ident: str) -> Json:
        row = self.ledgers.rows[spec.plural].get(ident)
        if row is None:
            raise wrong(1002, f"{spec.one.capitalize()} does not exist.", 404)
        return row

    def _create(self, call: Call, spec: Kind) -> Answer:
        row = self.ledgers.create(
            spec.plural,
            self._body(call),
            own_number=call.param("ignore_auto_number_generation") == "true",
            sent=spec.plural == "invoices" and call.param("send") == "true",
        )
        return self._shown(spec, row, f"The {spec.one} has been created.", 201)

    def _by_key(self, call: Call, spec: Kind) -> Answer:
        """An update by a unique custom field; with X-Upsert what is not there is created."""
        key = call.headers.get("x-unique-identifier-key", "")
        value = call.headers.get("x-unique-identifier-value", "")
        known = self.ledgers.custom[spec.plural].get(key)
        if known is None or not known.unique or not value:
            raise wrong(2, "Invalid value passed for X-Unique-Identifier-Key")
        found = self.ledgers.with_value(spec.plural, key, value)
        if found:
            row = self.ledgers.update(spec.plural, found[0], self._body(call))
            return self._shown(spec, row, f"The {spec.one} has been updated.")
        if call.headers.get("x-upsert", "").lower() != "true":
            raise wrong(1002, f"{spec.one.capitalize()} does not exist.", 404)
        return self._create(call, spec)

    def _body(self, call: Call) -> Json:
        """Raw JSON, or JSON in the form field JSONString."""
        body = call.json()
        text = dict(call.form).get("JSONString")
        if text is not None:
            try:
                body = orjson.loads(text)
            except orjson.JSONDecodeError:
                body = None
        if not isinstance(body, dict):
            raise wrong(6, "JSON is not well formed")
        return body

    def _shown(self, spec: Kind, row: Json, message: str, status: int = 200) -> Answer:
        return Answer(status, {"code": 0, "message": message, spec.one: dict(row)})

    def _org(self) -> Json:
        return {
            "organization_id": self.world.books_org,
            "name": self.world.company,
            "is_default_org": True,
            "currency_code": "GBP",
            "time_zone": "Europe/Berlin",
            "country": "United Kingdom",
        }
