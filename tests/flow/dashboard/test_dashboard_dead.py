"""Dead letters on the dashboard: found by a filter, run again in replays that are shown and cancelled."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from dashboard_kit import HANDLER, PASSWORD, VIEWER

from receiver import keys
from receiver.dashboard import dead
from receiver.event import now_ms
from receiver.ledger import read, runs
from receiver.routing import replays

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard_kit import Seed, Visitor


@pytest.fixture
def graveyard(seed: Seed) -> dict[str, str]:
    """Dead letters of several kinds; the events' ids by name."""
    found = {
        "deal": seed.handled(state="dead", reason="the field Amount is wrong", record_id="1").id,
        "lead": seed.handled("crm.Leads.created", "leads.greet", "dead", reason="no owner", record_id="2").id,
        "bill": seed.handled("books.invoice.paid", "deals.bill", "dead", reason="no deal", record_id="3",
                             error={"type": "NotFound", "message": "gone", "code": "NO_DEAL"}).id,
    }  # fmt: skip
    seed.catalogue(
        *(
            {"id": name, "doc": "", "patterns": [], "options": {}}
            for name in (HANDLER, "leads.greet", "deals.bill")
        )
    )
    return found


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", {"deal", "lead", "bill"}),
        ("handler=leads.greet", {"lead"}),
        ("type=crm.*.*", {"deal", "lead"}),
        ("type=Leads.create", {"lead"}),
        ("source=books", {"bill"}),
        ("record=1", {"deal"}),
        ("record=crm.Deals:1", {"deal"}),
        ("error=no_deal", {"bill"}),
        ("error=amount&source=crm", {"deal"}),
        ("error=amount&source=books", set()),
        ("since=1h", {"deal", "lead", "bill"}),
        ("since=never", {"deal", "lead", "bill"}),
    ],
)
def test_dead_letters_are_found_by_what_is_asked(
    operator: Visitor, graveyard: dict[str, str], query: str, names: set[str]
) -> None:
    """By handler, type, source, record, error and time, alone and together."""
    text = operator.get(f"/dead?{query}").text
    assert {name for name, event in graveyard.items() if f"/events/{event}" in text} == names
    if not names:
        assert "None fits these filters" in text


def test_dead_letters_from_before_a_handler_was_renamed_are_its_own(operator: Visitor, seed: Seed) -> None:
    """They are counted for it and found under its new id, and the old id is no handler any more."""
    event = seed.handled(handler="rooms.old", state="dead", reason="no")
    seed.handled(handler="rooms.new", state="dead", reason="no")
    seed.catalogue({"id": "rooms.new", "doc": "", "patterns": [], "options": {"was": ["rooms.old"]}})
    text = operator.get("/dead?handler=rooms.new").text
    assert f"/events/{event.id}" in text
    assert "rooms.new (2)" in text
    assert "rooms.old (" not in text
    assert "no worker has it" not in operator.get("/handlers").text


def test_all_that_fit_are_retried_at_a_rate_by_the_workers(operator: Visitor, seed: Seed) -> None:
    """The click notes a replay, and the page shows how far it is; the others stay dead."""
    for _ in range(55):
        seed.handled(handler="mirror.records", state="dead", reason="no")
    other = seed.handled(state="dead", reason="no")
    page = operator.get("/dead?handler=mirror.records").text
    assert "Retry these 50 shown" in page
    assert "Retry all that fit" in page
    answer = operator.post("/dead", {"handler": "mirror.records", "mode": "retry", "rate": "1000"})
    assert answer.headers["location"] == "/dead?handler=mirror.records"
    [replay] = replays.recorded(seed.redis)
    assert (replay.mode, replay.state, replay.chosen, replay.rate) == ("retry", "running", 55, 1000)
    assert (replay.by, replay.filter.handler) == ("dashboard, operator", "mirror.records")
    text = operator.get("/dead?handler=mirror.records").text
    assert "55 of the jobs are being run again" in text
    assert "0 of 55" in text
    seed.redis.hset(keys.replay(replay.id), "last", 0)
    assert replays.advance(seed.redis, 30) == 55
    text = operator.get("/dead").text
    assert "55 of 55" in text
    assert other.id in text
    assert read.states(seed.redis)["dead"] == 1


