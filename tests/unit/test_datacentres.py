"""The table of Zoho's hosts: complete, exact, and fooled by no URL."""

from __future__ import annotations

from dataclasses import fields
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.datacentres import DATA_CENTRES, DataCentre, DataCentres, simulated
from receiver.errors import SettingsError

ZOHO = DataCentres()


def by_url(field, url, simulator=None):
    """As a connection of Zoho's, or with a simulator as one of the simulator's."""
    known = DataCentres({"": simulator} if simulator else {})
    return known.by_url(field, url, simulated=bool(simulator))


HOSTILE = [
    "https://accounts.zoho.com.evil.example",
    "https://accounts.zoho.com@evil.example",
    "https://evil.example#.zoho.com",
    "https://evil.example\\@accounts.zoho.com",
    "https://accounts.zoho.com\\@evil.example",
    "https://evil.example/accounts.zoho.com",
    "https://evil.example?accounts.zoho.com",
    "https://accountszoho.com",
    "http://accounts.zoho.com",
    "https://accounts.zoho.com:8443",
    "https://accounts.zoho.com:443",
    "https://user@accounts.zoho.com",
    "https://user:pass@accounts.zoho.com",
    "https://accounts.zoh\u043e.com",
    "https://xn--accounts-zoho.com",
    "https://ACCOUNTS.zoho.com",
    "https://accounts.zoho.com.",
    "https://accounts.zoho.com/oauth",
    "https://accounts.zoho.com?x",
    " https://accounts.zoho.com",
    "https://accounts.zoho.com\n",
    "https://www.zohoapis.com",
    "//accounts.zoho.com",
    "accounts.zoho.com",
    "",
    "/",
]


def test_there_are_eleven():
    """Each under its own name, and no base URL belongs to two of them."""
    assert list(DATA_CENTRES) == ["us", "eu", "in", "au", "jp", "ca", "sa", "cn", "uk", "ae", "sg"]
    for field in ("accounts", "api", "desk", "mail", "console"):
        assert len({getattr(each, field) for each in DATA_CENTRES.values()}) == 11
    assert all(centre.name == name for name, centre in DATA_CENTRES.items())


@pytest.mark.parametrize(
    ("name", "accounts", "api", "desk"),
    [
        ("us", "accounts.zoho.com", "www.zohoapis.com", "desk.zoho.com"),
        ("eu", "accounts.zoho.eu", "www.zohoapis.eu", "desk.zoho.eu"),
        ("in", "accounts.zoho.in", "www.zohoapis.in", "desk.zoho.in"),
        ("au", "accounts.zoho.com.au", "www.zohoapis.com.au", "desk.zoho.com.au"),
        ("jp", "accounts.zoho.jp", "www.zohoapis.jp", "desk.zoho.jp"),
        ("ca", "accounts.zohocloud.ca", "www.zohoapis.ca", "desk.zohocloud.ca"),
        ("sa", "accounts.zoho.sa", "www.zohoapis.sa", "desk.zoho.sa"),
        ("cn", "accounts.zoho.com.cn", "www.zohoapis.com.cn", "desk.zoho.com.cn"),
        ("uk", "accounts.zoho.uk", "www.zohoapis.uk", "desk.zoho.uk"),
        ("ae", "accounts.zoho.ae", "www.zohoapis.ae", "desk.zoho.ae"),
        ("sg", "accounts.zoho.sg", "www.zohoapis.sg", "desk.zoho.sg"),
    ],
)
def test_hosts_are_those_of_the_fact_sheet(name, accounts, api, desk):
    """Canada breaks the rule that a suffix would make: its API is on zohoapis, the rest on zohocloud."""
    centre = DATA_CENTRES[name]
    assert (centre.accounts, centre.api, centre.desk) == tuple(
        f"https://{host}" for host in (accounts, api, desk)
    )


def test_every_base_is_https_and_nothing_but_a_host():
    """A path or a slash at the end would make another URL of it."""
    for centre in DATA_CENTRES.values():
        for field in fields(DataCentre):
            if field.name == "name":
                continue
            parts = urlsplit(getattr(centre, field.name))
            assert parts.scheme == "https"
            assert (parts.path, parts.query, parts.fragment, parts.port, parts.username) == (
                "",
                "",
                "",
                None,
                None,
            )


