"""The CRM's webhooks of workflow rules: a template of the administrator's, filled in and sent unsigned."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from receiver.simulator.deliver import Parcel
from receiver.simulator.world import instant

if TYPE_CHECKING:
    from receiver.simulator.crm_records import Change, Records
    from receiver.simulator.deliver import Sender

BOUNDARY = "----zoho-3d5f"
MERGE = re.compile(r"\$\{!?(\w+)\.([^{}]+)\}")
ON = {
    "create": ("insert",),
    "edit": ("update",),
    "create_or_edit": ("insert", "update"),
    "delete": ("delete",),
}


@dataclass(slots=True)
class Rule:
    """One rule with one webhook; `body` is a template for raw and json, `params` are names and templates."""

    id: str
    url: str
    module: str = "Deals"
    on: str = "create_or_edit"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    format: str = "json"
    body: str = ""
    params: dict[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    where: dict[str, Any] = field(default_factory=dict)


class Workflow:
    """Fires rules for the changes of a write, unless the write's `trigger` said not to."""

    def __init__(self, records: Records, sender: Sender) -> None:
        self.records = records
        self.sender = sender
        self.rules: list[Rule] = []

    def add(self, url: str, **about: Any) -> Rule:
        """ValueError for what the product's form would not take."""
        rule = Rule(self.records.world.crm_id(), url, **about)
        if rule.module not in self.records.modules or rule.module == "Notes" or rule.on not in ON:
            raise ValueError("no such module or moment")
        if rule.method not in ("POST", "PUT", "GET", "DELETE"):
            raise ValueError("method: POST, PUT, GET or DELETE")
        if rule.format not in ("json", "raw", "form", "multipart", "none"):
            raise ValueError("format: json, raw, form, multipart or none")
        if len(rule.headers) > 10 or any(name.upper() == "HOST" for name in rule.headers):
            raise ValueError("headers: at most ten, and none may be Host")
        self.rules.append(rule)
        return rule

    def publish(self, changes: list[Change]) -> None:
        for change in changes:
            if change.trigger is not None and "workflow" not in change.trigger:
                continue
            for rule in self.rules:
                if self._wants(rule, change):
                    self._send(rule, change)

    def _wants(self, rule: Rule, change: Change) -> bool:
        if rule.module != change.record.module or change.op not in ON[rule.on]:
            return False
        if change.op == "update" and rule.fields and not set(rule.fields) & set(change.fields):
            return False
        return all(change.record.values.get(name) == value for name, value in rule.where.items())

    def _send(self, rule: Rule, change: Change) -> None:
        params = {name: self.fill(text, change) for name, text in rule.params.items()}
        url, headers, body = rule.url, dict(rule.headers), b""
        if rule.method in ("GET", "DELETE"):
            if params:
                url += ("&" if "?" in url else "?") + urlencode(params)
        elif rule.format == "form":
            body = urlencode(params).encode()
            headers["content-type"] = "application/x-www-form-urlencoded;charset=UTF-8"
        elif rule.format == "multipart":  # nobody has seen which of the two Zoho sends
            body = multipart(params)
            headers["content-type"] = f"multipart/form-data; boundary={BOUNDARY}"
        elif rule.format != "none":
            body = self.fill(rule.body, change).encode()
            kind = "application/json" if rule.format == "json" else "text/plain"
            headers["content-type"] = f"{kind};charset=UTF-8"
        digest = hashlib.sha256(url.encode() + b"\0" + body).hexdigest()
        event = f"{rule.module}.{ {'insert': 'create', 'update': 'edit'}.get(change.op, change.op) }"
        self.sender.put(
            Parcel("crm_workflow", event, url, body, headers, (f"crm:{digest}",), method=rule.method)
        )

    def fill(self, template: str, change: Change) -> str:
        """Merge values go in as text and are not escaped; a token that we don't know stays as it stands."""

        def value(found: re.Match[str]) -> str:
            module, name = found[1], found[2]
            if module != change.record.module:
                return found[0]
            fields = self.records.modules[module].fields
            key = {"Id": "id", f"{module[:-1]} Id": "id"}.get(name, name.replace(" ", "_"))
            if key not in fields:
                return found[0]
            return shown(change.record.values.get(key))

        return MERGE.sub(value, template)


def multipart(params: dict[str, str]) -> bytes:
    """The parameters as parts of a form."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in params.items()
    ]
    return f"{''.join(parts)}--{BOUNDARY}--\r\n".encode()


def shown(value: Any) -> str:
    """A value as the organisation's date and number formats show it."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return str(value.get("name", ""))
    if isinstance(value, str) and len(value) >= 19 and instant(value) is not None:
        return f"{_day(value[:10])} {value[11:19]}"
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return _day(value)
    return str(value)


def _day(text: str) -> str:
    return date.fromisoformat(text).strftime("%d/%m/%Y")
