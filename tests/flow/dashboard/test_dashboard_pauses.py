"""Pauses on the dashboard: set and ended by a click, and seen wherever somebody may wonder why nothing happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dashboard_kit import HANDLER, VIEWER

from receiver.ledger import read, runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard_kit import Seed, Visitor


@pytest.mark.parametrize("what", [f"handler:{HANDLER}", "source:crm", "queue:slow", "queue:zohook"])
def test_what_is_paused_is_seen_and_resumed(operator: Visitor, seed: Seed, what: str) -> None:
    """The button turns into its opposite; the overview says so even while nothing waits."""
    seed.catalogue({"id": HANDLER, "doc": "", "patterns": [], "options": {}})
    seed.redis.sadd("rq:queues", "rq:queue:zohook_slow", "rq:queue:zohook_replay")
    seed.redis.sadd("rq:queues", "rq:queue:zohook/rooms.slow", "rq:queue:zohook_replay/rooms.slow")
    page = operator.get("/handlers").text
    assert f'name="what" value="{what}"' in page
    assert "queue:replay" not in page
    assert 'value="queue:zohook/' not in page
    assert operator.post("/pause", {"what": what}).headers["location"] == "/handlers"
    assert read.paused(seed.redis) == {what: 0}
    page = operator.get("/handlers").text
    assert "It is paused: deliveries are still accepted" in page
    assert 'action="/resume"' in page
    kind, _, name = what.partition(":")
    assert f"The {kind} {name} is paused" in operator.get("/").text
    operator.post("/resume", {"what": what})
    assert read.paused(seed.redis) == {}
    assert "It goes on; 0 waited" in operator.get("/handlers").text
    assert "is paused" not in operator.get("/").text


def test_what_waits_is_counted_and_goes_on(operator: Visitor, seed: Seed) -> None:
    """Held jobs of a paused handler are due again at a click."""
    runs.pause(seed.redis, f"handler:{HANDLER}")
    for _ in range(3):
        seed.handled(state="held", parked=f"paused:handler:{HANDLER}", reason="paused")
    assert f"The handler {HANDLER} is paused" in operator.get("/").text
    operator.post("/resume", {"what": f"handler:{HANDLER}"})
    assert "It goes on; 3 waited" in operator.get("/handlers").text
    assert read.states(seed.redis)["due"] == 3


def test_a_handler_that_was_paused_under_its_old_name_is_shown_so(operator: Visitor, seed: Seed) -> None:
    """And is resumed by the name that it was paused under."""
    seed.catalogue({"id": "rooms.new", "doc": "", "patterns": [], "options": {"was": ["rooms.old"]}})
    runs.pause(seed.redis, "handler:rooms.old")
    assert 'name="what" value="handler:rooms.old"' in operator.get("/handlers").text


@pytest.mark.parametrize("what", ["", "everything", "handler:", "worker:x", "x" * 400])
def test_only_handlers_sources_and_queues_are_paused(operator: Visitor, seed: Seed, what: str) -> None:
    """Whatever a form names, nothing else gets into the ledger."""
    operator.post("/pause", {"what": what})
    assert read.paused(seed.redis) == {}
    assert "Only handlers, sources and queues can be paused" in operator.get("/handlers").text


def test_who_only_looks_sees_pauses_and_no_button(visitor: Callable[..., Visitor], seed: Seed) -> None:
    """His form is refused too."""
    runs.pause(seed.redis, "source:crm")
    viewer = visitor().sign_in(VIEWER)
    page = viewer.get("/handlers").text
    assert "source crm" in page
    assert "paused" in page
    assert 'action="/resume"' not in page
    assert viewer.post("/resume", {"what": "source:crm"}).status_code == 403
    assert read.paused(seed.redis) == {"source:crm": 0}
