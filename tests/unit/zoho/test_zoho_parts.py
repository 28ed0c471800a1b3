"""The pure parts of consent, scopes and clients."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.datacentres import DATA_CENTRES
from receiver.errors import InvalidRequest, NotConnected, RateLimited, Unavailable
from receiver.settings import Settings
from receiver.zoho import scopes, texts
from receiver.zoho.ask import Answer, Ask, check, shown
from receiver.zoho.consent import KNOWN, _once, authorization_url
from receiver.zoho.crm_ensure import _literal
from receiver.zoho.crm_lists import stamp
from receiver.zoho.crm_records import Result, differing, only, results
from receiver.zoho.crm_watch import moment_of
from receiver.zoho.failures import pause
from receiver.zoho.outcomes import Verdict
from receiver.zoho.scopes import needed_scopes
from receiver.zoho.wire import NoReply, Reply


def test_the_consent_page_is_asked_offline_with_a_challenge():
    """The URL goes to the data centre's accounts host, and carries the S256 of the verifier and never itself."""
    url = authorization_url(
        DATA_CENTRES["ca"], "1000.X", "https://h.example/cb", "a.READ,b.ALL", "st", "v" * 64
    )
    parts = urlsplit(url)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "https://accounts.zohocloud.ca/oauth/v2/auth"
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 64).digest()).decode().rstrip("=")
    assert asked == {
        "response_type": "code",
        "client_id": "1000.X",
        "redirect_uri": "https://h.example/cb",
        "scope": "a.READ,b.ALL",
        "access_type": "offline",
        "prompt": "consent",
        "state": "st",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    assert "v" * 64 not in url


@given(st.lists(st.tuples(st.sampled_from([*KNOWN, "other"]), st.sampled_from(["", "x", "é"])), max_size=8))
def test_a_parameter_that_comes_twice_is_refused(pairs):
    """Any known parameter that is doubled ends the consent; unknown ones are not looked at."""
    names = [name for name, _ in pairs if name in KNOWN]
    if len(names) != len(set(names)):
        with pytest.raises(NotConnected, match="more than once"):
            _once(pairs)
    else:
        assert _once(pairs) == {name: dict(pairs).get(name, "") for name in KNOWN}


def settings(**given):
    return Settings(**given)


def test_scopes_follow_what_is_in_use():
    """CRM alone by default; Books, Desk, channels and webhooks add theirs; settings replace all; extras are added once."""
    plain = needed_scopes(settings(connections={"a": {}}), "a")
    assert {scope.split(".")[0] for scope in plain} == {"ZohoCRM", "ZohoSearch"}
    assert not any("notifications" in scope for scope in plain)
    books = needed_scopes(settings(connections={"a": {"books": "1"}}), "a")
    assert {scope.split(".")[0] for scope in books} == {"ZohoBooks"}
    everything = needed_scopes(
        settings(
            connections={"a": {"crm": "1", "books": "1"}, "b": {}},
            sources={
                "crm": {"product": "crm_channel", "connection": "a"},
                "desk": {"product": "desk", "connection": "a"},
            },
            channels={"deals": {"events": ["Deals.all"]}},
        ),
        "a",
    )
    assert {
        "ZohoCRM.notifications.ALL",
        "Desk.webhooks.ALL",
        "Desk.tickets.ALL",
        "ZohoBooks.invoices.ALL",
    } <= set(everything)
    assert needed_scopes(settings(connections={"a": {"scopes": ["x.READ"]}}), "a", ["y.ALL", "x.READ"]) == (
        "x.READ",
        "y.ALL",
    )


def test_a_lookup_is_the_same_if_its_id_is():
    """only_changed compares values as CRM gives them, lookups by id."""
    record = {"Stage": "Won", "Amount": 5.0, "Owner": {"name": "M", "id": "7"}, "Tags": ["a", "b"]}
    assert differing(record, {"Stage": "Won", "Amount": 5, "Owner": {"id": "7"}, "Tags": ["a", "b"]}) == {}
    assert differing(record, {"Stage": "Lost", "Owner": {"id": "8"}, "New": 1}) == {
        "Stage": "Lost",
        "Owner": {"id": "8"},
        "New": 1,
    }


def test_records_and_entries_must_fit():
    """An answer with fewer or no entries is no answer: nobody can say which record it is about."""
    ask = Ask("crm", "POST", "/crm/v8/Leads")
    entry = {"code": "SUCCESS", "status": "success", "details": {"id": "1"}}
    assert results(ask, Answer(201, {"data": [entry]}, {}), 1, "insert") == [
        Result(True, "1", "insert", None, {"id": "1"})
    ]
    for data in (None, {}, {"data": []}, {"data": [entry, entry]}, {"data": "x"}, []):
        with pytest.raises(Unavailable):
            results(ask, Answer(200, data, {}), 1, "insert")
    failed = results(
        ask,
        Answer(207, {"data": [{"code": "INVALID_DATA", "status": "error", "details": "odd"}]}, {}),
        1,
        "insert",
    )
    with pytest.raises(InvalidRequest):
        only(failed[0])


@pytest.mark.parametrize(
    ("value", "written"),
    [("a", "'a'"), ("o'b", r"'o\'b'"), ("a\\", r"'a\\'"), (5, "5"), (True, "true"), (1.5, "1.5")],
)
def test_coql_values_are_quoted(value, written):
    """A quote in a value cannot end the value."""
    assert _literal(value) == written


def test_times_need_a_zone():
    """A time without a zone is refused here, for Zoho would take it for its own."""
    assert stamp(datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=UTC)) == "2026-01-02T03:04:05+00:00"
    with pytest.raises(InvalidRequest):
        stamp(datetime(2026, 1, 2))  # noqa: DTZ001
    assert moment_of("1970-01-01T01:00:01+01:00") == 1000
    for odd in (None, "", "x", "2026-01-01T00:00:00", 5, {}):
        assert moment_of(odd) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "//evil.example/x",
        "/x@evil",
        "/a b",
        "/x?y=1",
        "/x#y",
        "/a\\b",
        "/a\nb",
        "@evil/x",
        "/crm/v8/../v2",
        "/x/.",
    ],
)
def test_a_path_cannot_lead_elsewhere(path):
    """What could end in another host, or carry a query past `params`, is refused before a token is read."""
    with pytest.raises(InvalidRequest):
        check(Ask("crm", "GET", path))


