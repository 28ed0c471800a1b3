"""How answers of the token endpoint are read: by the body, whatever the status."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.zoho.token_answers import classify, lifetime

GOOD = {
    "access_token": "1000.a.b",
    "api_domain": "https://www.zohoapis.eu",
    "token_type": "Bearer",
    "expires_in": 3600,
}
THROTTLE = {
    "error_description": "You have made too many requests continuously. Please try again after some time.",
    "error": "Access Denied",
    "status": "failure",
}


@pytest.mark.parametrize("status", [200, 400, 401])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (GOOD, "ok"),
        (THROTTLE, "throttled"),
        ({"error": "Access Denied"}, "throttled"),
        (
            {
                "error": "Token creation throttle limit reached. Please reuse the valid tokens you currently have."
            },
            "throttled",
        ),
        ({"error": "invalid_code"}, "revoked"),
        ({"error": "invalid_grant"}, "revoked"),
        ({"error": "invalid_client"}, "misconfigured"),
        ({"error": "invalid_client_secret"}, "misconfigured"),
        ({"error": "invalid_redirect_uri"}, "misconfigured"),
        ({"error": "access_denied"}, "denied"),
        ({"error": "general_error"}, "transient"),
        ({"error": "something new"}, "transient"),
        ({**GOOD, "error": "invalid_code"}, "revoked"),
        ({"access_token": ""}, "transient"),
        ({"access_token": 5}, "transient"),
        ({"expires_in": 3600}, "transient"),
        ({}, "transient"),
        ([], "transient"),
        ("text", "transient"),
    ],
)
def test_the_body_decides_and_not_the_status(status, body, kind):
    """The same body means the same with 200, 400 and 401."""
    assert classify(status, orjson.dumps(body)).kind == kind


@pytest.mark.parametrize(
    "body", [b"", b"<html>503</html>", orjson.dumps(GOOD)[:-5], b"\xff\xfe", orjson.dumps(GOOD)]
)
def test_a_gateway_never_kills_a_consent(body):
    """A 5xx, HTML, a cut body: all of it may pass, so nothing is learnt from it."""
    assert classify(503, body).kind == "transient"


def test_the_throttle_is_known_on_an_html_page_too():
    """The browser's form of the throttle is no outage."""
    assert (
        classify(400, b"<h1>Access Denied: Maximum request limit reached for your account</h1>").kind
        == "throttled"
    )


@pytest.mark.parametrize("text", ["a.READ,b.ALL", "a.READ b.ALL", "a.READ, b.ALL"])
def test_scopes_come_with_commas_or_blanks(text):
    """Zoho prints both."""
    assert classify(200, orjson.dumps({**GOOD, "scope": text})).scopes == ("a.READ", "b.ALL")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"expires_in": 3600}, 3600),
        ({"expires_in": "3600"}, 3600),
        ({"expires_in": 3_600_000}, 3600),
        ({"expires_in": 3_600_000, "expires_in_sec": 3600}, 3600),
        ({"expires_in": 5}, 5),
        ({"expires_in": 86_400}, 86_400),
        ({"expires_in_sec": 1800, "expires_in": 9}, 1800),
        ({}, 3600),
        ({"expires_in": None}, 3600),
        ({"expires_in": "soon"}, 3600),
        ({"expires_in": 0}, 3600),
        ({"expires_in": -1}, 3600),
        ({"expires_in": 10**30}, 3600),
        ({"expires_in": float("inf")}, 3600),
        ({"expires_in": float("nan")}, 3600),
    ],
)
def test_expires_in_is_seconds_unless_the_server_is_old(said, seconds):
    """expires_in_sec wins; above a day it is milliseconds; nonsense is an hour."""
    assert lifetime(said) == seconds


def test_no_token_in_a_repr():
    """A token that is printed by mistake does not show."""
    answer = classify(200, orjson.dumps({**GOOD, "refresh_token": "1000.canary.x"}))
    assert answer.refresh == "1000.canary.x"
    assert "canary" not in repr(answer)
    assert "1000.a.b" not in repr(answer)


TEXT = st.text('aeéß0.,:{}\\" ', max_size=8)
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    [
        "error",
        "access_token",
        "refresh_token",
        "expires_in",
        "scope",
        "api_domain",
        "error_description",
        "status",
    ]
)


@given(status=st.integers(100, 599), body=st.dictionaries(WORDS, ANY, max_size=5), cut=st.integers(0, 400))
def test_no_answer_breaks_the_reader(status, body, cut):
    """Whatever comes back, whole or cut, is one of the kinds, and "ok" only with a token."""
    answer = classify(status, orjson.dumps(body)[:cut])
    assert answer.kind in {"ok", "throttled", "revoked", "misconfigured", "denied", "transient"}
    assert (answer.kind == "ok") == bool(answer.access)
    assert 0 < answer.life <= 86_400
