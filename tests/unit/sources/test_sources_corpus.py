"""Twenty thousand bad deliveries: none breaks a source, none is taken without a proof, and none that is proven is lost."""

from __future__ import annotations

import random
from dataclasses import replace

import bad_deliveries as bad
import pytest
from kits import KITS
from kits_written import VARIANTS
from signed_deliveries import SECRETS, changed
from test_sources_garbage import sound

from receiver.errors import DeliveryError
from receiver.intake.judge import judge
from receiver.intake.keyring import Lock
from receiver.sources import PRODUCTS

EACH = 500
"""Unproven ones of each product, and as many proven ones."""
OURS = [secret for secret in SECRETS.values() if secret]


def lock(product: str, kit):
    """The source as the keyring would have it."""
    return Lock(replace(kit.way, events=kit.way.events or ("Deals.won",)), PRODUCTS[product], kit.keys("new"))


def asked(delivery, here):
    """All that the door asks a source about one delivery."""
    here.source.lacks(delivery, here.keys)
    here.source.offered(delivery, here.keys)
    return judge(delivery, here)


@pytest.mark.parametrize("product", PRODUCTS)
def test_nothing_bad_is_taken_without_a_proof(product):
    """Each is a handshake or is refused with a status of the caller's, one sentence, and no secret in it."""
    chance, kit = random.Random(product), KITS[product]
    here = lock(product, kit)
    for _ in range(EACH):
        delivery = bad.delivery(chance, product, kit.header)
        if here.source.handshake(delivery, here.way):
            continue
        with pytest.raises(DeliveryError) as refused:
            asked(delivery, here)
        said = str(refused.value)
        assert 400 <= refused.value.status < 500
        assert 10 < len(said) < 500
        assert not any(secret in said for secret in OURS)


@pytest.mark.parametrize("product", PRODUCTS)
def test_nothing_bad_is_lost_where_it_is_proven(product):
    """With a proof of its own each is accepted or put into quarantine with the reason; what is accepted can be kept."""
    chance, kit = random.Random(product), KITS[product]
    here = lock(product, kit)
    verdicts, refused = set(), set()
    for _ in range(EACH):
        delivery = changed(_proven(kit, chance), method=chance.choice(["POST", "POST", "PUT"]))
        try:
            judged = asked(delivery, here)
        except DeliveryError as error:
            refused.add(error.status)
            continue
        verdicts.add(judged.record.verdict)
        assert bool(judged.record.events) == (judged.record.verdict == "accepted")
        assert judged.record.reason or judged.record.events
        for event in judged.record.events:
            sound(event)
    assert "quarantined" in verdicts
    # What is signed, or the body that bears the proof, cannot be read, or the product has no PUT.
    assert refused <= {400, 401, 405}


def _proven(kit, chance):
    body = bad.body(chance)
    try:
        delivery = kit.proven(body=body)
    except (ValueError, TypeError):  # a callback whose token cannot be put into it
        delivery = kit.proven()
        delivery = changed(delivery, body=delivery.body.replace(b"{", b'{"x": ' + b"[" * 80 + b", ", 1))
    if kit.header and chance.random() < 0.5:
        others = [pair for pair in delivery.headers if pair[0] != "content-type"]
        delivery = changed(delivery, headers=(*others, ("content-type", chance.choice(bad.TYPES))))
    return delivery


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_custom_proof_of_any_kind_holds(variant):
    """The same for each way of proving a custom source: nothing without, and nothing breaks with."""
    chance, kit = random.Random(variant), VARIANTS[variant]
    here = Lock(kit.way, PRODUCTS["custom"], kit.keys("new"))
    for _ in range(EACH // 5):
        delivery = bad.delivery(chance, "custom", kit.header)
        if not here.source.handshake(delivery, here.way):
            with pytest.raises(DeliveryError):
                judge(delivery, here)
        assert judge(kit.proven(body=chance.choice(bad.GOOD)), here).record.events
