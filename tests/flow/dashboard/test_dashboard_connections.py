"""A consent from its button to Zoho's answer; Zoho itself is never reached here."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from dashboard_kit import HANDLER, TOML, VIEWER

from receiver import keys
from receiver.errors import NotConnected
from receiver.event import now_ms
from receiver.zoho.consent import Consent

if TYPE_CHECKING:
    from conftest import MakeVisitor
    from dashboard_kit import Seed, Visitor
    from redis import Redis

    from tests.conftest import MakeSettings


def test_connecting_leads_to_zoho(operator: Visitor) -> None:
    """The button goes to the data centre of the table, with our own callback and a one-use state."""
    answer = operator.post("/connections/acme/connect")
    assert answer.status_code == 303
    to = urlsplit(answer.headers["location"])
    assert (to.scheme, to.netloc, to.path) == ("https", "accounts.zoho.eu", "/oauth/v2/auth")
    said = parse_qs(to.query)
    assert said["redirect_uri"] == ["http://hooks.test/connect/callback"]
    assert said["client_id"] == ["1000.ABCDEFGHIJ"]
    assert len(said["state"][0]) >= 22


def test_the_redirect_uri_does_not_come_from_the_request(visitor: MakeVisitor) -> None:
    """Whatever Host is sent, Zoho sends the person back to the configured address."""
    guest = visitor(host="evil.test").sign_in()
    to = urlsplit(guest.post("/connections/acme/connect").headers["location"])
    assert parse_qs(to.query)["redirect_uri"] == ["http://hooks.test/connect/callback"]


def test_only_this_page_may_lead_to_zoho(operator: Visitor) -> None:
    """The policy of the connections page allows forms to the configured accounts hosts, and no other page's does."""
    policy = operator.get("/connections").headers["content-security-policy"]
    assert policy.endswith("form-action 'self' https://accounts.zoho.eu")
    assert operator.get("/events").headers["content-security-policy"].endswith("form-action 'self'")


def test_a_connection_that_is_none_is_404(operator: Visitor) -> None:
    """Only what zohook.toml names can be connected."""
    assert operator.post("/connections/none/connect").status_code == 404


def test_viewers_do_not_connect(visitor: MakeVisitor) -> None:
    """The button and its form are the operator's."""
    viewer = visitor().sign_in(VIEWER)
    assert "Connect to Zoho" not in viewer.get("/connections").text
    assert viewer.post("/connections/acme/connect").status_code == 403


def test_a_client_that_is_not_set_is_said(visitor: MakeVisitor, settings: MakeSettings) -> None:
    """Without a client id the page says which setting is missing and where to make one."""
    bare = settings(TOML.replace('client_id = "1000.ABCDEFGHIJ"\n', ""))
    answer = visitor(settings=bare).sign_in().post("/connections/acme/connect")
    assert answer.status_code == 409
    assert "connections.acme.client_id" in answer.text


@pytest.mark.parametrize(
    "query", ["", "?state=x&code=y", "?state=&code=", "?state=a&state=b", "?code=x", "?error=access_denied"]
)
def test_an_answer_that_belongs_to_no_consent_is_refused(query: str, visitor: MakeVisitor) -> None:
    """Missing, unknown, doubled: 400, with what to do, and no session needed to read it."""
    answer = visitor().get("/connect/callback" + query)
    assert answer.status_code == 400
    assert "Not connected" in answer.text


def test_a_refusal_at_zoho_uses_the_state_up(operator: Visitor, visitor: MakeVisitor) -> None:
    """The same answer a second time belongs to nothing any more."""
    to = operator.post("/connections/acme/connect").headers["location"]
    state = parse_qs(urlsplit(to).query)["state"][0]
    path = f"/connect/callback?state={state}&error=access_denied"
    assert "refused at Zoho" in operator.get(path).text
    assert "belongs to no consent under way" in visitor().get(path).text


def test_another_browser_cannot_finish_a_consent(operator: Visitor, visitor: MakeVisitor) -> None:
    """A callback is taken from the browser that began the consent, and from no other one: nobody is made to connect for somebody else."""
    to = operator.post("/connections/acme/connect").headers["location"]
    path = f"/connect/callback?state={parse_qs(urlsplit(to).query)['state'][0]}&code=stolen"
    answer = visitor().get(path)
    assert answer.status_code == 400
    assert "begun in another session" in answer.text


class Done:
    """A consent that Zoho granted."""

    def finish(self, params: list[tuple[str, str]], *, session: str) -> str:
        if ("state", "good") not in params:
            raise NotConnected("no")
        return "acme"


def test_a_consent_releases_what_waited_for_it(
    operator: Visitor, visitor: MakeVisitor, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held jobs are due again; whoever is signed in sees the connections, anybody else a page that says it is done."""
    event = seed.handled(state="held", parked="connection:acme", reason="revoked")
    monkeypatch.setattr(Consent, "finish", Done.finish)
    assert "Connected" in visitor().get("/connect/callback?state=good").text
    assert seed.redis.hget(f"zh:j:{event.id}:{HANDLER}", "state") == b"due"
    assert operator.get("/connect/callback?state=good").headers["location"] == "/connections"
    assert "is connected" in operator.get("/connections").text
    assert operator.ask("POST", "/connect/callback").status_code in {403, 405}


def test_what_holds_the_jobs_of_a_product_is_said(operator: Visitor, redis: Redis) -> None:
    """A day's limit and the credits kept for live events, each with how many jobs wait; and how long the credits last."""
    hour = now_ms() // 3_600_000
    redis.zadd(keys.calls_places(), {"acme:books:1": now_ms(), "acme:crm": now_ms()})
    redis.set(keys.calls_blocked("acme:books:1"), "day limit", px=60_000)
    redis.set(keys.calls_blocked("acme:crm#behind"), "the rest is kept for live events", px=60_000)
    redis.hset(keys.calls_credits("acme:crm"), mapping={str(hour): 5_000, "left": 10_000})
    for reason, count in (("limit:acme:books:1", 412), ("limit:acme:crm#behind", 1)):
        redis.sadd(keys.parked_reasons(), reason)
        redis.sadd(keys.parked(reason), *(f"j:{number}:h" for number in range(count)))
    page = " ".join(operator.get("/connections").text.split())
    assert "<b>Books</b>: day limit, 412 jobs wait." in page
    assert "<b>Crm</b>: the rest is kept for live events, 1 job waits." in page
    assert "Lasts" in page
    assert "2 h" in page