def test_a_body_that_is_no_json_is_said_so():
    """The error comes before anything is sent."""
    with pytest.raises(InvalidRequest, match="no JSON"):
        check(Ask("crm", "POST", "/x", json={"a": object()}))


LOST, UNSENT = NoReply(True, "timeout", ""), NoReply(False, "connect", "")


@pytest.mark.parametrize(
    ("method", "safe", "reply", "error", "again"),
    [
        ("GET", None, LOST, Unavailable, True),
        ("PUT", None, LOST, Unavailable, True),
        ("DELETE", None, LOST, Unavailable, True),
        ("POST", None, LOST, Unavailable, False),
        ("POST", None, Reply(502, {}, b""), Unavailable, False),
        ("POST", None, UNSENT, Unavailable, True),
        ("POST", True, LOST, Unavailable, True),
        ("PATCH", None, LOST, Unavailable, False),
        ("POST", None, Reply(429, {}, b""), RateLimited, True),
        ("GET", None, Reply(400, {}, b""), InvalidRequest, False),
    ],
)
def test_only_what_is_safe_is_sent_again(method, safe, reply, error, again):
    """A create is not repeated once it may have arrived; what was refused or never sent is."""
    wait = pause(Ask("crm", method, "/x", safe=safe), reply, Verdict(error), 0)
    assert (wait is not None) == again


def test_parameters_are_shown_without_secrets():
    """What is recorded of a call names a secret parameter and hides its value."""
    assert shown({"page": "1", "page_token": "x", "client_secret": "y"}) == {
        "page": "1",
        "page_token": "***",
        "client_secret": "***",
    }


def test_parameters_are_written_as_zoho_reads_them():
    """Booleans small, lists with commas, None left out."""
    assert texts({"a": True, "b": ["x", "y"], "c": None, "d": 5}) == {"a": "true", "b": "x,y", "d": "5"}


def test_importing_the_room_loads_no_network():
    """A worker's start does not pay for httpx, redis or cryptography until they are used."""
    code = "import sys, receiver.zoho; print([m for m in ('httpx', 'redis', 'cryptography', 'pydantic') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize(
    ("granted", "needed", "covered"),
    [
        ("ZohoCRM.modules.ALL", "ZohoCRM.modules.Deals.READ", True),
        ("ZohoCRM.modules.deals.all", "ZohoCRM.modules.Deals.CREATE", True),
        ("ZohoCRM.modules.Deals.READ", "ZohoCRM.modules.READ", False),
        ("ZohoCRM.modules.WRITE", "ZohoCRM.modules.CREATE", True),
        ("ZohoCRM.modules.WRITE", "ZohoCRM.modules.READ", False),
        ("ZohoBooks.fullaccess.all", "ZohoBooks.invoices.CREATE", True),
        ("ZohoBooks.fullaccess.all", "Desk.tickets.READ", False),
        ("Desk.tickets.READ", "Desk.tickets.UPDATE", False),
        ("", "Desk.tickets.READ", False),
    ],
)
def test_what_a_consent_covers(granted, needed, covered):
    """A wider scope of the same service stands for a narrower one, and for nothing else."""
    assert scopes.covers([granted] if granted else [], needed) is covered
    assert scopes.missing([granted] if granted else [], [needed]) == (() if covered else (needed,))
