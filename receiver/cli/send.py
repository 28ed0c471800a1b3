"""`zohook send`: a captured delivery, or any file, sent to a running receiver as the product would send it, freshly signed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import typer

from receiver import logs
from receiver.cli import parcel
from receiver.cli.processes import ledger_if_any, local_address
from receiver.errors import SettingsError
from receiver.event import new_id
from receiver.sources import samples

if TYPE_CHECKING:
    from pathlib import Path

    from redis import Redis

    from receiver.event import Delivery
    from receiver.intake.keyring import Lock
    from receiver.settings import Settings

WAIT, LOOK_EVERY = 3.0, 0.1
"""Seconds that the ledger is watched for what becomes of the events."""
GOOD = frozenset({"accepted", "duplicate", "spooled", "handshake"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be sent, and where."""

    what: str
    file: Path | None = None
    event: str = ""
    changes: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    to: str = ""
    as_captured: bool = False
    unsigned: bool = False
    key: Path | None = None


def run(settings: Settings, wish: Wish) -> int:
    """Send it and say what came of it; 0 where it was taken. Raises SettingsError where it cannot be sent."""
    lock, case = _chosen(settings, wish)
    base = wish.to.rstrip("/") or local_address(settings.web.host, settings.web.port)
    mark = f"zohook-send {new_id()}"
    delivery = parcel.packed(lock, case, wish, mark)
    with ledger_if_any(settings) as redis:
        if not wish.unsigned:
            _learn(lock, settings, redis)
            delivery = parcel.signed(delivery, lock, settings, wish.key)
        return _tell(_post(delivery, base), base, lock.way.name, mark, redis)


def listing(settings: Settings) -> int:
    """Print what can be sent: each configured source with the cases of its product."""
    from receiver.intake.keyring import Keyring
    from receiver.zoho.vault import Vault

    locks = Keyring(settings, Vault.open_or_make(settings)).locks
    if not locks:
        raise SettingsError("zohook.toml has no [sources] yet; `zohook source add` makes one")
    for name, lock in locks.items():
        for case in samples.cases(lock.way.product):
            typer.echo(f"{name}/{case}")
    return 0


def _chosen(settings: Settings, wish: Wish) -> tuple[Lock, str]:
    from receiver.intake.keyring import Keyring
    from receiver.settings import did_you_mean
    from receiver.zoho.vault import Vault

    name, _, case = wish.what.partition("/")
    locks = Keyring(settings, Vault.open_or_make(settings)).locks
    if name not in locks:
        raise SettingsError(
            f"there is no source {name!r}{did_you_mean(name, locks)}; `zohook send --list` names what can be sent"
        )
    if wish.file is None:
        known = samples.cases(locks[name].way.product)
        if case not in known:
            said = f"there is no case {case!r}" if case else "which case?"
            raise SettingsError(f"{said}{did_you_mean(case, known)}: {name}/ and one of {', '.join(known)}")
    elif case:
        raise SettingsError(f"either a case or --file: write   zohook send {name} --file {wish.file}")
    return locks[name], case


def _learn(lock: Lock, settings: Settings, redis: Redis | None) -> None:
    """Give the lock what a product told the door, if it is one that tells its secret."""
    from receiver.intake import told
    from receiver.sources.source import Keys
    from receiver.zoho.vault import Vault

    if lock.source.needs == "told" and redis is not None:
        found = told.read_now(redis, Vault.open_or_make(settings), lock.way.name)
        lock.keys = Keys((*found, *lock.keys.secrets))


def _post(delivery: Delivery, base: str) -> httpx.Response:
    url = base + delivery.path + (f"?{delivery.query.decode('latin-1')}" if delivery.query else "")
    typer.echo(f"{delivery.method} {logs.mask(url)}  {len(delivery.body)} bytes")
    try:
        return httpx.request(
            delivery.method,
            url,
            content=delivery.body,
            headers=[(name.encode(), value.encode("latin-1")) for name, value in delivery.headers],
            timeout=15,
            trust_env=False,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SettingsError(
            f"nobody takes it at {base}: {error}; is `zohook up` or `zohook web` running? --to names another address"
        ) from None


def _tell(answer: httpx.Response, base: str, source: str, mark: str, redis: Redis | None) -> int:
    typer.echo(f"{answer.status_code} {logs.mask(answer.text[:2000])}")
    try:
        said: dict[str, Any] = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return 1
    verdict = said.get("verdict", "")
    for event in [*said.get("events", ()), *said.get("same_as", ())]:
        typer.echo(f"  {base}/events/{event}")
        if redis is not None and event in said.get("events", ()):
            _follow(redis, event)
    if redis is not None and verdict not in GOOD and (kept := _kept(redis, source, mark)):
        typer.echo(f"  {base}/deliveries/{kept}")
    return 0 if answer.status_code == 200 and verdict in GOOD else 1


def _follow(redis: Redis, event_id: str) -> None:
    """Say what became of an event, as far as it is known soon."""
    from receiver.ledger import read

    limit = time.monotonic() + WAIT
    while True:
        row = read.event(redis, event_id)
        open_jobs = row is not None and (row.state in {"due", "running"} or row.open)
        if not open_jobs or time.monotonic() > limit:
            break
        time.sleep(LOOK_EVERY)
    if row is None:
        return
    typer.echo(f"    {row.event.type}" + (f" {row.event.record_id}" if row.event.record_id else ""))
    if not row.jobs:
        waits = "no worker has looked at it yet" if row.state == "due" else row.state
        typer.echo(f"    {waits}")
    for job in row.jobs:
        typer.echo(f"    {job.handler}: {job.state}" + (f", {logs.mask(job.reason)}" if job.reason else ""))


def _kept(redis: Redis, source: str, mark: str) -> str:
    """The id of the delivery that bears our mark among the newest that became no event."""
    from receiver.ledger import read

    limit = time.monotonic() + 1
    while time.monotonic() < limit:  # rejected ones are written after the answer
        for verdict in ("rejected", "quarantined", "unverified"):
            for row in read.deliveries(redis, verdict, count=20):
                if row.meta["source"] == source and ["user-agent", mark] in row.meta["headers"]:
                    return row.id
        time.sleep(LOOK_EVERY)
    return ""
