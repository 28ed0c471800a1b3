"""The simulated CRM's records, reads, searches and limits, as its v8 pages have them."""

from __future__ import annotations

from typing import Any

import pytest
from simulator_kit import Zoho


@pytest.fixture
def zoho() -> Zoho:
    return Zoho()


def add(zoho: Zoho, module: str = "Leads", **values: Any) -> dict[str, Any]:
    answer = zoho.post(f"/crm/v8/{module}", json={"data": [values]})
    entry: dict[str, Any] = answer.json()["data"][0]
    return entry


def deals(zoho: Zoho) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = zoho.get("/crm/v8/Deals?fields=Deal_Name,Stage&per_page=200").json()["data"]
    return found


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "AUTHENTICATION_FAILURE"),
        ("Bearer {}", "AUTHENTICATION_FAILURE"),
        ("Zoho-oauthtoken 1000.no.no", "INVALID_TOKEN"),
    ],
)
def test_only_a_living_token_in_the_right_header_is_let_in(zoho: Zoho, header: str | None, code: str) -> None:
    """No token and a dead one have codes of their own, both 401."""
    headers = {"Authorization": header.format(zoho.token)} if header else {}
    answer = zoho.get("/crm/v8/org", token=None, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_tokens_expire_and_scopes_are_held(zoho: Zoho) -> None:
    """After an hour a token is dead; a token for another module is a scope mismatch with 401."""
    narrow = zoho.simulator.access_token("ZohoCRM.modules.Leads.READ")
    answer = zoho.get("/crm/v8/Deals?fields=id", token=narrow)
    assert (answer.status_code, answer.json()["code"]) == (401, "OAUTH_SCOPE_MISMATCH")
    wanting = zoho.get("/crm/v8/Leads/search?word=leo", token=narrow)
    assert wanting.json()["code"] == "OAUTH_SCOPE_MISMATCH"
    zoho.clock.forward(3600)
    assert zoho.get("/crm/v8/Leads?fields=id", token=narrow).json()["code"] == "INVALID_TOKEN"


def test_a_new_record_has_its_system_fields(zoho: Zoho) -> None:
    """Create answers 201 with id, times and people; reading by id gives all fields."""
    answer = zoho.post(
        "/crm/v8/Leads", json={"data": [{"Last_Name": "Byrne", "Email": "b@x.example", "Odd": 1}]}
    )
    entry = answer.json()["data"][0]
    assert answer.status_code == 201
    assert (entry["code"], entry["status"], entry["message"]) == ("SUCCESS", "success", "record added")
    assert set(entry["details"]) == {"id", "Created_Time", "Modified_Time", "Created_By", "Modified_By"}
    record = zoho.get(f"/crm/v8/Leads/{entry['details']['id']}").json()["data"][0]
    assert record["Full_Name"] == "Byrne"
    assert "Odd" not in record
    assert record["Created_Time"].endswith("+01:00")


@pytest.mark.parametrize(
    ("values", "code", "name"),
    [
        ({"First_Name": "A"}, "MANDATORY_NOT_FOUND", "Last_Name"),
        ({"Last_Name": 7}, "INVALID_DATA", "Last_Name"),
        ({"Last_Name": "B", "Email": "nobody"}, "INVALID_DATA", "Email"),
        ({"Last_Name": "B" * 81}, "INVALID_DATA", "Last_Name"),
        ({"Last_Name": "B", "Annual_Revenue": "7"}, "INVALID_DATA", "Annual_Revenue"),
        ({"Last_Name": "B", "Owner": {"id": "1"}}, "INVALID_DATA", "Owner"),
    ],
)
def test_a_bad_record_says_where(zoho: Zoho, values: dict[str, Any], code: str, name: str) -> None:
    """The entry names field and path."""
    answer = zoho.post("/crm/v8/Leads", json={"data": [values]})
    entry = answer.json()["data"][0]
    assert (answer.status_code, entry["code"], entry["status"]) == (400, code, "error")
    assert entry["details"]["json_path"] == f"$.data[0].{name}"


def test_a_mixed_answer_is_207_and_in_order(zoho: Zoho) -> None:
    """Each record has its own result at its own place."""
    answer = zoho.post("/crm/v8/Leads", json={"data": [{"Last_Name": "A"}, {}, {"Last_Name": "C"}]})
    assert answer.status_code == 207
    assert [entry["code"] for entry in answer.json()["data"]] == ["SUCCESS", "MANDATORY_NOT_FOUND", "SUCCESS"]


def test_a_duplicate_names_the_record_that_is_there(zoho: Zoho) -> None:
    """v8 puts it under details.duplicate_record, with module and owner."""
    first = add(zoho, Last_Name="A", Email="a@x.example")["details"]["id"]
    entry = add(zoho, Last_Name="B", Email="A@x.example")
    assert entry["code"] == "DUPLICATE_DATA"
    assert entry["details"]["duplicate_record"]["id"] == first
    assert entry["details"]["duplicate_record"]["module"]["api_name"] == "Leads"
    assert "Owner" in entry["details"]["duplicate_record"]


def test_a_hundred_records_at_once_and_no_more(zoho: Zoho) -> None:
    """The hundred and first refuses the whole request."""
    rows = [{"Last_Name": f"L{number}"} for number in range(101)]
    assert zoho.post("/crm/v8/Leads", json={"data": rows}).json()["code"] == "INVALID_DATA"
    assert zoho.post("/crm/v8/Leads", json={"data": rows[:100]}).status_code == 201


@pytest.mark.parametrize("trigger", [["workflows"], "workflow", [1]])
def test_an_unknown_trigger_is_refused(zoho: Zoho, trigger: Any) -> None:
    """Only the five documented words are triggers."""
    answer = zoho.post("/crm/v8/Leads", json={"data": [{"Last_Name": "A"}], "trigger": trigger})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_DATA")


def test_update_by_path_and_by_list(zoho: Zoho) -> None:
    """PUT takes the id from the path or from each record, and misses it where it is nowhere."""
    ident = deals(zoho)[0]["id"]
    one = zoho.call("PUT", f"/crm/v8/Deals/{ident}", json={"data": [{"Stage": "Closed Won"}]})
    assert (one.status_code, one.json()["data"][0]["message"]) == (200, "record updated")
    many = zoho.call(
        "PUT", "/crm/v8/Deals", json={"data": [{"id": ident, "Amount": 7}, {"Amount": 8}, {"id": "1"}]}
    )
    assert many.status_code == 207
    assert [e["code"] for e in many.json()["data"]] == ["SUCCESS", "MANDATORY_NOT_FOUND", "INVALID_DATA"]


def test_an_update_of_what_has_changed_since_is_412(zoho: Zoho) -> None:
    """If-Unmodified-Since holds the update to what its author saw."""
    record = zoho.get(f"/crm/v8/Deals/{deals(zoho)[0]['id']}").json()["data"][0]
    zoho.clock.forward(5)
    path = f"/crm/v8/Deals/{record['id']}"
    headers = {"If-Unmodified-Since": record["Modified_Time"]}
    assert zoho.call("PUT", path, json={"data": [{"Amount": 1}]}, headers=headers).status_code == 200
    late = zoho.call("PUT", path, json={"data": [{"Amount": 2}]}, headers=headers)
    assert (late.status_code, late.json()["data"][0]["code"]) == (412, "ALREADY_MODIFIED")


def test_upsert_tells_insert_from_update(zoho: Zoho) -> None:
    """The entry has action and the field by which the record was found."""
    body = {"data": [{"Last_Name": "Z", "Email": "z@x.example"}], "duplicate_check_fields": ["Email"]}
    seen = [zoho.post("/crm/v8/Leads/upsert", json=body).json()["data"][0] for _ in range(2)]
    assert [(e["action"], e["duplicate_field"]) for e in seen] == [("insert", None), ("update", "Email")]
    assert seen[0]["details"]["id"] == seen[1]["details"]["id"]


def test_deleted_records_are_in_the_bin(zoho: Zoho) -> None:
    """A deleted record is 204 by id and listed by /deleted."""
    ident = deals(zoho)[0]["id"]
    assert zoho.get("/crm/v8/Deals/deleted").status_code == 204
    assert zoho.call("DELETE", f"/crm/v8/Deals?ids={ident}").json()["data"][0]["code"] == "SUCCESS"
    gone = zoho.get(f"/crm/v8/Deals/{ident}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert [row["id"] for row in zoho.get("/crm/v8/Deals/deleted?type=recycle").json()["data"]] == [ident]


def test_a_list_must_name_its_fields(zoho: Zoho) -> None:
    """The fields are mandatory, fifty at most; an unknown module has a code of its own."""
    assert zoho.get("/crm/v8/Deals").json()["code"] == "REQUIRED_PARAM_MISSING"
    assert (
        zoho.get("/crm/v8/Deals?fields=" + ",".join("abc" for _ in range(51))).json()["code"]
        == "LIMIT_EXCEEDED"
    )
    assert zoho.get("/crm/v8/Dealz?fields=id").json()["code"] == "INVALID_MODULE"
    assert zoho.get("/crm/v2.1/Deals?fields=id").status_code == 404
    assert zoho.get("/crm/v8/Deals?fields=id&per_page=201").json()["code"] == "INVALID_DATA"


def test_pages_beyond_two_thousand_need_a_token(zoho: Zoho) -> None:
    """The parameter page ends at the limit; page_token goes on, for the same question only, and for a day."""
    zoho.simulator.limits.crm_rows_by_page = 4
    path = "/crm/v8/Deals?fields=Deal_Name&per_page=2"
    first = zoho.get(path).json()
    assert first["info"]["more_records"] is True
    assert zoho.get(f"{path}&page=3").json()["code"] == "DISCRETE_PAGINATION_LIMIT_EXCEEDED"
    seen, token = [row["id"] for row in first["data"]], first["info"]["next_page_token"]
    other = zoho.get(f"/crm/v8/Deals?fields=Stage&per_page=2&page_token={token}")
    assert other.json()["code"] == "TOKEN_BOUND_DATA_MISMATCH"
    old = token
    while token:
        body = zoho.get(f"{path}&page_token={token}").json()
        seen += [row["id"] for row in body["data"]]
        token = body["info"]["next_page_token"]
    assert len(seen) == len(set(seen)) == 8
    zoho.clock.forward(86_400)
    zoho.token = zoho.simulator.access_token()
    assert zoho.get(f"{path}&page_token={old}").json()["code"] == "EXPIRED_VALUE"


def test_if_modified_since_gives_what_is_newer_or_304(zoho: Zoho) -> None:
    """The time is compared by the second, and the same second is not newer."""
    since = {"If-Modified-Since": zoho.simulator.world.stamp()}
    assert zoho.get("/crm/v8/Deals?fields=id", headers=since).status_code == 304
    zoho.clock.forward(2)
    zoho.simulator.crm.update("Deals", deals(zoho)[0]["id"], {"Amount": 1})
    assert len(zoho.get("/crm/v8/Deals?fields=id", headers=since).json()["data"]) == 1
    naive = {"If-Modified-Since": "2026-01-01T00:00:00"}
    assert zoho.get("/crm/v8/Deals?fields=id", headers=naive).json()["code"] == "INVALID_DATA"


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("criteria=(Stage:equals:Negotiation/Review)", 3),
        ("criteria=((Stage:equals:Negotiation/Review)and(Amount:greater_than:20000))", 2),
        ("criteria=((Deal_Name:starts_with:pomelo)or(Amount:less_than:7000))", 3),
        ("criteria=(Amount:between:9000,13000)", 2),
        ("criteria=(Stage:in:Qualification,Needs Analysis)", 3),
        ("word=cafe", 2),
    ],
)
def test_search_finds(zoho: Zoho, query: str, count: int) -> None:
    """Criteria combine with and, or and brackets."""
    assert zoho.get(f"/crm/v8/Deals/search?{query}").json()["info"]["count"] == count


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "REQUIRED_PARAM_MISSING"),
        ("criteria=Stage:equals:x", 400, "INVALID_QUERY"),
        ("criteria=(Stage:like:x)", 400, "INVALID_QUERY"),
        ("criteria=(Odd:equals:x)", 400, "INVALID_QUERY"),
        ("criteria=" + "and".join(["(Stage:equals:x)"] * 11), 400, "INVALID_QUERY"),
        ("email=nobody@x.example", 204, ""),
    ],
)
def test_search_refuses_or_is_empty(zoho: Zoho, query: str, status: int, code: str) -> None:
    """Nothing found is 204 without a body."""
    if query.count("and") > 5:
        query, code = "criteria=(" + query.removeprefix("criteria=") + ")", "LIMIT_EXCEEDED"
    answer = zoho.get(f"/crm/v8/Deals/search?{query}")
    assert answer.status_code == status
    assert (answer.json()["code"] if answer.content else "") == code


