"""Custom sources: proofs of every kind, events named by body or URL, and what is said of a wrong recipe."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest
from kits import KITS
from kits_written import CUSTOM, SECONDS, VARIANTS
from shared_cases import cases
from signed_deliveries import RECEIVED, SECRETS, sample

from receiver.errors import BadFraming, Malformed, Unauthenticated
from receiver.event import Delivery
from receiver.sources import PRODUCTS, problems
from receiver.sources.recipe import Recipe
from receiver.sources.source import Keys, Verified, Way

SOURCE = PRODUCTS["custom"]
BODY = sample("custom", "deluge")
KEYS = Keys((SECRETS["new"],))
TIMED = VARIANTS["timed"]


def told(body: bytes = BODY, way: Way = CUSTOM, **also):
    """The one event of a delivery."""
    (event,) = SOURCE.parse(
        Delivery.arrive("shop", body, received=RECEIVED, **also), way, Verified("static")
    ).events
    return event


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_proof_stands_the_shared_cases(variant, monkeypatch):
    """A parameter, a password, a prefix and each recipe are held to what every product is held to."""
    monkeypatch.setitem(KITS, "custom", VARIANTS[variant])
    ran = [case() for name, case in cases("custom") if "another_products" not in name or "books" in name]
    assert len(ran) > 25


@pytest.mark.parametrize("variant", [name for name, kit in VARIANTS.items() if kit.binds_body])
def test_a_recipe_binds_the_body(variant):
    """No byte of the body can be changed, whatever the hash and its spelling."""
    kit = VARIANTS[variant]
    delivery = kit.proven()
    for at in range(0, len(delivery.body), 7):
        body = delivery.body[:at] + b"~" + delivery.body[at + 1 :]
        with pytest.raises(Unauthenticated):
            SOURCE.verify(replace(delivery, body=body), kit.way, KEYS)


def test_where_there_is_a_recipe_the_secret_alone_proves_nothing():
    """Whoever sends cannot choose the weaker proof."""
    way = VARIANTS["hmac"].way
    bare = Delivery.arrive("custom", BODY, headers={"X-Webhook-Token": SECRETS["new"]}, received=RECEIVED)
    with pytest.raises(Unauthenticated, match="no X-Signature came"):
        SOURCE.verify(bare, way, KEYS)


@pytest.mark.parametrize("off", [-299, -1, 299])
def test_a_time_within_the_tolerance_is_taken(off):
    """Five minutes to either side of receipt, unless the source says otherwise."""
    delivery = replace(TIMED.proven(), received=RECEIVED + off * 1000)
    assert SOURCE.verify(delivery, TIMED.way, KEYS).by == "hmac"
    with pytest.raises(Unauthenticated, match="are tolerated"):
        SOURCE.verify(delivery, replace(TIMED.way, tolerance=0.5), KEYS)


@pytest.mark.parametrize("stamp", ["", "soon", "1", "99999999999999999999", SECONDS[:-1] + "\u0665"])
def test_a_time_that_is_none_is_refused(stamp):
    """A signed text that is no time, or one long past, proves nothing however well it is signed."""
    text = f"v0:{stamp}:".encode() + BODY
    signed = hmac.new(SECRETS["new"].encode(), text, hashlib.sha256).hexdigest()
    delivery = Delivery.arrive(
        "custom", BODY, headers={"X-Signature": signed, "X-Timestamp": stamp}, received=RECEIVED
    )
    with pytest.raises(Unauthenticated):
        SOURCE.verify(delivery, TIMED.way, KEYS)


def test_a_time_in_iso_is_a_time():
    """A sender may write its time for people."""
    recipe = Recipe("X-Signature", signed="{timestamp}{body}", timestamp="X-At")
    stamp = "2025-06-16T19:37:20Z"
    signed = hmac.new(SECRETS["new"].encode(), stamp.encode() + BODY, hashlib.sha256).hexdigest()
    delivery = Delivery.arrive(
        "custom", BODY, headers={"X-Signature": signed.upper(), "X-At": stamp}, received=RECEIVED
    )
    assert SOURCE.verify(delivery, replace(CUSTOM, hmac=recipe), KEYS).by == "hmac"


def test_a_changed_query_or_method_breaks_a_recipe_that_signs_them():
    """What is signed is covered: another event in the URL, another method, another header, another path."""
    kit = VARIANTS["request"]
    delivery = kit.proven()
    for changed in (
        {"query": b"event=order.refunded"},
        {"method": "PUT"},
        {"path": "/in/other"},
        {"headers": delivery.headers[1:]},
    ):
        with pytest.raises(Unauthenticated):
            SOURCE.verify(replace(delivery, **changed), kit.way, KEYS)


@pytest.mark.parametrize(
    "value",
    ["v1=ab", f"t={SECONDS}", f"t={SECONDS},t={SECONDS},v1=ab", f"t={SECONDS},v1=a,v1=b", "t=,v1=", ",;,"],
)
def test_a_header_of_parts_must_have_each_once(value):
    """A part that is missing or doubled is refused."""
    kit = VARIANTS["stripe"]
    with pytest.raises(Unauthenticated):
        SOURCE.verify(kit.deliver(value), kit.way, KEYS)


def test_a_header_of_parts_may_have_others():
    """A blank after a comma and parts of other schemes are no hindrance."""
    kit = VARIANTS["stripe"]
    spread = kit.proof().replace(",", ", v0=ff, ")
    assert SOURCE.verify(kit.deliver(spread), kit.way, KEYS).by == "hmac"


def test_basic_authentication_is_of_user_and_password():
    """Another scheme, another user and a header that comes twice are refused, with what is to be set up."""
    kit = VARIANTS["basic"]
    with pytest.raises(Unauthenticated, match="basic authentication with the user zoho"):
        SOURCE.verify(kit.deliver("Bearer " + SECRETS["new"]), kit.way, KEYS)
    other = replace(kit.way, secret_user="other")
    with pytest.raises(Unauthenticated):
        SOURCE.verify(kit.proven(), other, KEYS)
    doubled = kit.proven()
    with pytest.raises(BadFraming):
        SOURCE.verify(replace(doubled, headers=(*doubled.headers, ("authorization", "x"))), kit.way, KEYS)


def test_header_and_parameter_may_both_be_open():
    """Where both are configured either serves, and a wrong header is not mended by a right parameter."""
    way = replace(CUSTOM, secret_parameter="key")
    in_query = Delivery.arrive("custom", BODY, query=b"key=" + SECRETS["new"].encode())
    assert SOURCE.verify(in_query, way, KEYS).by == "static"
    with pytest.raises(Unauthenticated):
        SOURCE.verify(replace(in_query, headers=(("x-webhook-token", "wrong"),)), way, KEYS)


def test_events_begin_with_the_name_of_the_source():
    """The one listed event, its record and its time; the type is ours already where it is written out."""
    event = told(way=replace(CUSTOM, name="shop"))
    assert (event.type, event.native, event.record_id, event.occurred) == (
        "shop.order.paid",
        "order.paid",
        "3888833000000114027",
        1_782_893_730_000,
    )
    assert SOURCE.named("shop.order.paid", Way("shop", "custom")) == "shop.order.paid"
    assert SOURCE.expected(Way("shop", "custom", type="/event")) == ["shop.**"]
    assert SOURCE.expected(replace(CUSTOM, name="shop")) == ["shop.order.paid"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('"order.paid"', "shop.order.paid"),
        ('"order:Paid late"', "shop.order.Paid_late"),
        ('"Order / Paid!"', "shop.Order.Paid"),
        ("7", "shop.7"),
        ('"..order..paid.."', "shop.order.paid"),
        ('"shop.order.paid"', "shop.order.paid"),
        ('"Bestellung.bezahlt \\u00fc"', "shop.Bestellung.bezahlt_\u00fc"),
    ],
)
def test_the_body_may_name_the_event(said, kind):
    """Whatever it says becomes names with dots."""
    way = Way("shop", "custom", type="/what")
    assert told(b'{"what": %s}' % said.encode(), way).type == kind


@pytest.mark.parametrize(
    "said", ["null", '""', '"   "', '"..."', "true", "[1]", '{"a": 1}', "1.5", '"***"', '"${Orders.Event}"']
)
def test_a_body_that_names_nothing_is_malformed(said):
    """Nothing is guessed where the pointer finds no name."""
    with pytest.raises(Malformed, match="nothing at /what"):
        told(b'{"what": %s}' % said.encode(), Way("shop", "custom", type="/what"))


def test_what_is_listed_is_all_that_the_body_may_name():
    """A list beside the pointer is a fence; case does not matter."""
    way = Way("shop", "custom", type="/what", events=("order.paid",))
    assert told(b'{"what": "Order.PAID"}', way).type == "shop.Order.PAID"
    with pytest.raises(Malformed, match="does not list in its events"):
        told(b'{"what": "order.refunded"}', way)


@pytest.mark.parametrize(
    ("text", "zone", "form", "utc"),
    [
        ("2026-07-01T10:15:30", "Europe/Berlin", "", 1_782_893_730_000),
        ("2026-07-01 10:15:30", "Asia/Kolkata", "", 1_782_881_130_000),
        ("2026-07-01T10:15:30", "", "", None),
        ("2026-07-01T10:15:30Z", "Europe/Berlin", "", 1_782_900_930_000),
        ("01/07/2026 10:15", "Europe/Berlin", "%d/%m/%Y %H:%M", 1_782_893_700_000),
        ("01/07/2026 10:15", "", "%d/%m/%Y %H:%M", None),
        ("07/01/2026 10:15 +0200", "", "%m/%d/%Y %H:%M %z", 1_782_893_700_000),
        ("20260701101530", "Europe/Berlin", "%Y%m%d%H%M%S", 1_782_893_730_000),
        ("2026-07-01T10:15:30+02:00", "Asia/Kolkata", "%d/%m/%Y", 1_782_893_730_000),
        ("2026-10-25T02:30:00", "Europe/Berlin", "", 1_792_888_200_000),
        ("0001-01-01T00:00:00", "Europe/Berlin", "", None),
        ("9999-12-31T23:59:59", "Pacific/Apia", "", 253_402_253_999_000),
        ("nonsense", "Europe/Berlin", "%d/%m/%Y", None),
    ],
)
def test_times_are_brought_to_utc(text, zone, form, utc):
    """By their own offset, else by the zone of the source; in the form that the source names, else in ISO."""
    way = replace(CUSTOM, time="/at", zone=ZoneInfo(zone) if zone else None, time_format=form)
    assert told(b'{"at": "%s"}' % text.encode(), way).occurred == utc


def test_parameters_and_forms_are_read_as_any_admins_are():
    """GET, a form and JSON tell the same event."""
    way = replace(CUSTOM, secret_header="", secret_parameter="key", time="")
    form = {"content-type": "application/x-www-form-urlencoded"}
    for delivery in (
        {"body": b"", "query": b"id=5&key=s&event=order.paid", "method": "GET"},
        {"body": b"id=5&key=s", "headers": form},
        {"body": b'{"id": 5}'},
    ):
        event = told(way=way, **delivery)
        assert (event.type, event.record_id) == ("custom.order.paid", "5")
        assert "key" not in event.data


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ({"events": ()}, "sources.custom.events: list what the rules tell"),
        ({"type": "what"}, "sources.custom.type: 'what' is no JSON pointer; did you mean '/what'?"),
        ({"secret_header": ""}, "sources.custom: set secret_header or secret_parameter"),
        ({"hmac": Recipe("X", signed="{bdy}{body}")}, "sources.custom.hmac.signed: there is no {bdy}; there are {body}, {method}, "),
        ({"hmac": Recipe("X", signed="{query}")}, "sources.custom.hmac.signed: without {body} anybody"),
        ({"hmac": Recipe("X", signed="{timestamp}{body}")}, "sources.custom.hmac.timestamp: name the header"),
        ({"hmac": Recipe("X"), "events": ("a.b", "a.c")}, "sources.custom.hmac.signed: ?event= is not part of what is signed"),
    ],
)  # fmt: skip
def test_problems_are_named_before_the_first_delivery(way, said):
    """A recipe that proves too little is refused with what to write instead."""
    (found,) = problems(replace(CUSTOM, **way))
    assert found.startswith(said)


@pytest.mark.parametrize("also", [{"type": "/what"}, {"hmac": Recipe("X", signed="{query}{body}")}])
def test_several_events_are_sound_where_their_name_is_signed(also):
    """In the body, or in a query that is part of what is signed."""
    assert problems(replace(CUSTOM, **{"hmac": Recipe("X"), "events": ("a.b", "a.c"), **also})) == ()


@pytest.mark.parametrize("key", ["type", "secret_user", "secret_prefix"])
def test_settings_of_such_sources_mean_nothing_to_others(key):
    """A setting without effect is a mistake that would be found too late."""
    (found,) = problems(replace(Way("x", "desk"), **{key: "/y"}))
    assert found.startswith(f"sources.x.{key}: only ")
    assert "custom sources have it" in found
    (found,) = problems(Way("x", "crm_workflow", events=("a.b",), hmac=Recipe("X")))
    assert found == "sources.x.hmac: only custom sources have it"


def test_the_guide_is_that_of_the_proof():
    """Whoever has to sign is told so; a product has one guide for all of its sources."""
    assert "Let it sign" in SOURCE.guided(VARIANTS["hmac"].way).screen
    assert SOURCE.guided(CUSTOM) is SOURCE.guide
    assert PRODUCTS["books"].guided(Way("books", "books")) is PRODUCTS["books"].guide
