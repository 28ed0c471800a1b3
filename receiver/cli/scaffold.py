"""`zohook init`: the files of a new project. What exists is never touched."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import typer
from cryptography.fernet import Fernet

from receiver.cli import starter
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = ("new_lead", "greet_new_lead", "lead")

TOML = """\
# Zohook's settings. Secrets do not belong here but in .env, or in the environment. `zohook check` tells what is wrong.

# Where Zoho reaches this machine: the address of your reverse proxy or tunnel.
public_url = "http://127.0.0.1:8080"

# A connection is one consent at Zoho: client_id from its API console, the secret in .env as ZOHOOK_SECRET_ACME.
# [connections.acme]
# dc = "eu"                            # us, eu, in, au, jp, ca, sa, cn, uk, ae or sg
# client_id = "1000.ABCDEF"
# books = "20061234567"                # organisation ids, of the products that you use
# desk = "20069876543"

# A source is one way in: its name is the last part of its address, {public_url}/in/NAME.
[sources]
# crm   = "crm_channel"                # CRM notifications; Zohook makes and renews the channels below
# rules = { product = "crm_workflow", id = "/record_id", events = ["Deals.won"] }
# books = { product = "books", events = ["invoice.created", "invoice.paid"] }   # one address per event: ?event=invoice.paid
# desk  = { product = "desk", events = ["Ticket_Add", "Ticket_Update"] }

# [channels]
# deals = { events = ["Deals.all", "Leads.create"] }

# Without a url Zohook runs a Redis of its own, with its data in .zohook/redis.
# [redis]
# url = "redis://127.0.0.1:6379/0"

# [web]
# port = 8080

# [worker]
# threads = 8
"""

ENV = """\
# Secrets of this project: never commit this file.

# Encrypts the tokens. To rotate it put a new key before this one, with a comma between them.
ZOHOOK_KEY={key}

# Opens the dashboard.
ZOHOOK_WEB__PASSWORD={password}

# One for each source and connection; two with a comma between them while you rotate.
# ZOHOOK_SECRET_ACME=the client secret of [connections.acme]
# ZOHOOK_SECRET_BOOKS=the secret that you entered at the webhook in Books
"""

PACKAGE = '''\
"""Your handlers. `ON` lists the modules that are on; without it all of them are."""

ON = ["{example}"]
'''

IGNORED = ".env\n.zohook/\n__pycache__/\n"


def run(folder: Path) -> int:
    """Write the files and say what comes next."""
    place = folder.resolve()
    try:
        files = _files(place)
        (place / "handlers").mkdir(parents=True, exist_ok=True)
        for name, text, mode in files:
            made = _write(place / name, text, mode)
            typer.echo(f"{'wrote' if made else 'kept '}  {place / name}")
    except OSError as error:
        raise SettingsError(f"{error.filename or place}: cannot be written: {error.strerror}") from error
    typer.echo("\nNow open zohook.toml, then: zohook check, zohook up")
    return 0


def _files(place: Path) -> list[tuple[str, str, int]]:
    env = ENV.format(key=Fernet.generate_key().decode(), password=secrets.token_urlsafe(12))
    files = [("zohook.toml", TOML, 0o644), (".env", env, 0o600), (".gitignore", IGNORED, 0o644)]
    if not any((place / "handlers").glob("*.py")):  # the user's own list of handlers is not ours to add to
        example = _example()
        files.append((f"handlers/{example.name}", example.read_text(), 0o644))
        files.append(("handlers/__init__.py", PACKAGE.format(example=example.stem), 0o644))
    return files


def _example() -> Path:
    found = {
        path.stem: path for path in sorted(starter.folder().glob("*.py")) if not path.stem.startswith("_")
    }
    for name in EXAMPLES:
        if name in found:
            return found[name]
    if not found:
        raise SettingsError(f"{starter.folder()} has no handler to begin with; install Zohook again")
    return next(iter(found.values()))


def _write(path: Path, text: str, mode: int) -> bool:
    """True if the file is new. It is made with its mode, so that a secret is at no moment open to others."""
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(made, "w", encoding="utf-8") as file:
        file.write(text)
    return True