def test_the_search_index_lags_and_coql_does_not(zoho: Zoho) -> None:
    """A new record is found by search only after a while."""
    add(zoho, Last_Name="Late", Email="late@x.example")
    search = "/crm/v8/Leads/search?email=late@x.example"
    query = {"select_query": "select Email from Leads where Email = 'late@x.example'"}
    assert zoho.get(search).status_code == 204
    assert zoho.post("/crm/v8/coql", json=query).json()["info"]["count"] == 1
    zoho.clock.forward(2)
    assert zoho.get(search).status_code == 200


@pytest.mark.parametrize(
    ("where", "count"),
    [
        ("Stage = 'Negotiation/Review'", 3),
        ("Stage in ('Qualification', 'Needs Analysis') and Amount >= 17000", 2),
        ("(Deal_Name like '%cafe' or Amount < 7000) and id is not null", 3),
        ("Account_Name.Account_Name = 'Pomelo Cafes'", 2),
        ("Amount between 9000 and 13000", 2),
        ("Invoice_No is null limit 3", 3),
        ("Amount > 0 order by Amount desc limit 2 offset 7", 1),
    ],
)
def test_coql_selects(zoho: Zoho, where: str, count: int) -> None:
    """The small grammar: comparisons, in, like, between, null, and, or, order, limit."""
    body = {"select_query": f"select Deal_Name, Account_Name.Account_Name from Deals where {where}"}  # noqa: S608 - COQL, and ours
    answer = zoho.post("/crm/v8/coql", json=body).json()
    assert answer["info"]["count"] == count
    assert set(answer["data"][0]) == {"Deal_Name", "Account_Name.Account_Name", "id"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("select Deal_Name from Deals", "SYNTAX_ERROR"),
        ("select Deal_Name from Deals where Stage == 'x'", "SYNTAX_ERROR"),
        ("select Odd from Deals where id is not null", "INVALID_QUERY"),
        ("select id from Dealz where id is not null", "INVALID_QUERY"),
        ("select id from Deals where id is not null limit 2001", "LIMIT_EXCEEDED"),
        ("select id from Deals where id in (" + ",".join("1" for _ in range(101)) + ")", "LIMIT_EXCEEDED"),  # noqa: S608 - COQL, and ours
    ],
)
def test_coql_refuses(zoho: Zoho, query: str, code: str) -> None:
    """A bad query is 400 with the reason."""
    answer = zoho.post("/crm/v8/coql", json={"select_query": query})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_coql_needs_the_modules_scope_too(zoho: Zoho) -> None:
    """coql.READ alone reads nothing."""
    token = zoho.simulator.access_token("ZohoCRM.coql.READ")
    query = {"select_query": "select id from Deals where id is not null"}
    assert zoho.post("/crm/v8/coql", json=query, token=token).json()["code"] == "OAUTH_SCOPE_MISMATCH"


