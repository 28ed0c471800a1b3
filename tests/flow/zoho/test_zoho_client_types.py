"""Each type of client of Zoho's API console has its own way to a token, against the strict simulator."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from zoho_kit import SCOPES

from receiver import keys
from receiver.errors import ConnectionMisconfigured, NotConnected, SettingsError, Unavailable
from receiver.simulator import Simulator
from receiver.zoho.grants import WARN

REDIRECT = "http://127.0.0.1:8000/oauth/callback"
ASKED = SCOPES.split(",")


@pytest.fixture
def as_client(simulator, build):
    """Makes a house whose client is of a type, with whatever else is in its table."""

    def make(kind: str, made: str = "", **given):
        simulator.client = simulator.accounts.add_client(made or kind, "Test", [REDIRECT])
        return build(simulator, kind=kind, **given)

    return make


def consent(house, redirect=REDIRECT, **begin):
    """What Zoho sends the person back with, who accepted."""
    back = httpx.post(
        house.consent.begin("acme", redirect, ASKED, **begin), data={"consent": "accept"}, trust_env=False
    )
    assert back.status_code == 302, back.text
    return dict(httpx.URL(back.headers["location"]).params)


# Client credentials -----------------------------------------------------------------------------------------------


def test_client_credentials_need_nobody(as_client):
    """A job's first call makes the token; sixteen cold threads make one; the scopes and the organisation are asked for."""
    house = as_client("credentials", "self", more='crm = "759145822"')
    with ThreadPoolExecutor(16) as pool:
        got = {each.generation for each in pool.map(lambda _: house.tokens.get("acme"), range(16))}
    assert got == {1}
    assert house.zoho.crm.user()["email"] == "mara@brightwater.example"
    (call,) = house.simulator.journal.calls("oauth", path="/token")
    assert call.body == "client_credentials"
    assert house.tokens.accounts.soid("acme") == "ZohoCRM.759145822"
    status = house.tokens.status("acme")
    assert (status.state, status.history[0]["grant"]) == ("ok", "client_credentials")


def test_client_credentials_are_renewed_like_any_token(as_client):
    """A token that Zoho refuses is made anew by the next call, with the same budget."""
    house = as_client("credentials", "self", more='soid = "ZohoDesk.54983163"')
    assert house.tokens.get("acme").generation == 1
    house.simulator.accounts.kill_access_tokens()
    assert next(house.zoho.desk.list("tickets"))
    assert house.tokens.get("acme").generation == 2


def test_client_credentials_without_an_organisation_say_which_setting(as_client):
    """Zoho's `missing_org_info` names soid, holds the jobs, and costs one call in ten minutes."""
    house = as_client("credentials", "self")
    acme = house.settings.connections["acme"].model_copy(update={"books": {}, "desk": {}})
    house.tokens.accounts._settings = house.settings.model_copy(update={"connections": {"acme": acme}})
    for _ in range(3):
        with pytest.raises(ConnectionMisconfigured, match="soid"):
            house.tokens.get("acme")
    assert house.refreshes() == 1


def test_client_credentials_have_no_consent_page(as_client):
    """The web flow is refused with the command that is right."""
    with pytest.raises(ConnectionMisconfigured, match="zohook connect acme"):
        as_client("credentials", "self").consent.begin("acme", REDIRECT, ASKED)


# Device -----------------------------------------------------------------------------------------------------------


def decide(house, user_code, decision="accept"):
    """The user, at another screen."""
    page = f"{house.simulator.base}/oauth/v3/device?user_code={user_code}"
    assert httpx.post(page, data={"consent": decision}, trust_env=False).status_code == 200


def patience(house, turns):
    """A pause that takes no time of ours, lets Zoho's clock go on, and does the next of `turns`."""
    waited, left = [], list(turns)

    def pause(seconds):
        waited.append(seconds)
        for device in house.simulator.tokens.devices.values():
            device.polled_at -= seconds
        if left:
            left.pop(0)()

    return pause, waited


