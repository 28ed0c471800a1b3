"""How values are shown: times, lengths, numbers, JSON. Filters of the templates; everything that comes in is escaped here or there."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from markupsafe import Markup, escape

from receiver import logs
from receiver.event import moment, now_ms

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 200_000
"""Characters of one payload that a page shows; the rest is only counted."""
_LAST_MOMENT = 253_402_300_799_999
_TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*"(?=\s*:))|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)|(?P<word>\b(?:true|false|null)\b)"
)


def at(ms: int) -> Markup:
    """A time: the clock of today, the date before it on another day, all of it on hover. UTC, like every time of ours."""
    if not 0 < ms <= _LAST_MOMENT:
        return Markup("-")
    when = moment(ms)
    text = (
        when.strftime("%H:%M:%S")
        if when.date() == datetime.now(UTC).date()
        else when.strftime("%d %b %H:%M").lstrip("0")
    )
    full = when.strftime("%a %d %b %Y, %H:%M:%S.") + f"{ms % 1000:03d} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        when.isoformat(timespec="milliseconds"), full, text
    )


def seconds(value: float) -> str:
    """A length of time in seconds, for people."""
    return duration(value * 1000)


def duration(ms: float) -> str:
    """A length of time, for people: `8 ms`, `1.2 s`, `3 min 5 s`, `2 h 4 min`, `3 d 4 h`."""
    if ms < 1000:
        return f"{max(0, ms):.0f} ms"
    if ms < 59_950:
        return f"{ms / 1000:.1f} s".replace(".0 s", " s")
    whole = round(ms / 1000)
    for (big, size), (small, part) in (
        (("min", 60), ("s", 1)),
        (("h", 3600), ("min", 60)),
        (("d", 86_400), ("h", 3600)),
    ):
        if whole < size * {"min": 60, "h": 24}.get(big, 10**9):
            rest = whole % size // part
            return f"{whole // size:,} {big}" + (f" {rest} {small}" if rest else "")
    return f"{whole:,} s"


def ago(ms: int) -> str:
    """How long since a time, or until it."""
    if ms <= 0:
        return "never"
    past = now_ms() - ms
    if abs(past) < 1000:
        return "now"
    return f"{_coarse(past)} ago" if past > 0 else f"in {_coarse(-past)}"


def _coarse(ms: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if ms >= size * 1000:
            return f"{ms // (size * 1000):,} {unit}"
    return "0 s"


def number(value: float) -> str:
    """A number with thousands separated."""
    return f"{value:,}"


def size(octets: int) -> str:
    """A size in bytes, for people."""
    if octets < 1024:
        return f"{octets} B"
    return f"{octets / 1024:,.1f} KiB" if octets < 2**20 else f"{octets / 2**20:,.1f} MiB"


def event_type(name: str) -> Markup:
    """An event type with its middle part, which is what people look for, in bold."""
    first, _, rest = name.partition(".")
    middle, _, last = rest.rpartition(".")
    if not middle:
        return Markup('<span class="type">{}</span>').format(name)
    return Markup('<span class="type"><i>{}.</i><b>{}</b><i>.</i>{}</span>').format(first, middle, last)


def short(handler: str) -> str:
    """A handler's name without its module."""
    return handler.rpartition(".")[2]


def pretty(value: Any) -> str:
    """A value as indented JSON, with what looks like a secret masked."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    except (orjson.JSONEncodeError, RecursionError):
        text = repr(value)
    return logs.mask(text)


def json(value: Any) -> Markup:
    """Pretty JSON with its keys, texts, numbers and words marked for the stylesheet."""
    text, cut = _cut(pretty(value))
    pieces, end = [], 0
    for match in _TOKEN.finditer(text):
        pieces.append(escape(text[end : match.start()]))
        pieces.append(Markup('<span class="j-{}">{}</span>').format(match.lastgroup or "", match[0]))
        end = match.end()
    pieces += [escape(text[end:]), cut]
    return Markup("").join(pieces)


def text(value: str) -> Markup:
    """Any text as text, cut where it is very long, with what looks like a secret masked."""
    kept, cut = _cut(logs.mask(value))
    return escape(kept) + cut


def _cut(value: str) -> tuple[str, Markup]:
    if len(value) <= LONGEST:
        return value, Markup("")
    left = len(value) - LONGEST
    return value[:LONGEST], Markup('<span class="cut">… and {} more characters</span>').format(number(left))


def value(found: Any) -> Markup:
    """One value of a difference: text as it is, everything else as JSON."""
    return text(found) if isinstance(found, str) else json(found)


FILTERS: dict[str, Callable[..., Any]] = {
    "at": at, "seconds": seconds, "duration": duration, "ago": ago, "number": number, "size": size, "type": event_type,
    "short": short, "json": json, "shown": text, "value": value,
}  # fmt: skip
