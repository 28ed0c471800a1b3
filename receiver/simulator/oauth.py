"""The accounts server's memory: clients, grants, codes and tokens, with every limit on them; no HTTP here."""

from __future__ import annotations

import secrets
import string
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from receiver.simulator.oauth_scopes import parse, valid
from receiver.simulator.wire import Answer, Refused
from receiver.simulator.world import Access, Client, Grant

if TYPE_CHECKING:
    from receiver.simulator.limits import Limits
    from receiver.simulator.wire import Call
    from receiver.simulator.world import User, World


@dataclass(slots=True)
class Code:
    """A grant code; self-client codes have no redirect URI."""

    client: Client
    user: User
    scopes: tuple[str, ...]
    redirect_uri: str
    expires_at: float
    refresh: bool
    challenge: str = ""
    method: str = "plain"


def refused(error: str, status: int = 200, **more: str) -> Refused:
    """A token error; Zoho sends them with HTTP 200."""
    return Refused(Answer(status, {"error": error, **more}))


def throttled(status: int) -> Refused:
    """https://www.zoho.com/crm/developer/docs/api/v8/token-validity.html"""
    return Refused(
        Answer(
            status,
            {
                "error_description": "You have made too many requests continuously. "
                "Please try again after some time.",
                "error": "Access Denied",
                "status": "failure",
            },
        )
    )


class Accounts:
    """Clients, grants, codes and tokens."""

    def __init__(self, world: World, limits: Limits) -> None:
        self.world = world
        self.limits = limits
        self.clients: dict[str, Client] = {}
        self.grants: dict[str, Grant] = {}
        self.codes: dict[str, Code] = {}
        self.refreshes = 0
        self.throttled = 0
        self.consented: set[tuple[str, str]] = set()
        self._accesses: dict[str, Access] = {}
        self._own: dict[str, Grant] = {}
        self._grants_made: dict[tuple[str, str], deque[float]] = {}

    def add_client(self, kind: str, name: str, redirect_uris: list[str]) -> Client:
        letters = string.ascii_uppercase + string.digits
        ident = "1000." + "".join(secrets.choice(letters) for _ in range(30))
        client = Client(ident, secrets.token_hex(21), kind, name, redirect_uris)
        with self.world.lock:
            self.clients[ident] = client
        return client

    def code(
        self,
        client: Client,
        scopes: tuple[str, ...],
        *,
        life: float,
        redirect_uri: str = "",
        refresh: bool = True,
        challenge: str = "",
        method: str = "plain",
    ) -> str:
        """A new grant code, or Refused when the client made too many."""
        now = self.world.now()
        with self.world.lock:
            made = client.codes_made
            _forget(made, now - self.limits.token_window)
            if len(made) >= self.limits.codes_per_window:
                raise refused("access_denied", 400)
            made.append(now)
            code = self.world.secret()
            self.codes[code] = Code(
                client, self.world.admin, scopes, redirect_uri, now + life, refresh, challenge, method
            )
        return code

    def self_client_code(self, client: Client, scopes: str, minutes: float = 3) -> str:
        """As the API console's "Generate code" does; ValueError for what its form would not take."""
        wanted = parse(scopes)
        bad = [scope for scope in wanted if not valid(scope)]
        if bad or not wanted:
            raise ValueError(f"invalid scope: {', '.join(bad) or 'none given'}")
        if not 3 <= minutes <= 10:
            raise ValueError("the console offers 3 to 10 minutes")
        return self.code(client, wanted, life=minutes * 60)

    def grant(self, client: Client, user: User, scopes: tuple[str, ...]) -> Grant:
        """A new refresh token; over twenty the oldest dies, with its access tokens and without notice."""
        now = self.world.now()
        with self.world.lock:
            made = self._grants_made.setdefault((client.id, user.id), deque())
            _forget(made, now - self.limits.token_window)
            if len(made) >= self.limits.refresh_per_window:
                raise throttled(self.limits.throttle_status)
            made.append(now)
            same = [g for g in self.grants.values() if g.client is client and g.user is user]
            for oldest in same[: max(0, len(same) + 1 - self.limits.refresh_live)]:
                self.end(oldest)
            grant = Grant(client, user, scopes, self.world.secret(), now)
            self.grants[grant.refresh_token] = grant
            return grant

    def online(self, client: Client, user: User, scopes: tuple[str, ...]) -> Grant:
        """A grant without a refresh token."""
        return Grant(client, user, scopes, "", self.world.now())

    def own(self, client: Client) -> Grant:
        """What client_credentials tokens of a self client are counted on."""
        return self._own.setdefault(client.id, Grant(client, self.world.admin, (), "", self.world.now()))

    def mint(self, grant: Grant, scopes: tuple[str, ...] | None = None) -> Access:
        """A new access token, or Refused on the eleventh within ten minutes."""
        now = self.world.now()
        with self.world.lock:
            _forget(grant.minted, now - self.limits.token_window)
            if len(grant.minted) >= self.limits.access_per_window:
                self.throttled += 1
                raise throttled(self.limits.throttle_status)
            grant.minted.append(now)
            grant.live = [a for a in grant.live if not a.dead and a.expires_at > now]
            for oldest in grant.live[: max(0, len(grant.live) + 1 - self.limits.access_live)]:
                oldest.dead = True
            grant.live = [a for a in grant.live if not a.dead]
            life = self.limits.access_life
            access = Access(self.world.secret(), grant, scopes or grant.scopes, now + life)
            grant.live.append(access)
            self._accesses[access.token] = access
            return access

    def live(self, token: str) -> Access | None:
        """The access token if an API would take it now."""
        access = self._accesses.get(token)
        if access is None or access.dead or not access.grant.alive or access.expires_at <= self.world.now():
            return None
        return access

    def bearer(self, call: Call) -> str | None:
        """The token in the one header form that Zoho's APIs document; None when there is none."""
        scheme, _, token = call.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme == "Zoho-oauthtoken" and token.strip() else None

    def end(self, grant: Grant) -> None:
        grant.alive = False
        for access in grant.live:
            access.dead = True
        self.grants.pop(grant.refresh_token, None)

    def revoke(self, token: str) -> bool:
        """Ends a refresh token with its access tokens, or one access token; False for an unknown one."""
        with self.world.lock:
            grant = self.grants.get(token)
            if grant is not None:
                self.end(grant)
                return True
            access = self.live(token)
            if access is not None:
                access.dead = True
            return access is not None

    def kill_access_tokens(self) -> int:
        """Ends every access token and leaves the grants; returns how many were alive."""
        with self.world.lock:
            alive = [a for a in self._accesses.values() if self.live(a.token) is not None]
            for access in alive:
                access.dead = True
            return len(alive)

    def summary(self) -> dict[str, Any]:
        return {
            "grants": [
                {
                    "client_id": g.client.id,
                    "user": g.user.email,
                    "refresh_token": g.refresh_token,
                    "refreshes": g.refreshes,
                    "live_access_tokens": sum(self.live(a.token) is not None for a in g.live),
                    "minted_in_window": len(g.minted),
                }
                for g in self.grants.values()
            ],
            "refreshes": self.refreshes,
            "throttled": self.throttled,
        }


def _forget(marks: deque[float], before: float) -> None:
    while marks and marks[0] <= before:
        marks.popleft()
