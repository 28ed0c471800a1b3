"""The CRM's notification channels: who is subscribed to what until when; deliveries are in crm_notify."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from receiver.simulator.crm_write import fault, rows
from receiver.simulator.wire import Answer, whole
from receiver.simulator.world import instant

if TYPE_CHECKING:
    from receiver.simulator.crm_records import Records
    from receiver.simulator.limits import Limits
    from receiver.simulator.wire import Call, Json

OPERATIONS = ("create", "edit", "delete", "all")
# Notes have no channels: https://www.zoho.com/crm/developer/docs/api/v7/notifications/enable.html
WATCHED = ("Leads", "Contacts", "Accounts", "Deals", "Tasks")
USERS_ID = "5725767000000000169"


@dataclass(slots=True)
class Channel:
    """One subscription; it ends at `expires_at` and nobody is told."""

    id: str
    events: list[str]
    notify_url: str
    expires_at: float
    token: str | None = None
    values: bool = False
    related: bool = True
    condition: list[Json] = field(default_factory=list)


class Bad(Exception):
    """Why one object of `watch` was not taken."""

    def __init__(self, code: str, name: str, message: str = "invalid data", **more: Any) -> None:
        super().__init__(code, name)
        self.code, self.name, self.message, self.more = code, name, message, more

    def entry(self, index: int) -> Json:
        details = {"api_name": self.name, "json_path": f"$.watch[{index}].{self.name}", **self.more}
        return {"code": self.code, "details": details, "message": self.message, "status": "error"}


class Watch:
    """Answers /actions/watch."""

    def __init__(self, records: Records, limits: Limits) -> None:
        self.records = records
        self.world = records.world
        self.limits = limits
        self.channels: dict[str, Channel] = {}

    def live(self) -> list[Channel]:
        """Forgets what has expired."""
        now = self.world.now()
        for gone in [c.id for c in self.channels.values() if c.expires_at <= now]:
            del self.channels[gone]
        return list(self.channels.values())

    def handle(self, call: Call) -> Answer:
        self.live()
        match call.method:
            case "GET":
                return self._list(call)
            case "DELETE":
                return self._unsubscribe(call)
            case "POST" | "PUT" | "PATCH":
                return self._each(call)
            case _:
                raise fault("INVALID_REQUEST_METHOD", "The http request method type is not a valid one")

    def _each(self, call: Call) -> Answer:
        entries: list[Json] = []
        good = 0
        for index, item in enumerate(rows(call, "watch", 50)):
            try:
                entries.append(self._patch(item) if call.method == "PATCH" else self._put(item, call.method))
                good += 1
            except Bad as bad:
                entries.append(bad.entry(index))
        whole_good = 201 if call.method == "POST" else 200
        status = whole_good if good == len(entries) else 207 if good else 400
        return Answer(status, {"watch": entries})

    def _put(self, item: Json, method: str) -> Json:
        """POST subscribes; PUT replaces a living channel, and what it leaves out is gone."""
        ident = self._ident(item)
        if method == "PUT" and ident not in self.channels:
            raise Bad("NOT_SUBSCRIBED", "channel_id", "Not subscribed for actions-watch of the given module")
        channel = Channel(
            id=ident,
            events=self._events(item),
            notify_url=self._url(item),
            expires_at=self._expiry(item),
            token=self._token(item),
            values=self._flag(item, "return_affected_field_values", default=False),
            related=self._flag(item, "notify_on_related_action", default=True),
            condition=self._condition(item),
        )
        self.channels[ident] = channel
        return self._success(channel, channel.events)

    def _patch(self, item: Json) -> Json:
        ident = self._ident(item)
        channel = self.channels.get(ident)
        if channel is None:
            raise Bad("NOT_SUBSCRIBED", "channel_id", "Not subscribed for actions-watch of the given module")
        if item.get("_delete_events") is True:
            return self._drop(channel, self._events(item))
        if "events" in item:
            channel.events = list(dict.fromkeys([*channel.events, *self._events(item)]))
        if "notify_url" in item:
            channel.notify_url = self._url(item)
        if "token" in item:
            channel.token = self._token(item)
        if "channel_expiry" in item:
            channel.expires_at = self._expiry(item)
        if "return_affected_field_values" in item:
            channel.values = self._flag(item, "return_affected_field_values", default=False)
        if "notification_condition" in item:
            channel.condition = self._condition(item)
        return self._success(channel, channel.events)

    def _drop(self, channel: Channel, events: list[str]) -> Json:
        if any(event not in channel.events for event in events):
            raise Bad("NOT_SUBSCRIBED", "events", "Not subscribed for actions-watch of the given module")
        channel.events = [event for event in channel.events if event not in events]
        if not channel.events:
            del self.channels[channel.id]
        entry = self._success(channel, events)
        for event in entry["details"]["events"]:
            del event["channel_expiry"]
        return {**entry, "message": "Successfully removed the subscribe details"}

    def _unsubscribe(self, call: Call) -> Answer:
        idents = [ident for ident in call.param("channel_ids").split(",") if ident]
        if not idents:
            missing = {"param_name": "channel_ids"}
            raise fault("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", missing)
        entries: list[Json] = []
        good = 0
        for ident in idents:
            if self.channels.pop(ident, None) is None:
                details = {"channel_id": ident}
                entries.append(
                    {
                        "code": "NOT_SUBSCRIBED",
                        "details": details,
                        "message": "Not subscribed",
                        "status": "error",
                    }
                )
                continue
            good += 1
            message = "Successfully unsubscribed the given channel"
            details = {"channel_id": ident}
            entries.append({"code": "SUCCESS", "details": details, "message": message, "status": "success"})
        return Answer(200 if good == len(idents) else 207 if good else 400, {"watch": entries})

    def _list(self, call: Call) -> Answer:
        wanted, module = call.param("channel_id"), call.param("module")
        size, page = whole(call.param("per_page"), 200) or 0, whole(call.param("page"), 1) or 0
        if not 1 <= size <= 200 or page < 1:
            raise fault("INVALID_DATA", "invalid data", {"param_name": "per_page"})
        found = [
            {
                **self._resource(name, channel),
                "notify_url": channel.notify_url,
                "events": [event for event in channel.events if event.startswith(f"{name}.")],
                "token": channel.token,
                "return_affected_field_values": channel.values,
                "notify_on_related_action": channel.related,
                "notification_condition": channel.condition or None,
            }
            for channel in self.channels.values()
            for name in self._names(channel.events)
            if (not wanted or channel.id == wanted) and (not module or name == module)
        ]
        shown = found[(page - 1) * size : page * size]
        if not shown:
            return Answer(204)
        info = {"per_page": size, "count": len(shown), "page": page, "more_records": len(found) > page * size}
        return Answer(200, {"watch": shown, "info": info})

    def _names(self, events: list[str]) -> list[str]:
        return list(dict.fromkeys(event.split(".")[0] for event in events))

    def _resource(self, name: str, channel: Channel) -> Json:
        spec = self.records.modules.get(name)
        return {
            "channel_expiry": self.world.stamp(channel.expires_at),
            "resource_uri": f"{self.world.base}/crm/v2/{name}",
            "resource_id": spec.id if spec else USERS_ID,
            "resource_name": name,
            "channel_id": channel.id,
        }

    def _success(self, channel: Channel, events: list[str]) -> Json:
        return {
            "code": "SUCCESS",
            "details": {"events": [self._resource(name, channel) for name in self._names(events)]},
            "message": "Successfully subscribed for actions-watch of the given module",
            "status": "success",
        }

    def _ident(self, item: Json) -> str:
        if item.get("channel_id") in (None, ""):
            raise Bad("MANDATORY_NOT_FOUND", "channel_id", "required field not found")
        ident = str(item["channel_id"])
        if not ident.isdecimal() or int(ident) >= 2**63:
            raise Bad("INVALID_DATA", "channel_id", expected_data_type="long")
        return ident

    def _events(self, item: Json) -> list[str]:
        events = item.get("events")
        if events is None:
            raise Bad("MANDATORY_NOT_FOUND", "events", "required field not found")
        if not isinstance(events, list) or not 1 <= len(events) <= 50:
            raise Bad("INVALID_DATA", "events", expected_data_type="jsonarray")
        for event in events:
            module, _, operation = str(event).partition(".")
            if event != "users.all" and (module not in WATCHED or operation not in OPERATIONS):
                raise Bad("INVALID_DATA", "events")
        return list(events)

    def _url(self, item: Json) -> str:
        url = item.get("notify_url")
        if url in (None, ""):
            raise Bad("MANDATORY_NOT_FOUND", "notify_url", "required field not found")
        if not isinstance(url, str) or len(url) > 255:
            raise Bad("INVALID_DATA", "notify_url", maximum_length=255)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise Bad("INVALID_DATA", "notify_url", expected_data_type="website")
        return url

    def _token(self, item: Json) -> str | None:
        token = item.get("token")
        longest = self.limits.channel_token_length
        if token is not None and (not isinstance(token, str) or len(token) > longest):
            raise Bad("INVALID_DATA", "token", maximum_length=longest)
        return token

    def _flag(self, item: Json, name: str, *, default: bool) -> bool:
        value = item.get(name, default)
        if not isinstance(value, bool):
            raise Bad("INVALID_DATA", name, expected_data_type="boolean")
        return value

    def _expiry(self, item: Json) -> float:
        """Absent, or more than a week ahead: an hour, and the call succeeds all the same."""
        now = self.world.now()
        if item.get("channel_expiry") is None:
            return now + self.limits.channel_default
        at = instant(item["channel_expiry"])
        if at is None or at <= now:
            raise Bad("INVALID_DATA", "channel_expiry", expected_data_type="datetime")
        return at if at <= now + self.limits.channel_longest else now + self.limits.channel_default

    def _condition(self, item: Json) -> list[Json]:
        given = item.get("notification_condition") or []
        if not isinstance(given, list) or len(given) > 2:
            raise Bad("INVALID_DATA", "notification_condition")
        for condition in given:
            selection = condition.get("field_selection") if isinstance(condition, dict) else None
            if not isinstance(selection, dict) or condition.get("type") != "field_selection":
                raise Bad("INVALID_DATA", "notification_condition")
            names = field_names(selection)
            module = self.records.modules.get((condition.get("module") or {}).get("api_name", ""))
            if (
                module is None
                or not 1 <= len(names) <= 10
                or any(name not in module.fields for name in names)
            ):
                raise Bad("INVALID_DATA", "notification_condition")
            if not any(event.startswith(f"{module.api_name}.") for event in item.get("events", [])):
                raise Bad("DEPENDENT_FIELD_MISSING", "notification_condition")
        return given


def field_names(selection: Json) -> list[str]:
    """Every field that a selection names, at any depth."""
    if "field" in selection:
        return [str((selection["field"] or {}).get("api_name", ""))]
    return [name for part in selection.get("group") or [] for name in field_names(part)]


def selected(selection: Json, changed: list[str]) -> bool:
    """Whether these changes satisfy a field selection."""
    if "field" in selection:
        return str((selection["field"] or {}).get("api_name", "")) in changed
    parts = [selected(part, changed) for part in selection.get("group") or []]
    return any(parts) if selection.get("group_operator") == "or" else all(parts)
