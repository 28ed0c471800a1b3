"""`zohook connect`: a consent by a self client's code, which a person makes in Zoho's API console."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from receiver.settings import Settings


def run(settings: Settings, name: str | None, code: str | None) -> int:
    """Say what to enter in the console, take the code, connect."""
    from receiver import logs
    from receiver.ledger.connect import check, connect
    from receiver.zoho.clients import Clients
    from receiver.zoho.scopes import needed_scopes
    from receiver.zoho.vault import Vault

    connection = _chosen(settings, name)
    if not settings.connections[connection].client_id:
        raise SettingsError(
            f"connections.{connection}.client_id is not set in {settings.folder / 'zohook.toml'}; make a self client at "
            f"{settings.data_centre(connection).console} and enter its id there"
        )
    if not settings.secrets(connection):
        raise SettingsError(
            f"the client secret of {connection} is missing; put it into .env as ZOHOOK_SECRET_{connection.upper()}=..."
        )
    redis = connect(settings)
    try:
        check(redis)
        clients = Clients(redis, settings, Vault.open_or_make(settings))
        scopes = needed_scopes(settings, connection, _scopes_of_handlers(redis))
        if code is None:
            typer.echo(
                f"1. Open {settings.data_centre(connection).console} and choose your self client, Generate Code."
            )
            typer.echo("2. Enter this as its scope, and any description:\n")
            typer.echo(f"   {','.join(scopes)}\n")
            typer.echo("3. Choose ten minutes, press Create, choose the organisation, and copy the code.\n")
            code = typer.prompt("The code", hide_input=True)
        logs.hide(code.strip())
        clients.consent.self_client(connection, code, scopes)
    finally:
        redis.close()
    typer.echo(f"{connection} is connected.")
    return 0


def _chosen(settings: Settings, name: str | None) -> str:
    known = list(settings.connections)
    file = settings.folder / "zohook.toml"
    if not known:
        raise SettingsError(
            f'{file}: there is no connection; add   [connections.acme]   with dc = "eu" and client_id = "..."'
        )
    if name is None and len(known) == 1:
        return known[0]
    if name not in known:
        asked = "say which one" if name is None else f"there is no connection {name!r}"
        raise SettingsError(f"{file}: {asked}: zohook connect {' | '.join(known)}")
    return name


def _scopes_of_handlers(redis: object) -> list[str]:
    """What the handlers of the living workers declare that they need."""
    from receiver.ledger import read

    return [scope for handler in read.catalogue(redis) for scope in handler.get("scopes", ())]  # type: ignore[arg-type]
