"""`zohook check`: everything that a start would refuse, found before a start; then a look at the Redis and spool that are there.

Nothing is started and nothing is written. A Redis that does not answer is no error: it may not run yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from receiver.event import moment
from receiver.settings import FILE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from receiver.intake.keyring import Lock
    from receiver.routing.plugins import Handler
    from receiver.settings import Settings


def run(settings: Settings) -> int:
    """Print the ways in and the handlers. Raises SettingsError or HandlerError for what is wrong."""
    from receiver.intake.keyring import Keyring
    from receiver.routing.plugins import load
    from receiver.routing.router import unknown_connections, unknown_patterns, unknown_sources
    from receiver.sources import expected_types
    from receiver.zoho.vault import Vault

    keyring = Keyring(settings, Vault.of(settings))
    handlers = load(settings).handlers
    console = Console()
    console.print(_sources(settings, keyring.locks.values()))
    console.print(_handlers(handlers.values()))
    listed = expected_types(settings.sources)
    hints = unknown_patterns(handlers.values(), listed) + unknown_sources(handlers.values(), settings.sources)
    for hint in (*hints, *unknown_connections(handlers.values(), settings.connections)):
        console.print(f"look: {hint}", markup=False)
    if not (settings.folder / FILE).exists():
        console.print(f"look: there is no {settings.folder / FILE}; `zohook init` makes one", markup=False)
    elif not settings.sources:
        console.print("look: zohook.toml has no [sources], so no webhook can come in", markup=False)
    if not handlers:
        packages = ", ".join(settings.handlers.packages)
        console.print(f"look: no handler was found in {packages}; declare one with @on", markup=False)
    for hint in (*_redis(settings), *_spool(settings)):
        console.print(f"look: {hint}", markup=False)
    console.print(
        f"{len(settings.sources)} sources, {len(handlers)} handlers: nothing is wrong", markup=False
    )
    return 0


def _sources(settings: Settings, locks: Iterable[Lock]) -> Table:
    from receiver.intake.pointing import addresses

    table = Table(
        "source", "product", "address for Zoho", "connection", title="Ways in", title_justify="left"
    )
    for lock in locks:
        urls = "\n".join(url for _, url in addresses(settings, lock))
        table.add_row(lock.way.name, lock.way.product, urls, lock.way.connection or "-")
    return table


def _handlers(handlers: object) -> Table:
    table = Table("handler", "runs on", "options", "what it does", title="Handlers", title_justify="left")
    found: list[Handler] = sorted(handlers, key=lambda each: each.id)  # type: ignore[call-overload]
    for handler in found:
        about = handler.about()
        options = ", ".join(
            f"{name}={value}"
            for name, value in about["options"].items()
            if name not in {"retry_for", "timeout"}
        )
        table.add_row(handler.id, "\n".join(handler.patterns), options or "-", handler.doc or "-")
    return table


def _redis(settings: Settings) -> Iterator[str]:
    """What is wrong with the Redis that zohook.toml names, where it answers."""
    from redis.exceptions import RedisError

    from receiver.cli.opened import glance
    from receiver.cli.spool import gone
    from receiver.errors import LedgerUnavailable
    from receiver.ledger.condition import FULL, breaks, memory
    from receiver.ledger.connect import check
    from receiver.ledger.witness import MEANS
    from receiver.zoho import probe
    from receiver.zoho.vault import Vault

    with glance(settings) as redis:
        if redis is None:
            return
        try:
            check(redis)
            probe.look(redis, Vault.of(settings))
            room = memory(redis)
            if room.word != "ok":
                yield (
                    f"Redis uses {room.share:.0%} of its memory; above {FULL:.0%} deliveries are spooled. "
                    "Give it more maxmemory, or keep less: [retention] days and size"
                )
            for each in breaks(redis)[:5]:
                lost = f", {each.missing} events are missing" if each.missing else ""
                yield f"{moment(each.at):%Y-%m-%d %H:%M} UTC, found by {each.host}: {MEANS[each.kind]}{lost}"
            yield from gone(redis)
        except (RedisError, OSError, LedgerUnavailable) as error:
            yield f"Redis was not looked at: {error}"


def _spool(settings: Settings) -> Iterator[str]:
    """What waits in the spool of this host."""
    import sqlite3

    from receiver.cli.spool import depth_of

    try:
        depth = depth_of(settings)
    except (sqlite3.Error, OSError) as error:
        yield f"the spool cannot be read: {error}"
        return
    if depth and depth.depth:
        yield f"{depth.depth} deliveries wait in the spool since {moment(depth.oldest):%Y-%m-%d %H:%M} UTC"
    if depth and depth.quarantined:
        yield f"{depth.quarantined} deliveries are quarantined in the spool; `zohook spool` shows why"
