"""The simulated Books: its envelope, limits, rows, custom fields and signed webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import pytest
from simulator_kit import Zoho, sinking

from receiver.simulator.books_hooks import canonical

SECRET = "abcdef123456XYZ"


@pytest.fixture
def zoho() -> Zoho:
    return Zoho()


def invoice(zoho: Zoho, *, deal: str = "", **more: Any) -> dict[str, Any]:
    customer = zoho.simulator.books.all("contacts")[0]["contact_id"]
    body = {"customer_id": customer, "line_items": [{"name": "Work", "rate": 100, "quantity": 2}], **more}
    if deal:
        body["custom_fields"] = [{"api_name": "cf_crm_deal", "value": deal}]
    made: dict[str, Any] = zoho.post("/books/v3/invoices", json=body).json()
    return made


def test_errors_have_books_own_codes(zoho: Zoho) -> None:
    """No token 14, a dead one and a missing scope 57, an unknown row 1002, a foreign organisation 6041."""
    path = "/books/v3/invoices"
    narrow = zoho.simulator.access_token("ZohoBooks.contacts.READ")
    seen = [
        zoho.get(path, token=None),
        zoho.get(path, token="1000.no.no"),
        zoho.get(path, token=narrow),
        zoho.get(f"{path}/1"),
        zoho.get(path, params={"organization_id": "1"}),
        zoho.get(path, bare=True),
    ]
    found = [(answer.status_code, answer.json()["code"]) for answer in seen]
    assert found == [(401, 14), (401, 57), (401, 57), (404, 1002), (401, 6041), (400, 4)]


def test_a_hundred_and_one_calls_in_a_minute_are_blocked(zoho: Zoho) -> None:
    """Code 44, and the block lasts on after the minute's first calls have passed."""
    zoho.simulator.limits.books_per_minute = 3
    answers = [zoho.get("/books/v3/organizations") for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert answers[-1].json()["code"] == 44
    zoho.clock.forward(59)
    assert zoho.get("/books/v3/organizations").status_code == 429
    zoho.clock.forward(61)
    assert zoho.get("/books/v3/organizations").status_code == 200


def test_an_invoice_is_numbered_and_summed(zoho: Zoho) -> None:
    """Create answers 201 with code 0; numbers run on, and one's own needs a parameter."""
    made = invoice(zoho)
    assert (made["code"], made["invoice"]["total"], made["invoice"]["status"]) == (0, 200, "draft")
    number = int(made["invoice"]["invoice_number"].removeprefix("INV-"))
    assert invoice(zoho)["invoice"]["invoice_number"] == f"INV-{number + 1:06d}"
    assert invoice(zoho, invoice_number="MY-1")["code"] == 4097
    assert invoice(zoho, customer_id="1")["code"] == 2
    assert invoice(zoho, line_items=[])["code"] == 2


def test_a_list_has_pages_and_filters(zoho: Zoho) -> None:
    """Known filters and custom fields filter; a parameter that Books doesn't know does not."""
    made = [invoice(zoho, deal=f"77{n}")["invoice"] for n in range(3)]
    page = zoho.get("/books/v3/invoices", params={"per_page": 2}).json()
    assert (len(page["invoices"]), page["page_context"]["has_more_page"]) == (2, True)
    assert "line_items" not in page["invoices"][0]

    def found(**params: str) -> list[str]:
        rows = zoho.get("/books/v3/invoices", params=params).json()["invoices"]
        return [row["invoice_id"] for row in rows]

    assert found(cf_crm_deal="771") == [made[1]["invoice_id"]]
    assert found(invoice_number=made[2]["invoice_number"]) == [made[2]["invoice_id"]]
    assert len(found(status="draft")) == len(found(filter_by="Status.Draft")) == 3
    assert len(found(search_text="inv-")) == len(found(oddity="1")) == 6
    assert zoho.get("/books/v3/invoices", params={"per_page": 201}).json()["code"] == 2


def test_custom_fields_come_back_in_both_forms(zoho: Zoho) -> None:
    """A value stands in custom_fields and under its name; an unknown field and a double value are refused."""
    made = invoice(zoho, deal="771")["invoice"]
    assert made["cf_crm_deal"] == made["custom_field_hash"]["cf_crm_deal"] == "771"
    assert made["custom_fields"][0]["api_name"] == "cf_crm_deal"
    assert invoice(zoho, deal="771")["code"] == 2
    assert invoice(zoho, custom_fields=[{"api_name": "cf_odd", "value": "1"}])["code"] == 2
    assert "cf_crm_deal" not in invoice(zoho, cf_crm_deal="772")["invoice"]


def test_an_upsert_by_a_unique_field_makes_one(zoho: Zoho) -> None:
    """Without X-Upsert what is not there is 1002; with it the second call updates."""
    headers = {"X-Unique-Identifier-Key": "cf_crm_deal", "X-Unique-Identifier-Value": "771"}
    body = {
        "customer_id": zoho.simulator.books.all("contacts")[0]["contact_id"],
        "line_items": [{"name": "Work", "rate": 10}],
        "custom_fields": [{"api_name": "cf_crm_deal", "value": "771"}],
    }

    def put(**more: str) -> Any:
        return zoho.call("PUT", "/books/v3/invoices", json=body, headers={**headers, **more})

    assert put().json()["code"] == 1002
    first, second = put(**{"X-Upsert": "true"}), put(**{"X-Upsert": "true"})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["invoice"]["invoice_id"] == second.json()["invoice"]["invoice_id"]


def test_contacts_have_unique_names_and_persons(zoho: Zoho) -> None:
    """The primary person's mail is the contact's; a name twice is 3062; who has invoices stays."""
    body = {
        "contact_name": "Quay Ltd",
        "contact_persons": [{"email": "q@x.example", "is_primary_contact": True}],
    }
    made = zoho.post("/books/v3/contacts", json=body)
    assert (made.status_code, made.json()["contact"]["email"]) == (201, "q@x.example")
    assert zoho.post("/books/v3/contacts", json={"contact_name": "quay ltd"}).json()["code"] == 3062
    form = zoho.post("/books/v3/contacts", data={"JSONString": json.dumps({"contact_name": "Form Ltd"})})
    assert form.status_code == 201
    owner = invoice(zoho)["invoice"]["customer_id"]
    assert zoho.call("DELETE", f"/books/v3/contacts/{owner}").json()["code"] == 3008
    assert zoho.post("/books/v3/contacts", content=b"{").json()["code"] == 6


def test_a_payment_pays_its_invoice(zoho: Zoho) -> None:
    """A part makes it partially_paid, the rest paid; more than the balance is refused."""
    made = invoice(zoho)["invoice"]
    assert zoho.post(f"/books/v3/invoices/{made['invoice_id']}/status/sent").json()["code"] == 0

    def pay(amount: float) -> int:
        body = {
            "customer_id": made["customer_id"],
            "payment_mode": "cash",
            "date": "2026-02-01",
            "amount": amount,
            "invoices": [{"invoice_id": made["invoice_id"], "amount_applied": amount}],
        }
        return int(zoho.post("/books/v3/customerpayments", json=body).json()["code"])

    def status() -> str:
        return str(zoho.get(f"/books/v3/invoices/{made['invoice_id']}").json()["invoice"]["status"])

    assert (status(), pay(50), status(), pay(151), pay(150), status()) == (
        *("sent", 0, "partially_paid", 24016, 0),
        "paid",
    )


def test_the_signed_text_is_zohos_own_example() -> None:
    """The vector of the securing-webhooks page: sorted pairs, then the raw body."""
    body = b'{"created_date":"2019-03-06","event_id":"5675"}'
    text = canonical(b"subscription_id=90343&name=basic", body, is_form=False)
    assert text == b"namebasicsubscription_id90343" + body
    digest = hmac.new(b"throwawaybookskey01", text, hashlib.sha256).hexdigest()
    assert digest == "8418182ca6eae8c03bdb5b08212706d9d025f2167a1f2f85ec8490d939aecfc2"


@pytest.mark.parametrize("form", ["json", "form", "jsonstring"])
def test_webhooks_are_signed_in_every_form(form: str) -> None:
    """The signature covers query and body; a form's pairs are decoded before hashing."""
    with sinking() as (zoho, sink):
        url = f"{sink.url}/in/books?event=invoice.paid&b=1"
        params = {"z": "customer_name", "id": "invoice_id"} if form == "form" else {}
        zoho.simulator.books.add_webhook(url, "invoice.paid", secret=SECRET, format=form, params=params)
        made = invoice(zoho)["invoice"]
        zoho.simulator.books.pay(made["invoice_id"])
        assert zoho.simulator.drain()
        ((method, path, headers, body),) = sink.got
    query = "b1eventinvoice.paid"
    if form == "json":
        text = query.encode() + body
        assert json.loads(body)["invoice"]["status"] == "paid"
    elif form == "jsonstring":
        text = (
            b"JSONString" + unquote_plus(body.decode().removeprefix("JSONString=")).encode() + query.encode()
        )
        assert json.loads(parse_qs(body.decode())["JSONString"][0])["invoice"]["balance"] == 0
    else:
        text = f"b1eventinvoice.paidid{made['invoice_id']}z{made['customer_name']}".encode()
    assert (method, path) == ("POST", "/in/books?event=invoice.paid&b=1")
    assert headers["x-zoho-webhook-signature"] == hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    assert headers["x-com-zoho-organizationid"] == zoho.simulator.org_ids["books"]


def test_a_rule_is_checked_as_the_form_checks_it(zoho: Zoho) -> None:
    """A secret is 12 to 50 letters and digits, and events are known ones; without a secret nothing is signed."""
    for event, secret in (
        ("invoice.paid", "short"),
        ("invoice.paid", "has-a-dash-in-it"),
        ("invoice.eaten", SECRET),
    ):
        with pytest.raises(ValueError, match=r"secret|event"):
            zoho.simulator.books.add_webhook("http://127.0.0.1:9/", event, secret=secret)
    assert zoho.simulator.books.add_webhook("http://127.0.0.1:9/", "contact.created").secret == ""
