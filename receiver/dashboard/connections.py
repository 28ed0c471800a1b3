"""The connections page, and a consent from its beginning to Zoho's answer."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from receiver import logs
from receiver.dashboard import queries
from receiver.dashboard.guard import POLICY
from receiver.dashboard.house import back, form, house, page, session
from receiver.errors import SettingsError, ZohoError, ZohookError
from receiver.ledger import read, runs
from receiver.zoho import Clients, costs, limits, organisations
from receiver.zoho.consent import BY_BROWSER
from receiver.zoho.grants import MOST, WARN
from receiver.zoho.scopes import drift, wanted_scopes
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from starlette.requests import Request

    from receiver.dashboard.house import House
    from receiver.settings_tables import ConnectionSettings
    from receiver.zoho.customers import Invitation

log = logs.get("dashboard")
CALLBACK = "/connect/callback"
BOUND = "zohook_consent"
"""A cookie that ties a consent to the browser that began it: nobody is made to finish another one's."""


def connections(request: Request) -> Response:
    """Each connection: its token's state, what it may do, and what Zoho said lately."""
    return _page(request)


def _page(request: Request, link: str = "") -> Response:
    here = house(request)
    zoho = _clients(here)
    shared = [name for name, known in here.settings.connections.items() if known.customers]
    used, parked = limits.uses(here.redis), read.parked_work(here.redis)
    rows = [_row(here, zoho, name) for name in zoho.tokens.accounts.connections]
    for row in rows:
        mine = [each for each in used if each.place.partition(":")[0] == row["name"]]
        row["uses"] = [(each, each.lasts(_credits(row["known"], each.place))) for each in mine]
        row["holds"] = [
            (place, why, parked.get(f"limit:{name}", 0), seconds)
            for each in mine
            for name, place, why, seconds in (
                (each.place, each.place, each.blocked, each.blocked_for),
                (each.place + limits.BEHIND, each.place, each.kept, each.kept_for),
            )
            if why
        ]
    answer = page(
        request, "connections.html", rows=rows, shared=shared, link=link, most=MOST, warn=WARN,
        live="/live/nav", nav=queries.nav(here.redis),
    )  # fmt: skip
    hosts = sorted({row["accounts"] for row in rows if row["accounts"]})
    # Browsers hold the redirect that follows a form against form-action, and this page's forms lead to Zoho.
    answer.headers["content-security-policy"] = " ".join([POLICY, *hosts])
    return answer


def _credits(known: ConnectionSettings, place: str) -> int:
    return costs.allowed(place.split(":")[1], known).credits


def _row(here: House, zoho: Clients, name: str) -> dict[str, Any]:
    accounts = zoho.tokens.accounts
    known, (of, customer) = accounts.settings_of(name), accounts.of(name)
    status = zoho.tokens.status(name)
    try:
        centre = accounts.centre(name)
    except SettingsError:
        centre = None
    of_customer = zoho.tokens.customers.get(name)
    found = [
        (product, label, number)
        for product in here.settings.connections[of].products()
        for label, number in getattr(known, product).items()
    ]
    return {
        "name": name,
        "of": of if customer else "",
        "label": of_customer.label if of_customer else "",
        "known": known,
        "status": status,
        "state": status.state.replace("_", " "),
        "missing": drift(here.redis, here.settings, of, status.scopes),
        "accounts": centre.accounts if centre else "",
        "console": centre.console if centre else "",
        "wanted": ",".join(wanted_scopes(here.redis, here.settings, of)),
        "by_browser": known.client in BY_BROWSER and not customer,
        "alive": zoho.consent.grants.alive(name),
        "organisations": found,
        "sources": [source for source in here.settings.sources if here.settings.connection_of(source) == of],
        "redirect": redirect_uri(here, of),
    }


def redirect_uri(here: House, name: str) -> str:
    """Where Zoho sends the person back to: as configured, never as the request's Host says."""
    return here.settings.connections[name].redirect_uri or here.settings.public_url + CALLBACK


def connect(request: Request) -> Response:
    """Begin a consent: on to Zoho; or take a self client's code, which the form brings along."""
    here, name = house(request), request.path_params["name"]
    if name not in here.settings.connections:
        raise HTTPException(404)
    code = form(request).get("code", [""])[0].strip()
    try:
        scopes = wanted_scopes(here.redis, here.settings, name)
        if not code:
            return _on_to_zoho(here, name, scopes)
        logs.hide(code)
        _clients(here).consent.self_client(name, code, scopes)
    except ZohookError as error:
        return page(
            request,
            "error.html",
            409,
            title="The consent cannot begin",
            words=logs.mask(str(error)),
            code=409,
        )
    log.info("consent.finished", connection=name)
    runs.release(here.redis, f"connection:{name}")
    return back("/connections", "connected")


