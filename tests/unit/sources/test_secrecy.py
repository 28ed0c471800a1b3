"""What a kept delivery no longer shows, and that it can be had back to the byte."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kits import KITS
from signed_deliveries import SECRETS, changed, workflow

from receiver.event import Delivery
from receiver.intake.secrecy import Names, cover, uncover
from receiver.sources import PRODUCTS
from receiver.sources.source import Way

SECRET = "a-static-secret-of-ours"
MULTIPART = (
    b'--xyz\r\nContent-Disposition: form-data; name="key"\r\n\r\nSECRET\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="id"\r\n\r\n7\r\n--xyz--\r\n'
)


def everything(delivery: Delivery) -> bytes:
    """All that is kept of a delivery, in one text."""
    return repr((delivery.headers, delivery.query, delivery.body)).encode()


def names(product: str) -> Names:
    """The names of a product's kit."""
    return Names.of(KITS[product].way, PRODUCTS[product].proof_members)


@pytest.mark.parametrize("product", [product for product, kit in KITS.items() if not kit.binds_body])
def test_no_proof_that_can_be_used_again_is_kept(product):
    """Of every product whose proof is not bound to its bytes, the proof is gone from the delivery, and the rest is there."""
    kit = KITS[product]
    delivery = kit.proven()
    covered, pieces = cover(delivery, names(product))
    assert kit.proof().encode() in everything(delivery)
    assert kit.proof().encode() not in everything(covered)
    assert len(pieces) == 1
    assert len(everything(covered)) == len(everything(delivery)) - len(kit.proof()) + 3


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_delivery_of_any_product_verifies_again_after_it_was_covered(product):
    """What was taken out and put back is the same delivery, and its source says the same of it."""
    kit = KITS[product]
    covered, pieces = cover(kit.proven(), names(product).widened(()))
    whole = uncover(covered, pieces)
    assert whole == changed(kit.proven(), id=whole.id)
    assert PRODUCTS[product].verify(whole, kit.way, kit.keys("new")).by == kit.by


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("other", [product for product, kit in KITS.items() if not kit.binds_body])
def test_a_proof_at_the_wrong_source_is_covered_too(product, other):
    """Whoever posts to the URL of another source has his secret covered there as well."""
    covered, _ = cover(KITS[other].proven(), names(product).widened(()))
    assert KITS[other].proof().encode() not in everything(covered)


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery.arrive("x", query=b"a=1&key=SECRET&b=2"),
        Delivery.arrive("x", query=b"%6Bey=SECRET"),
        Delivery.arrive("x", b"id=7&key=SECRET", headers={"content-type": "application/x-www-form-urlencoded"}),
        Delivery.arrive("x", b"key=SECRET&key=SECRET", headers={"content-type": "text/plain"}),
        Delivery.arrive("x", MULTIPART, headers={"content-type": "multipart/form-data; boundary=xyz"}),
        Delivery.arrive("x", MULTIPART),
        Delivery.arrive("x", headers=[("key", "x"), ("x-own", "SECRET")]),
    ],
    ids=["query", "encoded name", "form", "form that does not say so", "multipart", "no content type", "header"],
)  # fmt: skip
def test_a_static_secret_is_found_wherever_it_may_stand(delivery):
    """In the configured parameter of query, form and multipart form, and in the configured header."""
    way = Way("x", "crm_workflow", secret_header="X-Own", secret_parameter="key")
    covered, pieces = cover(delivery, Names.of(way, ()))
    assert b"SECRET" not in everything(covered)
    assert uncover(covered, pieces) == delivery


@pytest.mark.parametrize(
    "delivery",
    [
        workflow(None, b'{"record_id": 7, "secret": "%s"}' % SECRET.encode()),
        Delivery.arrive("rules", query=b"q=" + SECRET.encode() + b"&r=1"),
        Delivery.arrive("rules", query=b"my_token=mistyped"),
        Delivery.arrive("rules", headers={"X-Auth-Token": "mistyped", "Authorization": "Bearer mistyped"}),
        Delivery.arrive("rules", headers={"X-Whatever": f"Key {SECRET}"}),
        Delivery.arrive("rules", f"<xml>{SECRET}</xml>".encode()),
        Delivery.arrive("rules", b"&".join([b"a=1"] * 2000) + b"&b=" + SECRET.encode()),
    ],
)
def test_a_secret_in_the_wrong_place_is_covered_where_a_delivery_was_refused(delivery):
    """Known secrets are found by their value wherever they stand, others where a name says what they are."""
    covered, pieces = cover(delivery, names("crm_workflow").widened((SECRET.encode(),)))
    assert SECRET.encode() not in everything(covered)
    assert b"mistyped" not in everything(covered)
    assert uncover(covered, pieces) == delivery


def test_the_body_of_an_accepted_delivery_keeps_what_is_no_proof():
    """A field that is called like a secret is data, where the delivery proved itself otherwise."""
    delivery = workflow(SECRETS["new"], b'{"token": "a field of the record", "password": "another"}')
    covered, _ = cover(delivery, names("crm_workflow"))
    assert covered.body == delivery.body


PART = st.sampled_from(
    [b"token", b'"token": "', b'"', b"\\", b"{", b"&", b"=", b"%74oken=", b"key=", b"--", b"\r\n--", b"\r\n\r\n", b'name="key"']
)  # fmt: skip
RAW = st.lists(st.one_of(PART, st.just(SECRET.encode()), st.binary(max_size=8)), max_size=20).map(b"".join)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["x-webhook-token", "x-a", "cookie"]), st.text(st.characters(max_codepoint=255))
    )
)


@given(RAW, RAW, HEADERS)
@example(SECRET[:12].encode() + SECRET.encode() * 2, b"key=" + SECRET.encode() + b"x", [])
def test_whatever_came_is_had_back_to_the_byte(query, body, headers):
    """However secrets overlap, repeat or are cut, nothing of the delivery is lost; and known ones are gone."""
    way = Way("x", "crm_workflow", secret_parameter="key")
    delivery = Delivery.arrive("x", body, query=query, headers=headers)
    covered, pieces = cover(
        delivery, Names.of(way, ("token",)).widened((SECRET.encode(), SECRET[5:].encode()))
    )
    assert uncover(covered, pieces) == delivery
    assert SECRET[5:].encode() not in covered.query
    assert SECRET[5:].encode() not in covered.body


@pytest.mark.parametrize(
    "hostile",
    [b'{"a": "' + b'"token"' * 150_000, b'{"token" ' + b" " * 2**20, b"--" + b'name="token"\r\n\r\n' * 60_000,
     b"token=a&" * 130_000, b"a" * 2**20 + b"=", b"{" + b'"token": "x", ' * 70_000, b"\r\n--" * 260_000],
    ids=range(7),
)  # fmt: skip
def test_no_body_makes_the_search_slow(hostile):
    """A megabyte of what looks like secrets costs milliseconds, for it runs at the door."""
    delivery = Delivery.arrive("x", hostile)
    started = time.process_time()
    cover(delivery, Names.of(Way("x", "crm_workflow"), ("token",)).widened((SECRET.encode(),)))
    assert time.process_time() - started < 0.5
