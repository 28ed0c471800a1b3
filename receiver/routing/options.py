"""What a handler asks for in `@on` beside its event types: the options, read and held against each other. Pure."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from receiver.errors import HandlerError, UnknownOption
from receiver.routing import pacing
from receiver.settings_tables import seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

Key = Any
"""`"record"`, `True` (the handler's `key=`), or a function of the event that gives the key."""

ORIGINS = ("live", "catchup", "poll", "handler", "backfill")
DAY = 86_400.0
LANES = ("recovered", "replay")
"""How queues end that are not a handler's own."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a handler asks for beside its event types; times in seconds. Each is explained in the README."""

    changed: frozenset[str] = frozenset()
    when: Mapping[str, Any] = field(default_factory=dict)
    record: bool = False
    where: Mapping[str, Any] = field(default_factory=dict)
    retries: int | None = None
    retry_for: float = 3 * DAY
    timeout: float = 60.0
    max_age: float | None = None
    origins: frozenset[str] = frozenset()
    source: frozenset[str] = frozenset()
    connection: str = ""
    scopes: frozenset[str] = frozenset()
    queue: str = ""
    model: Any = None
    key: Key = None
    order: Key = None
    on_dead: str = "release"
    on_failure: str = "hold"
    latest: Key = None
    debounce: float | None = None
    debounce_for: float | None = None
    batch: int | None = None
    batch_for: float | None = None
    concurrency: int | None = None
    concurrency_per_key: int | None = None
    rate: str = ""
    rate_per_key: str = ""
    isolated: bool = False
    share: float | None = None
    was: tuple[str, ...] = ()
    mode: str = "live"


def _names(name: str, value: Any) -> frozenset[str]:
    found = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(each, str) for each in found):
        raise HandlerError(f"{name}= takes a name or several, not {value!r}")
    return frozenset(found)


def _former(value: Any) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else tuple(value)
    for each in found:
        if (
            not isinstance(each, str)
            or not all(part.isidentifier() for part in each.split("."))
            or "." not in each
        ):
            raise HandlerError(
                f'was= takes the ids that the handler had, "module.function", oldest first, not {each!r}'
            )
    return found


def read(given: Mapping[str, Any]) -> Options:
    """The options of `@on`. Raises HandlerError for what does not exist or does not combine, with what to write instead."""
    known = {each.name for each in fields(Options)}
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}=?" if close else f"; there are {', '.join(sorted(known))}"
            raise UnknownOption(f"@on has no option {name}={hint}")
    found: dict[str, Any] = dict(given)
    for name in ("changed", "origins", "source", "scopes"):
        if name in found:
            found[name] = _names(name, found[name])
    for name in ("when", "where"):
        if not isinstance(found.get(name, {}), dict):
            raise HandlerError(
                f'{name}= takes a table of fields, {{"Stage": "Closed Won"}}; a function goes in the place of a value, '
                f'{{"Amount": lambda amount: amount > 100}}, not {found[name]!r}'
            )
    for name in ("retry_for", "timeout", "max_age", "debounce", "debounce_for", "batch_for"):
        if found.get(name) is not None:
            try:
                found[name] = seconds(found[name])
            except ValueError as error:
                raise HandlerError(f"{name}=: {error}") from None
    if "was" in found:
        found["was"] = _former(found["was"])
    options = Options(**found)
    if unknown := options.origins - set(ORIGINS):
        raise HandlerError(f"origins= takes {', '.join(ORIGINS)}, not {min(unknown)!r}")
    for scope in options.scopes:
        if not re.fullmatch(
            r"[A-Za-z]+(\.[A-Za-z_0-9]+){1,3}\.(ALL|READ|CREATE|UPDATE|DELETE|WRITE|CUSTOM)",
            scope,
            re.IGNORECASE,
        ):
            raise HandlerError(f'scopes= takes what Zoho prints, "ZohoCRM.modules.Deals.READ", not {scope!r}')
    if options.where and not options.record:
        raise HandlerError(
            "where= looks at the record as it is now, so it needs record=True; when= looks at what was delivered"
        )
    if options.mode not in {"live", "shadow"}:
        raise HandlerError(
            f'mode= is "live" or "shadow", whose writes to Zoho are recorded and not sent, not {options.mode!r}'
        )
    if options.timeout <= 0:
        raise HandlerError("timeout= is how long a run may take: more than 0")
    if options.queue and (
        not re.fullmatch(r"[A-Za-z0-9_-]{1,60}", options.queue) or options.queue.endswith(LANES)
    ):
        raise HandlerError(
            f"queue= takes letters, digits, - and _, and not the name of a lane ({', '.join(LANES)}), not {options.queue!r}"
        )
    if options.retries is not None and options.retries < 0:
        raise HandlerError("retries= is how often a failed run is tried again: 0 or more")
    if options.share is not None and not (isinstance(options.share, int | float) and 0 < options.share <= 1):
        raise HandlerError(
            f"share= is the part of a worker's threads that the handler may take: more than 0, at most 1, not {options.share!r}"
        )
    pacing.check(options)
    return options
