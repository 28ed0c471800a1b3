"""`zohook source rotate` and `arm`: how the secret of a source changes without one delivery being refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from receiver.cli import project
from receiver.cli.processes import ledger_if_any
from receiver.cli.sources import RESTART, made, sound
from receiver.errors import SettingsError
from receiver.intake import told
from receiver.intake.pointing import steps
from receiver.intake.uses import Labels, uses

if TYPE_CHECKING:
    from receiver.cli.sources import Place
    from receiver.intake.keyring import Lock

INSTEAD = {
    "derived": "its tokens are derived from ZOHOOK_KEY: put a new key before the old one there, with a comma between them",
    "public": "it has none of yours: its products sign with keys of their own; where zohook.toml has public_keys, both of two may stand there",
    "sent": "the product tells its secret itself:   zohook source arm {name}   and save the webhook there once more",
}


def rotate(place: Place, name: str, own: str | None, *, asks: bool) -> None:
    """Put a new secret in front; both are valid."""
    lock = place.lock(name)
    variable = _variable(place, lock)
    theirs = lock.source.guide.whose == "theirs"
    if own is None and theirs:
        if not asks:
            raise SettingsError(
                f"Zoho makes the secret of {name}: give it on standard input, with --secret -"
            )
        own = sound(typer.prompt("The secret that Zoho shows", hide_input=True))
    secret = own or made()
    known = place.settings.secrets(name)
    if secret in known:
        raise SettingsError(f"that secret is among those of {name} already; nothing was changed")
    project.write_env(place.folder, variable, ",".join((secret, *known[:1])))
    place.say(".env", f"{variable}: a new one before the one there was")
    typer.echo(f"\n{RESTART}")
    if not theirs:
        typer.echo(f"Then put the new secret into Zoho's screen:\n\n       {secret}\n")
        typer.echo(steps(place.settings, lock, "the new secret"))
    typer.echo(
        f"Once `zohook source show {name}` says that the old one is idle:   zohook source rotate {name} --finish"
    )


def finish(place: Place, name: str, *, sure: bool) -> None:
    """Drop all secrets but the newest, if that is the one in use."""
    lock = place.lock(name)
    variable = _variable(place, lock)
    known = place.settings.secrets(name)
    if len(known) < 2:
        raise SettingsError(
            f"{name} has one secret only; `zohook source rotate {name}` puts a new one before it"
        )
    with ledger_if_any(place.settings) as redis:
        found = uses(redis, [lock], Labels(place.vault))[name] if redis is not None else ()
    if not sure and not (found and all(use.idle for use in found[1:])):
        why = (
            "the ledger cannot be asked"
            if not found
            else "the old secret was in use lately, or the new one has not been used yet"
        )
        raise SettingsError(
            f"{why}, so deliveries might be refused; `zohook source show {name}` tells more, --yes drops it all the same"
        )
    project.write_env(place.folder, variable, known[0])
    place.say(".env", f"{variable}: the newest alone")
    typer.echo(f"\n{RESTART}")


def _variable(place: Place, lock: Lock) -> str:
    if lock.source.needs != "secret":
        raise SettingsError(f"{lock.way.name}: {INSTEAD[lock.source.guide.whose].format(name=lock.way.name)}")
    return place.writable(lock.way.name)


def arm(place: Place, name: str, *, forget: bool) -> None:
    """Let the next secret be taken that the product tells."""
    lock = place.lock(name)
    if lock.source.needs != "told":
        raise SettingsError(
            f"{name} needs no arming: {lock.way.product} tells no secret; `zohook source show {name} --steps` says how it is set up"
        )
    with ledger_if_any(place.settings) as redis:
        if redis is None:
            raise SettingsError(
                "the project's Redis does not answer; start `zohook up` first, for the webhook is tried while it is saved"
            )
        if forget:
            told.forget(redis, name)
        told.arm(redis, name)
    typer.echo(
        f"{name} is armed for {told.ARMED_FOR // 60} minutes: the first secret that comes is taken.\n\n{steps(place.settings, lock, '')}"
    )
