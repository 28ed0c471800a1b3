"""Where Zoho is pointed: the addresses of a source, and what to type into Zoho's screens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from receiver.sources import guide

if TYPE_CHECKING:
    from receiver.intake.keyring import Lock
    from receiver.settings import Settings


def addresses(settings: Settings, lock: Lock) -> list[tuple[str, str]]:
    """(event, URL) of a source, one for each event where the URL names it; else one, with "" for the event."""
    base = f"{settings.public_url}/in/{lock.way.name}"
    events = lock.way.events if lock.source.guide.by_event else ()
    return [(event, f"{base}?event={quote(event, safe='.*')}") for event in events] or [("", base)]


def title(lock: Lock) -> str:
    """The product as Zoho calls it."""
    return lock.source.guide.title or f"Zoho {lock.way.product.capitalize()}"


def words(lock: Lock) -> dict[str, Any]:
    """What the marks of a guide stand for that are the same for all events."""
    way = lock.way
    header = "-".join(
        part.capitalize() for part in (way.hmac.header if way.hmac else way.secret_header).split("-")
    )
    if way.secret_user:
        place = f"basic authentication with the user {way.secret_user}"
    else:
        place = f"the header {header}" if header else f"the parameter {way.secret_parameter}"
    return {"name": way.name, "header": place}


def steps(settings: Settings, lock: Lock, secret: str) -> str:
    """What to do at Zoho's screen. `secret` is what to type there; what stands in its place is for the caller to say."""
    (event, url), *others = addresses(settings, lock)
    about = guide.words_of(event) if event else {"event": "that", "module": "Deals", "record": "Deal"}
    screen, typed = lock.source.guided(lock.way).screen, f"{lock.way.secret_prefix}{secret}"
    text = guide.filled(screen, url=url, secret=typed, **words(lock), **about)
    text = f"{title(lock)}{f', for {event}' if event else ''}\n\n{text}"
    if others:
        text += "\nIn the same way, each with a webhook and a URL of its own:\n\n"
        text += "".join(f"       {other}\n" for _, other in others)
    return text
