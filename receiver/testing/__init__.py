"""The kit for the authors of handlers: events made by hand, runs as a worker makes them, and a strict Zoho to run against.

    from receiver.testing import make_event, run_handler

    def test_a_won_deal_raises_its_invoice(zoho, zoho_simulator):
        deal = zoho_simulator.crm.create("Deals", {"Deal_Name": "Roof", "Stage": "Closed Won", "Amount": 900.0})
        outcome = run_handler(invoice_won_deal, make_event("crm.Deals.created", record_id=deal["id"]), zoho)
        assert outcome.state == "done"

A pytest plugin: `zoho` and `zoho_simulator` are there once the package is installed. Nothing is mocked: calls go over HTTP to the
simulator, with a real token in a real Redis. pytest loads this module in every run, so it imports nothing until it is used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from receiver.event import Event
    from receiver.ledger.embedded import Embedded
    from receiver.routing.plugins import Handler, Plugins
    from receiver.settings import Settings
    from receiver.simulator import Simulator
    from receiver.zoho import Zoho

CONNECTION = "test"


def make_event(
    event_type: str,
    *,
    data: Any = None,
    record: Mapping[str, Any] | None = None,
    changed: Collection[str] | None = None,
    **fields: Any,
) -> Event:
    """An event as a source would make it. Its type may be one of Zoho's own words ("Deals.edit").

    `record` is what a handler with `record=True` is to get; without it the record is read. `changed` left out is an event that
    does not say what changed. `fields` are further fields of Event: record_id, origin, received, ...
    """
    from receiver.event import Event, new_id, now_ms  # noqa: PLC0415 - see the module's docstring
    from receiver.sources import native_pattern  # noqa: PLC0415

    known = native_pattern(event_type) or event_type
    product, *middle, _ = known.split(".")
    if record and "record_id" not in fields:
        thing = middle[-1].lower() if middle else ""
        fields["record_id"] = str(record.get("id") or record.get(f"{thing}_id") or "")
    given = {"id": new_id(), "source": product, "received": now_ms(), **fields}
    names = None if changed is None else frozenset([changed] if isinstance(changed, str) else changed)
    return Event(type=known, data={} if data is None else data, record=record, changed=names, **given)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run.

    `state` is done, skipped, due (again in `wait` seconds), held or dead, with its `reason`; or filtered, where the handler's types
    and filters do not let the event come to it. `error` is what the handler raised. `calls` lists its calls to Zoho.
    """

    state: Literal["done", "skipped", "due", "running", "held", "dead", "filtered"]
    reason: str = ""
    wait: float = 0.0
    tries: int = 0
    error: Exception | None = None
    calls: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @property
    def writes(self) -> list[str]:
        """The calls that change something, as "POST /crm/v8/Notes"."""
        return [f"{call['method']} {call['path']}" for call in self.calls if call["write"]]


@overload
def run_handler(
    handler: Callable[..., Any],
    event: Event,
    zoho: Zoho | None = None,
    *,
    tries: int = 0,
    raises: bool = False,
    **resources: Any,
) -> Outcome: ...


@overload
def run_handler(
    handler: Callable[..., Any],
    event: Sequence[Event],
    zoho: Zoho | None = None,
    *,
    tries: int = 0,
    raises: bool = False,
    **resources: Any,
) -> list[Outcome]: ...


def run_handler(
    handler: Callable[..., Any],
    event: Event | Sequence[Event],
    zoho: Zoho | None = None,
    *,
    tries: int = 0,
    raises: bool = False,
    **resources: Any,
) -> Outcome | list[Outcome]:
    """Run a handler on an event as a worker would, with its filters, its record and its policy, and tell what became of it.

    What the handler raises is in the outcome; with `raises=True` an error of it comes through, with its traceback. Resources that
    the handler asks for are made by the `@resource` functions beside it, unless they are given by name. `tries` is how often it
    failed before. What `event.step` and `emit` did is remembered for the event while the test lasts. The time limit is not kept:
    that is the business of the test. A handler with `batch=` takes one event or a list, which is one call, and tells an outcome for
    each. Raises TypeError or HandlerError for a handler or a test that is wrong in itself.
    """
    from receiver.event import Event  # noqa: PLC0415 - see the module's docstring
    from receiver.testing.trial import plugged  # noqa: PLC0415

    found = plugged(handler, resources)
    declared = next(iter(found.handlers.values()))
    events = [event] if isinstance(event, Event) else list(event)
    _check(declared, events, zoho, many=not isinstance(event, Event))
    outcomes = [_filtered(declared, each, raises=raises) for each in events]
    wanted = [each for each, told in zip(events, outcomes, strict=True) if told is None]
    ran = iter(_run(found, declared, wanted, zoho, resources.get("settings"), tries, raises=raises))
    told = [each or next(ran) for each in outcomes]
    return told[0] if isinstance(event, Event) else told


