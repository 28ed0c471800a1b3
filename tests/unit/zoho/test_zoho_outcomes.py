"""How answers of the APIs are read: one table per product, and no answer that breaks it."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.errors import (
    Conflict,
    ConnectionMisconfigured,
    DuplicateData,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ScopeMissing,
    Unavailable,
    ZohoError,
)
from receiver.zoho.ask import Ask
from receiver.zoho.failures import error_of, existing
from receiver.zoho.outcomes import judge

JSON = {"content-type": "application/json"}


def crm(code, **more):
    return {"code": code, "details": {}, "message": "m", "status": "error", **more}


@pytest.mark.parametrize(
    ("product", "status", "body", "error"),
    [
        ("crm", 401, crm("INVALID_TOKEN"), ConnectionMisconfigured),
        ("crm", 401, crm("AUTHENTICATION_FAILURE"), ConnectionMisconfigured),
        ("crm", 401, crm("OAUTH_SCOPE_MISMATCH"), ScopeMissing),
        ("crm", 403, crm("OAUTH_SCOPE_MISMATCH"), ScopeMissing),
        ("crm", 403, crm("NO_PERMISSION"), PermissionDenied),
        ("crm", 401, crm("SOMETHING_NEW"), PermissionDenied),
        ("crm", 400, crm("INVALID_DATA"), InvalidRequest),
        ("crm", 400, crm("INVALID_DATA", details={"api_name": "id"}), NotFound),
        ("crm", 404, crm("INVALID_URL_PATTERN"), NotFound),
        ("crm", 400, crm("DUPLICATE_DATA"), DuplicateData),
        ("crm", 412, crm("ALREADY_MODIFIED"), Conflict),
        ("crm", 400, crm("RECORD_LOCKED"), Conflict),
        ("crm", 429, crm("TOO_MANY_REQUESTS"), RateLimited),
        ("crm", 429, crm("RATE_LIMIT_EXCEEDED"), RateLimited),
        ("crm", 200, crm("INTERNAL_ERROR"), Unavailable),
        ("crm", 500, crm("INTERNAL_ERROR"), Unavailable),
        ("crm", 200, {"data": [crm("INVALID_DATA")]}, None),
        ("crm", 400, {"data": [crm("INVALID_DATA")]}, None),
        ("crm", 429, {"data": [crm("TOO_MANY_REQUESTS")]}, RateLimited),
        ("crm", 200, {"data": []}, None),
        ("bigin", 401, crm("INVALID_TOKEN"), ConnectionMisconfigured),
        ("books", 200, {"code": 0, "invoice": {}}, None),
        ("books", 401, {"code": 14, "message": "m"}, ConnectionMisconfigured),
        ("books", 401, {"code": 57, "message": "m"}, ConnectionMisconfigured),
        ("books", 400, {"code": 57, "message": "m"}, ConnectionMisconfigured),
        ("books", 200, {"code": 5, "message": "m"}, InvalidRequest),
        ("books", 404, {"code": 1002}, NotFound),
        ("books", 400, {"code": 1002}, NotFound),
        ("books", 429, {"code": 44}, RateLimited),
        ("books", 429, {"code": 45}, RateLimited),
        ("books", 429, {"code": 1070}, RateLimited),
        ("books", 500, {"code": 1000}, Unavailable),
        ("books", 200, {"invoices": []}, InvalidRequest),
        ("inventory", 401, {"code": "57"}, ConnectionMisconfigured),
        ("desk", 401, {"errorCode": "INVALID_OAUTH"}, ConnectionMisconfigured),
        ("desk", 401, {"errorCode": "UNAUTHORIZED"}, PermissionDenied),
        ("desk", 403, {"errorCode": "SCOPE_MISMATCH"}, ScopeMissing),
        ("desk", 403, {"errorCode": "OAUTH_ORG_MISMATCH"}, PermissionDenied),
        ("desk", 404, {"errorCode": "URL_NOT_FOUND"}, NotFound),
        ("desk", 422, {"errorCode": "INVALID_DATA", "errors": []}, InvalidRequest),
        ("desk", 422, {"errorCode": "INVALID_DATA", "errors": [{"errorType": "duplicate"}]}, DuplicateData),
        ("desk", 422, {"errorCode": "UNPROCESSABLE_ENTITY"}, InvalidRequest),
        ("desk", 429, {"errorCode": "THRESHOLD_EXCEEDED"}, RateLimited),
        ("desk", 200, {"id": "1"}, None),
        ("mail", 401, {"data": {"errorCode": "INVALID_OAUTHTOKEN"}}, ConnectionMisconfigured),
        ("mail", 200, {"status": {"code": 200}, "data": {}}, None),
        (
            "projects",
            400,
            {"error": {"code": 6831, "title": "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED"}},
            RateLimited,
        ),
        ("projects", 200, {"error": {"message": "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED"}}, RateLimited),
        ("cliq", 400, {"code": "request_limit_exceeded"}, RateLimited),
        ("cliq", 200, {"code": "fine"}, None),
    ],
)
def test_each_products_words_become_our_errors(product, status, body, error):
    """A word means the same whatever the status says beside it."""
    assert judge(product, status, JSON, orjson.dumps(body)).error is error


def test_only_named_codes_ask_for_a_new_token():
    """A 401 alone, a scope and a permission never renew a token; Books 57 does, and is marked as ambiguous."""
    assert judge("crm", 401, JSON, orjson.dumps(crm("INVALID_TOKEN"))).dead
    assert judge("books", 401, JSON, b'{"code": 57}').dead
    assert judge("books", 401, JSON, b'{"code": 57}').ambiguous
    for product, body in (
        ("crm", crm("OAUTH_SCOPE_MISMATCH")),
        ("crm", crm("NO_PERMISSION")),
        ("crm", crm("WHO_KNOWS")),
        ("desk", {"errorCode": "UNAUTHORIZED"}),
        ("desk", {"errorCode": "SCOPE_MISMATCH"}),
        ("books", {"code": 5}),
    ):
        assert not judge(product, 401, JSON, orjson.dumps(body)).dead


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("product", ["crm", "books", "desk"])
def test_no_content_is_no_error(product, status):
    """What is not there comes without a body, and is not parsed."""
    assert judge(product, status, {}, b"") == judge("mail", 204, {}, b"")


@pytest.mark.parametrize(
    ("status", "error"), [(200, Unavailable), (401, Unavailable), (502, Unavailable), (429, RateLimited)]
)
def test_html_is_an_outage(status, error):
    """A maintenance page says nothing about token, record or permission."""
    verdict = judge("crm", status, {"content-type": "text/html"}, b"<html>Down</html>")
    assert verdict.error is error
    assert not verdict.dead


def test_waits_come_from_the_header_or_from_the_table():
    """Retry-After is read as seconds or as a date; Books 44 waits a minute without being told."""
    assert judge("crm", 429, {"retry-after": "7"}, orjson.dumps(crm("TOO_MANY_REQUESTS"))).retry_after == 7
    assert judge("books", 429, {}, b'{"code": 44}').retry_after == 60
    assert judge("books", 429, {"retry-after": "5"}, b'{"code": 44}').retry_after == 5
    assert judge("crm", 503, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, b"x").retry_after == 0
    for odd in ("nan", "inf", "soon", "", "-5"):
        assert judge("crm", 429, {"retry-after": odd}, b"x").retry_after in {None, 0}
    assert judge("crm", 429, {"retry-after": "1e9"}, b"x").retry_after == 86_400


@pytest.mark.parametrize(
    ("details", "found"),
    [
        ({"id": "5"}, "5"),
        ({"duplicate_record": {"id": "7"}, "api_name": "Email"}, "7"),
        ({"duplicate_record": {"id": "7"}, "id": "5"}, "7"),
        ({"duplicate_record": "7"}, None),
        ({}, None),
        (None, None),
        ([], None),
    ],
)
def test_a_duplicate_names_the_other_record(details, found):
    """Both of Zoho's shapes are read: details.id and details.duplicate_record.id."""
    assert existing(details) == found


