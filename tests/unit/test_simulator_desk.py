"""The simulated Desk: its header, errors, rows, webhook probe, filters and signed deliveries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from simulator_kit import Zoho, sinking

if TYPE_CHECKING:
    import httpx

DEPARTMENT = "31138000000006907"


@pytest.fixture
def zoho() -> Zoho:
    return Zoho()


def ticket(zoho: Zoho, **more: Any) -> httpx.Response:
    contact = zoho.simulator.desk.all("contacts")[0]["id"]
    return zoho.post(
        "/api/v1/tickets", json={"subject": "S", "departmentId": DEPARTMENT, "contactId": contact, **more}
    )


def hook(zoho: Zoho, url: str, **more: Any) -> httpx.Response:
    body = {"name": "z", "url": url, "subscriptions": {"Ticket_Add": None, "Ticket_Update": None}, **more}
    return zoho.post("/api/v1/webhooks", json=body)


def test_errors_have_desks_own_codes(zoho: Zoho) -> None:
    """Dead token, scope, organisation, unknown path, unknown parameter: each has its word."""
    path = "/api/v1/tickets"
    narrow = zoho.simulator.access_token("Desk.contacts.READ")
    seen = [
        zoho.get(path, token=None),
        zoho.get(path, token="1000.no.no"),
        zoho.get(path, token=narrow),
        zoho.get(path, bare=True),
        zoho.get(path, headers={"orgId": "1"}),
        zoho.get(f"{path}/1"),
        zoho.get("/api/v1/odd"),
        zoho.get(f"{path}?odd=1"),
        zoho.get(f"{path}?limit=101"),
        zoho.call("PUT", path),
    ]
    assert [(answer.status_code, answer.json()["errorCode"]) for answer in seen] == [
        (401, "UNAUTHORIZED"),
        (401, "INVALID_OAUTH"),
        (403, "SCOPE_MISMATCH"),
        (422, "UNPROCESSABLE_ENTITY"),
        (403, "OAUTH_ORG_MISMATCH"),
        (404, "URL_NOT_FOUND"),
        (404, "URL_NOT_FOUND"),
        (422, "UNPROCESSABLE_ENTITY"),
        (422, "UNPROCESSABLE_ENTITY"),
        (405, "METHOD_NOT_ALLOWED"),
    ]
    assert zoho.get("/api/v1/organizations", bare=True).status_code == 200


def test_the_days_credits_run_out(zoho: Zoho) -> None:
    """A list costs three; what is left stands in a header; at the end THRESHOLD_EXCEEDED."""
    zoho.simulator.limits.desk_credits = 4
    assert zoho.get("/api/v1/tickets").headers["X-Rate-Limit-Remaining-v3"] == "1"
    answer = zoho.get("/api/v1/tickets")
    assert (answer.status_code, answer.json()["errorCode"]) == (429, "THRESHOLD_EXCEEDED")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"subject": ""}, "/subject"),
        ({"departmentId": "1"}, "/departmentId"),
        ({"contactId": "1"}, "/contactId"),
        ({"email": "nobody"}, "/email"),
        ({"status": "Odd"}, "/status"),
        ({"cf": {"cf_odd": "1"}}, "/cf"),
    ],
)
def test_a_bad_ticket_says_where(zoho: Zoho, wrong: dict[str, Any], field: str) -> None:
    """422 INVALID_DATA with the field's name."""
    answer = ticket(zoho, **wrong)
    assert (answer.status_code, answer.json()["errorCode"]) == (422, "INVALID_DATA")
    assert answer.json()["errors"][0]["fieldName"] == field


def test_a_ticket_lives_and_goes(zoho: Zoho) -> None:
    """Create, PATCH, close, comment, list and moveToTrash."""
    made = ticket(zoho).json()
    path = f"/api/v1/tickets/{made['id']}"
    assert (made["statusType"], made["closedTime"]) == ("Open", None)
    zoho.call("PATCH", path, json={"cf": {"cf_crm_summary": "good"}})
    closed = zoho.call("PATCH", path, json={"status": "Closed"}).json()
    assert closed["statusType"] == "Closed"
    assert closed["closedTime"].endswith("Z")
    assert closed["cf"]["cf_crm_summary"] == "good"
    assert zoho.get(f"{path}/comments").status_code == 204
    said = zoho.post(
        f"{path}/comments", json={"content": "<b>Hi</b>", "contentType": "html", "isPublic": True}
    )
    assert (said.status_code, said.json()["isPublic"]) == (200, True)
    assert zoho.post(f"{path}/comments", json={"content": ""}).status_code == 422
    assert zoho.get(path).json()["commentCount"] == "1"
    assert zoho.get("/api/v1/tickets?from=0&limit=1").json()["data"][0]["id"] == made["id"]
    assert zoho.post("/api/v1/tickets/moveToTrash", json={"ticketIds": [made["id"]]}).status_code == 204
    assert zoho.get(path).status_code == 404


def test_contacts_are_found_by_mail(zoho: Zoho) -> None:
    """Desk has the CRM's people, under the same addresses."""
    mail = zoho.simulator.crm.all("Contacts")[0]["Email"]
    found = zoho.get(f"/api/v1/contacts/search?email={mail}").json()["data"]
    assert len(found) == 1
    assert (
        zoho.get(f"/api/v1/contacts/{found[0]['id']}/tickets").json()["data"][0]["contactId"]
        == found[0]["id"]
    )
    assert (
        zoho.call("PATCH", f"/api/v1/contacts/{found[0]['id']}", json={"phone": "1"}).json()["phone"] == "1"
    )