def test_a_rerun_lists_what_it_repeats_before_it_is_done(
    operator: Visitor, seed: Seed, graveyard: dict[str, str]
) -> None:
    """The first click only shows; the second begins it."""
    call = {"write": True, "status": 201, "method": "POST", "path": "/crm/v8/Leads"}
    job = runs.job_id(graveyard["deal"], HANDLER)
    seed.redis.rpush(
        keys.attempts(job),
        '{"run": 2, "calls": [' + re.sub("True", "true", str(call).replace("'", '"')) + "]}",
    )
    text = operator.get(f"/dead?handler={HANDLER}&rerun=1").text
    assert "Rerun the one from the beginning?" in text
    assert "POST /crm/v8/Leads" in text
    assert replays.recorded(seed.redis) == []
    assert "Nothing of it was done yet" in operator.get("/dead?handler=leads.greet&rerun=1").text
    operator.post("/dead", {"handler": HANDLER, "mode": "rerun"})
    [replay] = replays.recorded(seed.redis)
    assert (replay.mode, replay.chosen, replay.rate) == ("rerun", 1, 20)
    seed.redis.hset(keys.replay(replay.id), "last", 0)
    replays.advance(seed.redis, 30)
    assert read.jobs(seed.redis, [job])[0].generation == 1


def test_a_replay_is_cancelled_by_a_click(operator: Visitor, seed: Seed, graveyard: dict[str, str]) -> None:
    """What it had not given stays dead."""
    operator.post("/dead", {"mode": "retry", "rate": "0.1"})
    [replay] = replays.recorded(seed.redis)
    assert f"/replays/{replay.id}/cancel" in operator.get("/dead").text
    assert operator.post(f"/replays/{replay.id}/cancel").headers["location"] == "/dead"
    text = operator.get("/dead").text
    assert "The replay is cancelled" in text
    assert "/cancel" not in text
    assert read.states(seed.redis)["dead"] == len(graveyard)
    operator.post("/replays/none/cancel")
    assert "no such thing" in operator.get("/dead").text


@pytest.mark.parametrize("rate", ["", "-5", "many", "1e99", "nan"])
def test_a_rate_that_is_none_is_a_usual_one(
    operator: Visitor, seed: Seed, graveyard: dict[str, str], rate: str
) -> None:
    """A form is not trusted with it."""
    operator.post("/dead", {"mode": "retry", "rate": rate})
    assert 0.1 <= replays.recorded(seed.redis)[0].rate <= 1000


def test_jobs_that_are_named_run_at_once_and_are_recorded(
    operator: Visitor, seed: Seed, graveyard: dict[str, str]
) -> None:
    """Those of the page that a person sees."""
    jobs = [runs.job_id(graveyard["deal"], HANDLER), runs.job_id(graveyard["lead"], "leads.greet")]
    operator.post("/jobs", {"job": jobs, "mode": "retry", "back": "/dead"})
    assert "2 of the jobs run again" in operator.get("/dead").text
    [replay] = replays.recorded(seed.redis)
    assert (replay.state, replay.ok, replay.by) == ("done", 2, "dashboard, operator")
    operator.post("/dead", {"mode": "retry", "error": "no such error"})
    assert "none of them is finished" in operator.get("/dead").text
    assert len(replays.recorded(seed.redis)) == 1


def test_who_only_looks_sees_the_replays_and_no_button(
    visitor: Callable[..., Visitor], operator: Visitor, seed: Seed, graveyard: dict[str, str]
) -> None:
    """And a form of his is refused."""
    operator.post("/dead", {"mode": "retry"})
    viewer = visitor().sign_in(VIEWER)
    text = viewer.get("/dead").text
    assert "0 of 3" in text
    assert "<button>Cancel" not in text
    assert viewer.post("/dead", {"mode": "retry"}).status_code == 403
    assert len(replays.recorded(seed.redis)) == 1
    assert PASSWORD not in text


def test_a_search_without_an_index_says_how_far_it_came(
    operator: Visitor, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at so many rows and for so long, and can go on from there; nothing is shown twice or missed."""
    monkeypatch.setattr(dead, "MOST", 100)
    first = seed.handled(state="dead", reason="no")
    pipe = seed.redis.pipeline()
    for number in range(250):
        job = runs.job_id(f"{first.id[:-4]}{number:04d}", HANDLER)
        reason = "rare" if number in (5, 200) else "no"
        pipe.hset(
            keys.job(job),
            mapping={"state": "dead", "run": 1, "reason": reason, "ended": now_ms() - number * 1000},
        )
        pipe.zadd(keys.jobs_in_state("dead"), {job: now_ms() - number * 1000})
    pipe.execute()
    seen, path = 0, "/dead?error=rare"
    for _ in range(5):
        text = operator.get(path).text
        seen += text.count('<div class="reason">rare')
        more = re.search(r'Searched back to .*?href="([^"]+)"', text)
        if not more:
            break
        path = more[1].replace("&amp;", "&")
    assert seen == 2
    assert path != "/dead?error=rare"