def _on_to_zoho(here: House, name: str, scopes: tuple[str, ...], invitation: str = "") -> Response:
    bound = secrets.token_urlsafe(24)
    to = _clients(here).consent.begin(
        name, redirect_uri(here, name), scopes, session=bound, invitation=invitation
    )
    log.info("consent.begun", connection=name)
    answer = RedirectResponse(to, 303)
    secure = here.settings.public_url.startswith("https://")
    answer.set_cookie(BOUND, bound, max_age=600, path=CALLBACK, httponly=True, samesite="lax", secure=secure)
    return answer


def callback(request: Request) -> Response:
    """Finish a consent with what Zoho sent the person back with. The one-use state in it says whose it is."""
    here = house(request)
    zoho = _clients(here)
    try:
        bound = request.cookies.get(BOUND, "")
        name = zoho.consent.finish(request.query_params.multi_items(), session=bound)
    except ZohookError as error:
        log.warning("consent.failed", code=getattr(error, "code", ""), error=str(error))
        return page(request, "error.html", 400, title="Not connected", words=logs.mask(str(error)), code=400)
    log.info("consent.finished", connection=name)
    _find_organisations(zoho, name)
    runs.release(here.redis, f"connection:{name}")
    answer = (
        back("/connections", "connected") if session(request) else page(request, "connected.html", name=name)
    )
    answer.delete_cookie(BOUND, path=CALLBACK)
    return answer


def _find_organisations(zoho: Clients, name: str) -> None:
    """Whose Zoho a customer's is: his events are told by it. Nobody types an id."""
    known = zoho.tokens.customers.get(name)
    if known is None:
        return
    try:
        found, troubles = organisations.found(zoho.for_job(name), zoho.tokens.status(name).scopes)
    except ZohoError as error:
        found, troubles = {}, [str(error)]
    ids = {**known.organisations, **organisations.first(found)}
    zoho.tokens.customers.put(name, known.of, label=known.label, dc=known.dc, organisations=ids)
    for trouble in troubles:
        log.warning("consent.organisation_unknown", connection=name, error=trouble)


def invite(request: Request) -> Response:
    """Make a customer's consent link, and show it: once, for only its digest is kept."""
    here, name = house(request), request.path_params["name"]
    if name not in here.settings.connections:
        raise HTTPException(404)
    said = {field: form(request).get(field, [""])[0].strip() for field in ("customer", "label")}
    try:
        token = _clients(here).tokens.customers.invite(name, said["customer"], said["label"])
    except ZohookError as error:
        return page(request, "error.html", 409, title="There is no link", words=str(error), code=409)
    log.info("consent.invited", connection=name, customer=said["customer"])
    return _page(request, link=f"{here.settings.public_url}/consent/{token}")


def invited(request: Request) -> Response:
    """What a customer sees who opens his link. Looking changes nothing: previews of mail programs open links too."""
    here = house(request)
    found = _invitation(request, here)
    if isinstance(found, Response):
        return found
    answer = page(request, "consent.html", link=found, path=request.scope["path"])
    accounts = _clients(here).tokens.accounts.centre(found.of).accounts
    answer.headers["content-security-policy"] = f"{POLICY} {accounts}"
    return answer


def accept_invitation(request: Request) -> Response:
    """The customer goes on to Zoho, to consent there."""
    here = house(request)
    found = _invitation(request, here)
    if isinstance(found, Response):
        return found
    try:
        scopes = wanted_scopes(here.redis, here.settings, found.of)
        return _on_to_zoho(here, found.of, scopes, request.path_params["token"])
    except ZohookError as error:
        log.error("consent.not_begun", connection=found.of, error=str(error))  # noqa: TRY400 - a sentence, not a bug
        words = "Something is not set up on our side yet. Please tell whoever sent you the link."
        return page(request, "error.html", 409, title="Not possible just now", words=words, code=409)


def _invitation(request: Request, here: House) -> Invitation | Response:
    try:
        return _clients(here).tokens.customers.invitation(request.path_params["token"])
    except ZohookError as error:
        return page(request, "error.html", 404, title="This link leads nowhere", words=str(error), code=404)


def _clients(here: House) -> Clients:
    return Clients(here.redis, here.settings, Vault.open_or_make(here.settings))