def nothing():
    """The user does nothing yet."""


def test_a_device_waits_for_its_user(as_client):
    """Two looks before the user accepts, each half a minute after the last; then the connection works."""
    house = as_client("device")
    device = house.clients.device.begin("acme", ASKED)
    assert device.url == f"{house.simulator.base}/oauth/v3/device"
    pause, waited = patience(house, [nothing, nothing, lambda: decide(house, device.user_code)])
    house.clients.device.wait("acme", device, ASKED, pause=pause)
    assert waited == [30.0, 30.0, 30.0]
    assert house.zoho.crm.user()
    assert house.tokens.status("acme").history[0]["grant"] == "device_token"


def test_a_device_that_asks_too_early_slows_down(as_client):
    """`slow_down` makes the pauses longer and costs nothing else."""
    house = as_client("device")
    device = house.clients.device.begin("acme", ASKED)
    waited = []

    def pause(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            decide(house, device.user_code)
        if len(waited) != 2:  # the second look comes at once after the first
            for one in house.simulator.tokens.devices.values():
                one.polled_at -= 60

    house.clients.device.wait("acme", device, ASKED, pause=pause)
    assert waited == [30.0, 30.0, 35.0]


def test_a_refused_device_says_so(as_client):
    """The user's no is told, and nothing is stored."""
    house = as_client("device")
    device = house.clients.device.begin("acme", ASKED)
    pause, _ = patience(house, [lambda: decide(house, device.user_code, "reject")])
    with pytest.raises(NotConnected, match="refused at the other screen"):
        house.clients.device.wait("acme", device, ASKED, pause=pause)
    assert not house.redis.exists(keys.token("acme"))


def test_a_code_that_nobody_types_ends(as_client):
    """After Zoho's five minutes it is over, by Zoho's word."""
    house = as_client("device")
    device = house.clients.device.begin("acme", ASKED)

    def pause(_):
        for one in house.simulator.tokens.devices.values():
            one.expires_at = 0

    with pytest.raises(NotConnected, match="five minutes"):
        house.clients.device.wait("acme", device, ASKED, pause=pause)


def test_a_short_outage_does_not_end_the_wait(as_client):
    """One HTML page and one cut answer are looked past; three failures are told."""
    house = as_client("device")
    device = house.clients.device.begin("acme", ASKED)
    house.simulator.faults.add("html", product="oauth", status=502, times=1)
    pause, _ = patience(house, [nothing, lambda: decide(house, device.user_code)])
    house.clients.device.wait("acme", device, ASKED, pause=pause)
    again = house.clients.device.begin("acme", ASKED)
    house.simulator.faults.add("status", product="oauth", status=503, times=3)
    with pytest.raises(Unavailable, match="start again"):
        house.clients.device.wait("acme", again, ASKED, pause=patience(house, [])[0])


def test_a_user_of_another_data_centre_is_followed(as_client, leaving):
    """`other_dc` leads on to the data centre that the table has, with that one's own client secret."""
    with Simulator() as elsewhere:
        house = as_client(
            "device",
            others=f'[simulator.others]\neu = "{elsewhere.base}"',
            secrets=None,
        )
        twin = elsewhere.accounts.add_client("device", "Test", [])
        elsewhere.accounts.clients[house.simulator.client.id] = twin
        twin.id = house.simulator.client.id
        house.settings._secrets["acme__simulator-eu"] = (twin.secret,)
        device = house.clients.device.begin("acme", ASKED)
        house.simulator.faults.add(
            "body",
            product="oauth",
            path="/oauth/v3/device/token",
            body={"error": "other_dc", "user_location": "eu"},
        )

        def arrives():
            here = house.simulator.tokens.devices[device.code]
            here.client, here.decision = twin, "accept"
            elsewhere.tokens.devices[device.code] = here

        pause, _ = patience(house, [nothing, arrives])
        house.clients.device.wait("acme", device, ASKED, pause=pause)
        assert house.tokens.status("acme").dc == "simulator-eu"
        assert house.zoho.crm.user()
        assert elsewhere.journal.calls("crm")


def test_an_unknown_data_centre_ends_the_wait(as_client):
    """A location that the table does not have gets no secret."""
    house = as_client("device")
    device = house.clients.device.begin("acme", ASKED)
    house.simulator.faults.add("body", product="oauth", body={"error": "other_dc", "user_location": "mars"})
    with pytest.raises(ConnectionMisconfigured, match="set dc"):
        house.clients.device.wait("acme", device, ASKED, pause=patience(house, [])[0])


# Mobile and client-based --------------------------------------------------------------------------------------------


def test_a_mobile_client_has_no_secret_but_a_verifier(as_client):
    """The code flow of a public client: PKCE stands in for the secret, at the consent; and its refresh token works."""
    house = as_client("mobile", secrets={})
    assert house.consent.finish(consent(house)) == "acme"
    house.simulator.accounts.kill_access_tokens()
    assert house.zoho.crm.user()


def test_a_refresh_token_is_handed_over(as_client):
    """What an app of one's own got is tried at Zoho, then kept; a wrong one changes nothing."""
    house = as_client("mobile", secrets={})
    grant = house.simulator.accounts.grant(house.simulator.client, house.simulator.world.admin, tuple(ASKED))
    with pytest.raises(NotConnected):
        house.consent.grants.hand_refresh("acme", "1000.wrong.wrong")
    assert not house.redis.exists(keys.token("acme"))
    house.consent.grants.hand_refresh("acme", f" {grant.refresh_token}\n", ASKED)
    assert house.zoho.crm.user()
    before = house.redis.hgetall(keys.token("acme"))
    with pytest.raises(NotConnected):
        house.consent.grants.hand_refresh("acme", "1000.wrong.wrong")
    assert house.redis.hgetall(keys.token("acme")) == before


def test_an_access_token_serves_for_its_hour(as_client):
    """A client-based app's token is used until it ends; then the state says that another must be handed in, and no call is made."""
    house = as_client("browser", secrets={})
    access = house.simulator.access_token()
    house.consent.grants.hand_access("acme", access, 1800, ASKED)
    assert house.zoho.crm.user()
    assert house.tokens.status("acme").state == "ok"
    house.redis.hset(keys.token("acme"), "expires", 1)
    house.tokens._slot("acme").checked = float("-inf")
    with pytest.raises(NotConnected, match="hand in another one"):
        house.tokens.get("acme")
    status = house.tokens.status("acme")
    assert (status.state, "hand in another one" in status.why) == ("not_connected", True)
    assert house.refreshes() == 0


@pytest.mark.parametrize("seconds", [0, -1, 3601, 10**9])
def test_an_access_token_lives_no_longer_than_zoho_lets_it(as_client, seconds):
    """A life that cannot be is refused, and nothing is stored."""
    with pytest.raises(SettingsError, match="expires_in"):
        as_client("browser").consent.grants.hand_access("acme", "1000.abc.def", seconds)


@pytest.mark.parametrize(
    "token", ["", "short", "1000.a b.c", "1000.é" * 5, "1000." + "x" * 600, "1000.\nabcdef\x00"]
)
def test_what_is_no_token_is_refused(as_client, token):
    """Nothing with a blank, a letter beyond ASCII, or of no likely length is sent to Zoho."""
    house = as_client("mobile")
    with pytest.raises(SettingsError, match="no token of Zoho's"):
        house.consent.grants.hand_refresh("acme", token)
    assert house.refreshes() == 0


# What every consent does ----------------------------------------------------------------------------------------------


def test_a_new_consent_ends_the_one_before(as_client):
    """The replaced refresh token is revoked at Zoho, so that it fills none of the twenty places; the new one is counted alone."""
    house = as_client("server")
    house.consent.finish(consent(house))
    first = house.simulator.accounts.summary()["grants"][-1]["refresh_token"]
    house.consent.finish(consent(house))
    alive = {each["refresh_token"] for each in house.simulator.accounts.summary()["grants"]}
    assert first not in alive
    assert house.consent.grants.alive("acme") == 1
    assert house.zoho.crm.user()


def test_an_old_consent_that_zoho_does_not_end_is_no_trouble(as_client, caplog):
    """An outage at the revocation leaves the new consent as it is, and the old one counted."""
    house = as_client("server")
    house.consent.finish(consent(house))
    house.simulator.faults.add("status", product="oauth", path="/oauth/v2/revoke/token", status=503)
    house.consent.finish(consent(house))
    assert house.zoho.crm.user()
    assert house.consent.grants.alive("acme") == 2


def test_the_eighteenth_refresh_token_is_said(as_client, capsys):
    """From eighteen of twenty on each consent warns."""
    house = as_client("server")
    client = house.settings.connections["acme"].client_id
    house.redis.zadd(keys.consents(client, ""), {f"other{number}": number for number in range(WARN - 1)})
    house.consent.finish(consent(house))
    assert "consent.many" in capsys.readouterr().out


def test_a_removed_connection_is_revoked_and_forgotten(as_client):
    """Zoho knows the refresh token no more, Redis holds nothing of it but the history, and jobs wait for a new consent."""
    house = as_client("server")
    house.consent.finish(consent(house))
    token = house.simulator.accounts.summary()["grants"][-1]["refresh_token"]
    assert house.consent.grants.remove("acme")
    assert token not in {each["refresh_token"] for each in house.simulator.accounts.summary()["grants"]}
    assert not house.redis.exists(keys.token("acme"))
    assert house.tokens.status("acme").history
    assert house.consent.grants.alive("acme") == 0
    house.tokens._slot("acme").checked = float("-inf")
    with pytest.raises(NotConnected):
        house.tokens.get("acme")


def test_each_data_centre_has_its_own_secret(as_client):
    """The person's account is in another data centre: the exchange and the refresh go there, with that one's secret."""
    with Simulator() as elsewhere:
        house = as_client("server", others=f'[simulator.others]\neu = "{elsewhere.base}"')
        twin = elsewhere.accounts.add_client("server", "Test", [REDIRECT])
        elsewhere.accounts.clients[house.simulator.client.id] = twin
        house.settings._secrets["acme__simulator-eu"] = (twin.secret,)
        here = consent(house)
        there = elsewhere.accounts.code(
            twin, tuple(ASKED), life=60, redirect_uri=REDIRECT,
            challenge=house.simulator.accounts.codes[here["code"]].challenge, method="S256",
        )  # fmt: skip
        back = {**here, "code": there, "accounts-server": elsewhere.base, "location": "eu"}
        assert house.consent.finish(back) == "acme"
        assert house.tokens.status("acme").dc == "simulator-eu"
        elsewhere.accounts.kill_access_tokens()
        assert house.zoho.crm.user()
        assert elsewhere.accounts.refreshes == 1
        assert house.refreshes() == 0


def test_a_refresh_while_a_consent_is_replaced_serves_everybody(as_client):
    """Threads that call on while a new consent is put in place see no error: what the old token is refused for, the new one cures."""
    house = as_client("server")
    house.consent.finish(consent(house))
    stop, errors = threading.Event(), []

    def calls():
        while not stop.is_set():
            try:
                house.zoho.crm.user()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is asserted
                errors.append(error)

    threads = [threading.Thread(target=calls) for _ in range(4)]
    for each in threads:
        each.start()
    house.consent.finish(consent(house))
    stop.set()
    for each in threads:
        each.join()
    assert errors == []
