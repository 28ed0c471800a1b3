"""The commands and their help. Each imports what it needs when it runs, so that `zohook --help` is quick."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli import connection, keys, operate, source
from receiver.cli.backfill import run as backfill
from receiver.cli.reverify import reverify
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from receiver.settings import Settings

app = typer.Typer(
    help="Receive Zoho's webhooks, keep every one of them, and run your own Python handlers on them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        "-C",
        help="The project's folder, with zohook.toml in it.",
        show_default="$ZOHOOK_FOLDER, else here",
    ),
]


def _settings(folder: Path | None) -> Settings:
    from receiver.settings import Settings

    return Settings.load(folder)


@app.command()
def demo(
    *,
    events: Annotated[
        int,
        typer.Option(min=0, help="Stop by itself after so many events and print one JSON line. 0: never."),
    ] = 0,
    rate: Annotated[float, typer.Option(min=0.1, help="Changes a second in the simulated Zoho.")] = 5.0,
    folder: Annotated[
        Path, typer.Option("--folder", "-C", help="The data is put below it, in .zohook/demo.")
    ] = Path(),
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the data of the last demo.")] = False,
) -> None:
    """Show everything at work against a simulated Zoho: no account, no Redis and no settings are needed.

    Starts Redis, a Zoho simulator, the web process, a worker and the clock; connects by a real consent; then people in
    the simulated CRM, Books and Desk go to work, and signed webhooks arrive. Ctrl-C stops all of it.
    """
    from receiver.cli.demo import run

    raise typer.Exit(run(folder, events=events, rate=rate, keep=keep))


@app.command()
def up(folder: Folder = None) -> None:
    """Run your project: web, worker and clock in one process tree, with a Redis of its own unless zohook.toml names one."""
    from receiver.cli.up import run

    raise typer.Exit(run(folder))


@app.command()
def web(
    *,
    folder: Folder = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Instead of [web] port; 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="So many processes, instead of [web] workers.")
    ] = None,
    fd: Annotated[
        int | None, typer.Option(help="A listening socket to serve on by one process, from a supervisor.")
    ] = None,
) -> None:
    """Run the web process alone: the door for webhooks and the dashboard."""
    from receiver.cli.processes import web as serve
    from receiver.cli.processes import with_redis

    with with_redis(_settings(folder)) as settings:
        raise typer.Exit(serve(settings, port=port, fd=fd, workers=workers))


@app.command()
def worker(
    *,
    folder: Folder = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when there is nothing left to do.")] = False,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            "--queue",
            "--queues",
            help="Serve these queues only, the first before the others; may be given again, or with commas. What a dead worker had, "
            "and replays, are of no queue: each worker serves them, or those that name `recovered` or `replay`.",
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, max=64, help="So many processes, instead of [worker] processes.")
    ] = None,
) -> None:
    """Run a worker alone: it routes events and runs your handlers. Start as many as you like."""
    from receiver import worker as one
    from receiver.cli import workers
    from receiver.cli.processes import with_redis

    queues = tuple(name for each in queue or () for name in each.split(",") if name)
    with with_redis(_settings(folder)) as settings:
        count = settings.worker.processes if processes is None else processes
        work = one.main if count == 1 else partial(workers.run, processes=count)
        raise typer.Exit(work(settings, burst=burst, queues=queues))


@app.command()
def clock(folder: Folder = None) -> None:
    """Run the clock alone: it renews CRM channels and does what is due by time. A second one waits for the first to go."""
    from receiver.cli.processes import with_redis
    from receiver.upkeep.clock import main

    with with_redis(_settings(folder)) as settings:
        raise typer.Exit(main(settings))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
)
def simulator(context: typer.Context) -> None:
    """Run the simulated Zoho alone; its first line is JSON and says how to reach it. `zohook simulator --help` has more."""
    from receiver.simulator.__main__ import run

    raise typer.Exit(run(context.args))


@app.command()
def check(folder: Folder = None) -> None:
    """Look at zohook.toml, the secrets and the handlers without starting anything; status 2 if something is wrong."""
    from receiver.cli.check import run

    raise typer.Exit(run(_settings(folder)))


@app.command()
def init(
    folder: Annotated[
        Path, typer.Argument(help="The new project's folder; made if it is not there.")
    ] = Path(),
) -> None:
    """Begin a project: zohook.toml, .env with a new key, and handlers/ with an example. Nothing that exists is touched."""
    from receiver.cli.scaffold import run

    raise typer.Exit(run(folder))


@app.command()
def connect(
    name: Annotated[
        str | None, typer.Argument(help="The connection in zohook.toml; may be left out if there is one.")
    ] = None,
    *,
    code: Annotated[str | None, typer.Option(help="A self client's code, or - for standard input.")] = None,
    refresh_token: Annotated[
        str | None, typer.Option(help="A refresh token that a mobile app was given, or - for standard input.")
    ] = None,
    access_token: Annotated[
        str | None, typer.Option(help="An access token of a client-based app, or - for standard input.")
    ] = None,
    expires_in: Annotated[int, typer.Option(help="The seconds that the access token still lives.")] = 3600,
    folder: Folder = None,
) -> None:
    """Connect a Zoho organisation. How, goes by the type of the client in Zoho's API console.

    A self client (the default) takes a code pasted here; a server-based or mobile one opens Zoho's consent page; a device shows a
    code to type elsewhere; client credentials need nobody. The scopes asked for are the least that your handlers, channels and
    products need.
    """
    from receiver.cli.connect import Handed, run

    read = [sys.stdin.readline() if each == "-" else each for each in (code, refresh_token, access_token)]
    raise typer.Exit(run(folder, name, Handed(read[0], read[1], read[2], expires_in)))


@app.command()
def send(
    what: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE/CASE", help="A source and a case; with --file a source alone."),
    ] = None,
    *,
    listing: Annotated[bool, typer.Option("--list", help="Name what can be sent.")] = False,
    file: Annotated[Path | None, typer.Option(help="Send this file instead of a case, as it is.")] = None,
    event: Annotated[str, typer.Option(help="Which of the source's events the URL names.")] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Change the body before it is signed: invoice.total=99.5"
        ),
    ] = None,
    headers: Annotated[
        list[str] | None, typer.Option("--header", metavar="NAME: VALUE", help="Add a header.")
    ] = None,
    to: Annotated[str, typer.Option(help="Where the receiver is.", show_default="[web] of zohook.toml")] = "",
    as_captured: Annotated[
        bool,
        typer.Option(
            "--as-captured", help="Keep the ids and times of the sample: sent twice it is a duplicate."
        ),
    ] = False,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Send it without proof.")] = False,
    key: Annotated[
        Path | None,
        typer.Option(help="A private key of your own to sign with, for products that sign with RSA."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Send a captured delivery to the running receiver, with new ids and times, signed as its product signs it.

    Says what it was answered, which events it became, and what the handlers made of them.
    """
    from receiver.cli import send as sending

    settings = _settings(folder)
    if listing:
        raise typer.Exit(sending.listing(settings))
    if what is None:
        raise SettingsError(
            "say what to send: zohook send SOURCE/CASE; `zohook send --list` names all there is"
        )
    wish = sending.Wish(
        what, file, event, tuple(changes or ()), tuple(headers or ()), to, as_captured, unsigned, key
    )
    raise typer.Exit(sending.run(settings, wish))


@app.command()
def spool(
    *,
    folder: Folder = None,
    show: Annotated[int | None, typer.Option(help="Print one quarantined delivery as JSON.")] = None,
    release: Annotated[
        list[str] | None,
        typer.Option(help="Try a quarantined delivery again: its number, or all; may be given again."),
    ] = None,
    forget_host: Annotated[
        str, typer.Option(help="Give up what waits on the disk of a host that will never come back.")
    ] = "",
) -> None:
    """Say what waits on this host's disk for Redis, what the ledger refused of it, and which hosts are gone that left something."""
    from receiver.cli.spool import forget_host as forget
    from receiver.cli.spool import run

    if forget_host:
        from receiver.cli.opened import ledger

        with ledger(folder) as (_, redis):
            raise typer.Exit(forget(redis, forget_host))
    raise typer.Exit(run(_settings(folder), show=show, release=tuple(release or ())))


@app.command()
def version() -> None:
    """Say which version this is."""
    import platform

    from receiver import __version__

    typer.echo(f"zohook {__version__}, Python {platform.python_version()}")


operate.add(app)
app.command("run")(backfill)
app.command()(reverify)
app.add_typer(connection.app, name="connection")
app.add_typer(keys.app, name="keys")
app.add_typer(source.app, name="source")
