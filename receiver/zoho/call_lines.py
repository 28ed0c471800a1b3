"""What is kept of a call: one line, without secrets, and of one that Zoho refused what was sent and what was said. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson

from receiver import logs
from receiver.event import now_ms
from receiver.zoho.ask import shown
from receiver.zoho.wire import Opened, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from receiver.zoho.ask import Ask
    from receiver.zoho.outcomes import Verdict
    from receiver.zoho.wire import NoReply

WHOLE = 65_536
"""Letters of a refused call's body and answer that are kept with its attempt: a hundred records go into that."""


def call_of(
    ask: Ask, reply: Reply | Opened | NoReply | None, verdict: Verdict, began: float, repeated: bool
) -> dict[str, Any]:
    """One line of what was called; no secret in it. `reply` is None for a call that shadow mode kept back. What
    Zoho would not take (4xx) is kept with what was sent and what was said.
    """
    line = {
        "at": now_ms(),
        "product": ask.product,
        "method": ask.method,
        "path": ask.path,
        "params": shown(ask.params),
        "status": status_of(reply),
        "code": verdict.code,
        "ms": int((time.monotonic() - began) * 1000),
        "credits": _credits(reply.headers) if isinstance(reply, Reply | Opened) else None,
        "write": ask.writes,
        "repeated": repeated,
    }
    if ask.writes and (starts := _starts(ask)):
        line["trigger"] = starts
    if isinstance(reply, Reply) and verdict.error is not None and 200 <= reply.status < 500:
        line["answer"] = logs.mask(reply.body[:WHOLE].decode(errors="replace"))
        if (sent := ask.json if ask.json is not None else ask.form) is not None:
            line["request"] = logs.mask(orjson.dumps(sent).decode()[:WHOLE])
    return line


def _starts(ask: Ask) -> str:
    """Which automations a write of CRM's kind starts: Zoho's words, "none", or "all" where it leaves that to Zoho; "" for other calls."""
    if ask.product not in {"crm", "bigin", "recruit"}:
        return ""
    if ask.method == "DELETE":
        return "none" if ask.params.get("wf_trigger") == "false" else "all"
    if not isinstance(ask.json, dict) or "data" not in ask.json:
        return ""
    return ", ".join(ask.json["trigger"]) or "none" if "trigger" in ask.json else "all"


def status_of(reply: Reply | Opened | NoReply | None) -> int:
    """The HTTP status of an answer, nought where there was none."""
    return reply.status if isinstance(reply, Reply | Opened) else 0


def _credits(headers: Mapping[str, str]) -> int | None:
    """Credits or calls left, where the product says: CRM only after half of the day's are gone."""
    for name in ("x-api-credits-remaining", "x-rate-limit-remaining-v3", "x-rate-limit-remaining"):
        value = headers.get(name, "")
        if value.isdecimal() and value.isascii():
            return int(value[:18])
    return None
