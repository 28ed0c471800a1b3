"""`zohook keys`: which keys seal what lies in Redis, and how one takes the place of another while everything runs."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.zoho.vault import Vault

app = typer.Typer(help="The keys that seal tokens at rest.", no_args_is_help=True)
Folder = Annotated[Path | None, typer.Option("--folder", "-C", help="The project's folder.")]
IN_ENVIRONMENT = """\
The key comes from the environment, which only you can change. Without downtime that takes four steps:
1. ZOHOOK_KEY=old,new everywhere, and restart: every process can read both.
2. ZOHOOK_KEY=new,old everywhere, and restart: the new one seals.
3. zohook keys rotate: seals with the new one what the old one sealed.
4. ZOHOOK_KEY=new everywhere, a day later."""


@app.command("list")
def show(*, folder: Folder = None) -> None:
    """Show the keys by the first letters of their fingerprints, and how much each of them opens."""
    from receiver.zoho import sealed

    with _vault(folder) as (redis, vault):
        counts = sealed.needed(redis, vault)
        for number, key in enumerate(vault.keys):
            typer.echo(f"{_name(key)}  {'seals' if number == 0 else 'opens'}  {counts[key]} secrets")
        if counts[""]:
            raise SettingsError(
                f"{counts['']} secrets open with none of these keys; put back the key that sealed them, or connect again"
            )


@app.command()
def rotate(*, folder: Folder = None) -> None:
    """Put a new key in front of the old one, and seal everything with it. Running processes take it up by themselves."""
    from cryptography.fernet import Fernet

    from receiver.zoho import sealed

    with _vault(folder) as (redis, vault):
        if vault.source is None:
            if len(vault.keys) < 2:
                raise SettingsError(IN_ENVIRONMENT)
        else:
            _write(vault, (Fernet.generate_key().decode(), *vault.keys))
        count = sealed.reseal(redis, vault)
        typer.echo(f"{_name(vault.keys[0])} seals now; {count} secrets were sealed anew.")
        typer.echo(f"The old key still opens. In a day: zohook keys drop {_name(vault.keys[-1])}")


@app.command()
def drop(
    name: Annotated[str, typer.Argument(help="The key, as `zohook keys list` shows it.")],
    *,
    folder: Folder = None,
) -> None:
    """Drop an old key, once nothing needs it any more: what it sealed is sealed anew first."""
    from receiver.zoho import sealed

    with _vault(folder) as (redis, vault):
        found = [key for key in vault.keys if _name(key) == name]
        if not found:
            raise SettingsError(f"there is no key {name}; it is one of {', '.join(map(_name, vault.keys))}")
        if found[0] == vault.keys[0]:
            raise SettingsError(f"{name} seals now; zohook keys rotate puts another in its place first")
        if vault.source is None:
            raise SettingsError(
                "the key comes from the environment: take it out of ZOHOOK_KEY there, and restart"
            )
        sealed.reseal(redis, vault)
        if left := sealed.needed(redis, vault)[found[0]]:
            raise SettingsError(f"{left} secrets still need {name}; nothing was dropped, try again")
        _write(vault, tuple(key for key in vault.keys if key != found[0]))
        typer.echo(f"{name} is dropped. Zohook makes its CRM channels anew within seconds.")


@app.command()
def anew(*, folder: Folder = None) -> None:
    """Begin with the key that is there now, or a new one, after the old one was lost for good. What only that one opens stays lost."""
    from receiver.zoho import probe

    with _vault(folder) as (redis, vault):
        lost = probe.anew(redis, vault)
        typer.echo(
            f"{_name(vault.keys[0])} is the key from now on; {lost} secrets open with no key and are lost."
        )
        typer.echo(
            "Start Zohook, and connect each connection again; it makes its CRM channels anew by itself."
        )
        typer.echo(
            "Sources whose secret it made up have new ones: `zohook source show` says what to type into Zoho."
        )


@contextmanager
def _vault(folder: Path | None) -> Iterator[tuple[Redis, Vault]]:
    from receiver.cli.opened import ledger
    from receiver.zoho.vault import Vault

    with ledger(folder) as (settings, redis):
        yield redis, Vault.open_or_make(settings)


def _name(key: str) -> str:
    """What a key is called where it must not be shown."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


def _write(vault: Vault, keys: tuple[str, ...]) -> None:
    """The keys into their file, whole or not at all, and private."""
    file = vault.source
    if file is None:
        return
    if file.name == ".env":
        from dotenv import set_key

        set_key(file, "ZOHOOK_KEY", ",".join(keys), quote_mode="never")
    else:
        beside = file.with_name(f"{file.name}.new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(",".join(keys) + "\n")
            out.flush()
            os.fsync(out.fileno())
        beside.replace(file)
    file.chmod(0o600)
    vault.renewed()
