"""Consent against the strict simulator: the whole flow, and everything that a callback may carry instead."""

from __future__ import annotations

import httpx
import pytest
from zoho_kit import SCOPES

from receiver import keys
from receiver.errors import (
    ConnectionMisconfigured,
    ConnectionRevoked,
    NotConnected,
    TokenThrottled,
    Unavailable,
)
from receiver.zoho.scopes import needed_scopes

REDIRECT = "http://127.0.0.1:8000/oauth/callback"


@pytest.fixture
def fresh(build, simulator):
    """A house that nobody has connected yet."""
    return build(simulator)


def consent(house, answer="accept", redirect=REDIRECT, **begin):
    """What Zoho sends the person back with."""
    url = house.consent.begin("acme", redirect, SCOPES.split(","), **begin)
    back = httpx.post(url, data={"consent": answer}, trust_env=False)
    assert back.status_code == 302, back.text
    return dict(httpx.URL(back.headers["location"]).params)


def test_a_consent_connects(fresh):
    """From the URL to a working call: state, PKCE, exchange, row; the token is used and not asked for again."""
    assert fresh.consent.finish(consent(fresh)) == "acme"
    assert fresh.zoho.crm.user()["email"] == "mara@brightwater.example"
    status = fresh.tokens.status("acme")
    assert (status.state, status.dc, status.generation) == ("ok", "simulator", 1)
    assert "ZohoCRM.modules.ALL" in status.scopes
    assert fresh.refreshes() == 1
    assert int(fresh.redis.hget(keys.counts(), "token_calls")) == 1
    assert fresh.redis.hget(keys.counts(), "token_refreshes") is None


def test_the_default_scopes_are_valid_at_zoho(fresh):
    """The least scopes are spelled so that the consent page takes them."""
    url = fresh.consent.begin("acme", REDIRECT, needed_scopes(fresh.settings, "acme"))
    assert httpx.get(url, trust_env=False).status_code == 200


def test_a_state_is_good_once(fresh):
    """The same callback twice makes one token; the second is told to start again, and nothing is sent."""
    back = consent(fresh)
    fresh.consent.finish(back)
    before = fresh.refreshes()
    with pytest.raises(NotConnected, match="Start the consent again"):
        fresh.consent.finish(back)
    assert fresh.refreshes() == before
    assert fresh.tokens.status("acme").generation == 1


@pytest.mark.parametrize("state", ["", "x", "x" * 5000, "*", "é\0"])
def test_an_unknown_state_sends_nothing(fresh, state):
    """Without a state of ours there is no call, whatever else the callback carries."""
    with pytest.raises(NotConnected) as told:
        fresh.consent.finish({**consent(fresh), "state": state})
    assert told.value.code == "state_unknown"
    assert fresh.refreshes() == 0


def test_another_session_cannot_finish_it(fresh):
    """A consent begun in one dashboard session is refused in another one, and used up by the attempt."""
    back = consent(fresh, session="mine")
    with pytest.raises(NotConnected, match="another session"):
        fresh.consent.finish(back, session="other")
    with pytest.raises(NotConnected):
        fresh.consent.finish(back, session="mine")
    fresh.consent.finish(consent(fresh, session="mine"), session="mine")


def test_a_refusal_says_so(fresh):
    """error=access_denied is told as such, and the connection stays as it was."""
    with pytest.raises(NotConnected, match="refused at Zoho") as told:
        fresh.consent.finish(consent(fresh, "reject"))
    assert told.value.code == "access_denied"
    assert fresh.refreshes() == 0


def test_a_callback_without_a_code(fresh):
    """Neither a code nor an error is no consent."""
    back = consent(fresh)
    del back["code"]
    with pytest.raises(NotConnected, match="no code"):
        fresh.consent.finish(back)


BAD_HOSTS = [
    "https://accounts.zoho.com.evil.example",
    "https://accounts.zoho.com@evil.example",
    "https://evil.example#.zoho.com",
    "https://evil.example\\@accounts.zoho.com",
    "http://accounts.zoho.com",
    "https://accounts.zoho.com:8443",
    "https://user@accounts.zoho.com",
    "https://accounts.zohо.com",  # noqa: RUF001 - a Cyrillic o
    "https://accounts.zoho.ca",
    "https://accounts.zoho.com/evil",
    "accounts.zoho.com",
    "https://ACCOUNTS.ZOHO.COM",
    "https://169.254.169.254",
    "https://2852039166",
    "https://[::ffff:169.254.169.254]",
    "https://accounts.zoho.eu",
]


@pytest.mark.parametrize("server", BAD_HOSTS)
def test_the_secret_goes_to_no_other_host(fresh, server):
    """An accounts-server that is not this connection's house gets nothing: no call is made at all."""
    with pytest.raises(NotConnected) as told:
        fresh.consent.finish({**consent(fresh), "accounts-server": server})
    assert told.value.code == "unknown_accounts_server"
    assert fresh.refreshes() == 0


@pytest.mark.parametrize(
    ("server", "location", "found"),
    [
        ("https://accounts.zoho.in", "in", "in"),
        ("https://accounts.zoho.in", "", "in"),
        ("", "ca", "ca"),
        ("", "", "eu"),
        ("https://accounts.zoho.in/", "IN", "in"),
        ("https://accounts.zoho.in", "eu", None),
        ("http://127.0.0.1:1", "eu", None),
        ("", "mars", None),
        ("https://accounts.zoho.in", "mars", "in"),
    ],
)
def test_the_data_centre_comes_from_the_table(settings, redis, wire, server, location, found):
    """The exchange goes to the host of the person's own data centre, and only one that the table has."""
    from receiver.zoho.clients import Clients
    from receiver.zoho.vault import Vault

    known = settings(
        '[connections.acme]\ndc = "eu"\nclient_id = "1"\n[simulator]\nurl = "http://127.0.0.1:1"'
    )
    made = Clients(redis, known, Vault(known.key), wire).consent
    if found is None:
        with pytest.raises(NotConnected):
            made._where("acme", server, location)
    else:
        assert made._where("acme", server, location).name == found


