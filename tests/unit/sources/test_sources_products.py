"""The table of products, native words, fingerprints, and what is said of a wrong configuration."""

from __future__ import annotations

import re

import pytest
from kits import KITS
from signed_deliveries import SAMPLES, desk, finance, notification, sample, samples

from receiver.event import Delivery
from receiver.settings_tables import SourceSettings
from receiver.sources import (
    PRODUCTS,
    expected_types,
    known_types,
    looks_like,
    mistaken_for,
    native_pattern,
    problems,
)
from receiver.sources.source import Verified, Way


def test_the_table():
    """Each product knows its own name, speaks POST, and has types that begin with its product."""
    for name, source in PRODUCTS.items():
        assert source.product == name
        assert "POST" in source.methods
        assert all(kind.startswith(f"{name.split('_')[0]}.") for kind in source.types())


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_product_reads_its_samples(product):
    """Every product has samples, and each of them is read without a bad element."""
    cases = samples(product)
    assert cases
    for case in cases:
        way = Way(product, product, events=("thing.happened",))
        delivery = Delivery.arrive(product, sample(product, case))
        parsed = PRODUCTS[product].parse(delivery, way, Verified("test"))
        assert parsed.events
        assert not parsed.bad


def test_every_sample_names_its_origin():
    """SOURCES.md grades every sample."""
    told = (SAMPLES / "SOURCES.md").read_text()
    for file in SAMPLES.glob("*/*.json"):
        case = file.name.removesuffix(".json").removesuffix(".headers")
        rows = [row for row in told.splitlines() if f"{file.parent.name}/" in row and f"{case}.json" in row]
        assert len(rows) == 1, file
        assert ".headers.json" in rows[0] or not file.name.endswith(".headers.json")


@pytest.mark.parametrize(
    ("word", "pattern"),
    [
        *[
            ("Deals.create", "crm.Deals.created"),
            ("Deals.edit", "crm.Deals.updated"),
            ("Deals.update", "crm.Deals.updated"),
        ],
        *[("Deals.delete", "crm.Deals.deleted"), ("Deals.all", "crm.Deals.*"), ("users.all", "crm.users.*")],
        *[("My_Module.EDIT", "crm.My_Module.updated"), ("Ticket_Add", "desk.Ticket.created")],
        *[("Ticket_Update", "desk.Ticket.updated"), ("Ticket_Delete", "desk.Ticket.deleted")],
        *[
            ("Ticket_Comment_Add", "desk.Ticket_Comment.created"),
            ("IM_Session_Status", "desk.IM_Session_Status"),
        ],
        *[
            ("KBRootCategory_Add", "desk.KBRootCategory.created"),
            ("subscription_created", "billing.subscription.created"),
            ("RequestSigningSuccess", "sign.Request.signed"),
            ("payment_link.paid", "payments.payment_link.paid"),
            ("conversation.operator.replied", "salesiq.conversation.operator_replied"),
        ],
        *[
            ("app.create", None),
            ("books.update", None),
            ("Deals.won", None),
            ("crm.Deals.create", None),
            ("Ticket", None),
        ],
        *[
            ("invoice.paid", None),
            ("ticket_add", None),
            ("", None),
            ("*", None),
            ("Ticket_Add\n", None),
            ("_", None),
        ],
    ],
)
def test_native_words(word, pattern):
    """Zoho's own words have our patterns, and what is none of them has none."""
    assert native_pattern(word) == pattern


def test_known_types_are_told():
    """The known types hold each product's, once, as patterns of letters, dots and stars."""
    known = known_types()
    assert {
        *("crm.Deals.created", "books.invoice.*", "desk.Ticket.updated", "billing.subscription.*"),
        *("sign.Request.completed", "mail.message.received", "payments.refund.failed", "cliq.bot.message"),
        *("salesiq.conversation.transfer_accepted", "projects.task.*", "commerce.salesorder.*"),
    } <= set(known)
    assert len(known) == len(set(known))
    assert all(re.fullmatch(r"[a-z]+(\.(\w+|\*))+", kind) for kind in known)


MARKS = [
    *[
        ({"X-ZDesk-JWT": "x"}, b"", "desk"),
        ({"X-Hook-Secret": "x"}, b"", "mail"),
        ({"X-Hook-Signature": "x"}, b"", "mail"),
    ],
    *[
        ({"X-ZS-WEBHOOK-SIGNATURE": "x"}, b"", "sign"),
        ({"X-Zoho-Webhook-Signature": "t=1,v=a"}, b"", "payments"),
    ],
    *[
        ({"X-ZohoWebhook-Signature": "x"}, b"", "payments"),
        ({"X-Zoho-Webhook-Signature": "ab"}, b"", "books"),
    ],
    *[({"x-siqsignature": "x"}, b"", "salesiq"), ({"X-Cliq-Signature": "x"}, b"", "cliq"), ({}, b"{}", None)],
    *[
        ({"X-ZOHO-Event": "salesorder.delivered"}, b"", "commerce"),
        ({"X-ZP-WEBHOOK-SIGNATURE": "x"}, b"", "projects"),
    ],
    *[({"producer-signature": "x"}, b"", "zeptomail"), ({}, b'{"zuid":1,"messageIdString":"1"}', "mail")],
    ({}, b'{"notifications":{"operation_type":"RequestCompleted"},"requests":{}}', "sign"),
    ({}, b'[{"eventType":"Ticket_Add","payload":{}}]', "desk"),
]


