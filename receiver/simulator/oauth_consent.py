"""The consent page: who may ask, what is shown, and where the browser is sent; tokens are made elsewhere."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from receiver.simulator.oauth_scopes import parse, valid
from receiver.simulator.wire import Answer, Refused

if TYPE_CHECKING:
    from receiver.simulator.oauth import Accounts
    from receiver.simulator.oauth_token import Tokens
    from receiver.simulator.wire import Call
    from receiver.simulator.world import Client

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui;max-width:34rem;margin:4rem auto;padding:0 1rem}}
button{{font:inherit;padding:.5rem 1.2rem;margin-right:.6rem}}</style></head><body>
<p><small>Simulated Zoho Accounts - nothing here is Zoho's</small></p><h1>{title}</h1>{body}</body></html>"""
FORM = """<form method="post" action="{action}">
<button name="consent" value="accept">Accept</button>
<button name="consent" value="reject">Reject</button></form>"""


def page(title: str, body: str = "", status: int = 200) -> Answer:
    return Answer(status, PAGE.format(title=escape(title), body=body))


def failure(title: str) -> Refused:
    """Zoho shows these in the browser; it never redirects with them."""
    return Refused(page(title, "<p>The request cannot be processed.</p>", 400))


class Consent:
    """GET shows the page, POST of `consent=accept` or `reject` answers it, for people and programs alike."""

    def __init__(self, accounts: Accounts, tokens: Tokens) -> None:
        self.accounts = accounts
        self.tokens = tokens
        self.world = accounts.world

    def auth(self, call: Call) -> Answer:
        given = call.fields()
        client, scopes = self._check(given)
        remembered = (client.id, self.world.admin.id) in self.accounts.consented
        if call.method == "POST":
            if given.get("consent") == "reject":
                return self._redirect(given, {"error": "access_denied"})
            if given.get("consent") == "accept":
                return self._accept(client, scopes, given, remembered)
        elif remembered and given.get("prompt") != "consent":
            return self._accept(client, scopes, given, remembered)
        listed = "".join(f"<li><code>{escape(scope)}</code></li>" for scope in scopes)
        query = {k: v for k, v in given.items() if k != "consent"}
        form = FORM.format(action=escape(f"{call.path}?{urlencode(query)}"))
        who = f"<p>{escape(client.name)} would like to access {escape(self.world.company)}:</p>"
        return page("Consent", f"{who}<ul>{listed}</ul>{form}")

    def _check(self, given: dict[str, str]) -> tuple[Client, tuple[str, ...]]:
        client = self.accounts.clients.get(given.get("client_id", ""))
        if client is None or client.kind not in ("server", "mobile", "browser"):
            raise failure("Invalid Client")
        if given.get("redirect_uri") not in client.redirect_uris:
            raise failure("Invalid Redirect Uri")
        if given.get("response_type") != "code":
            raise failure("Invalid Response Type")
        scopes = parse(given.get("scope", ""))
        if not scopes or not all(valid(scope) for scope in scopes):
            raise failure("Invalid OAuth Scope")
        if given.get("access_type", "online") not in ("online", "offline"):
            raise failure("Invalid Access Type")
        if given.get("code_challenge_method", "plain") not in ("S256", "plain"):
            raise failure("Invalid Code Challenge Method")
        if client.kind == "mobile" and not given.get("code_challenge"):
            raise failure("Invalid Code Challenge")
        return client, scopes

    def _accept(
        self, client: Client, scopes: tuple[str, ...], given: dict[str, str], remembered: bool
    ) -> Answer:
        offline = given.get("access_type") == "offline"
        try:
            code = self.accounts.code(
                client,
                scopes,
                life=self.accounts.limits.code_life,
                redirect_uri=given["redirect_uri"],
                # Asked again without prompt=consent, Zoho gives no second refresh token.
                refresh=offline and (given.get("prompt") == "consent" or not remembered),
                challenge=given.get("code_challenge", ""),
                method=given.get("code_challenge_method", "plain"),
            )
        except Refused:
            raise failure("Access Denied: Maximum request limit reached for your account") from None
        if offline:
            self.accounts.consented.add((client.id, self.world.admin.id))
        return self._redirect(given, {"code": code, "location": "us", "accounts-server": self.world.base})

    def _redirect(self, given: dict[str, str], params: dict[str, str]) -> Answer:
        if "state" in given:
            params["state"] = given["state"]
        target = given["redirect_uri"]
        joint = "&" if "?" in target else "?"
        return Answer(302, None, {"location": f"{target}{joint}{urlencode(params)}"})

    def device(self, call: Call) -> Answer:
        """The page at which the user of a device types its code."""
        given = call.fields()
        user_code = given.get("user_code", "")
        if call.method == "POST" and given.get("consent") in ("accept", "reject"):
            done = self.tokens.decide(user_code, given["consent"])
            return page("Done" if done else "Unknown code", status=200 if done else 400)
        return page("Connect a device", FORM.format(action=escape(f"{call.path}?user_code={user_code}")))
