"""Zoho Cliq: components and their handlers, and what an author's own code sends."""

from __future__ import annotations

import json

import pytest
from signed_deliveries import sample

from receiver.errors import Malformed
from receiver.event import Delivery, Event
from receiver.sources import PRODUCTS
from receiver.sources.source import Verified, Way

CLIQ, WAY = PRODUCTS["cliq"], Way("cliq", "cliq", organisation="77")


def told(case: str = "bot-message", way: Way = WAY, **changed: object) -> Event:
    """The event of a sample, with other values."""
    document = {**json.loads(sample("cliq", case)), **changed}
    (event,) = CLIQ.parse(Delivery.arrive("cliq", json.dumps(document).encode()), way, Verified("rsa")).events
    return event


def test_a_message_to_a_bot():
    """The component is the resource, its handler the verb, the chat the record; `response_url` is where an answer goes."""
    event = told()
    assert (event.type, event.native) == ("cliq.bot.message", "message_handler")
    assert (event.record_id, event.organisation, event.occurred) == (
        "CT_2242125048_55743307",
        "54983163",
        1_756_096_975_624,
    )
    assert event.data["response_url"].startswith("https://cliq.zoho.com/")
    assert told(way=Way("cliq", "cliq", id="/params/access/message_id")).record_id == "1756096975610_17"


def test_equal_bytes_are_one_call():
    """A call says when it was made; where it does not, equal bytes are one call within the minute only."""
    assert told().identity == told().identity
    assert told().identity.startswith('["cliq.bot.message",')
    assert told(timestamp=None).identity.startswith("sha256:")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"handler": {"type": "execution_handler"}, "type": "command"}, "cliq.command.execution"),
        ({"handler": {"type": "installation_handler"}, "type": ""}, "cliq.extension.installation"),
        ({"handler": {"type": "button_handler", "name": "pay"}, "type": "function"}, "cliq.function.button"),
        ({"handler": "mention", "type": ""}, "cliq.bot.mention"),
        ({"handler": {"type": "new_handler"}, "type": "newthing"}, "cliq.newthing.new"),
    ],
)
def test_components_and_handlers(said, kind):
    """Known or not, their words stand in the type."""
    assert told(**said).type == kind
    assert kind in CLIQ.types() or "new" in kind


def test_what_an_author_sends():
    """His shape is his own: a handler's name as a text, and the chat beside it."""
    event = told("deluge-message")
    assert (event.type, event.record_id, event.organisation) == ("cliq.bot.message", "smoke-chat", "77")


@pytest.mark.parametrize(
    "spoil",
    [
        *[{"handler": None}, {"handler": {}}, {"handler": "a b"}, {"type": "a.b"}, {"type": 5}],
        *[{"timestamp": "soon"}, {"params": []}, {"params": {"user": {"organization_id": [1]}}}],
    ],
)
def test_wrong_types_are_malformed(spoil):
    """What is not of its documented type goes into quarantine."""
    with pytest.raises(Malformed):
        told(**spoil)
