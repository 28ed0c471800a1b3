"""The simulated CRM's channels and webhooks: who may subscribe how, when it ends, and what is delivered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from simulator_kit import Zoho, sinking

WATCH = "/crm/v8/actions/watch"


@pytest.fixture
def zoho() -> Zoho:
    return Zoho()


def subscribe(zoho: Zoho, method: str = "POST", **more: Any) -> dict[str, Any]:
    answer = zoho.call(method, WATCH, json={"watch": [zoho.watch(**more)]})
    entry: dict[str, Any] = answer.json()["watch"][0]
    return entry


def expiry(zoho: Zoho, ahead: float) -> str:
    return zoho.simulator.world.stamp(zoho.clock() + ahead)


def test_a_channel_lives_an_hour_unless_it_asks(zoho: Zoho) -> None:
    """Absent or more than a week ahead is an hour, and the call succeeds; the answer says until when."""
    week = 604_800
    for asked, given in ((None, 3600), (week + 60, 3600), (week - 60, week - 60)):
        entry = subscribe(zoho, channel_expiry=expiry(zoho, asked) if asked else None)
        assert entry["code"] == "SUCCESS"
        assert entry["details"]["events"][0]["channel_expiry"] == expiry(zoho, given)
        assert entry["details"]["events"][0]["resource_uri"].endswith("/crm/v2/Deals")


@pytest.mark.parametrize(
    ("wrong", "code", "name"),
    [
        ({"channel_id": None}, "MANDATORY_NOT_FOUND", "channel_id"),
        ({"channel_id": "abc"}, "INVALID_DATA", "channel_id"),
        ({"events": None}, "MANDATORY_NOT_FOUND", "events"),
        ({"events": ["Deals.update"]}, "INVALID_DATA", "events"),
        ({"events": ["Notes.all"]}, "INVALID_DATA", "events"),
        ({"events": []}, "INVALID_DATA", "events"),
        ({"notify_url": None}, "MANDATORY_NOT_FOUND", "notify_url"),
        ({"notify_url": "http://x.example/" + "a" * 250}, "INVALID_DATA", "notify_url"),
        ({"notify_url": "x.example"}, "INVALID_DATA", "notify_url"),
        ({"token": "t" * 51}, "INVALID_DATA", "token"),
        ({"channel_expiry": "tomorrow"}, "INVALID_DATA", "channel_expiry"),
        ({"return_affected_field_values": "yes"}, "INVALID_DATA", "return_affected_field_values"),
        ({"notification_condition": [{"type": "x"}]}, "INVALID_DATA", "notification_condition"),
    ],
)
def test_a_bad_channel_says_why(zoho: Zoho, wrong: dict[str, Any], code: str, name: str) -> None:
    """The entry names the property, and the status is 400."""
    entry = subscribe(zoho, **wrong)
    assert (entry["code"], entry["details"]["api_name"], entry["status"]) == (code, name, "error")


def test_fifty_at_once_and_each_for_itself(zoho: Zoho) -> None:
    """A good and a bad channel together are 207."""
    both = [zoho.watch(), zoho.watch(channel_id="1002", token="t" * 51)]
    assert zoho.post(WATCH, json={"watch": both}).status_code == 207
    assert zoho.post(WATCH, json={"watch": [zoho.watch()] * 51}).status_code == 400


def test_a_lapsed_channel_cannot_be_renewed(zoho: Zoho) -> None:
    """PUT renews a living channel; after its end it is NOT_SUBSCRIBED and no longer listed."""
    assert zoho.get(WATCH).status_code == 204
    subscribe(zoho)
    zoho.clock.forward(3500)
    assert subscribe(zoho, "PUT")["code"] == "SUCCESS"
    zoho.clock.forward(3500)
    zoho.token = zoho.simulator.access_token()
    assert zoho.get(WATCH).json()["watch"][0]["channel_id"] == "1001"
    zoho.clock.forward(200)
    assert zoho.get(WATCH).status_code == 204
    answer = zoho.call("PUT", WATCH, json={"watch": [zoho.watch()]})
    assert (answer.status_code, answer.json()["watch"][0]["code"]) == (400, "NOT_SUBSCRIBED")


def test_put_drops_what_it_leaves_out(zoho: Zoho) -> None:
    """A renewal without token and values has neither any more."""
    subscribe(zoho, token="t", return_affected_field_values=True)
    subscribe(zoho, "PUT")
    listed = zoho.get(WATCH).json()["watch"][0]
    assert (listed["token"], listed["return_affected_field_values"]) == (None, False)


def test_patch_removes_single_events(zoho: Zoho) -> None:
    """With _delete_events only those go; without their last event channels are gone."""
    subscribe(zoho, events=["Deals.all", "Leads.create"])
    gone = {"channel_id": "1001", "events": ["Leads.create"], "_delete_events": True}
    entry = zoho.call("PATCH", WATCH, json={"watch": [gone]}).json()["watch"][0]
    assert entry["message"] == "Successfully removed the subscribe details"
    assert [w["events"] for w in zoho.get(WATCH).json()["watch"]] == [["Deals.all"]]
    assert zoho.call("DELETE", f"{WATCH}?channel_ids=1001,7").status_code == 207
    assert zoho.get(WATCH).status_code == 204


def test_channels_need_their_scope(zoho: Zoho) -> None:
    """modules.ALL is not enough."""
    token = zoho.simulator.access_token("ZohoCRM.modules.ALL")
    assert zoho.get(WATCH, token=token).json()["code"] == "OAUTH_SCOPE_MISMATCH"


def test_deliveries_have_the_shape_of_the_captured_ones() -> None:
    """Insert, update with values and delete say what Zoho's own samples say, in the same keys."""
    with sinking() as (zoho, sink):
        url = f"{sink.url}/in/crm?a=1&b=2"
        subscribe(zoho, notify_url=url, token="tok", return_affected_field_values=True)
        deal = zoho.simulator.crm.create("Deals", {"Deal_Name": "D", "Stage": "Qualification"})
        zoho.simulator.crm.update("Deals", deal["id"], {"Stage": "Closed Won", "Amount": 5})
        zoho.simulator.crm.delete("Deals", deal["id"])
        assert zoho.simulator.drain()
        by = {body["operation"]: body for body in (json.loads(got[3]) for got in sink.got)}
    assert set(by) == {"insert", "update", "delete"}
    plain = {"server_time", "query_params", "module", "resource_uri", "ids", "affected_fields", "operation"}
    assert set(by["insert"]) == plain | {"channel_id", "token"}
    assert set(by["update"]) == plain | {"channel_id", "token", "affected_values"}
    assert by["insert"]["affected_fields"] == []
    assert by["update"]["affected_fields"] == [{deal["id"]: ["Stage", "Amount"]}]
    assert by["update"]["affected_values"] == [
        {"record_id": deal["id"], "values": {"Stage": "Closed Won", "Amount": 5}}
    ]
    assert by["update"]["channel_id"] == "1001"
    assert by["update"]["query_params"] == {"a": "1", "b": "2"}
    assert len({body["server_time"] for body in by.values()}) == 3


