"""The simulated accounts server is as strict as Zoho's pages say; no product's API is looked at here."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from simulator_kit import Zoho

from receiver.simulator.oauth_scopes import covers, valid

SCOPE = "ZohoCRM.modules.ALL"


@pytest.fixture
def zoho() -> Zoho:
    return Zoho()


def asking(zoho: Zoho, **more: Any) -> dict[str, str]:
    sim = zoho.simulator
    given = {
        "client_id": sim.client_id,
        "redirect_uri": sim.redirect_uri,
        "response_type": "code",
        "scope": SCOPE,
        "access_type": "offline",
        "prompt": "consent",
        "state": "s t&1",
        **more,
    }
    return {name: value for name, value in given.items() if value is not None}


def consent(zoho: Zoho, decision: str = "accept", **more: Any) -> dict[str, list[str]]:
    answer = zoho.post("/oauth/v2/auth", params=asking(zoho, **more), data={"consent": decision})
    assert answer.status_code == 302, answer.text
    return parse_qs(urlsplit(answer.headers["location"]).query)


def exchange(zoho: Zoho, code: str, **more: Any) -> dict[str, Any]:
    sent = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": zoho.simulator.redirect_uri,
        **more,
    }
    return zoho.ask_token(**sent).json()


def test_consent_gives_a_code_and_the_code_gives_both_tokens(zoho: Zoho) -> None:
    """Accepting redirects with code, location, accounts-server and the same state."""
    sent = consent(zoho)
    assert sent["state"] == ["s t&1"]
    assert sent["location"] == ["us"]
    assert sent["accounts-server"] == [zoho.simulator.base]
    body = exchange(zoho, sent["code"][0])
    assert set(body) == {"access_token", "refresh_token", "scope", "api_domain", "token_type", "expires_in"}
    assert body["expires_in"] == 3600


def test_the_form_on_the_page_leads_to_the_code(zoho: Zoho) -> None:
    """The page's own form, posted to its own address, consents."""
    page = zoho.get("/oauth/v2/auth", params=asking(zoho))
    found = re.search(r'action="([^"]+)"', page.text)
    assert found is not None
    answer = zoho.post(found[1].replace("&amp;", "&"), data={"consent": "accept"})
    assert "code=" in answer.headers["location"]


def test_refusing_redirects_with_access_denied(zoho: Zoho) -> None:
    """Reject sends the browser back with an error and the state."""
    assert consent(zoho, "reject") == {"error": ["access_denied"], "state": ["s t&1"]}


@pytest.mark.parametrize(
    ("wrong", "title"),
    [
        ({"client_id": "1000.NOBODY"}, "Invalid Client"),
        ({"redirect_uri": "http://127.0.0.1:8000/oauth/callback/"}, "Invalid Redirect Uri"),
        ({"response_type": "token"}, "Invalid Response Type"),
        ({"scope": "ZohoCRM.everything.ALL"}, "Invalid OAuth Scope"),
        ({"scope": None}, "Invalid OAuth Scope"),
    ],
)
def test_other_failures_are_pages_and_never_redirects(zoho: Zoho, wrong: dict[str, Any], title: str) -> None:
    """A fault in the request is shown in the browser."""
    answer = zoho.get("/oauth/v2/auth", params=asking(zoho, **wrong))
    assert answer.status_code == 400
    assert title in answer.text
    assert "location" not in answer.headers


def test_a_second_consent_gives_a_refresh_token_only_when_prompted(zoho: Zoho) -> None:
    """Without prompt=consent the refresh token comes on the first offline consent only."""
    first = exchange(zoho, consent(zoho, prompt=None)["code"][0])
    again = zoho.get("/oauth/v2/auth", params=asking(zoho, prompt=None))
    second = exchange(zoho, parse_qs(urlsplit(again.headers["location"]).query)["code"][0])
    third = exchange(zoho, consent(zoho)["code"][0])
    assert ["refresh_token" in body for body in (first, second, third)] == [True, False, True]


def test_online_access_has_no_refresh_token(zoho: Zoho) -> None:
    """access_type defaults to online."""
    assert "refresh_token" not in exchange(zoho, consent(zoho, access_type=None)["code"][0])


def test_a_code_works_once_and_for_a_minute(zoho: Zoho) -> None:
    """A used, expired or unknown code is invalid_code, with HTTP 200."""
    code = consent(zoho)["code"][0]
    assert exchange(zoho, code, redirect_uri="http://127.0.0.1:1/") == {"error": "invalid_redirect_uri"}
    assert "access_token" in exchange(zoho, code)
    assert exchange(zoho, code) == {"error": "invalid_code"}
    late = consent(zoho)["code"][0]
    zoho.clock.forward(61)
    assert exchange(zoho, late) == {"error": "invalid_code"}


def test_pkce_is_checked(zoho: Zoho) -> None:
    """An S256 challenge wants its verifier."""
    verifier = "v" * 50
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = {"code_challenge": challenge, "code_challenge_method": "S256"}
    assert exchange(zoho, consent(zoho, **asked)["code"][0]) == {"error": "invalid_code"}
    good = exchange(zoho, consent(zoho, **asked)["code"][0], code_verifier=verifier)
    assert "access_token" in good


