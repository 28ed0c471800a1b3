"""What people are told to type into Zoho's screens, and how a captured delivery is made new and signed for sending."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kits import KITS
from signed_deliveries import RECEIVED, SECRETS, sample, samples

from receiver.errors import Malformed
from receiver.event import Delivery
from receiver.sources import PRODUCTS, reading
from receiver.sources import samples as shipped
from receiver.sources.fresh import changed, renewed, values
from receiver.sources.guide import Guide, filled, words_of
from receiver.sources.source import Verified, Way

NOW = 1_900_000_000_123


@pytest.mark.parametrize("product", PRODUCTS)
class TestEveryProduct:
    """What a product must have to be set up and sent; one without it is not taken in."""

    def test_it_has_a_guide(self, product):
        """Numbered steps, half a sentence on its proof, and the secret in them where the admin types it."""
        guide = PRODUCTS[product].guide
        assert guide.proof, f"give {product} a Guide, as receiver/sources/crm_workflow.py has one"
        steps = re.findall(r"^(\d+)\. ", guide.screen, re.MULTILINE)
        assert [int(step) for step in steps] == list(range(1, len(steps) + 1))
        assert steps
        assert ("{url}" in guide.screen) == (guide.whose != "derived")
        assert ("{secret}" in guide.screen) == (guide.whose == "ours")

    def test_the_steps_are_filled(self, product):
        """No mark is left where everything is known, and what Zoho itself fills in stays."""
        guide = PRODUCTS[product].guide
        known = {"url": "U", "name": "n", "secret": "S", "header": "H", **words_of("Deals.won")}
        text = filled(guide.screen + guide.proof, **known)
        assert not re.search(r"(?<!\$)\{(url|name|secret|header|event|module|record)\}", text)

    def test_what_it_signs_it_takes(self, product):
        """`sign` and `verify` are one recipe: a delivery without proof is taken once it is signed."""
        kit = KITS[product]
        source = PRODUCTS[product]
        secret = kit.proof() if source.guide.whose == "public" else SECRETS["new"]
        signed = source.sign(kit.deliver(None), kit.way, secret)
        assert source.verify(signed, kit.way, kit.keys("new")).by == kit.by
        again = source.sign(signed, kit.way, secret)
        assert source.verify(again, kit.way, kit.keys("new")).by == kit.by

    def test_its_samples_become_new_facts(self, product):
        """Sent twice, a sample that says which record it is about tells two facts, each at the time of its sending."""
        source = PRODUCTS[product]
        way = Way(product, product, events=("thing.happened",), id=dict(source.guide.defaults).get("id", ""))
        if not any(
            list(values(json.loads(sample(product, case)), at))
            for case in samples(product)
            for at in source.guide.ids
        ):
            pytest.fail("guide.ids finds nothing in any sample")
        for case in samples(product):
            document = json.loads(sample(product, case))
            once, twice = (renewed(document, source.guide, NOW) for _ in range(2))
            if not any(list(values(document, at)) for at in source.guide.ids):
                continue
            assert once != twice
            for new in (once, twice):
                delivery = Delivery.arrive(product, json.dumps(new).encode(), received=RECEIVED)
                parsed = source.parse(delivery, way, Verified("test"))
                assert parsed.events
                assert not parsed.bad
            times = [reading.instant(time) for at in source.guide.times for time in values(once, at)]
            assert max([time for time in times if time], default=NOW) // 1000 == NOW // 1000


GUIDE = Guide(ids=("/*/id", "/key"), times=("/*/at",))


@pytest.mark.parametrize(
    "time",
    [1_700_000_000_000, 1_700_000_000, "1700000000000", "1700000000", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20.500Z",
     "2023-11-14T22:13:20+01:00", "2023-11-14T22:13:20-0700", "2023-11-14 22:13:20+00:00"],
)  # fmt: skip
def test_a_time_is_moved_to_now_in_its_own_form(time):
    """Whatever Zoho's form is, the new time has it, and is now."""
    (new,) = values(renewed([{"at": time}], GUIDE, NOW), "/0/at")
    assert type(new) is type(time)
    assert reading.instant(new) // 1000 == NOW // 1000
    if isinstance(time, str):
        assert re.sub(r"\d", "0", new) == re.sub(r"\d", "0", time)


