"""Retry, rerun, route again: what each form does to the ledger, and what the next page says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from dashboard_kit import HANDLER

from receiver.dashboard.house import FLASH
from receiver.ledger import read, runs
from receiver.routing import replays

if TYPE_CHECKING:
    from dashboard_kit import Seed, Visitor


def test_a_retry_runs_the_job_again_with_the_same_key(operator: Visitor, seed: Seed) -> None:
    """The job is due in the lane of replays, its generation as before, and the page says so once."""
    event = seed.handled(state="dead", reason="no", tries=7)
    job = runs.job_id(event.id, HANDLER)
    answer = operator.post("/jobs", {"job": job, "mode": "retry", "back": f"/events/{event.id}"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/events/{event.id}")
    (row,) = read.jobs(seed.redis, [job])
    assert (row.state, row.tries, row.generation, row.lane) == ("due", 0, 0, "zohook_replay")
    page = operator.get(f"/events/{event.id}")
    assert "with the same idempotency keys" in page.text
    assert f'{FLASH}=""' in page.headers["set-cookie"]
    assert "with the same idempotency keys" not in operator.get(f"/events/{event.id}").text


def test_a_rerun_runs_the_job_again_with_a_new_key(operator: Visitor, seed: Seed) -> None:
    """The generation rises, and with it the idempotency key."""
    event = seed.handled()
    job = runs.job_id(event.id, HANDLER)
    operator.post("/jobs", {"job": job, "mode": "rerun", "back": f"/events/{event.id}"})
    (row,) = read.jobs(seed.redis, [job])
    assert (row.state, row.generation) == ("due", 1)
    assert "new idempotency keys" in operator.get("/events").text


def test_an_open_job_is_left_alone(operator: Visitor, seed: Seed) -> None:
    """A form that comes too late, or twice, changes nothing and says so."""
    event = seed.handled(state="dead", reason="no")
    job = runs.job_id(event.id, HANDLER)
    for words in ("The job runs again", "still under way"):
        operator.post("/jobs", {"job": job, "mode": "retry"})
        assert words in operator.get("/events").text
    assert read.totals(seed.redis)["replayed"] == 1


@pytest.mark.parametrize("job", ["", "none:none", "x" * 9000, "\x00", "a:b:c", "*"])
def test_a_job_that_is_none_is_gone(job: str, operator: Visitor, seed: Seed) -> None:
    """Whatever a form names, nothing is made of it."""
    before = seed.redis.dbsize()
    assert operator.post("/jobs", {"job": job, "mode": "retry"}).status_code == 303
    assert "no such thing" in operator.get("/events").text
    assert seed.redis.dbsize() == before


def test_an_unmatched_event_is_routed_again(operator: Visitor, seed: Seed) -> None:
    """The event waits for the router once more."""
    event = seed.accept()
    seed.route(event)
    assert "Route again" in operator.get(f"/events/{event.id}").text
    answer = operator.post(f"/events/{event.id}/route")
    assert answer.headers["location"] == f"/events/{event.id}"
    row = read.event(seed.redis, event.id)
    assert row
    assert row.state == "due"
    text = operator.get(f"/events/{event.id}").text
    assert "The event is routed again" in text
    [recorded] = replays.recorded(seed.redis)
    assert (recorded.mode, recorded.by, recorded.filter.job) == ("retry", "dashboard, operator", event.id)
    assert "Route again" not in text
    assert operator.post("/events/none/route").headers["location"] == "/events"


@pytest.mark.parametrize("to", ["http://evil.test/", "//evil.test", "", "/\\evil.test"])
def test_a_form_never_leads_out(to: str, operator: Visitor) -> None:
    """Where to go afterwards is a page of ours or the first one."""
    assert operator.post("/jobs", {"job": "x", "back": to}).headers["location"] == "/"


@pytest.mark.parametrize(
    "word", ["retried", "<b>.1", "retried.x", "retried.-1", "made up.1", "retried." + "9" * 40]
)
def test_nobody_puts_words_into_the_page(word: str, operator: Visitor) -> None:
    """A cookie chooses among our sentences and brings none of its own."""
    operator.cookies.set(FLASH, word)
    assert 'class="notice good" role="status"' not in operator.get("/events").text