def test_ten_codes_in_ten_minutes_and_no_more(zoho: Zoho) -> None:
    """The eleventh consent of a client in ten minutes is a page of refusal."""
    for _ in range(10):
        consent(zoho)
    answer = zoho.post("/oauth/v2/auth", params=asking(zoho), data={"consent": "accept"})
    assert answer.status_code == 400
    assert "Access Denied" in answer.text


def test_a_refresh_keeps_the_refresh_token(zoho: Zoho) -> None:
    """A refresh answers without a refresh_token, and the old one works on."""
    bodies = [zoho.refresh().json() for _ in range(2)]
    assert all("refresh_token" not in body for body in bodies)
    assert bodies[0]["access_token"] != bodies[1]["access_token"]


def test_the_eleventh_token_in_ten_minutes_is_throttled(zoho: Zoho) -> None:
    """Ten access tokens per refresh token and window, then Access Denied with HTTP 200 until it is over."""
    for _ in range(10):
        assert "access_token" in zoho.refresh().json()
    answer = zoho.refresh()
    assert answer.status_code == 200
    assert answer.json()["error"] == "Access Denied"
    assert answer.json()["status"] == "failure"
    zoho.clock.forward(601)
    assert "access_token" in zoho.refresh().json()


def test_the_sixteenth_living_token_kills_the_oldest(zoho: Zoho) -> None:
    """Fifteen access tokens live per refresh token; the oldest dies at once."""
    tokens = [zoho.refresh().json()["access_token"] for _ in range(10)]
    zoho.clock.forward(601)
    tokens += [zoho.refresh().json()["access_token"] for _ in range(6)]
    codes = [zoho.get("/crm/v8/org", token=token).status_code for token in tokens]
    assert codes == [401] + [200] * 15


def test_the_twenty_first_refresh_token_evicts_the_oldest(zoho: Zoho) -> None:
    """Twenty refresh tokens live per user and client; the oldest goes with its access tokens."""
    access = zoho.refresh().json()["access_token"]
    for _ in range(20):
        zoho.clock.forward(61)
        assert "refresh_token" in exchange(zoho, consent(zoho)["code"][0])
    assert zoho.refresh().json() == {"error": "invalid_code"}
    assert zoho.get("/crm/v8/org", token=access).json()["code"] == "INVALID_TOKEN"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"client_id": "1000.NOBODY"}, "invalid_client"),
        ({"client_id": None}, "invalid_client"),
        ({"client_secret": "wrong"}, "invalid_client_secret"),
        ({"refresh_token": "1000.a.b"}, "invalid_code"),
        ({"grant_type": "password"}, "invalid_client"),
    ],
)
def test_token_errors_come_with_200(zoho: Zoho, wrong: dict[str, Any], error: str) -> None:
    """What is wrong is in the body; the status is 200."""
    given = {"grant_type": "refresh_token", "refresh_token": zoho.simulator.refresh_token, **wrong}
    answer = zoho.ask_token(**given)
    assert (answer.status_code, answer.json()) == (200, {"error": error})


def test_a_token_call_without_post_or_grant_type_is_400(zoho: Zoho) -> None:
    """These two are the only ones with an error status."""
    assert zoho.get("/oauth/v2/token").status_code == 400
    assert zoho.ask_token(refresh_token="x").status_code == 400


@pytest.mark.parametrize("how", ["query", "multipart", "basic"])
def test_parameters_may_come_in_every_documented_way(zoho: Zoho, how: str) -> None:
    """Query, multipart and HTTP Basic are understood beside the form."""
    sim = zoho.simulator
    given = {"grant_type": "refresh_token", "refresh_token": sim.refresh_token}
    client = {"client_id": sim.client_id, "client_secret": sim.client_secret}
    if how == "query":
        answer = zoho.post("/oauth/v2/token", params=given | client)
    elif how == "multipart":
        answer = zoho.post(
            "/oauth/v2/token", files={name: (None, text) for name, text in (given | client).items()}
        )
    else:
        word = base64.b64encode(f"{sim.client_id}:{sim.client_secret}".encode()).decode()
        answer = zoho.post("/oauth/v2/token", data=given, headers={"Authorization": f"Basic {word}"})
    assert "access_token" in answer.json()


def test_revoking_kills_the_access_tokens_too(zoho: Zoho) -> None:
    """The older path needs the token only."""
    access = zoho.refresh().json()["access_token"]
    sent = {"token": zoho.simulator.refresh_token}
    assert zoho.post("/oauth/v2/token/revoke", params=sent).json() == {"status": "success"}
    assert zoho.get("/crm/v8/org", token=access).status_code == 401
    assert zoho.refresh().json() == {"error": "invalid_code"}
    assert zoho.post("/oauth/v2/token/revoke", params=sent).status_code == 400