def test_products_have_their_own_host_or_share_one():
    """CRM, Books and what is new are on `api`."""
    ca = DATA_CENTRES["ca"]
    assert {product: ca.base(product) for product in ("crm", "books", "inventory", "new")} == dict.fromkeys(
        ("crm", "books", "inventory", "new"), ca.api
    )
    for product in ("desk", "mail", "projects", "recruit", "sign", "accounts", "content"):
        assert ca.base(product) == getattr(ca, product)


@pytest.mark.parametrize("centre", DATA_CENTRES.values(), ids=lambda centre: centre.name)
@pytest.mark.parametrize("field", ["accounts", "api"])
def test_a_url_of_the_table_is_found(centre, field):
    """With or without the slash that Zoho puts at its end."""
    url = getattr(centre, field)
    assert by_url(field, url) is centre
    assert by_url(field, f"{url}/") is centre


@pytest.mark.parametrize("url", HOSTILE)
def test_a_url_that_only_looks_like_one_is_not(url):
    """A client secret posted to such a host would be lost."""
    assert by_url("accounts", url) is None
    assert by_url("accounts", url, "http://127.0.0.1:8100") is None


@given(st.text(max_size=12), st.integers(0, 25), st.sampled_from(list(DATA_CENTRES.values())))
def test_no_addition_to_a_url_is_taken(text, place, centre):
    """Whatever is put into it or after it, but for slashes at its end."""
    url = centre.accounts[:place] + text + centre.accounts[place:]
    known = {each.accounts for each in DATA_CENTRES.values()}
    assert (by_url("accounts", url) is not None) == (url.rstrip("/") in known)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8100", "http://localhost:1", "http://[::1]:9", "http://127.8.8.8"]
)
def test_the_simulator_is_on_this_machine(url):
    """All products on one address."""
    centre = DataCentres({"": url}).find("simulator")
    assert {getattr(centre, field.name) for field in fields(DataCentre)} == {"simulator", url}
    assert by_url("accounts", f"{url}/", url) == centre
    assert by_url("accounts", url) is None


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.1.5:8100",
        "http://10.0.0.1",
        "http://0.0.0.0:8100",
        "http://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "https://127.0.0.1:8100",
        "ftp://127.0.0.1",
        "127.0.0.1:8100",
        "http://",
        "http://2130706433",
        "",
    ],
)
def test_a_simulator_elsewhere_is_refused(url):
    """It takes any token for good, so it must not stand in for Zoho from another machine."""
    with pytest.raises(SettingsError, match="must be http:// on this machine"):
        simulated(url)


def test_a_data_centre_is_found_by_its_name():
    """In any case; what is not one is told what there is."""
    assert ZOHO.find("EU") is DATA_CENTRES["eu"]
    with pytest.raises(SettingsError, match="no data centre 'com'; it is one of ae, au, ca, cn, eu"):
        ZOHO.find("com")
    with pytest.raises(SettingsError, match=r'needs \[simulator\] url = "http://127'):
        ZOHO.find("simulator")


def test_each_simulator_plays_a_location():
    """A second simulator stands for another data centre, and is found by Zoho's word for it only by simulated connections."""
    known = DataCentres({"": "http://127.0.0.1:1", "eu": "http://127.0.0.1:2"})
    assert known.find("simulator-eu").accounts == "http://127.0.0.1:2"
    assert known.by_location("EU", simulated=True).name == "simulator-eu"
    assert known.by_location("eu", simulated=False) is DATA_CENTRES["eu"]
    assert known.by_location("mars", simulated=True) is None
    assert known.by_url("accounts", "http://127.0.0.1:2", simulated=False) is None


def test_sandboxes_and_developer_editions_of_crm_have_their_own_hosts():
    """Only CRM has them; the other products of such a connection are where they always are."""
    eu = DATA_CENTRES["eu"]
    assert eu.base("crm", "sandbox") == "https://sandbox.zohoapis.eu"
    assert eu.base("crm", "developer") == "https://developer.zohoapis.eu"
    assert eu.base("books", "sandbox") == "https://www.zohoapis.eu"
    assert DATA_CENTRES["ca"].base("crm", "sandbox") == "https://sandbox.zohoapis.ca"