def test_one_write_of_many_is_one_delivery() -> None:
    """Several ids travel together, and each is a fact."""
    with sinking() as (zoho, sink):
        subscribe(zoho, notify_url=sink.url, events=["Leads.create"])
        rows = [{"Last_Name": f"L{n}"} for n in range(3)]
        zoho.post("/crm/v8/Leads", json={"data": rows, "trigger": []})
        assert zoho.simulator.drain()
        (got,) = sink.got
    assert len(json.loads(got[3])["ids"]) == 3
    assert "token" not in json.loads(got[3])
    assert len(zoho.simulator.sender.tally.facts_200) == 3


def test_a_field_selection_holds_back_other_edits() -> None:
    """With a condition on Stage, an edit of Amount is not told."""
    stage: dict[str, Any] = {"field": {"api_name": "Stage"}}
    condition = {
        "type": "field_selection",
        "module": {"api_name": "Deals"},
        "field_selection": {"group_operator": "or", "group": [stage, stage]},
    }
    with sinking() as (zoho, sink):
        subscribe(zoho, notify_url=sink.url, notification_condition=[condition])
        deal = zoho.simulator.crm.all("Deals")[0]
        zoho.simulator.crm.update("Deals", deal["id"], {"Amount": 1})
        zoho.simulator.crm.update("Deals", deal["id"], {"Stage": "Closed Won"})
        assert zoho.simulator.drain()
        assert [json.loads(got[3])["affected_fields"] for got in sink.got] == [[{deal["id"]: ["Stage"]}]]