def test_the_newer_revoke_wants_the_client(zoho: Zoho) -> None:
    """The newer path refuses a caller who is not the client."""
    sim = zoho.simulator
    assert zoho.post("/oauth/v2/revoke/token", data={"token": sim.refresh_token}).json() == {
        "error": "invalid_client"
    }
    word = base64.b64encode(f"{sim.client_id}:{sim.client_secret}".encode()).decode()
    sent = zoho.post(
        "/oauth/v2/revoke/token",
        data={"token": sim.refresh_token},
        headers={"Authorization": f"Basic {word}"},
    )
    assert sent.json() == {"status": "success"}


def test_self_client_codes_need_no_redirect_and_live_as_chosen(zoho: Zoho) -> None:
    """The console offers three to ten minutes and known scopes."""
    sim = zoho.simulator
    client = {"client_id": sim.self_client.id, "client_secret": sim.self_client.secret}
    code = sim.self_client_code(SCOPE, 10)
    zoho.clock.forward(599)
    given = {"grant_type": "authorization_code", "code": code, **client}
    assert "refresh_token" in zoho.ask_token(**given).json()
    for scopes, minutes in ((SCOPE, 11), (SCOPE, 2), ("ZohoCRM.modules", 3), ("", 3)):
        with pytest.raises(ValueError, match=r"console|scope"):
            sim.self_client_code(scopes, minutes)


def test_client_credentials_are_for_self_clients_with_an_organisation(zoho: Zoho) -> None:
    """A soid of ours gives a token without a refresh token."""
    sim = zoho.simulator
    client = {"client_id": sim.self_client.id, "client_secret": sim.self_client.secret}
    given = {"grant_type": "client_credentials", "scope": SCOPE, **client}
    assert zoho.ask_token(**given).json() == {"error": "missing_org_info"}
    assert zoho.ask_token(**given, soid="ZohoCRM.1").json() == {"error": "invalid_soid"}
    body = zoho.ask_token(**given, soid=f"ZohoCRM.{sim.org_ids['crm']}").json()
    assert "refresh_token" not in body
    assert zoho.get("/crm/v8/Deals?fields=id", token=body["access_token"]).status_code == 200
    own = zoho.ask_token(grant_type="client_credentials", scope=SCOPE, soid="x")
    assert own.json() == {"error": "invalid_client"}


def test_the_device_flow_is_paced(zoho: Zoho) -> None:
    """Polling earlier than every thirty seconds is slow_down; the code ends after five minutes."""
    client = zoho.simulator.accounts.add_client("device", "A box", [])
    asked = {"client_id": client.id, "grant_type": "device_request", "scope": SCOPE, "access_type": "offline"}
    first, second = (zoho.post("/oauth/v3/device/code", data=asked).json() for _ in range(2))

    def poll(code: str) -> dict[str, Any]:
        given = {
            "client_id": client.id,
            "client_secret": client.secret,
            "grant_type": "device_token",
            "code": code,
        }
        body: dict[str, Any] = zoho.post("/oauth/v3/device/token", data=given).json()
        return body

    assert poll(first["device_code"]) == {"error": "authorization_pending"}
    assert poll(first["device_code"]) == {"error": "slow_down"}
    page = zoho.post("/oauth/v3/device", params={"user_code": first["user_code"]}, data={"consent": "accept"})
    assert page.status_code == 200
    zoho.clock.forward(31)
    assert "refresh_token" in poll(first["device_code"])
    zoho.clock.forward(300)
    assert poll(second["device_code"]) == {"error": "expired"}


@pytest.mark.parametrize(
    ("granted", "needed", "yes"),
    [
        ("ZohoCRM.modules.ALL", "ZohoCRM.modules.Leads.READ", True),
        ("ZohoCRM.modules.leads.READ", "ZohoCRM.modules.Leads.READ", True),
        ("ZohoCRM.modules.Leads.READ", "ZohoCRM.modules.Leads.UPDATE", False),
        ("ZohoCRM.modules.Leads.ALL", "ZohoCRM.modules.Deals.READ", False),
        ("ZohoCRM.modules.WRITE", "ZohoCRM.modules.Leads.DELETE", False),
        ("ZohoBooks.fullaccess.all", "ZohoBooks.invoices.CREATE", True),
        ("Desk.tickets.ALL", "Desk.contacts.READ", False),
    ],
)
def test_a_wider_scope_covers_a_narrower_one(granted: str, needed: str, yes: bool) -> None:
    """Covering goes by service, path and operation."""
    assert covers((granted,), needed) is yes


def test_scopes_have_a_grammar() -> None:
    """Unknown services, words and operations are no scopes."""
    assert all(
        valid(s) for s in ("ZohoCRM.coql.READ", "ZohoCRM.composite_requests.CUSTOM", "Desk.tickets.ALL")
    )
    assert not any(
        valid(s) for s in ("ZohoCRM.modules", "ZohoX.modules.ALL", "ZohoCRM.modules.EAT", "a b.c.READ")
    )
