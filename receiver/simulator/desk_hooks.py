"""Desk's webhooks: created only for a URL that answers 200, filtered, and delivered with a signed token."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from receiver.simulator.deliver import Parcel
from receiver.simulator.desk_keys import Keys
from receiver.simulator.desk_records import invalid, refusal
from receiver.simulator.wire import Answer, NeedsProbe

if TYPE_CHECKING:
    from receiver.simulator.deliver import Sender
    from receiver.simulator.limits import Limits
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import World

EVENTS = frozenset(
    [
        *(
            f"{noun}_{verb}"
            for noun in ("Ticket", "Contact", "Account", "Agent", "Task")
            for verb in ("Add", "Update", "Delete")
        ),
        "Ticket_Comment_Add",
        "Ticket_Comment_Update",
        "Ticket_Thread_Add",
        *(f"Ticket_Attachment_{verb}" for verb in ("Add", "Update", "Delete")),
        "Ticket_Approval_Add",
        "Ticket_Approval_Update",
        "Department_Add",
        "Department_Update",
    ]
)
WITH_BEFORE = ("Ticket_Update", "Contact_Update", "Agent_Update", "Task_Update", "Article_Update")
BY_DEPARTMENT = ("Ticket_", "Task_")
UNANSWERED = "Validation failed for the condition : The endpoint failed to respond with status code 200"


@dataclass(slots=True)
class Hook:
    """One subscription."""

    id: str
    url: str
    name: str
    subscriptions: dict[str, Json | None]
    description: str = ""
    enabled: bool = True
    automation: bool = False
    created: str = ""

    def shown(self) -> Json:
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "url": self.url,
            "isEnabled": self.enabled,
            "subscriptions": self.subscriptions,
            "includeEventsFrom": ["AUTOMATION"] if self.automation else [],
            "ignoreSourceId": None,
            "createdTime": self.created,
        }


@dataclass(slots=True)
class Hooks:
    """Answers /webhooks and sends what happens."""

    world: World
    limits: Limits
    sender: Sender
    keys: Keys = field(default_factory=Keys)
    hooks: dict[str, Hook] = field(default_factory=dict)

    def handle(self, call: Call, rest: list[str]) -> Answer:
        if call.method == "GET" and not rest:
            return (
                Answer(200, {"data": [h.shown() for h in self.hooks.values()]}) if self.hooks else Answer(204)
            )
        if call.method == "POST" and not rest:
            return Answer(200, self._create(call).shown())
        hook = self.hooks.get(rest[0]) if len(rest) == 1 else None
        if hook is None:
            raise refusal(404, "URL_NOT_FOUND", "The URL you requested is not found")
        match call.method:
            case "GET":
                return Answer(200, hook.shown())
            case "PATCH":
                return Answer(200, self._change(hook, call).shown())
            case "DELETE":
                del self.hooks[hook.id]
                return Answer(204)
            case _:
                raise refusal(405, "METHOD_NOT_ALLOWED", "The HTTP method is not allowed")

    def _create(self, call: Call) -> Hook:
        given = self._checked(call)
        for name in ("url", "subscriptions"):
            if name not in given:
                raise invalid((name, "missing"))
        if len(self.hooks) >= self.limits.desk_webhooks:
            raise refusal(422, "UNPROCESSABLE_ENTITY", "The maximum number of webhooks is reached")
        enabled = given.get("isEnabled", True)
        self._room(enabled)
        self._probe(call, given["url"])
        hook = Hook(
            id=self.world.desk_id(),
            url=given["url"],
            name=given.get("name") or "Webhook",
            subscriptions=given["subscriptions"],
            description=given.get("description") or "",
            enabled=enabled,
            automation="AUTOMATION" in (given.get("includeEventsFrom") or []),
            created=self.world.desk_stamp(),
        )
        self.hooks[hook.id] = hook
        return hook

    def _change(self, hook: Hook, call: Call) -> Hook:
        given = self._checked(call)
        if "subscriptions" not in given:
            raise invalid(("subscriptions", "missing"))
        enabled = given.get("isEnabled", hook.enabled)
        if enabled and not hook.enabled:
            self._room(enabled)
        url = given.get("url", hook.url)
        if url != hook.url or (enabled and not hook.enabled):
            self._probe(call, url)
        hook.url, hook.enabled = url, enabled
        hook.name = given.get("name", hook.name)
        hook.description = given.get("description", hook.description)
        hook.subscriptions = given["subscriptions"]
        if "includeEventsFrom" in given:
            hook.automation = "AUTOMATION" in (given["includeEventsFrom"] or [])
        return hook

    def _room(self, enabled: bool) -> None:
        if enabled and sum(h.enabled for h in self.hooks.values()) >= self.limits.desk_webhooks_enabled:
            raise refusal(403, "LICENSE_ACCESS_LIMITED", "The maximum number of enabled webhooks is reached")

    def _probe(self, call: Call, url: str) -> None:
        if url not in call.probed:
            raise NeedsProbe(url)
        if not call.probed[url]:
            raise refusal(422, "UNPROCESSABLE_ENTITY", UNANSWERED)

    def _checked(self, call: Call) -> Json:
        given = call.json()
        if not isinstance(given, dict) or not given:
            raise refusal(400, "EMPTY_PAYLOAD", "The payload is empty")
        known = {
            "url",
            "name",
            "description",
            "isEnabled",
            "ignoreSourceId",
            "includeEventsFrom",
            "subscriptions",
        }
        extra = sorted(set(given) - known)
        if extra:
            raise invalid(*((name, "invalid") for name in extra))
        # The live API refused the very form of id that its page shows.
        if given.get("ignoreSourceId") is not None:
            message = "The value passed for field '/ignoreSourceId' does not match the allowed values."
            raise refusal(
                422, "INVALID_DATA", message, [{"fieldName": "/ignoreSourceId", "errorMessage": message}]
            )
        parts = urlsplit(str(given.get("url", "https://x")))
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise invalid(("url", "invalid"))
        if not isinstance(given.get("name", ""), str) or len(given.get("name", "")) > 50:
            raise invalid(("name", "invalid"))
        if not isinstance(given.get("isEnabled", True), bool):
            raise invalid(("isEnabled", "invalid"))
        if given.get("includeEventsFrom") not in (None, [], ["AUTOMATION"]):
            raise invalid(("includeEventsFrom", "invalid"))
        if "subscriptions" in given:
            self._check_subscriptions(given["subscriptions"])
        return given

    def _check_subscriptions(self, subscriptions: Any) -> None:
        if not isinstance(subscriptions, dict) or not subscriptions:
            raise invalid(("subscriptions", "invalid"))
        for event, chosen in subscriptions.items():
            name = f"subscriptions/{event}"
            if event not in EVENTS or not (chosen is None or isinstance(chosen, dict)):
                raise invalid((name, "invalid"))
            for key, value in (chosen or {}).items():
                allowed = {
                    "departmentIds": event.startswith(BY_DEPARTMENT) and isinstance(value, list),
                    "fields": event == "Ticket_Update" and isinstance(value, list) and 1 <= len(value) <= 5,
                    "includePrevState": event in WITH_BEFORE and isinstance(value, bool),
                    "direction": event == "Ticket_Thread_Add" and value in ("in", "out"),
                }
                if not allowed.get(key, False):
                    raise invalid((f"{name}/{key}", "invalid"))

    def publish(
        self, event: str, row: Json, before: Json | None, changed: set[str], automation: bool
    ) -> None:
        """One event to every subscription that wants it, under one event time."""
        moment = self.world.tick()
        for hook in self.hooks.values():
            if not hook.enabled or event not in hook.subscriptions or (automation and not hook.automation):
                continue
            chosen = hook.subscriptions[event] or {}
            if self._wants(chosen, row, changed):
                self._send(hook, event, row, before if chosen.get("includePrevState") else None, moment)

    def _wants(self, chosen: Json, row: Json, changed: set[str]) -> bool:
        departments, names = chosen.get("departmentIds"), chosen.get("fields")
        if departments and str(row.get("departmentId")) not in {str(d) for d in departments}:
            return False
        if names and not changed & set(names):
            return False
        return chosen.get("direction") in (None, row.get("direction"))

    def _send(self, hook: Hook, event: str, row: Json, before: Json | None, moment: int) -> None:
        org = self.world.desk_org
        element = {
            "payload": row,
            "prevState": before,
            "eventTime": str(moment),
            "eventType": event,
            "orgId": org,
        }

        def on_answer(status: int) -> None:
            if status == 410:
                with self.world.lock:
                    self.hooks.pop(hook.id, None)

        self.sender.put(
            Parcel(
                product="desk",
                event=event,
                url=hook.url,
                body=orjson.dumps([element]),
                headers={
                    "content-type": "application/json;charset=UTF-8",
                    "X-ZDesk-JWT": self.keys.token(org, hook.id, self.world.now()),
                },
                facts=(f"desk:{org}:{event}:{row['id']}:{moment}",),
                on_answer=on_answer,
            )
        )