def test_notes_hang_on_their_record(zoho: Zoho) -> None:
    """A note made on a record is in its related list and knows its parent."""
    ident = deals(zoho)[0]["id"]
    path = f"/crm/v8/Deals/{ident}/Notes"
    assert zoho.get(f"{path}?fields=Note_Content").status_code == 204
    assert zoho.post(path, json={"data": [{"Note_Content": "called"}]}).status_code == 201
    assert zoho.get(f"{path}?fields=Note_Content").json()["data"][0]["Note_Content"] == "called"
    parent = {"id": ident, "module": {"api_name": "Deals"}}
    direct = {"data": [{"Note_Content": "again", "Parent_Id": parent}]}
    assert zoho.post("/crm/v8/Notes", json=direct).status_code == 201
    assert zoho.get(f"{path}?fields=Note_Content").json()["info"]["count"] == 2


def test_the_org_its_users_and_fields_are_described(zoho: Zoho) -> None:
    """The calls that a connection makes to know where it is."""
    assert zoho.get("/crm/v8/org").json()["org"][0]["zgid"] == zoho.simulator.org_ids["crm"]
    assert zoho.get("/crm/v8/users?type=CurrentUser").json()["users"][0]["status"] == "active"
    names = {f["api_name"] for f in zoho.get("/crm/v8/settings/fields?module=Deals").json()["fields"]}
    assert {"Stage", "Invoice_No"} <= names
    assert len(zoho.get("/crm/v8/settings/modules").json()["modules"]) == 6


def test_credits_run_out_and_show_past_the_half(zoho: Zoho) -> None:
    """The header comes after half is gone; at the end there is 429, and ten records cost one credit."""
    zoho.simulator.limits.crm_credits = 4
    header = "X-API-CREDITS-REMAINING"
    assert header not in zoho.get("/crm/v8/org").headers
    assert header not in zoho.get("/crm/v8/org").headers
    assert zoho.get("/crm/v8/org").headers[header] == "1"
    many = {"data": [{"Last_Name": f"L{n}"} for n in range(11)]}
    assert zoho.post("/crm/v8/Leads", json=many).json()["code"] == "TOO_MANY_REQUESTS"
    assert zoho.get("/crm/v8/org").status_code == 200
    assert zoho.get("/crm/v8/org").status_code == 429
    zoho.clock.forward(86_401)
    zoho.token = zoho.simulator.access_token()
    assert zoho.get("/crm/v8/org").status_code == 200
