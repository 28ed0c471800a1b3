"""Twenty thousand bad deliveries and more over all sources: no error but a delivery's, and nothing is taken that was not proven."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from kits import KITS
from signed_deliveries import RECEIVED, sample, samples
from test_sources_garbage import sound

from receiver.errors import DeliveryError, Malformed
from receiver.event import Delivery
from receiver.sources import PRODUCTS, mistaken_for
from tests.hostile import Hostile

EACH = 1_000
"""Per product; with the twenty-three that there are that is 23,000. Another seed finds other ones: they are what the loop is for."""


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_flood_of_bad_deliveries(product):
    """Unproven ones are refused; the same bytes, as if they were proven, give sound events or are malformed."""
    kit, source = KITS[product], PRODUCTS[product]
    keys = kit.keys("new", "old")
    hostile = Hostile(seed=sum(product.encode()))
    bodies = [sample(product, case) for case in samples(product)]
    wrong = kit.proof("wrong")
    # A proof that binds the body is one of another body here; any other would let the delivery in.
    stale = (kit.proof("old"), kit.proof()) if kit.binds_body else ()
    proven = replace(source.verify(kit.proven(), kit.way, keys), organisation="")
    events = 0
    for number in range(EACH):
        body = hostile.body(hostile.random.choice(bodies) if number % 3 else None)
        proof = hostile.random.choice([None, "", hostile.proof(), wrong, wrong[:-1], *stale])
        bearing = [(kit.header, proof)] if kit.header and proof is not None else []
        headers = [("content-type", hostile.type()), *bearing]
        delivery = Delivery.arrive(
            "x", body, query=hostile.query(), method=hostile.method(), headers=headers, received=RECEIVED
        )
        mistaken_for(product, delivery)
        source.handshake(delivery, kit.way)
        source.lacks(delivery, keys)
        source.offered(delivery, keys)
        with pytest.raises(DeliveryError):
            source.verify(delivery, kit.way, keys)
        with contextlib.suppress(Malformed):
            for event in source.parse(delivery, kit.way, proven).events:
                sound(event)
                events += 1
    assert events > EACH // 100, "nothing of it was near enough to a real delivery to be worth sending"


def test_twenty_thousand_are_sent():
    """So many, over all sources, in each run of the tests."""
    assert EACH * len(PRODUCTS) >= 20_000
