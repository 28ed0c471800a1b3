"""The recipes against known answers, and what their comparisons take."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from signed_deliveries import CHANNEL, DAY, RECEIVED, SAMPLES, finance

import receiver.sources
from receiver.event import Delivery
from receiver.sources import body, signing
from receiver.sources.finance import _joined, signed_texts

ROOM = Path(receiver.sources.__file__).parent


def test_finance_known_answer():
    """Zoho's example string with our key gives the digest that was computed apart from this code."""
    text = b'namebasicsubscription_id90343{"created_date":"2019-03-06","event_id":"5675"}'
    digest = "8418182ca6eae8c03bdb5b08212706d9d025f2167a1f2f85ec8490d939aecfc2"
    claimed = signing.from_hex(digest)
    assert signing.which_hmac(claimed, ("throwawaybookskey01",), (text,)) == 0
    assert signing.from_hex(digest.upper()) == claimed
    assert signing.which_hmac(claimed, ("other-key-000", "throwawaybookskey01"), (b"", text)) == 1
    assert signing.which_hmac(claimed, ("throwawaybookskey02",), (text,)) is None


def test_finance_example_string():
    """Query and body of Zoho's example give Zoho's string."""
    query = b"subscription_id=90343&name=basic"
    sent = (SAMPLES / "billing" / "signing-example.json").read_bytes()
    told = b'namebasicsubscription_id90343{"created_date":"2019-03-06","event_id":"5675"}'
    assert _joined(body.pairs(query)) + sent == told


def test_a_form_is_signed_in_one_of_two_readings():
    """Pairs of query and form are sorted together, decoded after joining, and `+` may or may not be a blank."""
    form = finance(None, b"name=a%20b+c&amount=5", content_type="application/x-www-form-urlencoded")
    assert signed_texts(form) == (b"amount5eventinvoice.paidnamea b c", b"amount5eventinvoice.paidnamea b+c")
    plain = finance(
        None, b"amount=5", query=b"", content_type="application/x-www-form-urlencoded; charset=UTF-8"
    )
    assert signed_texts(plain) == (b"amount5",)


def test_equal_keys_keep_their_order():
    """Pairs of one key stay in the order sent, in which the sketch of the recipe leaves them."""
    assert _joined([(b"b", b"2"), (b"a", b"9"), (b"b", b"1")]) == b"a9b2b1"


def test_channel_tokens_fit_zoho_and_their_channel_only():
    """A token is at most 50 characters, the same at every making, and fits its own channel, day and secret only."""
    made = signing.channel_token("a-secret-of-ours", CHANNEL, DAY)
    assert made == signing.channel_token("a-secret-of-ours", CHANNEL, DAY)
    assert len(made) <= 50
    assert len(signing.channel_token("a-secret-of-ours", "9" * 18, 99_999)) <= 50
    others = [
        ("another-secret-0", CHANNEL, DAY),
        ("a-secret-of-ours", "1", DAY),
        ("a-secret-of-ours", CHANNEL, DAY - 1),
    ]
    assert made not in [signing.channel_token(*other) for other in others]
    assert signing.which_channel(made, CHANNEL, ("a-secret-of-ours",), RECEIVED) == 0
    assert signing.which_channel(made, "1", ("a-secret-of-ours",), RECEIVED) is None


@pytest.mark.parametrize(
    ("age", "taken"), [(-2, False), (-1, True), (0, True), (7, True), (16, True), (17, False)]
)
def test_channel_tokens_age(age, taken):
    """A token is good from a day before its day to the sixteenth day after."""
    made = signing.channel_token("a-secret-of-ours", CHANNEL, DAY - age)
    assert (signing.which_channel(made, CHANNEL, ("a-secret-of-ours",), RECEIVED) == 0) is taken


def test_a_generation_has_one_spelling():
    """The same token with a zero before its generation, or with other digits, is another text and refused."""
    made = signing.channel_token("a-secret-of-ours", CHANNEL, DAY)
    for spelled in (
        "0" + made,
        "+" + made,
        made.replace(".", "..", 1),
        made.replace(".", ":", 1),
        "1" * 4_400 + made,
    ):
        assert signing.which_channel(spelled, CHANNEL, ("a-secret-of-ours",), RECEIVED) is None


def test_channel_ids_are_eighteen_digits():
    """A channel's id is 18 digits without a leading zero, stable by name and secret, and told apart by both."""
    made = {
        signing.channel_id(secret, name)
        for secret in ("secret-one-0", "secret-two-0")
        for name in map(str, range(500))
    }
    assert len(made) == 1000
    assert all(len(one) == 18 and one.isdigit() and one[0] != "0" for one in made)
    assert signing.channel_id("secret-one-0", "deals") == signing.channel_id("secret-one-0", "deals")


def test_static_secrets_may_be_any_text():
    """A secret with letters beyond ASCII fits, and a header with characters that are none does not raise."""
    assert signing.which_static("schl\u00fcssel-0123", ("other-secret", "schl\u00fcssel-0123")) == 1
    assert signing.which_static("\udc80", ("other-secret", "")) is None


def test_no_secret_is_compared_with_equals():
    """No `==` or `!=` stands on a name of a secret, token, signature or digest: such comparisons tell by their time."""
    words = ("sig", "token", "secret", "digest", "claimed", "given")
    for file in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                names = [
                    getattr(part, "id", getattr(part, "attr", "")) for part in (node.left, *node.comparators)
                ]
                assert not any(word in name for word in words for name in names), f"{file.name}:{node.lineno}"


def test_the_room_imports_nothing_that_reaches_out():
    """The sources import the event, the errors and pure libraries only; a delivery's bytes are all they see."""
    allowed = {
        *(
            "receiver.event",
            "receiver.errors",
            "receiver.sources",
            "__future__",
            "collections",
            "typing",
            "dataclasses",
        ),
        *("re", "json", "hmac", "hashlib", "base64", "codecs", "datetime", "functools", "urllib.parse"),
        *("secrets", "uuid"),  # chance for the ids of what is sent
        *("orjson", "jwt", "cryptography", "python_multipart", "pydantic"),
    }
    for file in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert any(name == one or name.startswith(one + ".") for one in allowed), (
                    f"{file.name}: {name}"
                )


def test_a_raw_body_is_signed_as_it_stands():
    """A body that is neither JSON nor a form is signed raw, behind the pairs of the query."""
    delivery = Delivery.arrive("books", b"<a/>", query=b"event=x", headers={"content-type": "text/xml"})
    assert signed_texts(delivery) == (b"eventx<a/>",)