def test_the_organisation_is_that_of_the_source():
    """In the form that it had; where none is configured it stays."""
    guide = Guide(organisations=("/org", "/of/*"))
    document = {"org": 5, "of": ["6", "7"]}
    assert renewed(document, guide, NOW, "77") == {"org": 77, "of": ["77", "77"]}
    assert renewed(document, guide, NOW) == document


def test_times_keep_their_distance():
    """What was an hour before stays an hour before, and what is no time stays what it is."""
    new = renewed(
        [{"at": 1_700_000_000_000}, {"at": 1_700_003_600_000}, {"at": "soon"}, {"at": None}], GUIDE, NOW
    )
    assert [each["at"] for each in new] == [NOW - 3_600_000, NOW, "soon", None]


@pytest.mark.parametrize(
    ("old", "form"),
    [
        ("5725767000003000064", r"[1-9]\d{18}"),
        (987654321, r"[1-9]\d{8}"),
        ("comment-1", r"comment-[1-9]\d{5}"),
        ("abc", r"abc-\d{6}"),
        ("4b2c1d1e-8f0a-4a65-9df1-1f3f0f9f8f11", r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"),
    ],
)  # fmt: skip
def test_an_id_is_another_of_its_kind(old, form):
    """Its kind and length are kept, so that what reads the one reads the other."""
    (new,) = values(renewed([{"id": old}], GUIDE, NOW), "/0/id")
    assert type(new) is type(old)
    assert new != old
    assert re.fullmatch(form, str(new))


def test_an_id_is_the_same_wherever_it_stands():
    """As a value or as a name, as text or as a number; what is too short to be an id for sure is left alone elsewhere."""
    document = {
        "key": "123456789",
        "fields": [{"123456789": ["Stage"], "other": 123456789}],
        "flag": True,
        "a": {"id": "1"},
        "version": "1",
    }
    new = renewed(document, GUIDE, NOW)
    key = new["key"]
    assert new["fields"] == [{key: ["Stage"], "other": int(key)}]
    assert (new["flag"], new["version"]) == (True, "1")
    assert new["a"]["id"] != "1"


def test_what_has_neither_ids_nor_times_stays_as_it_is():
    """A flag, nothing or a list where an id might be is no id."""
    for document in ([{"id": None}, {"id": True}, {"id": ""}, {"id": [1]}], "text", 7, {"a": "b"}):
        assert renewed(document, GUIDE, NOW) == document


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))  # fmt: skip
def test_any_document_can_be_made_new(document):
    """Nothing that JSON can hold stops it, and its shape is kept."""
    new = renewed(document, GUIDE, NOW)
    assert type(new) is type(document)


def test_a_pointer_with_an_escape_finds_its_name():
    """`~1` is a slash and `~0` a tilde, as in any JSON pointer."""
    assert changed({"a/b": {"~": 1}}, "/a~1b/~0", lambda value: value + 1) == {"a/b": {"~": 2}}


@pytest.mark.parametrize(
    ("event", "module", "record"),
    [("Deals.won", "Deals", "Deal"), ("crm.Leads.created", "Leads", "Lead"), ("won", "won", "won"), ("", "Deals", "Deal"),
     ("Process.done", "Process", "Process")],
)  # fmt: skip
def test_the_words_of_an_event(event, module, record):
    """The module is what stands before the verb; its record is its singular, as far as an s makes it."""
    assert words_of(event) == {"event": event, "module": module, "record": record}


def test_a_secret_may_go_into_a_parameter():
    """Where the product's screen has no headers, the query bears the secret, beside what it bears already."""
    way = Way("rules", "crm_workflow", events=("Deals.won",), secret_header="", secret_parameter="key word")
    source = PRODUCTS["crm_workflow"]
    for query in (b"", b"event=Deals.won"):
        signed = source.sign(Delivery.arrive("rules", b"{}", query=query), way, "a secret & more")
        assert signed.query == (query + b"&" if query else b"") + b"key%20word=a%20secret%20%26%20more"


def test_a_notification_that_is_no_object_cannot_be_signed():
    """Its token would have no place."""
    with pytest.raises(Malformed):
        PRODUCTS["crm_channel"].sign(Delivery.arrive("crm", b"[]"), KITS["crm_channel"].way, SECRETS["new"])


def test_samples_bring_the_headers_that_came_with_them():
    """As far as they are known; a product that nobody knows has no samples."""
    assert shipped.headers("crm_workflow", "rendered")["Content-Type"] == "application/json"
    assert shipped.headers("books", "invoice-minimal") == {}
    assert shipped.cases("nothing") == []