@pytest.mark.parametrize("name", ["state", "code", "location", "accounts-server", "error"])
def test_a_doubled_parameter_is_refused(fresh, name):
    """Two values for one parameter end the consent before anything is sent."""
    back = consent(fresh)
    with pytest.raises(NotConnected, match="more than once"):
        fresh.consent.finish([*back.items(), (name, "x"), (name, "y")])
    assert fresh.refreshes() == 0


def test_each_failure_has_its_cure_and_leaves_the_row_alone(fresh):
    """A late code, a used code, a wrong redirect, a wrong secret and a wrong client are told apart; the old row stays."""
    fresh.consent.finish(consent(fresh))
    before = fresh.redis.hgetall(keys.token("acme"))
    sim = fresh.simulator

    late = consent(fresh)
    sim.accounts.codes[late["code"]].expires_at = 0
    with pytest.raises(NotConnected, match="older than a minute"):
        fresh.consent.finish(late)

    elsewhere = consent(fresh)
    sim.accounts.codes[elsewhere["code"]].redirect_uri = "http://127.0.0.1:9/other"
    with pytest.raises(
        ConnectionMisconfigured, match=r"http://127\.0\.0\.1:8000/oauth/callback in Zoho's API console"
    ):
        fresh.consent.finish(elsewhere)

    stolen = consent(fresh)
    sim.accounts.codes[stolen["code"]].challenge = "another"
    with pytest.raises(NotConnected, match="Start the consent again"):
        fresh.consent.finish(stolen)

    wrong = consent(fresh)
    right, sim.client.secret = sim.client.secret, "another-secret"
    with pytest.raises(ConnectionMisconfigured, match="ZOHOOK_SECRET_ACME"):
        fresh.consent.finish(wrong)
    sim.client.secret = right

    unknown = consent(fresh)
    del sim.accounts.clients[sim.client_id]
    with pytest.raises(ConnectionMisconfigured, match="Multi-DC"):
        fresh.consent.finish(unknown)
    sim.accounts.clients[sim.client_id] = sim.client
    assert fresh.redis.hgetall(keys.token("acme")) == before
    assert fresh.zoho.crm.user()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (("status", {"status": 503}), Unavailable),
        (("html", {"status": 200}), Unavailable),
        (("cut", {}), Unavailable),
        (
            ("body", {"body": {"error": "Access Denied", "error_description": "too many requests"}}),
            TokenThrottled,
        ),
        (("body", {"status": 200, "body": {"access_token": "1000.x", "expires_in": 3600}}), NotConnected),
    ],
    ids=["503", "html", "cut", "throttle", "online"],
)
def test_a_failing_exchange_is_told_and_stores_nothing(fresh, fault, error):
    """An outage, a throttle, an answer without a refresh token: each its own error, and no row."""
    back = consent(fresh)
    fresh.simulator.faults.add(fault[0], product="oauth", **fault[1])
    with pytest.raises(error):
        fresh.consent.finish(back)
    assert not fresh.redis.exists(keys.token("acme"))


def test_a_self_client_code_connects_without_a_redirect(build, simulator):
    """A code of the API console is exchanged without redirect_uri; the same code twice is refused."""
    simulator.client = simulator.self_client
    house = build(simulator)
    code = simulator.self_client_code()
    assert house.consent.self_client("acme", f" {code}\n") == "acme"
    assert house.zoho.crm.org()["zgid"] == simulator.org_ids["crm"]
    with pytest.raises(NotConnected, match="used before"):
        house.consent.self_client("acme", code)
    assert house.tokens.status("acme").generation == 1


def test_a_new_consent_ends_a_revocation(fresh):
    """After a revoked consent a new one works at once, in a process that knew the connection as revoked."""
    fresh.connect(refresh="1000.dead.dead")
    with pytest.raises(ConnectionRevoked):
        fresh.tokens.get("acme")
    assert fresh.tokens.status("acme").state == "revoked"
    fresh.consent.finish(consent(fresh))
    fresh.tokens._slot("acme").checked = float("-inf")
    assert fresh.zoho.crm.user()


def test_a_connection_without_a_client_says_where_to_make_one(settings, redis, wire):
    """begin() without a client_id names the setting and the console of the data centre."""
    from receiver.zoho.clients import Clients
    from receiver.zoho.vault import Vault

    known = settings('[connections.acme]\nclient = "server"\ndc = "ca"')
    with pytest.raises(ConnectionMisconfigured, match=r"api-console\.zohocloud\.ca"):
        Clients(redis, known, Vault(known.key), wire).consent.begin("acme", REDIRECT, ["x"])


def test_the_verifier_is_sealed_while_it_waits(fresh):
    """Who reads Redis while a consent is under way cannot finish it: the verifier is sealed."""
    fresh.consent.begin("acme", REDIRECT, ["ZohoCRM.modules.ALL"])
    (name,) = fresh.redis.keys(keys.consent_state("*"))
    assert 0 < fresh.redis.ttl(name) <= 600
    assert b'"verifier":"gAAAA' in fresh.redis.get(name)
