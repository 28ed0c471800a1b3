"""`zohook source list` and `show`: what is configured, where Zoho is to be pointed, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from receiver.cli.processes import ledger_if_any
from receiver.errors import SettingsError
from receiver.event import moment, now_ms
from receiver.intake import told
from receiver.intake.pointing import addresses, steps, title, words
from receiver.intake.uses import Labels, uses
from receiver.ledger import forwards, sources
from receiver.sources import guide
from receiver.sources.source import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.cli.sources import Place
    from receiver.intake.keyring import Lock


def listing(place: Place) -> None:
    """One line a source."""
    _some(place)
    for name, lock in place.locks.items():
        for _, url in addresses(place.settings, lock):
            typer.echo(f"{name:14} {lock.way.product:14} {url}")


def show(place: Place, name: str | None, *, with_steps: bool, secret: bool) -> None:
    """All that there is to know of a source, or of all."""
    _some(place)
    chosen = [place.lock(name)] if name else list(place.locks.values())
    with ledger_if_any(place.settings) as redis:
        for index, lock in enumerate(chosen):
            typer.echo(("\n" if index else "") + f"{lock.way.name}: {title(lock)}")
            for label, text in _lines(place, lock, redis, secret=secret and not with_steps):
                typer.echo(f"  {label:11}{text}")
            if with_steps:
                typer.echo(f"\n{_steps(place, lock, secret=secret)}")
    if redis is None:
        typer.echo("\nThe project's Redis does not answer, so nothing can be said of what came in.", err=True)


def _some(place: Place) -> None:
    if not place.locks:
        raise SettingsError(
            f"{place.folder / 'zohook.toml'} has no [sources] yet; `zohook source add` makes one"
        )


def _steps(place: Place, lock: Lock, *, secret: bool) -> str:
    typed = (
        lock.keys.secrets[0] if secret and _is_typed(lock) else "(the secret: zohook source show --secret)"
    )
    return steps(place.settings, lock, typed)


def _is_typed(lock: Lock) -> bool:
    """Whether the secret is one that the admin types into Zoho's screen."""
    return lock.source.guide.whose == "ours"


def _lines(place: Place, lock: Lock, redis: Redis | None, *, secret: bool) -> Iterator[tuple[str, str]]:
    for index, (_, url) in enumerate(addresses(place.settings, lock)):
        yield "" if index else "address", url
    yield "proof", guide.filled(lock.source.guided(lock.way).proof, **words(lock))
    if lock.way.connection:
        yield "connection", lock.way.connection
    if secret and _is_typed(lock):
        for index, each in enumerate(lock.keys.secrets):
            yield "" if index else "secret", each
    if redis is not None:
        yield from _seen(place, lock, redis)


def _seen(place: Place, lock: Lock, redis: Redis) -> Iterator[tuple[str, str]]:
    """What the ledger knows."""
    name = lock.way.name
    if lock.source.needs == "told":
        lock.keys = Keys((*told.read_now(redis, place.vault, name), *lock.keys.secrets))
        left = told.armed_for(redis, name)
        yield "armed", f"for {left} seconds still" if left else f"no; zohook source arm {name}"
    found = uses(redis, [lock], Labels(place.vault))[name]
    if lock.source.needs == "told" and not lock.keys.secrets:
        yield "secrets", "none was told yet"
    else:
        for index, use in enumerate(found):
            said = (
                f"verified last {_ago(use.last)}" if use.last else "has verified nothing in the last 90 days"
            )
            drop = f"; it is idle, so drop it:   zohook source rotate {name} --finish" if use.idle else ""
            which = "the newest" if not index else f"no. {index + 1}"
            yield "" if index else "secrets", f"{which if len(found) > 1 else 'it'} {said}{drop}"
    if place.settings.sources[name].forward:
        yield "forward", _relayed(place, name, redis)
    row = sources.rows(redis, [name])[name]
    yield "events", f"{row.events:,} kept" + (f", the last one {_ago(row.last)}" if row.last else "")
    others = ", ".join(f"{word} {count:,}" for word, count in row.refused if count)
    yield "no event", others or "none"


def _relayed(place: Place, name: str, redis: Redis) -> str:
    """Where what it verifies is relayed to, and how far that is."""
    url, row = urlsplit(place.settings.sources[name].forward), forwards.rows(redis, [name])[name]
    done = dict(row.counts)["done"]
    return f"{url.scheme}://{url.netloc}{url.path}: {done:,} relayed, {row.waiting:,} wait, {row.failed:,} given up"


def _ago(ms: int) -> str:
    when = f"{moment(ms):%Y-%m-%d %H:%M:%S} UTC"
    seconds = max(0, now_ms() - ms) // 1000
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago ({when})"
    return f"now ({when})"
