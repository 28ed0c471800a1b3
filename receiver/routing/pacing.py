"""What holds a handler back though its event is there, or lets it wait for company: order, latest, debounce, batch, limits. Pure.

What combines with what is a table in the README, which a test holds against `check`.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import orjson

from receiver.errors import HandlerError

if TYPE_CHECKING:
    from receiver.event import Event
    from receiver.routing.options import Options
    from receiver.routing.plugins import Handler

OF_LIVE = frozenset({"order", "record", "sources", "on_dead", "yields", "latest", "debounce", "longest"})
"""What of a policy is for events as they come, and not for those of a backfill."""
_WINDOWS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LARGEST = 500
"""Events in one batch: each is a lease to renew, and all of them are in memory at once."""
GATHER = 1.0
"""Seconds that a batch waits for company where `batch_for=` says nothing."""


def check(options: Options) -> None:
    """Raises HandlerError for what does not exist or does not combine."""
    for name in ("key", "order", "latest"):
        _check_key(name, getattr(options, name), options)
    _check_dropping(options)
    _check_batch(options)
    _check_limits(options)


def _check_dropping(options: Options) -> None:
    if options.order and (options.latest or options.debounce is not None):
        raise HandlerError("order= runs every event of a key and latest= or debounce= drops some; choose one")
    if options.debounce_for is not None and options.debounce is None:
        raise HandlerError("debounce_for= is the longest wait of debounce=, which is missing")
    if options.on_dead not in {"release", "hold"} or options.on_failure not in {"hold", "yield"}:
        raise HandlerError('on_dead= takes "release" or "hold", on_failure= takes "hold" or "yield"')
    if (options.on_dead != "release" or options.on_failure != "hold") and not options.order:
        raise HandlerError("on_dead= and on_failure= say what happens to an order, and order= is missing")


def _check_batch(options: Options) -> None:
    if options.batch is None:
        if options.batch_for is not None:
            raise HandlerError("batch_for= is the longest wait of batch=, which is missing")
        return
    if type(options.batch) is not int or not 1 <= options.batch <= LARGEST:
        raise HandlerError(f"batch= is how many events one call takes at most: 1 to {LARGEST}")
    if options.order:
        raise HandlerError(
            "order= runs the events of a key one by one and batch= many at once; for a batch of a key at a time, its events in "
            "their order, write batch= with key= and concurrency_per_key=1"
        )
    if options.debounce is not None:
        raise HandlerError(
            "debounce= waits for the quiet of each key and batch= for company; write latest= with batch_for="
        )
    if options.latest and options.key is not None and options.latest in (True, options.key):
        raise HandlerError(
            "with key= a batch has events of one key, of which latest= leaves one; leave key= out and write latest= with it"
        )


def _check_limits(options: Options) -> None:
    for plain, keyed in (("concurrency", "concurrency_per_key"), ("rate", "rate_per_key")):
        if getattr(options, plain) and getattr(options, keyed):
            raise HandlerError(f"{plain}= and {keyed}= exclude each other")
        if getattr(options, keyed) and options.key is None:
            raise HandlerError(f'{keyed}= needs key=, for example key="record"')
    for name in ("concurrency", "concurrency_per_key"):
        most = getattr(options, name)
        if most is not None and (type(most) is not int or most < 1):
            raise HandlerError(f"{name}= is how many may run at once: 1 or more")
    for name in ("rate", "rate_per_key"):
        if getattr(options, name):
            _rate(name, getattr(options, name))


def _check_key(name: str, value: Any, options: Options) -> None:
    if value is None or value is False or value == "record" or callable(value):
        return
    if value is True and name != "key":
        if options.key is None:
            raise HandlerError(
                f'{name}=True takes the key of key=, which is missing; or write {name}="record"'
            )
        return
    raise HandlerError(f'{name}= takes "record" or a function of the event that gives a key, not {value!r}')


def _rate(name: str, text: str) -> tuple[int, int]:
    """(starts, milliseconds): no window of that length holds more of them."""
    match = re.fullmatch(r"\s*(\d+)\s*/\s*(\d*)\s*([smhd])\s*", str(text))
    if not match or int(match[1]) < 1 or match[2] == "0":
        raise HandlerError(f'{name}={text!r}: write how many in what time, for example "10/m" or "100/30s"')
    return int(match[1]), int(match[2] or 1) * _WINDOWS[match[3]]


def policy(handler: Handler, event: Event) -> str:
    """The policy of one job as the ledger's scripts read it, JSON, or "" where nothing holds it back.

    Raises whatever a key function of the user's raises.
    """
    options = handler.options
    found: dict[str, Any] = {}
    if options.order and (key := _key(handler, event, options.order)):
        found |= {"order": key, "on_dead": options.on_dead, "yields": options.on_failure == "yield"}
        if "record" in (options.order, options.key if options.order is True else None):
            found["record"] = event.record_key()
        elif options.source:
            found["sources"] = sorted(options.source)
    latest = options.latest or ((options.key or "record") if options.debounce is not None else None)
    if latest and (key := _key(handler, event, latest)):
        found["latest"] = key
        if options.debounce is not None:
            longest = options.debounce_for if options.debounce_for is not None else options.debounce * 10
            found |= {"debounce": int(options.debounce * 1000), "longest": int(longest * 1000)}
    if options.batch is not None:
        found |= _batch(handler, event, options.batch)
    most = options.concurrency_per_key or options.concurrency
    if most:
        found |= {"limit": _place(handler, event, keyed=bool(options.concurrency_per_key)), "most": most}
    rate = options.rate_per_key or options.rate
    if rate:
        starts, window = _rate("rate", rate)
        place = _place(handler, event, keyed=bool(options.rate_per_key))
        found |= {"rate": place, "starts": starts, "window": window}
    if options.isolated:
        found["isolated"] = True
    return orjson.dumps(found).decode() if found else ""


def _batch(handler: Handler, event: Event, size: int) -> dict[str, Any]:
    """A batch is of one source and one organisation too, for it has one `zoho`."""
    options = handler.options
    own = _key(handler, event, options.key) if options.key is not None else ""
    place = f"{own}|{event.source}|{event.connection}|{event.organisation}"
    gather = GATHER if options.batch_for is None else options.batch_for
    return {"batch": _hashed(handler, place), "size": size, "gather": int(gather * 1000)}


def _place(handler: Handler, event: Event, *, keyed: bool) -> str:
    return (_key(handler, event, handler.options.key) or handler.place) if keyed else handler.place


def _key(handler: Handler, event: Event, how: Any) -> str:
    """The key of one handler for one event; "" where the event has none, which holds nothing back."""
    if how is True:
        how = handler.options.key
    found = event.record_key() if how == "record" else how(event)
    return "" if found is None or found == "" else _hashed(handler, str(found))


def _hashed(handler: Handler, text: str) -> str:
    return f"{handler.place}:{hashlib.sha256(text.encode()).hexdigest()[:20]}"