def _check(declared: Handler, events: Sequence[Event], zoho: Zoho | None, *, many: bool) -> None:
    """Raises TypeError for a test that does not fit its handler."""
    options = declared.options
    if many and not options.batch:
        raise TypeError(f"{declared.id} takes one event; a list is for handlers with batch=")
    if options.batch and len(events) > options.batch:
        raise TypeError(f"{declared.id} takes {options.batch} events at most, and the list has {len(events)}")
    if zoho is None and (
        declared.takes_zoho or (options.record and any(each.record is None for each in events))
    ):
        raise TypeError(f"{declared.id} calls Zoho: give run_handler the fixture zoho")


def _filtered(declared: Handler, event: Event, *, raises: bool) -> Outcome | None:
    """The outcome of an event that does not come to the handler, or whose filter raises; None for one that comes."""
    from receiver.event import now_ms  # noqa: PLC0415 - see the module's docstring
    from receiver.routing import policy  # noqa: PLC0415
    from receiver.routing.router import Router, wants  # noqa: PLC0415

    if not Router([declared]).of_type(event.type):
        return Outcome("filtered", f"no type of {declared.id} fits {event.type}")
    try:
        if wants(declared, event, now_ms()):
            return None
    except Exception as broken:
        if raises:
            raise
        return Outcome("dead", f"a filter of the handler raised {policy.name(broken)}", error=broken)
    return Outcome("filtered", f"a filter of {declared.id} does not let it pass")


def _run(
    found: Plugins,
    declared: Handler,
    events: Sequence[Event],
    zoho: Zoho | None,
    settings: Settings | None,
    tries: int,
    *,
    raises: bool,
) -> list[Outcome]:
    """One call for these events, and what became of each."""
    from receiver.event import now_ms  # noqa: PLC0415 - see the module's docstring
    from receiver.testing.trial import attempted  # noqa: PLC0415

    if not events:
        return []
    before = len(zoho.calls) if zoho else 0
    tried = attempted(found, declared, events, zoho, settings, tries)
    for error, _ in tried:
        if raises and error is not None and not _on_purpose(error):
            raise error
    calls = tuple(zoho.calls[before:]) if zoho else ()
    now = now_ms()
    waits = [max(0, decision.due(now) - now) / 1000 for _, decision in tried]
    return [
        Outcome(decision.state, decision.reason, wait, decision.tries, error, calls)
        for (error, decision), wait in zip(tried, waits, strict=True)
    ]


def _on_purpose(error: Exception) -> bool:
    from receiver.errors import RetryLater, Skip  # noqa: PLC0415 - see the module's docstring

    return isinstance(error, Skip | RetryLater)


@pytest.fixture
def zoho_simulator() -> Iterator[Simulator]:
    """A strict Zoho of this test's own, on a free port: `.crm`, `.books` and `.desk` do what a person does in their pages."""
    from receiver.simulator import Simulator  # noqa: PLC0415 - see the module's docstring

    with Simulator() as running:
        yield running


@pytest.fixture(scope="session")
def _zohook_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A Redis for the tokens of this test process; without fsync, since no test of it cuts the power."""
    from receiver.ledger.embedded import Embedded  # noqa: PLC0415 - see the module's docstring

    with Embedded(tmp_path_factory.mktemp("zohook"), appendfsync="no", share=False) as server:
        yield server


@pytest.fixture
def zoho(
    zoho_simulator: Simulator,
    _zohook_redis: Embedded,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Zoho]:
    """`Zoho` as a handler gets it, connected to the simulator; `zoho.calls` lists what was called.

    Its settings have `tmp_path` for their folder, and nothing from the environment.
    """
    from cryptography.fernet import Fernet  # noqa: PLC0415 - see the module's docstring

    from receiver.settings import Settings  # noqa: PLC0415
    from receiver.zoho.clients import Clients  # noqa: PLC0415
    from receiver.zoho.vault import Vault  # noqa: PLC0415
    from receiver.zoho.wire import Wire  # noqa: PLC0415

    for name in [name for name in os.environ if name.startswith("ZOHOOK_")]:
        monkeypatch.delenv(name)
    client = zoho_simulator.self_client
    monkeypatch.setenv(f"ZOHOOK_SECRET_{CONNECTION.upper()}", client.secret)
    about = {"dc": "simulator", "client_id": client.id, **zoho_simulator.org_ids}
    settings = Settings.load(
        tmp_path, key=Fernet.generate_key().decode(), connections={CONNECTION: about},
        simulator={"url": zoho_simulator.base}, redis={"url": _zohook_redis.url},
    )  # fmt: skip
    redis, wire = _zohook_redis.client(), Wire()
    try:
        redis.flushall()
        clients = Clients(redis, settings, Vault(settings.key), wire)
        clients.consent.self_client(CONNECTION, zoho_simulator.self_client_code())
        yield clients.for_job(CONNECTION)
    finally:
        wire.close()
        redis.close()