def test_a_webhook_needs_an_endpoint_that_answers_200() -> None:
    """GET is tried and then POST; neither 200 is 422 with Zoho's own text."""
    with sinking() as (zoho, sink):
        sink.status = 202
        answer = hook(zoho, f"{sink.url}/in/desk")
        assert (answer.status_code, answer.json()["errorCode"]) == (422, "UNPROCESSABLE_ENTITY")
        assert "failed to respond with status code 200" in answer.json()["message"]
        assert [got[0] for got in sink.got] == ["GET", "POST"]
        assert all("x-zdesk-jwt" not in got[2] for got in sink.got)
        sink.status = 200
        assert hook(zoho, f"{sink.url}/in/desk").status_code == 200
        assert len(sink.got) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"subscriptions": {"Ticket_Eat": None}},
        {"subscriptions": {"Ticket_Add": {"includePrevState": True}}},
        {"subscriptions": {"Ticket_Update": {"fields": ["a", "b", "c", "d", "e", "f"]}}},
        {"subscriptions": {"Ticket_Thread_Add": {"direction": "up"}}},
        {"subscriptions": {}},
        {"ignoreSourceId": "2df92c1a-973a-48f5-95b7-5792c68b9c36"},
        {"name": "n" * 51},
        {"odd": 1},
        {"url": "x.example"},
    ],
)
def test_a_bad_webhook_is_refused(zoho: Zoho, wrong: dict[str, Any]) -> None:
    """Unknown events, filters and properties are INVALID_DATA, before any probe."""
    answer = hook(zoho, **{"url": "http://127.0.0.1:9/", **wrong})
    assert (answer.status_code, answer.json()["errorCode"]) == (422, "INVALID_DATA")


def test_webhooks_are_counted() -> None:
    """So many may be enabled, and so many be there at all."""
    with sinking() as (zoho, sink):
        zoho.simulator.limits.desk_webhooks_enabled, zoho.simulator.limits.desk_webhooks = 1, 2
        first = hook(zoho, sink.url).json()
        assert hook(zoho, sink.url).json()["errorCode"] == "LICENSE_ACCESS_LIMITED"
        assert hook(zoho, sink.url, isEnabled=False).status_code == 200
        assert hook(zoho, sink.url, isEnabled=False).json()["errorCode"] == "UNPROCESSABLE_ENTITY"
        assert len(zoho.get("/api/v1/webhooks").json()["data"]) == 2
        assert zoho.call("DELETE", f"/api/v1/webhooks/{first['id']}").status_code == 204
        assert zoho.get(f"/api/v1/webhooks/{first['id']}").status_code == 404


def test_a_delivery_is_an_array_under_a_signed_token() -> None:
    """The token names organisation and webhook, and its key is in the JWKS."""
    with sinking() as (zoho, sink):
        made = hook(zoho, sink.url, subscriptions={"Ticket_Update": {"includePrevState": True}}).json()
        sink.got.clear()
        ident = zoho.simulator.desk.all("tickets")[0]["id"]
        zoho.simulator.desk.update("tickets", ident, {"status": "On Hold"})
        assert zoho.simulator.drain()
        ((_, _, headers, body),) = sink.got
        keys = {key["kid"]: key for key in zoho.get("/.well-known/jwks.json").json()["keys"]}
    (event,) = json.loads(body)
    assert set(event) == {"payload", "prevState", "eventTime", "eventType", "orgId"}
    assert (event["prevState"]["status"], event["payload"]["status"]) == ("Open", "On Hold")
    assert event["eventTime"].isdecimal()
    token = headers["x-zdesk-jwt"]
    claims = jwt.decode(
        token,
        jwt.PyJWK(keys[jwt.get_unverified_header(token)["kid"]]).key,
        algorithms=["RS256"],
        audience=f"webhookId:{made['id']}",
        issuer=f"orgId:{zoho.simulator.org_ids['desk']}",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["exp"] > claims["iat"]


def test_filters_hold_back() -> None:
    """Departments, fields and automation decide what is sent."""
    with sinking() as (zoho, sink):
        hook(zoho, sink.url, subscriptions={"Ticket_Update": {"fields": ["priority"]}, "Ticket_Add": None})
        hook(zoho, sink.url, subscriptions={"Ticket_Add": {"departmentIds": ["31138000000057011"]}})
        sink.got.clear()
        ident = ticket(zoho).json()["id"]
        desk = zoho.simulator.desk
        desk.update("tickets", ident, {"status": "On Hold"})
        desk.update("tickets", ident, {"priority": "High"})
        desk.update("tickets", ident, {"priority": "Low"}, automation=True)
        assert zoho.simulator.drain()
        seen = sorted(json.loads(got[3])[0]["eventType"] for got in sink.got)
    assert seen == ["Ticket_Add", "Ticket_Update"]


def test_410_ends_the_subscription() -> None:
    """An endpoint that answers 410 has no webhook any more."""
    with sinking() as (zoho, sink):
        hook(zoho, sink.url)
        sink.status = 410
        ticket(zoho)
        assert zoho.simulator.drain()
        assert zoho.get("/api/v1/webhooks").status_code == 204


def test_a_new_key_signs_and_the_old_one_stays_for_a_while(zoho: Zoho) -> None:
    """After a rotation the JWKS has both, and without `keep` the new one only."""
    keys = zoho.simulator.desk.hooks.keys
    old = keys.keys[0].kid
    new = keys.rotate()
    assert [key["kid"] for key in keys.jwks()["keys"]] == [new, old]
    assert len(keys.jwks()["keys"]) == 2
    assert jwt.get_unverified_header(keys.token("1", "2", 0))["kid"] == new
