"""`zohook check`: everything that a start would refuse, found before a start; nothing is connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from receiver.settings import FILE

if TYPE_CHECKING:
    from receiver.routing.plugins import Handler
    from receiver.settings import Settings


def run(settings: Settings) -> int:
    """Print the ways in and the handlers. Raises SettingsError or HandlerError for what is wrong."""
    from receiver.intake.keyring import Keyring
    from receiver.routing.plugins import load
    from receiver.routing.router import unknown_patterns
    from receiver.zoho.vault import Vault

    keyring = Keyring(settings, Vault.open_or_make(settings))
    handlers = load(settings).handlers
    console = Console()
    console.print(_sources(settings, {name: lock.way.product for name, lock in keyring.locks.items()}))
    console.print(_handlers(handlers.values()))
    listed = [f"{source.product}.{event}" for source in settings.sources.values() for event in source.events]
    hints = unknown_patterns(handlers.values(), listed)
    for hint in hints:
        console.print(f"look: {hint}", markup=False)
    if not (settings.folder / FILE).exists():
        console.print(f"look: there is no {settings.folder / FILE}; `zohook init` makes one", markup=False)
    elif not settings.sources:
        console.print("look: zohook.toml has no [sources], so no webhook can come in", markup=False)
    if not handlers:
        packages = ", ".join(settings.handlers.packages)
        console.print(f"look: no handler was found in {packages}; declare one with @on", markup=False)
    console.print(
        f"{len(settings.sources)} sources, {len(handlers)} handlers: nothing is wrong", markup=False
    )
    return 0


def _sources(settings: Settings, products: dict[str, str]) -> Table:
    table = Table(
        "source", "product", "address for Zoho", "connection", title="Ways in", title_justify="left"
    )
    for name, product in products.items():
        events = settings.sources[name].events if product == "books" else ()
        addresses = [
            f"{settings.public_url}/in/{name}" + (f"?event={event}" if event else "")
            for event in events or ("",)
        ]
        table.add_row(name, product, "\n".join(addresses), settings.connection_of(name) or "-")
    return table


def _handlers(handlers: object) -> Table:
    table = Table("handler", "runs on", "options", "what it does", title="Handlers", title_justify="left")
    found: list[Handler] = sorted(handlers, key=lambda each: each.id)  # type: ignore[call-overload]
    for handler in found:
        about = handler.about()
        options = ", ".join(
            f"{name}={value}"
            for name, value in about["options"].items()
            if name not in {"retry_for", "timeout"}
        )
        table.add_row(handler.id, "\n".join(handler.patterns), options or "-", handler.doc or "-")
    return table
