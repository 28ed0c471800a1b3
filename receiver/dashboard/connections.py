"""The connections page, and a consent from its beginning to Zoho's answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from receiver import logs
from receiver.dashboard import queries
from receiver.dashboard.guard import POLICY
from receiver.dashboard.house import back, house, page, session
from receiver.errors import SettingsError, ZohookError
from receiver.ledger import runs
from receiver.zoho.consent import Consent
from receiver.zoho.scopes import needed_scopes
from receiver.zoho.token_rows import Rows
from receiver.zoho.tokens import Tokens
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from starlette.requests import Request

    from receiver.dashboard.house import House

log = logs.get("dashboard")
CALLBACK = "/connect/callback"


def connections(request: Request) -> Response:
    """Each connection: its token's state, what it may do, and what Zoho said lately."""
    here = house(request)
    rows = [_row(here, name) for name in here.settings.connections]
    answer = page(request, "connections.html", rows=rows, live="/live/nav", nav=queries.nav(here.redis))
    hosts = sorted({row["accounts"] for row in rows if row["accounts"]})
    # Browsers hold the redirect that follows a form against form-action, and this page's forms lead to Zoho.
    answer.headers["content-security-policy"] = " ".join([POLICY, *hosts])
    return answer


def _row(here: House, name: str) -> dict[str, Any]:
    known = here.settings.connections[name]
    status = Rows(here.redis, lease=30).status(name)
    needed = needed_scopes(here.settings, name)
    try:
        accounts = here.settings.data_centre(name).accounts
    except SettingsError:
        accounts = ""
    organisations = [
        (product, label, number)
        for product in ("crm", "books", "desk")
        for label, number in getattr(known, product).items()
    ]
    return {
        "name": name,
        "known": known,
        "status": status,
        "state": status.state.replace("_", " "),
        "missing": [scope for scope in needed if status.scopes and scope not in status.scopes],
        "accounts": accounts,
        "organisations": organisations,
        "sources": [
            source for source in here.settings.sources if here.settings.connection_of(source) == name
        ],
        "redirect": redirect_uri(here, name),
    }


def redirect_uri(here: House, name: str) -> str:
    """Where Zoho sends the person back to: as configured, never as the request's Host says."""
    return here.settings.connections[name].redirect_uri or here.settings.public_url + CALLBACK


def connect(request: Request) -> Response:
    """Begin a consent: on to Zoho."""
    here, name = house(request), request.path_params["name"]
    if name not in here.settings.connections:
        raise HTTPException(404)
    try:
        to = _consent(here).begin(name, redirect_uri(here, name), needed_scopes(here.settings, name))
    except ZohookError as error:
        return page(request, "error.html", 409, title="The consent cannot begin", words=str(error), code=409)
    log.info("consent.begun", connection=name)
    return RedirectResponse(to, 303)


def callback(request: Request) -> Response:
    """Finish a consent with what Zoho sent the person back with. The one-use state in it says whose it is."""
    here = house(request)
    try:
        name = _consent(here).finish(request.query_params.multi_items())
    except ZohookError as error:
        log.warning("consent.failed", code=getattr(error, "code", ""), error=str(error))
        return page(request, "error.html", 400, title="Not connected", words=logs.mask(str(error)), code=400)
    log.info("consent.finished", connection=name)
    runs.release(here.redis, f"connection:{name}")
    if session(request):
        return back("/connections", "connected")
    return page(request, "connected.html", name=name)


def _consent(here: House) -> Consent:
    return Consent(Tokens(here.redis, here.settings, Vault.open_or_make(here.settings)))
