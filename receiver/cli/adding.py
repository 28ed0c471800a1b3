"""`zohook source add` and `remove`: what they write, and in which order, so that nothing half-done is left."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import typer

from receiver.cli import project
from receiver.cli.sources import RESTART, made, sound
from receiver.errors import SettingsError
from receiver.intake.pointing import steps
from receiver.settings import FILE, did_you_mean
from receiver.sources import PRODUCTS
from receiver.sources import samples as captured

if TYPE_CHECKING:
    from pathlib import Path

    from receiver.cli.sources import Place
    from receiver.sources.source import Source


@dataclass(frozen=True, slots=True)
class Given:
    """What was said on the command line."""

    name: str | None
    product: str | None
    events: tuple[str, ...]
    connection: str
    id: str
    time: str
    settings: tuple[str, ...]
    public_key: Path | None


def add(place: Place, given: Given, own: str | None, *, asks: bool) -> None:
    """Add a source and say what comes next. Raises SettingsError, with nothing written, where it would not stand."""
    name = given.name or _asked(
        "The name of the source, the last part of its address", asks, "zohook source add NAME PRODUCT"
    )
    product = _product(given.product, asks=asks)
    source = PRODUCTS[product]
    if name in place.settings.sources:
        raise SettingsError(f"there is a source {name!r} already; `zohook source show {name}` shows it")
    table = _table(place, product, source, given, asks=asks)
    secret, origin = _secret(place, name, source, own, asks=asks)
    toml = project.with_source(project.toml_of(place.folder), name, table)
    variable = f"ZOHOOK_SECRET_{name.upper()}"
    locks = place.tried(toml, **({variable: secret} if secret else {}))
    if origin in {"given", "made"}:
        project.write_env(place.folder, place.writable(name), secret)
        place.say(".env", variable)
    project.write_toml(place.folder, toml)
    place.say(FILE, f"sources.{name}")
    shown = secret.split(",")[0] if source.guide.whose == "ours" else ""
    typer.echo(f"\n{steps(place.settings, locks[name], shown)}")
    if any(own_name in place.settings.public_url for own_name in ("//127.", "//localhost", "//[::1]")):
        typer.echo(
            f"Zoho cannot reach {place.settings.public_url}: let public_url in {FILE} be your public address.\n"
        )
    if source.guide.whose == "theirs" and origin == "made":
        typer.echo(
            f"Give the secret that Zoho shows you with   zohook source rotate {name}\n"
            f"and what came before then is accepted with   zohook reverify --source {name} --yes"
        )
    typer.echo(RESTART)
    if cases := captured.cases(product):
        typer.echo(f"Try it without Zoho:   zohook send {name}/{cases[0]}")


def _asked(question: str, asks: bool, instead: str) -> str:
    if not asks:
        raise SettingsError(f"say it on the command line, for there is no terminal to ask at:   {instead}")
    return str(typer.prompt(question)).strip()


def _product(given: str | None, *, asks: bool) -> str:
    product = given
    if product is None:
        if asks:
            for name, source in PRODUCTS.items():
                typer.echo(f"  {name:14}{source.guide.title or f'Zoho {name.capitalize()}'}")
        product = _asked("Which product", asks, f"zohook source add NAME {'|'.join(PRODUCTS)}")
    if product not in PRODUCTS:
        raise SettingsError(
            f"there is no product {product!r}{did_you_mean(product, PRODUCTS)}; there are {', '.join(PRODUCTS)}"
        )
    return product


def _table(place: Place, product: str, source: Source, given: Given, *, asks: bool) -> dict[str, Any]:
    """The keys of the source, in the order that people write them."""
    table: dict[str, Any] = {"product": product}
    events = given.events
    if source.guide.by_event and not events and asks:
        said = typer.prompt(
            "Its events, with commas between them (such as Deals.won or invoice.paid)",
            default="",
            show_default=False,
        )
        events = tuple(part.strip() for part in said.split(",") if part.strip())
    connection = given.connection
    if not connection and source.needs == "jwks" and len(place.settings.connections) > 1:
        connection = _asked(
            f"Which connection ({', '.join(place.settings.connections)})", asks, "--connection NAME"
        )
    table |= {"connection": connection} if connection else {}
    table |= {"events": list(events)} if events else {}
    table |= dict(source.guide.defaults)
    table |= {key: value for key, value in (("id", given.id), ("time", given.time)) if value}
    if given.public_key is not None:
        try:
            table["public_keys"] = [given.public_key.read_text(encoding="ascii").strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{given.public_key}: cannot be read: {error}") from error
    elif source.needs == "public":
        text = _asked("The public key that Zoho shows, in one line of base64", asks, "--public-key FILE")
        table["public_keys"] = [text]
    for each in given.settings:
        key, equals, value = each.partition("=")
        if not equals:
            raise SettingsError(f"--set {each!r}: write it as key=value, for example body_limit=2000000")
        table[key.strip()] = _value(value)
    return table


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def _secret(
    place: Place, name: str, source: Source, own: str | None, *, asks: bool
) -> tuple[str, Literal["none", "there", "given", "made"]]:
    """The secret of a new source, empty where it needs none of the settings, and where it is from."""
    if source.needs != "secret":
        if own is not None:
            raise SettingsError(
                f"{source.product} takes no secret of yours: it proves itself by {source.guide.proof}"
            )
        return "", "none"
    known = place.settings.secrets(name)
    if own is not None and known:
        raise SettingsError(
            f"ZOHOOK_SECRET_{name.upper()} is set already; leave --secret out, or take it out there"
        )
    if known:
        return ",".join(known), "there"
    if own is None and source.guide.whose == "theirs" and asks:
        own = typer.prompt(
            "The secret that Zoho shows (Enter where it will only show it later)",
            default="",
            hide_input=True,
            show_default=False,
        )
        own = sound(own) if own else None
    if own is not None:
        return own, "given"
    # Where Zoho shows its secret only after it has tried the URL, one that nobody knows holds its place.
    return made(), "made"


def remove(place: Place, name: str, *, sure: bool) -> None:
    """Take a source out. Raises SettingsError where something else needs it."""
    if name not in place.settings.sources:
        raise SettingsError(f"there is no source {name!r}{did_you_mean(name, place.settings.sources)}")
    toml = project.without_source(project.toml_of(place.folder), name)
    place.tried(toml)
    if not sure:
        typer.echo(
            f"sources.{name} would be taken out of {place.folder / FILE}; its address would be answered 404. Add --yes to do it"
        )
        return
    project.write_toml(place.folder, toml)
    place.say(FILE, f"without sources.{name}")
    variable = f"ZOHOOK_SECRET_{name.upper()}"
    if variable in project.env_of(place.folder):
        project.write_env(place.folder, variable, "")
        place.say(".env", f"without {variable}")
