"""`zohook run`: a handler over records that had no event. What it reads of Zoho is put down as it comes, so it can always go on."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.operate import Folder, ledger, moment
from receiver.errors import ConnectionUnusable, RateLimited, SettingsError, ZohoError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.routing.backfills import Backfill, Progress
    from receiver.routing.plugins import Handler
    from receiver.settings import Settings
    from receiver.zoho import Zoho

LATER = "what was read is kept, and the same command goes on there"


def run(
    handler: Annotated[str, typer.Argument(help="The handler's id, MODULE.FUNCTION.")],
    *,
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--id", help="These records; may be given again, with commas, or - for a list on standard input."
        ),
    ] = None,
    coql: Annotated[
        str, typer.Option(help="The rows of a COQL query of CRM's: select id from Deals where ...")
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            help="What was changed since then: 2h, 30d, or 2027-01-31T10:00. CRM, Books and its kin, Desk."
        ),
    ] = "",
    module: Annotated[
        str, typer.Option(help="Deals, or crm.Deals: where the handler is about more than one.")
    ] = "",
    connection: Annotated[str, typer.Option(help="The connection, where the handler does not say.")] = "",
    rate: Annotated[float, typer.Option(min=0, help="Jobs a second; 0: as fast as they go.")] = 20.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the records.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Begin anew where the same command is over already.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Run a handler over records that had no event: those named, those that a query finds, or what was changed since a time.

    Each becomes an event with the origin `backfill` and one job, in the lane of replays: live events never wait for them, and the
    last fifth of a day's credits is theirs. Ctrl-C, a crash, and the same command again: it goes on where it was, no record twice.
    """
    from receiver.settings import Settings

    settings = Settings.load(folder)
    wanted = _wanted(settings, handler, _ids(ids or []), coql, since, module, connection)
    with ledger(folder) as redis, _zoho(settings, redis, wanted.connection) as zoho:
        if dry_run:
            _count(wanted, zoho)
        else:
            _run(redis, wanted, zoho, rate, again=again)


def _wanted(
    settings: Settings, name: str, ids: tuple[str, ...], coql: str, since: str, module: str, connection: str
) -> Backfill:
    from receiver.routing import backfills
    from receiver.routing.backfill_pages import Wish
    from receiver.routing.plugins import load

    if sum(map(bool, (ids, coql, since))) != 1:
        raise SettingsError("say which records: one of --id, --coql and --since")
    found = backfills.chosen(load(settings).handlers, name)
    kind = backfills.type_for_query(coql, found, module) if coql else backfills.type_for(found, module)
    product, _, rest = kind.partition(".")
    wish = Wish(product, rest.rpartition(".")[0], ids, coql, moment(since))
    return backfills.Backfill(
        found, kind, wish, _connection(settings, found, connection), (*ids, coql, since)
    )


def _ids(given: list[str]) -> tuple[str, ...]:
    texts = [sys.stdin.read() if each == "-" else each for each in given]
    return tuple(dict.fromkeys(each for text in texts for each in text.replace(",", " ").split()))


def _connection(settings: Settings, handler: Handler, given: str) -> str:
    named = given or handler.options.connection
    if not named:
        of_sources = {settings.connection_of(each) for each in handler.options.source} - {""}
        named = of_sources.pop() if len(of_sources) == 1 else settings.connection_of("")
    if named not in settings.connections:
        names = ", ".join(sorted(settings.connections)) or "none"
        raise SettingsError(f"say which connection with --connection: there are {names}")
    return named


@contextmanager
def _zoho(settings: Settings, redis: Redis, connection: str) -> Iterator[Zoho]:
    """Zoho for reading, behind live events; what keeps the connection from calling is said before anything is begun."""
    from receiver.zoho import Clients
    from receiver.zoho.vault import Vault

    clients = Clients(redis, settings, Vault.open_or_make(settings))
    state = clients.tokens.status(connection)
    if state.state != "ok":
        why = f" ({state.why})" if state.why else ""
        raise SettingsError(f"the connection {connection} is {state.state}{why}: zohook connect {connection}")
    try:
        yield clients.for_job(connection, behind=True)
        clients.flush()
    except RateLimited as error:
        held = f" by {error.hold}" if error.hold else ""
        raise SettingsError(f"held back{held} for {error.retry_after or 0:.0f} s: {error}; {LATER}") from None
    except ConnectionUnusable as error:
        raise SettingsError(f"the connection {connection} cannot call: {error}; {LATER}") from None
    except ZohoError as error:
        said = f" ({error.code}{_details(error)})" if error.code else ""
        raise SettingsError(f"Zoho says: {error}{said}") from None


def _details(error: ZohoError) -> str:
    return f", {error.details}" if error.details else ""


def _count(wanted: Backfill, zoho: Zoho) -> None:
    from receiver.routing import backfills

    known = 0
    for page in backfills.pages(zoho, wanted.wish):
        known = len(page.rows) + (0 if page.anew else known)
    calls = f", read in {len(zoho.calls)} call{'' if len(zoho.calls) == 1 else 's'}" if zoho.calls else ""
    typer.echo(
        f"{known} record{'' if known == 1 else 's'} of {wanted.wish.product}.{wanted.wish.resource}{calls}; "
        f"{wanted.handler.id} would be run with {wanted.type} for each; nothing was done"
    )


def _run(redis: Redis, wanted: Backfill, zoho: Zoho, rate: float, *, again: bool) -> None:
    from receiver.routing import backfills

    found, there = backfills.begin(redis, wanted, rate=rate, by="command line", again=again)
    goes = " goes on" if found.state in {"reading", "running"} else " is all given out"
    typer.echo(f"backfill {found.id}{goes if there else ''}; zohook cancel {found.id} stops it")
    try:
        if found.state == "reading":
            for known in backfills.read(redis, found.id, wanted.handler, zoho):
                typer.echo(f"{known:,} records known")
        _follow(redis, found.id, there=there)
    except KeyboardInterrupt:
        going = backfills.progress(redis, found.id).state
        typer.echo(
            LATER if going == "reading" else "the workers go on with it; the same command shows how far it is"
        )
        raise typer.Exit(130) from None


def _follow(redis: Redis, found: str, *, there: bool) -> None:
    """Say how far it is until it is over. It goes on without us, and begins once a worker runs."""
    from receiver.ledger import read
    from receiver.routing import backfills

    if not read.workers(redis):
        typer.echo("no worker is running: it begins when one does")
        return
    said, over = "", 0
    while True:
        began = time.monotonic()
        now = backfills.progress(redis, found)
        line = _line(now)
        if line != said:
            typer.echo(line)
            said = line
        over = over + 1 if now.over else 0
        if over == 2:  # a job that changes its state is in no index for a moment of a look
            break
        time.sleep(max(0.5, 5 * (time.monotonic() - began)))
    if now.state == "cancelled":
        typer.echo("it was cancelled; --again begins anew")
    elif there:
        typer.echo("it is over; --again runs all of them anew")
    if now.jobs.get("dead"):
        typer.echo("the dead ones are among the dead letters: zohook retry --handler")


def _line(now: Progress) -> str:
    jobs = ", ".join(f"{count:,} {state}" for state, count in now.jobs.items() if count)
    return f"{now.given:,} of {now.chosen:,} given{': ' if jobs else ''}{jobs}{f' ({now.why})' if now.why else ''}"
