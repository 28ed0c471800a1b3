"""The security cases that every product has to stand, whoever adds it: a product without a kit fails the first test."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from kits import KITS
from signed_deliveries import SECRETS, changed, sample, samples

from receiver.errors import BadFraming, DeliveryError, Unauthenticated
from receiver.event import Delivery
from receiver.sources import PRODUCTS, mistaken_for
from receiver.sources.source import Keys

WIDE = str.maketrans("0123456789", "".join(chr(0xFF10 + digit) for digit in range(10)))


def fullwidth(proof: str) -> str:
    """The proof with its digits (or, where it has none, its first letter) as look-alikes that `int` would take."""
    wide = proof.translate(WIDE)
    return wide if wide != proof else "\uff4e" + proof[1:]


def test_every_product_has_security_cases():
    """A product without a kit, and with that without these tests, is not taken in."""
    assert set(KITS) == set(PRODUCTS)


@pytest.mark.parametrize("product", PRODUCTS)
class TestProof:
    """What each source takes and refuses as proof."""

    def test_a_proven_delivery_is_taken_and_says_how(self, product):
        """A sound proof is taken, and the answer says its kind and which secret fitted."""
        kit = KITS[product]
        verified = PRODUCTS[product].verify(kit.proven(), kit.way, kit.keys("new"))
        assert (verified.by, verified.secret) == (kit.by, 0)

    def test_a_proven_delivery_becomes_events(self, product):
        """A proven delivery gives events that carry the source, the delivery, the proof and a mark."""
        kit = KITS[product]
        delivery = kit.proven()
        source = PRODUCTS[product]
        parsed = source.parse(delivery, kit.way, source.verify(delivery, kit.way, kit.keys("new")))
        assert parsed.events
        assert not parsed.bad
        for event in parsed.events:
            assert (event.source, event.delivery, event.verified_by) == (kit.way.name, delivery.id, kit.by)
            assert event.received == delivery.received
            assert event.identity
            assert event.type.count(".") == 2

    def test_no_proof_is_refused(self, product):
        """Without any proof there are no events."""
        kit = KITS[product]
        delivery = kit.deliver(None)
        assert not PRODUCTS[product].handshake(delivery, kit.way)
        with pytest.raises(Unauthenticated):
            PRODUCTS[product].verify(delivery, kit.way, kit.keys("new"))

    def test_an_empty_proof_is_refused(self, product):
        """An empty proof is none, even where an empty secret is configured."""
        kit = KITS[product]
        with pytest.raises(Unauthenticated):
            PRODUCTS[product].verify(kit.deliver(""), kit.way, Keys(("",), kit.keys("new").jwks))

    def test_a_wrong_secret_is_refused(self, product):
        """A proof made with another secret or key is refused."""
        kit = KITS[product]
        with pytest.raises(Unauthenticated):
            PRODUCTS[product].verify(kit.proven("wrong"), kit.way, kit.keys("new", "old"))

    def test_the_old_secret_is_taken_while_rotating(self, product):
        """The secret before the newest still fits, and the answer says that it was the old one."""
        kit = KITS[product]
        verified = PRODUCTS[product].verify(kit.proven("old"), kit.way, kit.keys("new", "old"))
        assert verified.secret == (0 if kit.by == "jwt" else 1)  # a token names its key

    def test_no_secrets_never_verify(self, product):
        """Neither a missing nor an empty secret lets anything in."""
        kit = KITS[product]
        for keys in (Keys(), Keys(("",)), Keys(("", "")), Keys(issuer=kit.keys("new").issuer)):
            with pytest.raises(Unauthenticated):
                PRODUCTS[product].verify(kit.proven(), kit.way, keys)

    def test_an_empty_secret_proves_nothing(self, product):
        """Whoever signs with an empty secret is refused where one slipped into the settings."""
        kit = KITS[product]
        keys = replace(kit.keys("new"), secrets=("", SECRETS["new"]))
        with pytest.raises(Unauthenticated):
            PRODUCTS[product].verify(kit.proven("empty"), kit.way, keys)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda proof: proof[:-1],
            lambda proof: proof + "0",
            lambda proof: proof[:-1] + ("A" if proof[-1] != "A" else "B"),
            lambda proof: "sha256=" + proof,
            lambda proof: f"{proof},{proof}",
            lambda proof: f" {proof}",
            lambda proof: base64.b64encode(proof.encode()).decode(),
            lambda proof: proof.encode().hex(),
            fullwidth,
            lambda proof: proof + "\udc80",
            lambda proof: proof[: len(proof) // 2] + "\0" + proof[len(proof) // 2 :],
            lambda proof: "0" * len(proof),
            lambda proof: "none",
        ],
        ids=range(13),
    )
    def test_a_proof_of_another_form_is_refused(self, product, spoil):
        """Another length, encoding, prefix, list, blank, look-alike digits or characters that are none: all refused."""
        kit = KITS[product]
        spoiled = spoil(kit.proof())
        with pytest.raises(Unauthenticated):
            PRODUCTS[product].verify(kit.deliver(spoiled), kit.way, kit.keys("new"))

    def test_letters_of_the_other_case_are_another_proof(self, product):
        """Upper case is the same number in hex, and another proof everywhere else."""
        kit = KITS[product]
        delivery = kit.deliver(kit.proof().swapcase())
        if kit.hex:
            assert PRODUCTS[product].verify(delivery, kit.way, kit.keys("new")).by == "hmac"
        else:
            with pytest.raises(Unauthenticated):
                PRODUCTS[product].verify(delivery, kit.way, kit.keys("new"))

    @pytest.mark.parametrize("other", PRODUCTS)
    def test_another_products_delivery_is_refused_and_named(self, product, other):
        """A delivery of another family is refused, and where it bears marks of its own they are named."""
        theirs, kit = KITS[other], KITS[product]
        delivery = theirs.proven()
        if product == other or (kit.scheme and kit.scheme == theirs.scheme):
            assert mistaken_for(product, delivery) == ""
            return
        if (
            not kit.by == theirs.by == "static"
        ):  # there the secret is the operator's own, and no two sources have one
            with pytest.raises(DeliveryError):
                PRODUCTS[product].verify(delivery, kit.way, kit.keys("new"))
        if theirs.marked:
            assert not PRODUCTS[product].handshake(delivery, kit.way)
            assert mistaken_for(product, delivery).endswith(f"the source is `{product}`")

    def test_reasons_hold_no_secret(self, product):
        """What a refusal says never holds the secret nor the proof."""
        kit = KITS[product]
        with pytest.raises(Unauthenticated) as refused:
            PRODUCTS[product].verify(kit.proven("wrong"), kit.way, kit.keys("new"))
        said = str(refused.value)
        assert kit.proof("wrong") not in said
        assert not any(secret in said for secret in SECRETS.values() if secret)

    def test_a_bare_request_is_a_handshake_without_effect(self, product):
        """HEAD and an empty GET are answered 200 for all products, since several probe the URL so."""
        for method in ("HEAD", "GET"):
            assert PRODUCTS[product].handshake(Delivery.arrive("x", method=method), KITS[product].way)
            with pytest.raises(DeliveryError):
                PRODUCTS[product].verify(
                    Delivery.arrive("x", method=method), KITS[product].way, KITS[product].keys("new")
                )
        assert PRODUCTS[product].handshake(Delivery.arrive("x", b" \r\n"), KITS[product].way)
        assert not PRODUCTS[product].handshake(KITS[product].proven(), KITS[product].way)


@pytest.mark.parametrize("product", [product for product, kit in KITS.items() if kit.binds_body])
def test_one_changed_byte_is_refused(product):
    """Where the proof covers the body, no byte of it can be changed, and a reformatted body is another one."""
    kit = KITS[product]
    delivery = kit.proven()
    bodies = [delivery.body[:at] + b"~" + delivery.body[at + 1 :] for at in range(len(delivery.body))]
    for body in [*bodies, delivery.body + b"\n", delivery.body.replace(b",", b", ", 1), b""]:
        with pytest.raises(Unauthenticated):
            PRODUCTS[product].verify(changed(delivery, body=body), kit.way, kit.keys("new"))


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_sample_is_taken_when_it_is_proven(product):
    """Each delivery that we know of is taken with a proof of its own, becomes events, and is refused with one byte more."""
    kit, source = KITS[product], PRODUCTS[product]
    for case in samples(product):
        delivery = kit.proven(body=sample(product, case))
        assert not source.handshake(delivery, kit.way)
        verified = source.verify(delivery, kit.way, kit.keys("new"))
        assert source.parse(delivery, kit.way, verified._replace(organisation="")).events, case
        if kit.binds_body:
            with pytest.raises(Unauthenticated):
                source.verify(changed(delivery, body=delivery.body + b" "), kit.way, kit.keys("new"))


@pytest.mark.parametrize("product", [product for product, kit in KITS.items() if kit.header])
def test_a_doubled_header_is_refused(product):
    """Two headers of the same name are refused whichever of them is right, for two readers may take another one."""
    kit = KITS[product]
    delivery = kit.proven()
    for other in ("x" * 12, kit.proof()):
        doubled = changed(delivery, headers=(*delivery.headers, (kit.header, other)))
        with pytest.raises(BadFraming):
            PRODUCTS[product].verify(doubled, kit.way, kit.keys("new"))


def test_a_doubled_token_in_the_body_is_refused():
    """A callback that names two tokens is refused, whichever of them is right."""
    kit = KITS["crm_channel"]
    delivery = kit.proven()
    doubled = changed(delivery, body=delivery.body.replace(b"{", b'{"token": "x", ', 1))
    with pytest.raises(Unauthenticated):
        PRODUCTS["crm_channel"].verify(doubled, kit.way, kit.keys("new"))
