"""What every view has at hand: settings, ledger, the live page; and how a page is drawn. Nothing of one page is here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, RedirectResponse, Response

from receiver.dashboard import chart, queries, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from redis import Redis
    from starlette.requests import Request

    from receiver.dashboard.access import Session
    from receiver.dashboard.live import Live
    from receiver.intake.keyring import Keyring
    from receiver.settings import Settings

FLASH = "zohook_said"
_STATIC = {"zohook.css": "text/css", "zohook.js": "text/javascript", "icon.svg": "image/svg+xml"}
_SAID = {
    "retried": ("good", "{} of the jobs run again, with the same idempotency keys."),
    "retried1": ("good", "The job runs again, with the same idempotency keys."),
    "rerun": ("good", "{} of the jobs run again, with new idempotency keys."),
    "rerun1": ("good", "The job runs again, with new idempotency keys."),
    "routed": ("good", "The event is routed again."),
    "open": ("bad", "It is still under way, so nothing was changed."),
    "gone": ("bad", "There is no such thing any more; nothing was changed."),
    "none": ("bad", "No job was run again: none of them is finished."),
    "replay": (
        "good",
        "{} of the jobs are being run again, at the rate given; how far they are is shown under Replays.",
    ),
    "replay_cancelled": (
        "good",
        "The replay is cancelled: what it had not given stays dead, and what fails of it is not tried again.",
    ),
    "paused": ("good", "It is paused: deliveries are still accepted, and its work waits."),
    "resumed": ("good", "It goes on; {} waited."),
    "not_pausable": ("bad", "Only handlers, sources and queues can be paused; nothing was changed."),
    "verified": (
        "good",
        "{} of the deliveries prove themselves now, and their events run. What is left says why.",
    ),
    "verified_none": (
        "bad",
        "None of them is accepted. Each says why; after a change of the settings the web process must be restarted.",
    ),
    "verified_accepted": ("good", "It proves itself now, and its events run."),
    "verified_duplicate": ("good", "It proves itself now. What it tells had come in before."),
    "verified_quarantined": ("bad", "It proves itself, but it cannot be read, so it is in quarantine."),
    "verified_rejected": (
        "bad",
        "It is refused as before. After a change of the settings the web process must be restarted.",
    ),
    "verified_unverified": ("bad", "It cannot be verified yet; the clock tries again by itself."),
    "armed": (
        "good",
        "It is armed for ten minutes: save the webhook at Zoho now, and the secret that comes is taken.",
    ),
    "forwards": ("good", "{} deliveries are sent to the old receiver again."),
    "forwards_none": ("bad", "None was given up, so nothing is sent again."),
    "anyway": ("good", "It is accepted now, and its events run like any other."),
    "twice": ("bad", "Its events have been accepted already; nothing was changed."),
    "unlike": (
        "bad",
        "Its source reads it otherwise than when it came, so nothing was changed. Were its settings changed?",
    ),
    "no_source": (
        "bad",
        "Its source is not in zohook.toml any more, so nobody can read it; nothing was changed.",
    ),
    "connected": ("good", "The connection is connected; whatever waited for it goes on."),
}
"""What an action says on the next page. The words are here and never in the cookie, so that nobody can put words there."""


@dataclass(frozen=True, slots=True)
class House:
    """One dashboard: what it looks at, and with what settings."""

    settings: Settings
    redis: Redis
    prompt: Redis
    """The same Redis, for who cannot wait until it is back."""
    live: Live
    keyring: Keyring
    stopping: Callable[[], bool] = field(default=lambda: False)


def house(request: Request) -> House:
    """The dashboard that a request came to."""
    return cast("House", request.scope["state"]["house"])


def session(request: Request) -> Session | None:
    """The session of a request; None on pages that need none."""
    return cast("Session | None", request.scope["state"].get("session"))


def form(request: Request) -> dict[str, list[str]]:
    """The fields of a form that passed the guard."""
    return cast("dict[str, list[str]]", request.scope["state"].get("form", {}))


@cache
def environment() -> Environment:
    """Jinja with everything escaped, and a typing error in a template an error."""
    made = Environment(
        loader=PackageLoader("receiver.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(shown.FILTERS)
    made.globals.update(
        static=static_url,
        tones=queries.TONES,
        standing=queries.standing,
        job_word=queries.job_word,
        why_held=queries.why_held,
        rates=chart.rates,
        spread=chart.spread,
        ceiling=chart.ceiling,
    )
    return made


@cache
def static(name: str) -> tuple[bytes, str, str]:
    """(content, media type, digest) of one of our own files; KeyError for any other."""
    kind = _STATIC[name]
    content = (files("receiver.dashboard") / "static" / name).read_bytes()
    return content, kind, hashlib.sha256(content).hexdigest()[:12]


def static_url(name: str) -> str:
    """The address of a static file, new whenever the file is."""
    return f"/static/{name}?v={static(name)[2]}"


def draw(name: str, context: Mapping[str, Any]) -> str:
    """A template drawn to text."""
    return environment().get_template(name).render(context)


def page(request: Request, name: str, /, status: int = 200, **context: Any) -> HTMLResponse:
    """A whole page. The message that an action left is shown once."""
    said = _said(request.cookies.get(FLASH, ""))
    base = {
        "session": session(request),
        "path": request.scope["path"],
        "said": said,
        "shadow": house(request).settings.mode == "shadow",
        "nav": None,
        "live": "",
    }
    response = HTMLResponse(draw(name, {**base, **context}), status)
    if FLASH in request.cookies:
        response.delete_cookie(FLASH, path="/", httponly=True, samesite="lax")
    return response


def back(to: str, word: str = "", count: int = 0) -> Response:
    """See Other, to a page of ours, with something to say there."""
    response = RedirectResponse(to, 303)
    if word:
        response.set_cookie(FLASH, f"{word}.{count}", max_age=60, path="/", httponly=True, samesite="lax")
    return response


def _said(word: str) -> tuple[str, str] | None:
    name, _, count = word.partition(".")
    if name not in _SAID or not (count.isascii() and count.isdigit() and len(count) < 10):
        return None
    kind, words = _SAID[name]
    return kind, words.format(f"{int(count):,}")
