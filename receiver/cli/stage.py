"""The demo's stage: its folder and settings, and the simulated Zoho seen from outside, over HTTP like any other."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import httpx
import orjson

from receiver.cli import starter
from receiver.cli.supervise import ChildFailed
from receiver.errors import SettingsError
from receiver.settings import FILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONNECTION = "demo"
CALLBACK = "/connect/callback"
BOOKS_EVENTS = ("invoice.created", "invoice.paid")
DESK_EVENTS = ("Ticket_Add", "Ticket_Update", "Ticket_Comment_Add")
DUPLICATES = 0.03
"""The share of deliveries that the simulator sends twice, for a duplicate is what every receiver gets."""

TOML = """\
# Written by `zohook demo` on every start. Your own project begins with `zohook init`.
public_url = "{public_url}"

[connections.demo]
dc = "simulator"
client = "server"
client_id = "{client_id}"
redirect_uri = "{public_url}{callback}"
crm = "{crm}"
books = "{books}"
desk = "{desk}"

[simulator]
url = "{base}"

[sources]
crm = "crm_channel"
books = {{ product = "books", events = {books_events} }}
desk = {{ product = "desk", events = {desk_events} }}

[channels]
crm = {{ events = ["Leads.all", "Contacts.all", "Deals.all"], values = true }}

[worker]
lease = "10s"     # so that whoever kills a worker here need not wait long to see its work taken up
again = "5s"

[handlers]
packages = ["{package}"]
"""


@contextmanager
def folder(parent: Path, *, keep: bool) -> Iterator[Path]:
    """The demo's own folder, empty unless `keep`, for one demo at a time."""
    place = parent.resolve() / ".zohook" / "demo"
    lock = place.with_name("demo.lock")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        held = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(
            f"the demo cannot keep its data in {place}: {error}; name another with --folder"
        ) from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"a demo runs in {place.parent.parent} already; stop it first, or name another folder with --folder"
            ) from None
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700, exist_ok=True)
        yield place
    finally:
        os.close(held)


class Stage:
    """The simulated Zoho, as its console page and its sign-in page let it be used."""

    def __init__(self, introduction: str) -> None:
        self.about: dict[str, Any] = orjson.loads(introduction)
        self.base: str = self.about["accounts"]
        self.books_secret = secrets.token_hex(16)
        self._http = httpx.Client(base_url=self.base, timeout=30, trust_env=False)

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()

    def write_settings(self, place: Path, public_url: str) -> None:
        """The demo's zohook.toml."""
        organisations: dict[str, str] = self.about["org_ids"]
        text = TOML.format(
            public_url=public_url,
            callback=CALLBACK,
            client_id=self.about["client_id"],
            base=self.base,
            package=starter.package(),
            books_events=orjson.dumps(BOOKS_EVENTS).decode(),
            desk_events=orjson.dumps(DESK_EVENTS).decode(),
            **organisations,
        )
        (place / FILE).write_text(text)

    def secrets(self) -> dict[str, str]:
        """The secrets of the demo's sources and connection, for the environment."""
        return {"ZOHOOK_SECRET_DEMO": self.about["client_secret"], "ZOHOOK_SECRET_BOOKS": self.books_secret}

    def accept_consent(self, url: str) -> str:
        """Press Accept on the consent page, as a person would; the address that the browser is sent to."""
        page = self._http.get(url)
        form = page.text.partition('<form method="post" action="')[2].partition('"')[0]
        if page.status_code != 200 or not form:
            raise ChildFailed(f"the simulated consent page answered {page.status_code}: {page.text[-300:]}")
        sent = self._http.post(urljoin(url, unescape(form)), data={"consent": "accept"})
        where = sent.headers.get("location", "")
        if not where:
            raise ChildFailed(
                f"the simulated consent page sent nobody back: {sent.status_code} {sent.text[-300:]}"
            )
        return str(where)

    def add_books_webhooks(self, public_url: str) -> None:
        """What an administrator sets up in the pages of Books: one rule for each event."""
        for event in BOOKS_EVENTS:
            url = f"{public_url}/in/books?event={event}"
            self._console("POST", "webhooks", product="books", url=url, event=event, secret=self.books_secret)

    def channels(self) -> int:
        """How many CRM notification channels are alive."""
        return len(self._console("GET", "webhooks")["crm_channels"])

    def begin(self, *, rate: float, events: int = 0, seed: int = 1) -> None:
        """Let people go to work, until so many deliveries were answered (0: until told to stop)."""
        self._console("POST", "scene", rate=rate, events=events, seed=seed)

    def end(self) -> None:
        """Send everybody home, and wait a moment for what they still sent; it matters to nobody if that fails."""
        with suppress(httpx.HTTPError):
            self._http.request("DELETE", "/_console/scene", timeout=3)

    def status(self) -> dict[str, Any]:
        """What the simulator sent and what it was answered."""
        return self._console("GET", "scene")

    def _console(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, f"/_console/{path}", json=given or None)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise ChildFailed(f"the simulator does not do as it is told: {method} {path}: {error}") from error
        found: dict[str, Any] = answer.json()
        return found
