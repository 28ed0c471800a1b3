"""`zohook connection`: the connections there are, customers' consent links, a new client secret, and an end."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.connect import chosen
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from receiver.zoho import Clients

app = typer.Typer(help="The consents at Zoho, and what becomes of them.", no_args_is_help=True)
Folder = Annotated[Path | None, typer.Option("--folder", "-C", help="The project's folder.")]
Name = Annotated[str, typer.Argument(help="The connection's name.")]


@app.command("list")
def show(*, folder: Folder = None) -> None:
    """Show every connection: its state, its data centre, what its consent lacks, and how many refresh tokens its client has."""
    from rich.console import Console
    from rich.table import Table

    from receiver.cli.opened import clients
    from receiver.zoho.grants import MOST
    from receiver.zoho.scopes import drift

    with clients(folder) as (settings, redis, zoho):
        table = Table("connection", "state", "data centre", "client", "tokens", "what to do")
        for name in zoho.tokens.accounts.connections:
            status, of = zoho.tokens.status(name), zoho.tokens.accounts.of(name)[0]
            lacks = drift(redis, settings, of, status.scopes)
            advice = (
                status.why
                if status.state != "ok"
                else f"connect again: no {', '.join(lacks)}"
                if lacks
                else ""
            )
            known = zoho.tokens.accounts.settings_of(name)
            alive = zoho.consent.grants.alive(name)
            table.add_row(
                name, status.state, status.dc or known.dc, known.client, f"{alive} of {MOST}", advice
            )
        Console().print(table)


@app.command()
def refreshes(name: Name, *, folder: Folder = None) -> None:
    """Show the token calls of a connection, newest first: when, by which process, and what Zoho said."""
    from receiver.cli.opened import clients

    with clients(folder) as (_, _redis, zoho):
        for each in zoho.tokens.status(chosen(zoho.settings, name, zoho.tokens.accounts.connections)).history:
            at = datetime.fromtimestamp(int(each.get("at", 0)) / 1000, UTC).isoformat(timespec="seconds")
            typer.echo(
                f"{at}  {each.get('outcome', '')} {each.get('code', '')}  {each.get('grant', '')}  {each.get('ms', 0)} ms  {each.get('process', '')}"
            )


@app.command()
def invite(
    of: Annotated[str, typer.Argument(help="The connection with customers = true.")],
    name: Annotated[
        str, typer.Argument(help="What to call the customer's connection: small letters, digits and _.")
    ],
    *,
    label: Annotated[str, typer.Option(help="What people read: the customer's company.")] = "",
    folder: Folder = None,
) -> None:
    """Make a consent link for one customer of a client that many share. It is good once, for seven days."""
    from receiver.cli.opened import clients

    with clients(folder) as (settings, _, zoho):
        token = zoho.tokens.customers.invite(chosen(settings, of, settings.connections), name, label)
        typer.echo(f"{settings.public_url}/consent/{token}")


@app.command("rotate-secret")
def rotate_secret(
    name: Name,
    *,
    secret: Annotated[
        str | None,
        typer.Option(help="The new client secret, or - for standard input; asked for if left out."),
    ] = None,
    folder: Folder = None,
) -> None:
    """Take a new client secret: it is tried at Zoho first, and put into .env before the old one, which serves until a restart."""
    from dotenv import set_key

    from receiver import logs
    from receiver.cli.opened import clients

    with clients(folder) as (settings, _, zoho):
        connection = chosen(settings, name, settings.connections)
        if secret is None:
            typer.echo(
                f"Make a new secret for the client in {settings.data_centre(connection).console}, and copy it."
            )
            typer.echo("Zoho may stop taking the old one at once; tokens that live go on to their end.")
            secret = typer.prompt("The new secret", hide_input=sys.stdin.isatty())
        elif secret == "-":  # noqa: S105 - standard input
            secret = typer.get_text_stream("stdin").readline()
        new = secret.strip()
        logs.hide(new)
        if "," in new or len(new) < 12:
            raise SettingsError("that is no client secret of Zoho's: it is longer, and has no comma in it")
        _try(zoho, connection, new)
        kept = [new, *(each for each in settings.secrets(connection) if each != new)][:2]
        file = settings.folder / ".env"
        file.touch(mode=0o600)
        set_key(file, f"ZOHOOK_SECRET_{connection.upper()}", ",".join(kept), quote_mode="never")
        file.chmod(0o600)
        typer.echo(
            f"Zoho takes it. It is in {file}, before the old one; restart Zohook's processes within the hour."
        )


def _try(zoho: Clients, connection: str, secret: str) -> None:
    """One token call with the new secret, from the budget of all. Raises the error that Zoho answers."""
    from receiver.errors import NotConnected
    from receiver.event import new_id

    tokens = zoho.tokens
    row = tokens.rows.read(connection)
    if not row.refresh:
        raise NotConnected(
            f"{connection} is not connected; put the secret into .env, and run   zohook connect {connection}"
        )
    fence = new_id()
    taken = tokens.rows.take(connection, fence, row.generation, f"trial {fence}")
    if taken.verdict != "yours":
        raise SettingsError(
            f"no token call is possible just now ({taken.verdict}); try again in {max(1, taken.wait):.0f} s"
        )
    answer = tokens.refresh.trial(taken.row, fence, secret)
    if answer.kind != "ok":
        raise zoho.consent.grants.failed(connection, tokens.accounts.centre(connection, row.dc), answer)


@app.command()
def remove(
    name: Name,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without it you are only told what would be done.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Revoke a consent at Zoho, then forget its tokens. Jobs of the connection wait until somebody consents again."""
    from receiver.cli.opened import clients

    with clients(folder) as (settings, _, zoho):
        connection = chosen(settings, name, zoho.tokens.accounts.connections)
        customer = zoho.tokens.customers.get(connection)
        if not yes:
            typer.echo(
                f"This revokes the consent of {connection} at Zoho and forgets its tokens; add --yes to do it."
            )
            return
        ended = zoho.consent.grants.remove(connection)
        if customer:
            zoho.tokens.customers.remove(connection)
        typer.echo(
            f"{connection}: {'revoked at Zoho and' if ended else 'Zoho did not confirm the end of it; it is'} forgotten here."
        )
        if not ended:
            typer.echo(
                "End it in Zoho too: accounts, Security, Connected apps; it counts as one of twenty until then."
            )
        if not customer:
            typer.echo(f"[connections.{connection}] is still in {settings.folder / 'zohook.toml'}.")