@pytest.mark.parametrize(("headers", "body", "product"), MARKS)
def test_marks_of_products(headers, body, product):
    """Products are known by their headers, then by their bodies, those without a source yet too."""
    delivery = Delivery.arrive("books", body, headers=headers)
    assert looks_like(delivery) == product
    assert PRODUCTS["books"].fingerprint(delivery) is (product == "books")


def test_mistakes_are_named():
    """A delivery at the wrong source is named by whose it is, and one at the right source is not."""
    sign = Delivery.arrive("books", headers={"X-ZS-WEBHOOK-SIGNATURE": "x"})
    assert mistaken_for("books", sign) == "this looks like Zoho Sign, the source is `books`"
    assert (
        mistaken_for("books", notification("x"))
        == "this looks like a notification channel of Zoho CRM, the source is `books`"
    )
    assert [mistaken_for("inventory", finance("ab")), mistaken_for("desk", desk("x"))] == ["", ""]
    assert PRODUCTS["inventory"].fingerprint(finance("ab"))
    assert mistaken_for("books", Delivery.arrive("books", b"{}")) == ""


def test_a_doubled_header_does_not_hinder_the_name():
    """A mark is a mark however often it came: naming a mistake never raises."""
    doubled = Delivery.arrive("books", headers=[("x-zdesk-jwt", "a"), ("X-ZDesk-JWT", "b")])
    assert looks_like(doubled) == "desk"


def test_what_is_listed_is_expected_in_our_words():
    """A rule's "Deals.won" is `crm.Deals.won`, a native word is ours, and a custom source whose bodies name their events may tell anything."""
    configured = {
        "rules": SourceSettings(product="crm_workflow", events=("Deals.won", "Leads.edit")),
        "books": SourceSettings(product="books", events=("invoice.paid",)),
        "shop": SourceSettings(product="custom", type="/event"),
        "odd": SourceSettings(product="nothing", events=("a.b",)),
    }
    assert expected_types(configured) == [
        "crm.Deals.won",
        "crm.Leads.updated",
        "books.invoice.paid",
        "shop.**",
    ]


def test_sound_ways_have_no_problems():
    """What the tests use as sound configuration is found sound, and stays as it is."""
    assert PRODUCTS["books"].settled(KITS["books"].way) == KITS["books"].way
    assert [problems(kit.way) for kit in KITS.values()] == [()] * len(KITS)
    assert problems(Way("books", "books", dedupe="/id, /a~1b")) == ()
    assert problems(Way("books", "books", dedupe=False)) == ()
    assert problems(Way("shop", "commerce", secret_header="", secure=True)) == ()
    assert problems(Way("pay", "payments", live_only=True)) == ()


@pytest.mark.parametrize(
    ("way", "said"),
    [
        (Way("x", "crm_chanel"), "sources.x.product: there is no 'crm_chanel'; there are crm_channel, "),
        (
            Way("x", "books", id="record/id"),
            "sources.x.id: 'record/id' is no JSON pointer; did you mean '/record/id'?",
        ),
        (Way("x", "books", time="/a~2"), "sources.x.time: '/a~2' is no JSON pointer"),
        (
            Way("x", "books", dedupe="/id, time"),
            "sources.x.dedupe: 'time' is no JSON pointer; did you mean '/time'?",
        ),
        (
            Way("x", "crm_workflow"),
            'sources.x.events: list what the rules tell, for example events = ["Deals.won"]',
        ),
        (
            Way("x", "crm_workflow", events=("a.b",), secret_header=""),
            "sources.x: set secret_header or secret_parameter",
        ),
        (
            Way("x", "projects"),
            'sources.x.events: list what the rules tell, for example events = ["task.updated"]',
        ),
        (Way("x", "commerce", secret_header=""), "sources.x: set secret_header or secret_parameter"),
        (Way("x", "sign", live_only=True), "sources.x.live_only: only payments sources have it"),
        (Way("x", "books", secure=True), "sources.x.secure: only commerce sources have it"),
    ],
)
def test_problems_are_named_with_their_cure(way, said):
    """What would show at the first delivery only is said when the settings are read."""
    (found,) = problems(way)
    assert found.startswith(said)
