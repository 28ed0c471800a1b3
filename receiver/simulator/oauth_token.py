"""The accounts server's token, revoke and device endpoints; the consent page is in oauth_consent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from receiver.simulator.oauth import refused
from receiver.simulator.oauth_scopes import parse, valid
from receiver.simulator.wire import Answer, Refused

if TYPE_CHECKING:
    from receiver.simulator.oauth import Accounts, Code
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import Access, Client


@dataclass(slots=True)
class Device:
    """A device waiting for its user at another screen."""

    client: Client
    scopes: tuple[str, ...]
    user_code: str
    expires_at: float
    offline: bool
    polled_at: float = 0.0
    decision: str = ""


class Tokens:
    """Answers POSTs to the token endpoints."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.world = accounts.world
        self.limits = accounts.limits
        self.devices: dict[str, Device] = {}

    def token(self, call: Call) -> Answer:
        given = call.fields()
        if call.method != "POST" or "grant_type" not in given:
            return Answer(400, "<html><body><h1>Bad Request</h1></body></html>")
        kinds = {
            "authorization_code": self._by_code,
            "refresh_token": self._by_refresh,
            "client_credentials": self._by_client,
        }
        act = kinds.get(given["grant_type"])
        if act is None:
            raise refused("invalid_client")
        return act(self._client(call, given), given)

    def revoke(self, call: Call) -> Answer:
        """The older path takes the token alone, the newer one wants the client too."""
        given = call.fields()
        if call.method != "POST":
            return Answer(400, "<html><body><h1>Bad Request</h1></body></html>")
        if call.path.endswith("/revoke/token"):
            self._client(call, given)
        if not self.accounts.revoke(given.get("token", "")):
            return Answer(400, {"error": "invalid_code"})
        return Answer(200, {"status": "success"})

    def _client(self, call: Call, given: dict[str, str]) -> Client:
        basic = call.basic()
        if basic is not None:
            given = {**given, "client_id": basic[0], "client_secret": basic[1]}
        client = self.accounts.clients.get(given.get("client_id", ""))
        if client is None:
            raise refused("invalid_client")
        public = client.kind in ("mobile", "browser")
        if not public and not hmac.compare_digest(client.secret, given.get("client_secret", "")):
            raise refused("invalid_client_secret")
        return client

    def _by_code(self, client: Client, given: dict[str, str]) -> Answer:
        code = self.accounts.codes.get(given.get("code", ""))
        if code is None or code.client is not client or code.expires_at <= self.world.now():
            raise refused("invalid_code")
        if given.get("redirect_uri", "") != code.redirect_uri:
            raise refused("invalid_redirect_uri")
        # A code is used up by the first try that could have been its owner's.
        del self.accounts.codes[given["code"]]
        if not verified(code, given.get("code_verifier", "")):
            raise refused("invalid_code")
        make = self.accounts.grant if code.refresh else self.accounts.online
        grant = make(client, code.user, code.scopes)
        body = self._body(self.accounts.mint(grant))
        if code.refresh:
            body["refresh_token"] = grant.refresh_token
        return Answer(200, body)

    def _by_refresh(self, client: Client, given: dict[str, str]) -> Answer:
        grant = self.accounts.grants.get(given.get("refresh_token", ""))
        if grant is None or grant.client is not client:
            raise refused("invalid_code")
        access = self.accounts.mint(grant)
        grant.refreshes += 1
        self.accounts.refreshes += 1
        return Answer(200, self._body(access))

    def _by_client(self, client: Client, given: dict[str, str]) -> Answer:
        if client.kind != "self":
            raise refused("invalid_client")
        scopes = parse(given.get("scope", ""))
        if not scopes or not all(valid(scope) for scope in scopes):
            raise refused("invalid_scope")
        soid = given.get("soid", "")
        if not soid:
            raise refused("missing_org_info")
        orgs = {
            "ZohoCRM": self.world.zgid,
            "ZohoBooks": self.world.books_org,
            "ZohoDesk": self.world.desk_org,
        }
        service, _, org = soid.partition(".")
        if orgs.get(service) != org:
            raise refused("invalid_soid")
        return Answer(200, self._body(self.accounts.mint(self.accounts.own(client), scopes)))

    def _body(self, access: Access) -> Json:
        return {
            "access_token": access.token,
            "scope": " ".join(access.scopes),
            "api_domain": self.world.base,
            "token_type": "Bearer",
            "expires_in": self.limits.access_life,
        }

    def device_code(self, call: Call) -> Answer:
        given = call.fields()
        client = self.accounts.clients.get(given.get("client_id", ""))
        if call.method != "POST" or given.get("grant_type") != "device_request":
            return Answer(400, "<html><body><h1>Bad Request</h1></body></html>")
        if client is None or client.kind != "device":
            raise refused("invalid_client")
        scopes = parse(given.get("scope", ""))
        if not scopes or not all(valid(scope) for scope in scopes):
            raise refused("invalid_scope")
        code, user_code = self.world.secret(), secrets.token_hex(4).upper()
        offline = given.get("access_type") == "offline"
        until = self.world.now() + self.limits.device_life
        self.devices[code] = Device(client, scopes, user_code, until, offline)
        page = f"{self.world.base}/oauth/v3/device"
        return Answer(
            200,
            {
                "user_code": user_code,
                "device_code": code,
                "verification_url": page,
                "verification_uri_complete": f"{page}?user_code={user_code}",
                "interval": int(self.limits.device_pace),
                "expires_in": int(self.limits.device_life),
            },
        )

    def device_token(self, call: Call) -> Answer:
        given = call.fields()
        if call.method != "POST" or given.get("grant_type") != "device_token":
            return Answer(400, "<html><body><h1>Bad Request</h1></body></html>")
        client = self._client(call, given)
        device = self.devices.get(given.get("code", ""))
        now = self.world.now()
        if device is None or device.client is not client:
            raise refused("invalid_code")
        if device.expires_at <= now:
            raise refused("expired")
        early = now - device.polled_at < self.limits.device_pace
        device.polled_at = now
        if early:
            raise refused("slow_down")
        if device.decision != "accept":
            raise refused("access_denied" if device.decision else "authorization_pending")
        del self.devices[given["code"]]
        make = self.accounts.grant if device.offline else self.accounts.online
        grant = make(client, self.world.admin, device.scopes)
        body = self._body(self.accounts.mint(grant))
        if device.offline:
            body["refresh_token"] = grant.refresh_token
        return Answer(200, body)

    def decide(self, user_code: str, decision: str) -> bool:
        """What the user does at the other screen; False for a code that nobody waits on."""
        for device in self.devices.values():
            if device.user_code == user_code and device.expires_at > self.world.now():
                device.decision = decision
                return True
        return False


def verified(code: Code, verifier: str) -> bool:
    """PKCE; without a challenge a verifier is not looked at."""
    if not code.challenge:
        return True
    if not 43 <= len(verifier) <= 128:
        return False
    if code.method == "S256":
        digest = hashlib.sha256(verifier.encode()).digest()
        verifier = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    return hmac.compare_digest(verifier, code.challenge)


def unknown_path() -> Refused:
    return Refused(Answer(404, "<html><body><h1>404 Not Found</h1></body></html>"))
