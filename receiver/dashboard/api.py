"""What programs may do, with the operator's password as bearer token: hand in a token that they were given at Zoho."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from receiver import logs
from receiver.dashboard import access
from receiver.dashboard.house import house
from receiver.errors import NotConnected, SettingsError, ZohookError
from receiver.ledger import runs
from receiver.zoho import Clients
from receiver.zoho.scopes import wanted_scopes
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from starlette.requests import Request

    from receiver.dashboard.house import House

log = logs.get("dashboard")
LARGEST = 8 * 2**10
HINT = 'send {"refresh_token": "1000..."} or {"access_token": "1000...", "expires_in": 3600}'


class Handed(BaseModel):
    """The body: either a refresh token, or an access token with the seconds that it still lives."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: str = ""
    access_token: str = ""
    expires_in: int = Field(default=3600)
    scope: str = ""


async def hand_in(request: Request) -> Response:
    """Take a token for a connection; 204 once it is kept. The answer never has a token in it."""
    here = house(request)
    address = request.client.host if request.client else ""
    header = request.headers.get("authorization", "")
    if await run_in_threadpool(access.bearer_role, here.redis, here.settings, header, address) != "operator":
        return _said(401, "unauthenticated", "the operator's password is needed as bearer token")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            return _said(413, "too_large", f"the body is over {LARGEST} bytes; {HINT}")
    try:
        handed = Handed.model_validate(orjson.loads(body))
    except (orjson.JSONDecodeError, ValidationError):
        return _said(422, "unreadable", HINT)
    if bool(handed.refresh_token) == bool(handed.access_token):
        return _said(422, "unreadable", HINT)
    return await run_in_threadpool(_keep, here, request.path_params["name"], handed)


def _keep(here: House, name: str, handed: Handed) -> Response:
    logs.hide(handed.refresh_token or handed.access_token)
    clients = Clients(here.redis, here.settings, Vault.open_or_make(here.settings))
    try:
        clients.tokens.accounts.settings_of(name)
    except NotConnected as error:
        return _said(404, "unknown_connection", str(error))
    try:
        of, grants = clients.tokens.accounts.of(name)[0], clients.consent.grants
        scopes = tuple(handed.scope.replace(",", " ").split()) or wanted_scopes(here.redis, here.settings, of)
        if handed.refresh_token:
            grants.hand_refresh(name, handed.refresh_token, scopes)
        else:
            grants.hand_access(name, handed.access_token, handed.expires_in, scopes)
        runs.release(here.redis, f"connection:{name}")
    except SettingsError as error:
        return _said(422, "unreadable", logs.mask(str(error)))
    except ZohookError as error:
        return _said(409, getattr(error, "code", "") or "refused", logs.mask(str(error)))
    except RedisError:
        return _said(503, "unavailable", "Redis does not answer; send it again")
    log.info("token.handed_in", connection=name, kind="refresh" if handed.refresh_token else "access")
    return Response(status_code=204)


def _said(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": code, "message": message}, status)
