"""Calls in progress, and faults on order: what the simulator's front door does around every product."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from simulator_kit import Zoho


def together(zoho: Zoho, path: str, number: int) -> list[int]:
    async def run() -> list[int]:
        transport = httpx.ASGITransport(app=zoho.simulator.app)
        headers = {"Authorization": f"Zoho-oauthtoken {zoho.token}", "orgId": zoho.simulator.org_ids["desk"]}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://simulator", headers=headers
        ) as client:
            answers = await asyncio.gather(*(client.get(path) for _ in range(number)))
            return sorted(answer.status_code for answer in answers)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("limit", "path"),
    [
        ("crm_concurrency", "/crm/v8/org"),
        ("crm_heavy_concurrency", "/crm/v8/Deals/search?word=hotel"),
        ("books_concurrency", "/books/v3/organizations"),
        ("desk_concurrency", "/api/v1/organizations"),
    ],
)
def test_calls_in_progress_are_limited(limit: str, path: str) -> None:
    """One call more than may be in progress is 429, and the places are free again afterwards."""
    zoho = Zoho(api_delay=0.02, **{limit: 3})
    for _ in range(2):
        assert together(zoho, path, 4) == [200, 200, 200, 429]


def test_a_fault_hits_the_next_calls_only() -> None:
    """Faults go by product and path, and are used up."""
    zoho = Zoho()
    ordered = {"kind": "status", "status": 500, "times": 2, "product": "crm", "path": "/org"}
    assert zoho.post("/_console/faults", json=ordered).status_code == 200
    assert zoho.get("/crm/v8/users?type=CurrentUser").status_code == 200
    assert [zoho.get("/crm/v8/org").status_code for _ in range(3)] == [500, 500, 200]
    zoho.simulator.faults.add("html", status=503)
    page = zoho.get("/books/v3/organizations")
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html;charset=UTF-8")
    zoho.simulator.faults.add("body", status=200, body={"error": "general_error"}, product="oauth")
    assert zoho.refresh().json() == {"error": "general_error"}
    assert [c.fault for c in zoho.simulator.journal.calls() if c.fault] == [
        "status",
        "status",
        "html",
        "body",
    ]


def test_a_lost_answer_has_done_its_work() -> None:
    """`lost` breaks the connection after the write; `cut` does it in the middle of an answer."""
    zoho = Zoho()
    base = zoho.simulator.start()
    try:
        headers = {"Authorization": f"Zoho-oauthtoken {zoho.token}"}
        with httpx.Client(base_url=base, headers=headers) as client:
            zoho.simulator.faults.add("lost", path="/Leads")
            with pytest.raises(httpx.RemoteProtocolError):
                client.post("/crm/v8/Leads", json={"data": [{"Last_Name": "Ghost"}]})
            zoho.simulator.faults.add("cut")
            with pytest.raises(httpx.RemoteProtocolError):
                client.get("/crm/v8/org")
            assert client.get("/crm/v8/org").status_code == 200
        assert [lead["Last_Name"] for lead in zoho.simulator.crm.all("Leads")][-1] == "Ghost"
    finally:
        zoho.simulator.stop()


def test_the_console_shows_and_changes() -> None:
    """Journal, limits, tokens and records are within reach; what is wrong is 400 with a reason."""
    zoho = Zoho()
    assert zoho.get("/_console/introduction").json()["client_id"] == zoho.simulator.client_id
    access = zoho.refresh().json()["access_token"]
    assert zoho.post("/_console/kill_access_tokens").json()["killed"] >= 1
    assert zoho.get("/crm/v8/org", token=access).status_code == 401
    assert zoho.call("PATCH", "/_console/limits", json={"access_life": 5}).json()["access_life"] == 5
    assert zoho.call("PATCH", "/_console/limits", json={"odd": 5}).status_code == 400
    made = {"product": "crm", "action": "create", "kind": "Leads", "values": {"Last_Name": "New"}}
    assert zoho.post("/_console/records", json=made).json()["record"]["Last_Name"] == "New"
    assert zoho.post("/_console/records", json={**made, "values": {}}).status_code == 400
    assert len(zoho.get("/_console/records?product=desk&kind=tickets").json()["records"]) == 4
    assert zoho.post("/_console/revoke", json={}).json() == {"revoked": True}
    assert zoho.refresh().json() == {"error": "invalid_code"}
    assert zoho.get("/_console/accounts").json()["refreshes"] == 1
    assert zoho.get("/_console/journal?last=2").json()["calls"][-1]["code"] == "invalid_code"
    assert zoho.get("/_console/nowhere").status_code == 404