TEXT = st.text('aeéß09.,:-{}\\" ', max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["code", "errorCode", "status", "message", "details", "data", "errors", "error", "info", "watch"]
)
CODES = st.sampled_from(
    ["INVALID_TOKEN", "INVALID_DATA", "SUCCESS", 0, 14, 57, 44, "57", "INVALID_OAUTH", None, "error"]
)
BODIES = st.one_of(
    st.dictionaries(KEYS, VALUES | CODES, max_size=6).map(orjson.dumps),
    st.lists(st.dictionaries(KEYS, VALUES | CODES, max_size=4), max_size=3).map(
        lambda rows: orjson.dumps({"data": rows})
    ),
    VALUES.map(orjson.dumps),
    st.binary(max_size=60),
    st.just(b"[" * 5000),
    st.just(b'{"code": NaN}'),
)


@given(
    product=st.sampled_from(["crm", "books", "desk", "mail", "projects", "cliq", "billing", "new"]),
    status=st.integers(100, 599),
    headers=st.dictionaries(st.sampled_from(["retry-after", "content-type"]), TEXT),
    body=BODIES,
    cut=st.integers(0, 500),
)
def test_no_answer_breaks_the_judge(product, status, headers, body, cut):
    """Status x body x truncation: always a verdict, whose error can be raised and is one of the tree's."""
    verdict = judge(product, status, headers, body[:cut] if cut < 400 else body)
    error = error_of(Ask(product, "GET", "/x"), verdict, "https://host/x", status)
    assert isinstance(error, ZohoError)
    assert verdict.error is None or type(error) is verdict.error
    assert verdict.retry_after is None or 0 <= verdict.retry_after <= 86_400
    if status >= 500:
        assert verdict.error is not None
