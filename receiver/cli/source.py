"""`zohook source`: add a way in and say what to type into Zoho's screen, look at it, arm it, change its secret, take it out."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING, Annotated

import typer

from receiver.cli.operate import Folder  # noqa: TC001 - typer reads it
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from receiver.cli.sources import Place

app = typer.Typer(
    help="Ways in: add one, look at it, arm it, change its secret, take it out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
Name = Annotated[str, typer.Argument(help="The source in zohook.toml.")]
Secret = Annotated[
    str | None,
    typer.Option(
        help="- to read a secret of your own from standard input; no other value, for others read command lines."
    ),
]


@app.command()
def add(
    name: Annotated[
        str | None, typer.Argument(help="The last part of its address: small letters, digits and _.")
    ] = None,
    product: Annotated[
        str | None, typer.Argument(help="books, crm_workflow, desk, ...; asked for if left out.")
    ] = None,
    *,
    event: Annotated[
        list[str] | None, typer.Option(help="An event that its URL may name; may be given again.")
    ] = None,
    connection: Annotated[str, typer.Option(help="The connection that its events are handled with.")] = "",
    id_at: Annotated[str, typer.Option("--id", help="JSON pointer to the record's id.")] = "",
    time_at: Annotated[str, typer.Option("--time", help="JSON pointer to the record's modified time.")] = "",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any other key of the source, as TOML."),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option(help="A file with the public key that Zoho shows, for products that sign with RSA."),
    ] = None,
    secret: Secret = None,
    folder: Folder = None,
) -> None:
    """Write a source into zohook.toml and its secret into .env, and say what to type into Zoho's screen, step by step."""
    from receiver.cli import adding

    given = adding.Given(
        name, product, tuple(event or ()), connection, id_at, time_at, tuple(setting or ()), public_key
    )
    adding.add(_place(folder), given, _own(secret), asks=sys.stdin.isatty())


@app.command("list")
def listing(folder: Folder = None) -> None:
    """Name the sources, with their products and addresses."""
    from receiver.cli import showing

    showing.listing(_place(folder))


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="The source; all of them if left out.")] = None,
    *,
    steps: Annotated[
        bool, typer.Option("--steps", help="What to type into Zoho's screen, step by step.")
    ] = False,
    secret: Annotated[
        bool, typer.Option("--secret", help="The secret too, where it is typed into Zoho's screen.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Show the addresses to paste, the proof, whether it is armed, and when each of its secrets verified last."""
    from receiver.cli import showing

    showing.show(_place(folder), name, with_steps=steps, secret=secret)


@app.command()
def arm(
    name: Name,
    *,
    forget: Annotated[bool, typer.Option("--forget", help="Drop the secrets that were told before.")] = False,
    folder: Folder = None,
) -> None:
    """For ten minutes take the secret that the product tells when its webhook is saved. Zoho Mail does that."""
    from receiver.cli import secrets

    secrets.arm(_place(folder), name, forget=forget)


@app.command()
def rotate(
    name: Name,
    *,
    secret: Secret = None,
    finish: Annotated[bool, typer.Option("--finish", help="Drop all but the newest secret.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Finish though an old secret may still be in use.")
    ] = False,
    folder: Folder = None,
) -> None:
    """Put a new secret before the one in .env, and say what to paste. Both are valid until --finish drops the old one."""
    from receiver.cli import secrets

    place = _place(folder)
    if finish:
        secrets.finish(place, name, sure=yes)
    else:
        secrets.rotate(place, name, _own(secret), asks=sys.stdin.isatty())


@app.command()
def remove(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is changed.")] = False,
    folder: Folder = None,
) -> None:
    """Take a source out of zohook.toml, and its secret out of .env. What came in by it stays in the ledger."""
    from receiver.cli import adding

    adding.remove(_place(folder), name, sure=yes)


def _place(folder: Path | None) -> Place:
    from receiver.cli.sources import Place

    return Place.of(folder)


def _own(given: str | None) -> str | None:
    """The secret on standard input, where it is asked for."""
    if given is None:
        return None
    if given != "-":
        raise SettingsError(
            "a secret on the command line can be read by others; write --secret - and give it on standard input"
        )
    from receiver.cli.sources import sound

    return sound(sys.stdin.readline())
