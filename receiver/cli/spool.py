"""`zohook spool`: what waits on the disk of this host, and what the ledger refused of it; nothing there is ever lost.

Of other hosts it knows what they told the ledger: it says which of them are gone, and gives one up that will never come back.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING

import orjson
import typer

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

    from receiver.intake.spoolfile import Depth, Row, SpoolFile
    from receiver.settings import Settings

UNREADABLE = (ValueError, KeyError, TypeError, zlib.error)


def run(settings: Settings, *, show: int | None, release: Sequence[str]) -> int:
    """Print the state of the spool, or one quarantined delivery, or let quarantined ones wait again."""
    import sqlite3

    from receiver.intake.spool import Spool

    path = settings.folder / settings.spool.path
    if not path.exists():
        typer.echo(f"there is no {path}: nothing was ever spooled on this host")
        _print_gone(settings)
        return 0
    try:
        with Spool(path, settings.spool.size).file() as file:
            if release:
                _release(file, release)
            elif show is not None:
                _show(file, show)
            else:
                _print(file, path.name)
                _print_gone(settings)
    except (sqlite3.Error, OSError) as error:
        raise SettingsError(
            f"the spool {path} cannot be read: {error}; move it aside to keep what is in it"
        ) from error
    return 0


def forget_host(redis: Redis, host: str) -> int:
    """Give up what waits on a host that will never come back. Raises SettingsError where there is none, or it lives."""
    from receiver.ledger import spools

    row = next((each for each in spools.rows(redis) if each.host == host), None)
    if row is None:
        raise SettingsError(f"no spool of a host {host} is known; `zohook spool` lists those that are gone")
    if not row.gone:
        raise SettingsError(f"{host} was heard of {row.silent // 1000} s ago: it drains its spool itself")
    spools.forget(redis, host)
    typer.echo(f"{host} is forgotten; {row.depth + row.quarantined} deliveries on its disk are given up")
    return 0


def gone(redis: Redis) -> Iterator[str]:
    """A sentence for each host that left deliveries on its disk and is not heard of any more."""
    from receiver.event import moment
    from receiver.ledger import spools

    for row in spools.rows(redis):
        if row.gone and (row.depth or row.quarantined):
            refused = f" and {row.quarantined} are quarantined" if row.quarantined else ""
            yield (
                f"{row.depth} deliveries wait{refused} on the disk of {row.host}, which was not heard of since "
                f"{moment(row.seen):%Y-%m-%d %H:%M:%S} UTC: start its web process again on that disk, or, if it will never "
                f"come back, zohook spool --forget-host {row.host}"
            )


def depth_of(settings: Settings) -> Depth | None:
    """How much waits on this host; None where nothing was ever spooled. Raises sqlite3.Error or OSError."""
    from receiver.intake.spool import Spool

    path = settings.folder / settings.spool.path
    if not path.exists():
        return None
    with Spool(path, settings.spool.size).file() as file:
        return file.depth()


def _print_gone(settings: Settings) -> None:
    from redis.exceptions import RedisError

    from receiver.cli.opened import glance
    from receiver.errors import LedgerUnavailable

    with glance(settings) as redis:
        try:
            for each in gone(redis) if redis else ():
                typer.echo(each)
        except (RedisError, OSError, LedgerUnavailable) as error:
            typer.echo(f"what other hosts told is not known, for Redis was not looked at: {error}")


def _print(file: SpoolFile, name: str) -> None:
    from receiver.event import moment

    depth = file.depth()
    oldest = f", the oldest since {moment(depth.oldest):%Y-%m-%d %H:%M:%S} UTC" if depth.oldest else ""
    typer.echo(f"{name}: {depth.depth} deliveries wait for Redis, {depth.bytes} bytes{oldest}")
    for row, reason in file.quarantined():
        typer.echo(f"  quarantined {row.id}  received {moment(row.received):%Y-%m-%d %H:%M:%S} UTC  {reason}")
    if depth.quarantined:
        typer.echo(
            f"{depth.quarantined} quarantined: look with --show ID, and once the reason is mended "
            "let them go with --release ID, or --release all"
        )


def _show(file: SpoolFile, wanted: int) -> None:
    for row, reason in file.quarantined():
        if row.id == wanted:
            typer.echo(reason, err=True)
            sys.stdout.write(orjson.dumps(_readable(row), option=orjson.OPT_INDENT_2).decode() + "\n")
            return
    raise SettingsError(f"no quarantined delivery has the number {wanted}; `zohook spool` lists them")


def _readable(row: Row) -> dict[str, object]:
    """A row as far as it can be read: what it says, else its bytes in hexadecimal."""
    from receiver.intake.packing import unpack_record

    try:
        record = unpack_record(row.head, row.body)
    except UNREADABLE:
        return {"head": row.head.hex(), "body": row.body.hex()}
    about: dict[str, object] = record.meta()
    return {**about, "verdict": record.verdict, "body": record.delivery.body.decode("utf-8", "replace")}


def _release(file: SpoolFile, wanted: Sequence[str]) -> None:
    known = {row.id for row, _ in file.quarantined()}
    if list(wanted) == ["all"]:
        chosen = sorted(known)
    else:
        chosen = [int(each) for each in wanted if each.isdecimal() and int(each) in known]
        if len(chosen) < len(wanted):
            raise SettingsError("not all of these are quarantined deliveries; `zohook spool` lists them")
    count = file.release(chosen) if chosen else 0
    typer.echo(f"{count} wait again; the web process of this host brings them into the ledger")
