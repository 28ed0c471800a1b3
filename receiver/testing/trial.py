"""One attempt as a worker makes it, without a worker: the handler found as it would be, lent what a process would lend it."""

from __future__ import annotations

import sys
from dataclasses import replace
from inspect import signature
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from receiver.event import now_ms
from receiver.ledger.connect import connect
from receiver.ledger.runs import Claim, job_id
from receiver.routing import plugins, policy
from receiver.routing.attempt import Attempt
from receiver.routing.batch import Batch
from receiver.routing.resources import Resources, resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from receiver.event import Event
    from receiver.routing.plugins import Handler, Plugins
    from receiver.routing.policy import Decision
    from receiver.routing.process import Process
    from receiver.settings import Settings
    from receiver.zoho import Zoho


def plugged(function: Callable[..., Any], given: Mapping[str, Any]) -> Plugins:
    """The handler as a worker finds it, with the resources of its module, and those given in their place."""
    if not hasattr(function, "__zohook_on__"):
        raise TypeError(f"{function.__qualname__} is no handler: declare it with @on")
    short = function.__module__.rpartition(".")[2]
    beside = vars(sys.modules[function.__module__])
    module = ModuleType(function.__module__)
    for name, value in beside.items():
        if getattr(value, "__zohook_resource__", False):
            setattr(module, name, value)
    for name, value in given.items():
        setattr(module, name, _maker(value, module.__name__))
    setattr(module, function.__name__, function)
    return plugins.collect([(short, module)])


def _maker(value: Any, module: str) -> Callable[[], Any]:
    def make() -> Any:
        return value

    make.__module__ = module
    return resource(make)


def attempted(
    found: Plugins,
    handler: Handler,
    events: Sequence[Event],
    zoho: Zoho | None,
    settings: Settings | None,
    tries: int,
) -> list[tuple[Exception | None, Decision]]:
    """The worker's own attempt, with what a process would lend it; for each event (what was raised, what policy makes of it)."""
    made, options = now_ms(), handler.options
    lent = _lent(found, handler, zoho, settings)
    first, *others = [_claim(handler, replace(event), tries, made) for event in events]
    process = cast("Process", lent)
    attempt = (
        Batch(process, first, handler, others=others) if options.batch else Attempt(process, first, handler)
    )
    error: Exception | None = None
    try:
        attempt.call()
    except Exception as raised:  # noqa: BLE001 - whatever a handler raises is its outcome
        error = raised
    finally:
        lent.resources.close()
        lent.redis.close()
    errors = [error]
    if isinstance(attempt, Batch):
        errors = [cast("Exception | None", attempt.outcome(one, error)) for one in (attempt, *attempt.others)]
    now = first.now()
    return [
        (each, policy.decide(each, tries=tries, options=options, now=now, made=made, chance=0.5))
        for each in errors
    ]


def _lent(found: Plugins, handler: Handler, zoho: Zoho | None, settings: Settings | None) -> SimpleNamespace:
    """What a run needs of its process."""
    known = settings or (zoho.settings if zoho else None)
    asked = [name for name, maker in found.resources.items() if "settings" in signature(maker).parameters]
    if known is None and asked and handler.needs:
        raise TypeError(
            f"the resource {asked[0]} takes settings: give run_handler {asked[0]}=..., settings=... or the fixture zoho"
        )
    return SimpleNamespace(
        redis=connect(zoho.settings) if zoho else _NoLedger(),
        resources=Resources(found.resources, cast("Settings", known)),
        settings=known,
        witness=None,
        zoho=lambda *_: zoho,
    )


class _NoLedger:
    """Stands where the ledger would be in a test without one, and says so."""

    def close(self) -> None:
        """There is nothing to close."""

    def __getattr__(self, name: str) -> Any:
        raise TypeError("event.step, emit and cancel need a ledger: give run_handler the fixture zoho")


def _claim(handler: Handler, event: Event, tries: int, made: int) -> Claim:
    return Claim(
        kind="j",
        id=job_id(event.id, handler.id),
        run=tries + 1,
        worker="test",
        tries=tries,
        deaths=0,
        suspect=False,
        generation=0,
        lane="",
        made=made,
        at=made,
        event=event,
    )
