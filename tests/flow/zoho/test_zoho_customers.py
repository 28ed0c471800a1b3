"""One client, many customers: each consents by a link of his own, and his events find his connection."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from zoho_kit import SCOPES

from receiver import keys
from receiver.errors import NotConnected, SettingsError
from receiver.settings import ChannelSettings
from receiver.upkeep import channels
from receiver.zoho import Clients
from tests.flow.dashboard.dashboard_kit import Visitor

PUBLIC = 'public_url = "http://hooks.test"\n[web]\npassword = "correct horse battery"\n'
CALLBACK = "http://hooks.test/connect/callback"


@pytest.fixture
def house(build, simulator):
    """A house with a connection that is for customers."""
    simulator.client.redirect_uris.append(CALLBACK)
    asked = ", ".join(f'"{scope}"' for scope in SCOPES.split(","))
    return build(simulator, more=f"customers = true\nscopes = [{asked}]", before=PUBLIC)


def accepted(guest, path):
    """The callback's answer, for a customer who opened the link and accepted at Zoho."""
    to = guest.post(path).headers["location"]
    back = urlsplit(httpx.post(to, data={"consent": "accept"}, trust_env=False).headers["location"])
    return guest.get(f"{back.path}?{back.query}")


def visitor(house):
    return Visitor(house.settings, house.redis)


def test_a_customer_consents_by_his_link(house):
    """The operator makes a link; the customer needs no password; his connection works and knows his organisations."""
    operator = visitor(house).sign_in()
    said = operator.post("/connections/acme/invite", {"customer": "globex", "label": "Globex <Ltd>"}).text
    path = urlsplit(re.search(r"http://hooks\.test/consent/[\w-]+", said)[0]).path
    assert "Globex &lt;Ltd&gt;" in visitor(house).get(path).text
    answer = accepted(visitor(house), path)
    assert answer.status_code == 200, answer.text
    assert "globex" in answer.text
    clients = Clients(house.redis, house.settings, house.vault, house.wire)
    ids = house.simulator.org_ids
    assert dict(clients.tokens.customers.get("globex").organisations) == ids
    job = clients.for_job("acme", organisation=ids["books"], product="books")
    assert job.connection == "globex"
    assert job.crm.user()
    assert clients.tokens.connections()[0].connection == "globex"
    assert "Globex &lt;Ltd&gt;" in operator.get("/connections").text


def test_a_link_is_good_once_and_only_its_digest_is_kept(house):
    """Used, unknown and cut links say that they lead nowhere; looking at one uses nothing up."""
    token = house.tokens.customers.invite("acme", "globex")
    for _ in range(3):
        assert visitor(house).get(f"/consent/{token}").status_code == 200
    assert not any(
        token.encode() in key + (house.redis.get(key) or b"") for key in house.redis.keys("zh:invite:*")
    )
    assert accepted(visitor(house), f"/consent/{token}").status_code == 200
    for gone in (token, token[:-1], "x", "%2e%2e"):
        answer = visitor(house).get(f"/consent/{gone}")
        assert answer.status_code == 404, gone
        assert visitor(house).post(f"/consent/{gone}").status_code == 404


def test_a_foreign_page_cannot_send_the_form(house):
    """The link's form is taken from our own page only."""
    token = house.tokens.customers.invite("acme", "globex")
    assert visitor(house).post(f"/consent/{token}", origin="http://evil.test").status_code == 403
    assert house.tokens.customers.invitation(token).name == "globex"


def test_a_customer_who_consents_again_keeps_his_name(house):
    """A new link for a customer there is replaces his consent; a name that is somebody else's is refused."""
    for _ in range(2):
        assert (
            accepted(
                visitor(house), f"/consent/{house.tokens.customers.invite('acme', 'globex')}"
            ).status_code
            == 200
        )
    assert list(house.tokens.customers.all()) == ["globex"]
    assert house.consent.grants.alive("globex") == 1
    with pytest.raises(SettingsError, match="taken"):
        house.tokens.customers.invite("acme", "acme")
    for name in ("", "Globex", "a b", "x" * 65, "é"):
        with pytest.raises(SettingsError, match="no name"):
            house.tokens.customers.invite("acme", name)


def test_a_refusal_leaves_the_link_good(house):
    """Who says no at Zoho may think again."""
    token = house.tokens.customers.invite("acme", "globex")
    guest = visitor(house)
    to = guest.post(f"/consent/{token}").headers["location"]
    back = urlsplit(httpx.post(to, data={"consent": "reject"}, trust_env=False).headers["location"])
    assert guest.get(f"{back.path}?{back.query}").status_code == 400
    assert accepted(visitor(house), f"/consent/{token}").status_code == 200


def test_another_browser_cannot_finish_a_customers_consent(house):
    """The state is bound to the browser that opened the link."""
    token = house.tokens.customers.invite("acme", "globex")
    to = visitor(house).post(f"/consent/{token}").headers["location"]
    assert parse_qs(urlsplit(to).query)["code_challenge_method"] == ["S256"]
    back = urlsplit(httpx.post(to, data={"consent": "accept"}, trust_env=False).headers["location"])
    assert visitor(house).get(f"{back.path}?{back.query}").status_code == 400
    assert house.tokens.customers.all() == {}


def test_the_shared_connection_itself_has_no_consent(house):
    """A job whose event is no customer's is held, and says so."""
    with pytest.raises(NotConnected):
        house.clients.for_job("acme", organisation="1", product="books").crm.user()


def test_one_consent_only_has_no_links(build, simulator):
    """Without `customers = true` there is nobody to invite."""
    with pytest.raises(SettingsError, match="customers = true"):
        build(simulator).tokens.customers.invite("acme", "globex")


def test_a_removed_customer_is_nobodys(house):
    """Revoked and forgotten, his organisation's events find no connection."""
    accepted(visitor(house), f"/consent/{house.tokens.customers.invite('acme', 'globex')}")
    assert house.consent.grants.remove("globex")
    house.tokens.customers.remove("globex")
    assert (
        house.clients.for_job(
            "acme", organisation=house.simulator.org_ids["books"], product="books"
        ).connection
        == "acme"
    )
    assert not house.redis.exists(keys.token("globex"))


def test_each_customer_has_a_channel_of_his_own(house):
    """The clock makes one channel per customer; a callback of it finds his connection by the channel's id alone."""
    accepted(visitor(house), f"/consent/{house.tokens.customers.invite('acme', 'globex')}")
    wanted = ChannelSettings(events=("Deals.all",), connection="acme", source="crm")
    known = house.settings.model_copy(update={"channels": {"deals": wanted}})
    house.clients.tokens.customers._anew()
    assert channels.ensure(known, house.redis, house.clients) == 1
    assert channels.ensure(known, house.redis, house.clients) == 0
    (channel,) = house.simulator.crm.watch.live()
    assert house.clients.for_job("acme", product="crm", channel=str(channel.id)).connection == "globex"
    assert house.clients.for_job("acme", product="crm", channel="1").connection == "acme"