def test_an_expired_channel_is_silent() -> None:
    """After its end nothing is sent, and nobody is told."""
    with sinking() as (zoho, sink):
        subscribe(zoho, notify_url=sink.url)
        zoho.clock.forward(3601)
        zoho.simulator.crm.create("Deals", {"Deal_Name": "D", "Stage": "Qualification"})
        assert zoho.simulator.drain()
        assert sink.got == []


def test_workflow_webhooks_fill_their_template_without_escaping() -> None:
    """A quote in a field breaks the JSON, an unknown token stays, and `trigger: []` keeps the rule still."""
    body = '{"id": "${Deals.Id}", "n": "${!Deals.Deal_Name}", "s": "${Deals.Stage}", "x": "${Deals.Odd}"}'
    with sinking() as (zoho, sink):
        zoho.simulator.crm.add_webhook(
            f"{sink.url}/wf", body=body, headers={"X-Webhook-Token": "t"}, fields=("Stage",)
        )
        ident = zoho.simulator.crm.create("Deals", {"Deal_Name": 'a "b"', "Stage": "Qualification"})["id"]
        for stage, trigger in (("Closed Won", []), ("Closed Lost", ["workflow"])):
            sent = {"data": [{"Stage": stage}], "trigger": trigger}
            zoho.call("PUT", f"/crm/v8/Deals/{ident}", json=sent)
        zoho.call("PUT", f"/crm/v8/Deals/{ident}", json={"data": [{"Amount": 9}]})
        assert zoho.simulator.drain()
        bodies = sorted(got[3].decode() for got in sink.got)
        assert sink.got[0][2]["x-webhook-token"] == "t"
    assert bodies == [
        f'{{"id": "{ident}", "n": "a "b"", "s": "{stage}", "x": "${{Deals.Odd}}"}}'
        for stage in ("Closed Lost", "Qualification")
    ]


def test_workflow_webhooks_come_as_form_and_as_get_too() -> None:
    """Parameters travel in the body or, with GET, in the URL."""
    with sinking() as (zoho, sink):
        params = {"name": "${Deals.Deal_Name}", "when": "${Deals.Closing_Date}"}
        for method in ("POST", "GET"):
            zoho.simulator.crm.add_webhook(
                f"{sink.url}/wf", method=method, format="form", params=params, on="create"
            )
        values = {"Deal_Name": "A & B", "Stage": "Qualification", "Closing_Date": "2026-02-01"}
        zoho.simulator.crm.create("Deals", values)
        assert zoho.simulator.drain()
        seen = {got[0]: (got[1], got[3]) for got in sink.got}
    assert seen["POST"] == ("/wf", b"name=A+%26+B&when=01%2F02%2F2026")
    assert seen["GET"] == ("/wf?name=A+%26+B&when=01%2F02%2F2026", b"")


def test_the_simulator_imports_nothing_else_of_ours() -> None:
    """It is an outside witness."""
    import receiver.simulator

    folder = Path(receiver.simulator.__file__).parent
    for file in folder.glob("*.py"):
        for line in file.read_text().splitlines():
            words = line.split()
            if words[:1] in (["from"], ["import"]) and words[1].startswith("receiver"):
                assert words[1].startswith("receiver.simulator"), f"{file.name}: {line}"
