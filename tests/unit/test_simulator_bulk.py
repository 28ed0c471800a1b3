"""The simulated CRM's bulk jobs: who may start which, what is told of them, and the callback at their end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from simulator_kit import Zoho, sinking

READ = "/crm/bulk/v8/read"


def asked(**more: Any) -> dict[str, Any]:
    """A job that reads all deals."""
    return {"query": {"module": {"api_name": "Deals"}, "page": 1}, "file_type": "csv", **more}


def test_a_job_is_added_and_ends() -> None:
    """It is ADDED at first, COMPLETED when it is looked at, with where its result is; it costs fifty credits."""
    zoho = Zoho()
    before = zoho.simulator.crm.credits.used(zoho.clock())
    entry = zoho.post(READ, json=asked()).json()["data"][0]
    assert (entry["code"], entry["details"]["state"]) == ("ADDED_SUCCESSFULLY", "ADDED")
    assert zoho.simulator.crm.credits.used(zoho.clock()) - before >= 50
    (job,) = zoho.get(f"{READ}/{entry['details']['id']}").json()["data"]
    assert (job["state"], job["operation"], job["query"]["module"]["api_name"]) == (
        "COMPLETED",
        "read",
        "Deals",
    )
    assert job["result"]["download_url"].endswith(f"{job['id']}/result")


def test_its_end_is_called_back_once() -> None:
    """The callback is a POST of the job's details to the URL that was given."""
    with sinking() as (zoho, sink):
        zoho.post(READ, json=asked(callback={"url": f"{sink.url}/in/bulk?job=read", "method": "post"}))
        assert zoho.simulator.drain()
        ((method, path, _, body),) = sink.got
        assert (method, path, json.loads(body)["state"]) == ("POST", "/in/bulk?job=read", "COMPLETED")


def test_a_job_may_be_ended_by_hand() -> None:
    """Until then it is ADDED; it may fail, and its callback may be lost."""
    zoho = Zoho(bulk_by_hand=True)
    job = zoho.simulator.crm.bulk.make("write", "Leads", "http://127.0.0.1:9/in")
    assert zoho.get(f"/crm/bulk/v8/write/{job.id}").json()["status"] == "ADDED"
    zoho.simulator.crm.bulk.end(job.id, "FAILURE", tell=False)
    told = zoho.get(f"/crm/bulk/v8/write/{job.id}").json()
    assert (told["status"], "result" in told) == ("FAILURE", False)
    assert zoho.simulator.journal.deliveries() == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MANDATORY_NOT_FOUND"),
        ({"query": {"module": "Deals"}}, "MANDATORY_NOT_FOUND"),
        ({"query": {"module": {"api_name": "Nothings"}}}, "INVALID_DATA"),
        (asked(callback="http://127.0.0.1:9"), "INVALID_DATA"),
        (asked(callback={"url": "ftp://127.0.0.1/", "method": "post"}), "INVALID_DATA"),
        (asked(callback={"url": "http://127.0.0.1:9/", "method": "get"}), "INVALID_DATA"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused(body: dict[str, Any], code: str) -> None:
    """Without a module that there is, or with a callback that is none."""
    assert Zoho().post(READ, json=body).json()["code"] == code


def test_what_is_not_there_is_not_found() -> None:
    """A job of the other kind, an id that is none, another path, and files, which nobody can upload here."""
    zoho = Zoho()
    job = zoho.simulator.crm.bulk.make("read", "Deals")
    assert zoho.get(f"/crm/bulk/v8/write/{job.id}").json()["code"] == "RESOURCE_NOT_FOUND"
    assert zoho.get(f"{READ}/1").status_code == 404
    assert zoho.get("/crm/bulk/v8/nothing").json()["code"] == "INVALID_URL_PATTERN"
    assert zoho.post("/crm/bulk/v8/write", json={}).json()["details"]["api_name"] == "resource"


def test_the_consent_must_cover_it() -> None:
    """Reading modules is not enough."""
    zoho = Zoho()
    token = zoho.simulator.access_token("ZohoCRM.modules.ALL")
    assert zoho.post(READ, token=token, json=asked()).json()["code"] == "OAUTH_SCOPE_MISMATCH"
