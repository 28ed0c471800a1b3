"""What the commands on sources share: the project's files, its locks, the addresses and the steps for Zoho's screen."""

from __future__ import annotations

import os
import re
import secrets
import string
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import typer

from receiver.cli import project
from receiver.errors import SettingsError
from receiver.intake.keyring import Keyring
from receiver.settings import SHORTEST_SECRET, Settings, did_you_mean
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from receiver.intake.keyring import Lock

RESTART = "Restart `zohook up` (or web, worker and clock), so that it is known there."
LETTERS = string.ascii_letters + string.digits
LENGTH = 43
"""Of these letters that is 256 bits; and the finance family takes 12 to 50 letters and digits, and no other sign."""


@dataclass
class Place:
    """One project. `outside` is what the environment said before .env was read into it."""

    folder: Path
    outside: dict[str, str]

    @classmethod
    def of(cls, folder: Path | None) -> Self:
        """The project of a folder."""
        return cls(Path(folder or os.environ.get("ZOHOOK_FOLDER") or ".").resolve(), dict(os.environ))

    @cached_property
    def settings(self) -> Settings:
        """Its settings as they are."""
        return Settings.load(self.folder)

    @cached_property
    def vault(self) -> Vault:
        """Its vault."""
        return Vault.open_or_make(self.settings)

    @cached_property
    def locks(self) -> dict[str, Lock]:
        """Its sources, each with its keys."""
        return Keyring(self.settings, self.vault).locks

    def lock(self, name: str) -> Lock:
        """One source. Raises SettingsError where there is none of that name."""
        if name not in self.locks:
            raise SettingsError(
                f"there is no source {name!r}{did_you_mean(name, self.locks)}; `zohook source list` names them"
            )
        return self.locks[name]

    def tried(self, toml: str, **environment: str) -> dict[str, Lock]:
        """The sources that a changed zohook.toml and environment would give. Raises SettingsError with what would be wrong."""
        kept = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            changed = Settings.load(self.folder, sources=tomllib.loads(toml).get("sources", {}))
            return Keyring(changed, self.vault).locks
        finally:
            for name, value in kept.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def writable(self, name: str) -> str:
        """The variable of a source's secret, where .env is what says it. Raises SettingsError where something else does."""
        variable = f"ZOHOOK_SECRET_{name.upper()}"
        here = project.env_of(self.folder)
        if found := self.outside.get(f"{variable}_FILE") or here.get(f"{variable}_FILE"):
            raise SettingsError(
                f"the secret of {name} is in the file {found}; change it there: newest first, a comma between them"
            )
        if variable in self.outside and self.outside[variable] != here.get(variable):
            raise SettingsError(
                f"{variable} is set in the environment, which wins over .env; change it where that is set"
            )
        return variable

    def say(self, file: str, what: str) -> None:
        """One line on a file that was written."""
        typer.echo(f"wrote  {self.folder / file}  {what}")


def made() -> str:
    """A new secret."""
    return "".join(secrets.choice(LETTERS) for _ in range(LENGTH))


def sound(given: str) -> str:
    """A secret that somebody gave, without the line's end. Raises SettingsError where .env or a list of two cannot hold it."""
    secret = given.strip()
    if len(secret) < SHORTEST_SECRET:
        raise SettingsError(
            f"the secret has {len(secret)} characters; make it {SHORTEST_SECRET} or more, in Zoho and here"
        )
    if not re.fullmatch(r"[!-~]+", secret) or set(secret) & set(",'\"\\$`"):
        raise SettingsError(
            "the secret holds a blank, a comma, a quote, a backslash, a $ or no plain ASCII; choose another one"
        )
    return secret
