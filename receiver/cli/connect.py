"""`zohook connect`: a consent, in the way that the type of the client in Zoho's API console asks for."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import typer

from receiver.errors import NotConnected, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from redis import Redis

    from receiver.settings import Settings
    from receiver.zoho import Clients

CALLBACK = "/connect/callback"
PATIENCE = 600.0


class Handed:
    """What may be handed in on standard input or at a prompt instead of a consent."""

    def __init__(
        self,
        code: str | None = None,
        refresh: str | None = None,
        access: str | None = None,
        seconds: int = 3600,
    ) -> None:
        self.code, self.refresh, self.access, self.seconds = code, refresh, access, seconds


def run(folder: Path | None, name: str | None, given: Handed) -> int:
    """Connect, and say whose organisations the consent opens. Raises SettingsError or a ZohoError with the cure."""
    from receiver import logs
    from receiver.cli.opened import clients
    from receiver.ledger import runs
    from receiver.settings import Settings
    from receiver.zoho.scopes import wanted_scopes

    connection = _chosen(Settings.load(folder), name)
    with clients(folder) as (settings, redis, zoho):
        scopes = wanted_scopes(redis, settings, connection)
        for each in (given.code, given.refresh, given.access):
            if each:
                logs.hide(each.strip())
        _consent(settings, zoho, connection, scopes, given)
        runs.release(redis, f"connection:{connection}")
        typer.echo(f"{connection} is connected.")
        _tell(settings, redis, zoho, connection)
    return 0


def _consent(
    settings: Settings, zoho: Clients, connection: str, scopes: tuple[str, ...], given: Handed
) -> None:
    client, grants = settings.connections[connection].client, zoho.consent.grants
    if given.refresh:
        grants.hand_refresh(connection, given.refresh, scopes)
    elif given.access:
        grants.hand_access(connection, given.access, given.seconds, scopes)
    elif given.code or client == "self":
        _by_code(settings, zoho, connection, scopes, given.code)
    elif client == "credentials":
        typer.echo(
            f"{connection} asks for tokens by itself, as {zoho.tokens.accounts.soid(connection) or 'no soid is set'}."
        )
        grants.own(connection)
    elif client == "device":
        _by_device(zoho, connection, scopes)
    elif client == "browser":
        raise SettingsError(
            f'connections.{connection}.client is "browser": such a client is given no refresh token; hand its access token in, with   '
            f"zohook connect {connection} --access-token -   or by POST to /api/connections/{connection}/token"
        )
    else:
        _by_browser(settings, zoho, connection, scopes)


def _by_code(
    settings: Settings, zoho: Clients, connection: str, scopes: tuple[str, ...], code: str | None
) -> None:
    if code is None:
        typer.echo(
            f"1. Open {settings.data_centre(connection).console} and choose your self client, Generate Code."
        )
        typer.echo("2. Enter this as its scope, and any description:\n")
        typer.echo(f"   {','.join(scopes)}\n")
        typer.echo("3. Choose ten minutes, press Create, choose the organisation, and copy the code.\n")
        code = typer.prompt("The code", hide_input=sys.stdin.isatty())
    zoho.consent.self_client(connection, str(code), scopes)


def _by_device(zoho: Clients, connection: str, scopes: tuple[str, ...]) -> None:
    device = zoho.device.begin(connection, scopes)
    typer.echo(f"1. Open {device.url} on any device, signed in at Zoho.")
    typer.echo(f"2. Enter the code {device.user_code}, and accept.\n")
    typer.echo(f"Waiting; Zoho lets us look every {device.every:.0f} s ...")
    zoho.device.wait(connection, device, scopes)


def _by_browser(settings: Settings, zoho: Clients, connection: str, scopes: tuple[str, ...]) -> None:
    redirect = settings.connections[connection].redirect_uri or settings.public_url + CALLBACK
    began = zoho.tokens.status(connection).generation
    url = zoho.consent.begin(connection, redirect, scopes)
    typer.echo(
        f"1. See that {redirect} is a redirect URI of the client in {settings.data_centre(connection).console},"
    )
    typer.echo("   and that `zohook up` or `zohook web` runs there: Zoho sends your browser back to it.")
    typer.echo("2. Open this, and accept:\n")
    typer.echo(f"   {url}\n")
    typer.echo("Waiting ...")
    until = time.monotonic() + PATIENCE
    while zoho.tokens.status(connection).generation == began:
        if time.monotonic() > until:
            raise NotConnected("nobody has consented within ten minutes; start again", connection=connection)
        time.sleep(0.5)


def _tell(settings: Settings, redis: Redis, zoho: Clients, connection: str) -> None:
    """Whose organisations the token opens, and where the settings say otherwise; how full the client is."""
    from receiver.zoho import organisations
    from receiver.zoho.grants import MOST, WARN
    from receiver.zoho.scopes import drift

    status = zoho.tokens.status(connection)
    known, troubles = organisations.found(zoho.for_job(connection), status.scopes)
    for product, rows in known.items():
        mine = getattr(settings.connections[connection], product, {}).values()
        for ident, label in rows:
            typer.echo(f"  {product:<10} {ident}  {label}")
        strange = set(mine) - {ident for ident, _ in rows}
        if strange:
            typer.echo(
                f"look: connections.{connection}.{product} is {', '.join(sorted(strange))}, which this consent does not open"
            )
        elif not mine and product != "crm":
            typer.echo(f'look: add   {product} = "{rows[0][0]}"   to [connections.{connection}]')
    for trouble in troubles:
        typer.echo(f"look: {trouble}")
    for scope in drift(redis, settings, connection, status.scopes):
        typer.echo(f"look: the consent does not cover {scope}, which is needed")
    if (alive := zoho.consent.grants.alive(connection)) >= WARN:
        typer.echo(
            f"look: {alive} of {MOST} refresh tokens of this client are alive; the next ones end the oldest without notice"
        )


def chosen(settings: Settings, name: str | None, known: Iterable[str]) -> str:
    """The connection that is meant; raises SettingsError with those that there are."""
    names, file = list(known), settings.folder / "zohook.toml"
    if not names:
        raise SettingsError(
            f'{file}: there is no connection; add   [connections.acme]   with dc = "eu" and client_id = "..."'
        )
    if name is None and len(names) == 1:
        return names[0]
    if name not in names:
        asked = "say which one" if name is None else f"there is no connection {name!r}"
        raise SettingsError(f"{file}: {asked}: {' | '.join(names)}")
    return name


def _chosen(settings: Settings, name: str | None) -> str:
    connection = chosen(settings, name, settings.connections)
    known = settings.connections[connection]
    if known.customers:
        raise SettingsError(
            f"connections.{connection} is for customers, each of whom consents for himself:   zohook connection invite {connection} NAME"
        )
    if not known.client_id:
        raise SettingsError(
            f"connections.{connection}.client_id is not set in {settings.folder / 'zohook.toml'}; make a client at "
            f"{settings.data_centre(connection).console} and enter its id there"
        )
    if known.client not in {"mobile", "browser"} and not settings.secrets(connection, known.dc):
        raise SettingsError(
            f"the client secret of {connection} is missing; put it into .env as ZOHOOK_SECRET_{connection.upper()}=..."
        )
    return connection
