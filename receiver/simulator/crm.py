"""The CRM as its API shows it: who may call, how much, and which call it is; the rest is in crm_*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_actions import Actions
from receiver.simulator.crm_attachments import Attachments
from receiver.simulator.crm_bulk import CREDITS, Bulk
from receiver.simulator.crm_composite import composite
from receiver.simulator.crm_coql import run, value_of
from receiver.simulator.crm_notify import Notify
from receiver.simulator.crm_read import Reads
from receiver.simulator.crm_records import Change, Problem, Record, Records
from receiver.simulator.crm_schema import Field
from receiver.simulator.crm_search import MOST_ROWS, search
from receiver.simulator.crm_settings import fields_shown, modules_shown, org_shown, users_shown
from receiver.simulator.crm_watch import Watch
from receiver.simulator.crm_workflow import Rule, Workflow
from receiver.simulator.crm_write import Writes, external_of, fault
from receiver.simulator.limits import Gate, Window
from receiver.simulator.oauth_scopes import covers
from receiver.simulator.wire import Answer, Call

if TYPE_CHECKING:
    from receiver.simulator.deliver import Sender
    from receiver.simulator.limits import Limits
    from receiver.simulator.oauth import Accounts
    from receiver.simulator.wire import Json
    from receiver.simulator.world import User, World

METHODS = {"GET": "READ", "POST": "CREATE", "PUT": "UPDATE", "PATCH": "UPDATE", "DELETE": "DELETE"}


class Crm:
    """The whole product; `create`, `update` and `delete` are what a person does in its pages."""

    def __init__(self, world: World, limits: Limits, accounts: Accounts, sender: Sender) -> None:
        self.world = world
        self.limits = limits
        self.accounts = accounts
        self.records = Records(world)
        self.watch = Watch(self.records, limits)
        self.notify = Notify(self.watch, sender)
        self.workflow = Workflow(self.records, sender)
        self.bulk = Bulk(self.records, limits, sender, self.publish)
        self.reads = Reads(self.records, limits)
        self.writes = Writes(self.records, self.publish)
        self.attachments = Attachments(self.records)
        self.actions = Actions(self.records, self.publish)
        self.credits = Window(86_400.0)
        self.gate, self.heavy = Gate(), Gate()

    def publish(self, changes: list[Change]) -> None:
        self.records.writes.extend(changes)
        self.notify.publish(changes)
        self.workflow.publish(changes)

    def create(self, module: str, values: Json, by: User | None = None) -> Json:
        """The new record; raises Problem where the API would answer with an error."""
        with self.world.lock:
            change = self.records.create(module, values, by or self.world.admin)
            self.publish([change])
            return dict(change.record.values)

    def update(self, module: str, ident: str, values: Json, by: User | None = None) -> Json:
        with self.world.lock:
            change = self.records.update(module, ident, values, by or self.world.admin)
            self.publish([change])
            return dict(change.record.values)

    def delete(self, module: str, ident: str, by: User | None = None) -> None:
        with self.world.lock:
            self.publish([self.records.delete(module, ident, by or self.world.admin)])

    def get(self, module: str, ident: str) -> Json | None:
        record = self.records.table(module).get(ident)
        return dict(record.values) if record else None

    def all(self, module: str, last: int = 0) -> list[Json]:
        """Oldest first; `last` gives so many of the newest only."""
        with self.world.lock:
            return [dict(record.values) for record in list(self.records.table(module).values())[-last:]]

    def add_field(self, module: str, api_name: str, data_type: str = "text", **about: Any) -> None:
        """A custom field."""
        self.records.modules[module].fields[api_name] = Field(api_name, data_type, custom=True, **about)

    def add_webhook(self, url: str, **about: Any) -> Rule:
        """A workflow rule with a webhook; see Rule for what may be said."""
        return self.workflow.add(url, **about)

    def enter(self, call: Call) -> bool:
        """Lets a call in, or raises Refused; returns whether it is one of the heavy ones."""
        token = self.accounts.bearer(call)
        if token is None:
            raise fault("AUTHENTICATION_FAILURE", "Authentication failed", status=401)
        call.token = self.accounts.live(token)
        if call.token is None:
            raise fault("INVALID_TOKEN", "invalid oauth token", status=401)
        now = self.world.now()
        heavy = self._heavy(call)
        if self.credits.used(now) + self._cost(call) > self.limits.crm_credits:
            raise fault("TOO_MANY_REQUESTS", "API credits exhausted for the day", status=429)
        if not self.gate.enter(self.limits.crm_concurrency):
            raise fault("TOO_MANY_REQUESTS", "Too many requests in progress", status=429)
        if heavy and not self.heavy.enter(self.limits.crm_heavy_concurrency):
            self.gate.leave()
            raise fault("TOO_MANY_REQUESTS", "Too many requests in progress", status=429)
        self.credits.add(now, self._cost(call))
        return heavy

    def leave(self, *, heavy: bool) -> None:
        self.gate.leave()
        if heavy:
            self.heavy.leave()

    def headers(self) -> dict[str, str]:
        """Zoho shows what is left only when half is gone."""
        left = self.limits.crm_credits - self.credits.used(self.world.now())
        return {"X-API-CREDITS-REMAINING": str(left)} if left * 2 < self.limits.crm_credits else {}

    def _rows(self, call: Call) -> int:
        body = call.json() if call.body else None
        data = body.get("data") if isinstance(body, dict) else None
        return len(data) if isinstance(data, list) else 1

    def _heavy(self, call: Call) -> bool:
        last = call.parts[-1]
        named = last in ("coql", "search", "convert", "__composite_requests")
        if named or call.param("sort_by") or call.param("cvid"):
            return True
        return call.method in ("POST", "PUT") and self._rows(call) > 10

    def _cost(self, call: Call) -> int:
        if call.param("cvid"):
            return 3
        if call.parts[-1] == "convert":
            return 5
        if call.method in ("POST", "PUT"):
            return max(1, -(-self._rows(call) // 10))
        return 1

    def handle(self, call: Call) -> Answer:
        parts = call.parts
        if parts[:3] == ["crm", "bulk", "v8"]:
            return self._bulk(call, parts[3:])
        if parts[:2] != ["crm", "v8"] or len(parts) < 3:
            raise fault(
                "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one", status=404
            )
        return self.route(call, parts[2:])

    def route(self, call: Call, parts: list[str]) -> Answer:
        """The answer to what stands behind the version in the path."""
        match parts:
            case ["actions", "watch"]:
                self.need(call, f"ZohoCRM.notifications.{METHODS.get(call.method, 'READ')}")
                return self.watch.handle(call)
            case ["settings", "fields"]:
                self.need(call, "ZohoCRM.settings.fields.READ")
                return fields_shown(self.records, call)
            case ["settings", "modules"]:
                self.need(call, "ZohoCRM.settings.modules.READ")
                return modules_shown(self.records)
            case ["org"]:
                self.need(call, "ZohoCRM.org.READ")
                return org_shown(self.world)
            case ["users"]:
                self.need(call, "ZohoCRM.users.READ")
                return users_shown(self.world, call)
            case ["coql"]:
                return self._coql(call)
            case ["settings", "tags"]:
                self.need(call, "ZohoCRM.settings.tags.READ")
                return self.actions.tags_shown(call)
            case ["__composite_requests"]:
                self.need(call, "ZohoCRM.composite_requests.CUSTOM")
                return composite(call, self.handle)
            case ["upload"]:
                self.need(call, "ZohoFiles.files.CREATE")
                return self.bulk.upload(call)
            case _:
                return self._records(call, parts)

    def _bulk(self, call: Call, parts: list[str]) -> Answer:
        self.need(call, f"ZohoCRM.bulk.{METHODS.get(call.method, 'READ')}")
        answer = self.bulk.handle(call, parts)
        if call.method == "POST":
            self.credits.add(self.world.now(), CREDITS[parts[0]])
        return answer

    def need(self, call: Call, *scopes: str) -> None:
        granted = call.token.scopes if call.token else ()
        if not all(covers(granted, scope) for scope in scopes):
            raise fault("OAUTH_SCOPE_MISMATCH", "invalid oauth scope to access this URL", status=401)

    def _records(self, call: Call, parts: list[str]) -> Answer:
        module = parts[0]
        if module not in self.records.modules:
            bad = {"resource_path_index": 0}
            raise fault("INVALID_MODULE", "the module name given seems to be invalid", bad)
        self.need(call, f"ZohoCRM.modules.{module}.{METHODS.get(call.method, 'READ')}")
        by = call.token.grant.user if call.token else self.world.admin
        match call.method, parts[1:]:
            case "GET", []:
                return self.reads.listed(module, call)
            case "GET", ["search"]:
                self.need(call, "ZohoSearch.securesearch.READ")
                found = search(self.records, module, call, self.limits.crm_search_lag)
                names = [name for name in call.param("fields").split(",") if name]
                return self.reads.paged(found, names, call, MOST_ROWS)
            case "GET", ["deleted"]:
                return self.reads.deleted(module, call)
            case "GET", ["actions", "count"]:
                return Answer(200, {"count": len(self.records.table(module))})
            case "GET", [ident]:
                external = external_of(self.records, module, call)
                return self.reads.one(module, self.records.ident(module, ident, external), external)
            case _, [ident, "Attachments", *rest] if (call.method, rest) != ("GET", []):
                return self.attachments.handle(module, ident, rest, call, by)
            case "POST", ["actions", ("add_tags" | "remove_tags") as action]:
                return self.actions.tag(module, action, call, by)
            case "POST" | "GET", ["actions", "mass_update"]:
                self.need(call, f"ZohoCRM.mass_update.{module}.UPDATE")
                return self.actions.mass_update(module, call, by)
            case "POST", [ident, "actions", "convert"]:
                return self.actions.convert(module, ident, call, by)
            case "GET", [ident, "Attachments"]:
                shown = self.attachments.shown(module, ident)
                return Answer(200, {"data": shown, "info": {"more_records": False}}) if shown else Answer(204)
            case "GET", [ident, related]:
                return self.reads.related(module, ident, related, call)
            case "POST", []:
                return self.writes.create(module, call, by)
            case "POST", ["upsert"]:
                self.need(call, f"ZohoCRM.modules.{module}.UPDATE")
                return self.writes.upsert(module, call, by)
            case "POST", [ident, "Notes"]:
                return self._note(call, module, ident, by)
            case "PUT", [] | [_]:
                return self.writes.update(module, call, by, parts[1] if parts[1:] else "")
            case "DELETE", [] | [_]:
                idents = parts[1:] or [i for i in call.param("ids").split(",") if i]
                return self.writes.delete(module, idents, by, call)
            case _:
                raise fault("INVALID_REQUEST_METHOD", "The http request method type is not a valid one")

    def _note(self, call: Call, module: str, ident: str, by: User) -> Answer:
        if ident not in self.records.table(module):
            raise fault(
                "INVALID_DATA", "the related id given seems to be invalid", {"resource_path_index": 1}
            )
        self.need(call, "ZohoCRM.modules.Notes.CREATE")
        parent = {"Parent_Id": {"id": ident, "module": {"api_name": module}}}
        return self.writes.create("Notes", call, by, parent)

    def _coql(self, call: Call) -> Answer:
        body = call.json()
        text = body.get("select_query") if isinstance(body, dict) else None
        if call.method != "POST" or not isinstance(text, str):
            raise fault("MANDATORY_NOT_FOUND", "required field not found", {"api_name": "select_query"})
        query, found, more = run(self.records, text)
        self.need(call, f"ZohoCRM.modules.{query.module}.READ", "ZohoCRM.coql.READ")
        # A thousand rows cost another credit, and the next thousand one more.
        self.credits.add(self.world.now(), 2 if query.limit > 1000 else 1 if query.limit > 200 else 0)
        if not found:
            return Answer(204)
        return Answer(
            200,
            {
                "data": [self._row(record, query.names) for record in found],
                "info": {"count": len(found), "more_records": more},
            },
        )

    def _row(self, record: Record, names: list[str]) -> Json:
        return {name: value_of(self.records, record.values, name) for name in dict.fromkeys((*names, "id"))}


__all__ = ["Crm", "Problem"]
