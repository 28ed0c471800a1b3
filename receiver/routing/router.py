"""Who wants an event: patterns and filters over it. Pure, and small enough to read in one sitting."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from receiver.sources import known_types, native_pattern

if TYPE_CHECKING:
    from receiver.event import Event
    from receiver.routing.options import Options
    from receiver.routing.plugins import Handler
    from receiver.settings_tables import ConnectionSettings

ABSENT = object()


class Router:
    """Handlers, ready to be asked. Types are compared without regard to case."""

    def __init__(self, handlers: Iterable[Handler]) -> None:
        self._wanted = [
            (tuple(_parts(pattern) for pattern in handler.patterns), handler)
            for handler in sorted(handlers, key=lambda each: each.id)
        ]
        self._by_type: dict[str, tuple[Handler, ...]] = {}

    def of_type(self, event_type: str) -> tuple[Handler, ...]:
        """The handlers whose types fit, in the order of their ids."""
        found = self._by_type.get(event_type)
        if found is None:
            parts = event_type.lower().split(".")
            found = tuple(
                handler for patterns, handler in self._wanted if any(_fits(each, parts) for each in patterns)
            )
            if len(self._by_type) < 10_000:
                self._by_type[event_type] = found
        return found


class Pattern:
    """One pattern of event types, in our words or Zoho's."""

    def __init__(self, text: str) -> None:
        self._parts = _parts(text)

    def fits(self, event_type: str) -> bool:
        """Whether a type fits it."""
        return _fits(self._parts, event_type.lower().split("."))


def wants(handler: Handler, event: Event, now: int) -> bool:
    """Whether the handler's filters let the event pass; the record as it is now is asked later, when the job runs.

    Fields that nobody knows to have changed mean run. Raises whatever a filter of the user's raises.
    """
    options = handler.options
    if options.source and event.source not in options.source:
        return False
    if options.origins and event.origin not in options.origins:
        return False
    if too_old(event, options, now):
        return False
    if options.changed and event.changed is not None and not options.changed & event.changed:
        return False
    return not options.when or matches(event.data, options.when)


def too_old(event: Event, options: Options, now: int) -> bool:
    """Whether an event is older than its handler wants, at `now` (ms)."""
    return options.max_age is not None and now - (event.occurred or event.received) > options.max_age * 1000


def matches(data: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether data has what is wanted, at any depth: `{"Stage": "Closed Won"}`, `{"customer.country": ["DE", "AT"]}`,
    `{"invoice": {"status": "paid"}}`, `{"total": lambda total: total > 100}`.
    """
    return all(_suits(_dig(data, key), value) for key, value in wanted.items())


def mismatch(data: Any, wanted: Mapping[str, Any]) -> str:
    """Why `matches` said no, in words; "" if it matches."""
    for key, value in wanted.items():
        found = _dig(data, key)
        if not _suits(found, value):
            return f"{key} is absent" if found is ABSENT else f"{key} is {found!r}"[:200]
    return ""


def _dig(data: Any, key: str) -> Any:
    if isinstance(data, Mapping) and key in data:
        return data[key]
    for part in key.split("."):
        if isinstance(data, Mapping) and part in data:
            data = data[part]
        elif isinstance(data, list) and part.isdecimal() and int(part) < len(data):
            data = data[int(part)]
        else:
            return ABSENT
    return data


def _suits(found: Any, wanted: Any) -> bool:
    if callable(wanted):
        return found is not ABSENT and bool(wanted(found))
    if isinstance(wanted, Mapping):
        return found is not ABSENT and matches(found, wanted)
    if isinstance(wanted, list | tuple | set | frozenset):
        return any(_suits(found, each) for each in wanted)
    if found is ABSENT:
        return wanted is None
    if isinstance(found, int | float | str) and isinstance(wanted, int | float | str):
        if isinstance(found, str) is not isinstance(wanted, str):
            return str(found) == str(wanted)  # an id is a number in one product and text in another
        if isinstance(found, bool) is not isinstance(wanted, bool):
            return False
    return bool(found == wanted)


def _parts(pattern: str) -> list[str]:
    return (native_pattern(pattern) or pattern).lower().split(".")


def _fits(pattern: list[str], parts: list[str]) -> bool:
    for index, each in enumerate(pattern):
        if each == "**":
            return True
        if index >= len(parts) or each not in ("*", parts[index]):
            return False
    return len(pattern) == len(parts)


def unknown_patterns(handlers: Iterable[Handler], listed: Iterable[str]) -> list[str]:
    """A sentence for each pattern that fits no type known: those of the products and those that zohook.toml lists."""
    known = sorted({*known_types(), *listed})
    said = []
    for handler in handlers:
        for pattern in handler.patterns:
            parts = _parts(pattern)
            if parts[0] == "app" or any(
                _fits(parts, each.lower().split(".")) or _fits(_parts(each), parts) for each in known
            ):
                continue
            hint = _close(".".join(parts), known)
            said.append(f"{handler.id} waits for {pattern!r}, which no source is known to send{hint}")
    return said


def unknown_sources(handlers: Iterable[Handler], sources: Iterable[str]) -> list[str]:
    """A sentence for each source that a handler names in `source=` and zohook.toml does not have: such a handler never runs."""
    known = sorted(sources)
    return [
        f"{handler.id} waits for the source {name!r}, which is none of [sources]{_close(name, known)}"
        for handler in handlers
        for name in sorted(handler.options.source.difference(known))
    ]


def unknown_connections(
    handlers: Iterable[Handler], connections: Mapping[str, ConnectionSettings]
) -> list[str]:
    """A sentence for each connection that a handler names in `connection=` and nobody has: its jobs would be on hold.

    None where one is for customers: theirs are known to the ledger only.
    """
    known = sorted(connections)
    if any(each.customers for each in connections.values()):
        return []
    return [
        f"{handler.id} uses the connection {name!r}, which is none of [connections]{_close(name, known)}"
        for handler in handlers
        if (name := handler.options.connection) and name not in known
    ]


def _close(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
