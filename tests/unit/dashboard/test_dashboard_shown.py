"""How values are shown, how charts are drawn, how filters read: the parts without Redis."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.dashboard import chart, queries, shown
from receiver.dashboard.search import Filters
from receiver.event import Event, now_ms
from receiver.ledger.rows import EventRow, JobRow


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0, "0 ms"), (-5, "0 ms"), (8, "8 ms"), (999, "999 ms"), (1000, "1 s"), (1240, "1.2 s"), (59_940, "59.9 s"),
     (59_960, "1 min"), (60_000, "1 min"), (185_000, "3 min 5 s"), (3_600_000, "1 h"), (7_440_000, "2 h 4 min"),
     (86_400_000, "1 d"), (273_600_000, "3 d 4 h"), (10**13, "115,740 d 17 h")],
)  # fmt: skip
def test_lengths_of_time_are_for_people(ms: int, words: str) -> None:
    """Two units at most, the larger first."""
    assert shown.duration(ms) == words


@given(st.floats(min_value=-1e6, max_value=1e15))
def test_any_length_of_time_can_be_shown(ms: float) -> None:
    """No number of milliseconds breaks a page."""
    assert shown.duration(ms)


def test_times_are_utc_and_whole_on_hover() -> None:
    """The clock today, the date otherwise, a machine's form in the attribute."""
    then = shown.at(1_700_000_000_123)
    assert then == (
        '<time datetime="2023-11-14T22:13:20.123+00:00" title="Tue 14 Nov 2023, 22:13:20.123 UTC">14 Nov 22:13</time>'
    )
    assert len(shown.at(now_ms()).striptags()) == 8


@given(st.integers())
def test_any_number_can_be_shown_as_a_time(ms: int) -> None:
    """What cannot be a time is a dash, and never an error."""
    assert shown.at(ms)
    assert shown.ago(ms)


@pytest.mark.parametrize(
    ("since", "words"),
    [
        (0, "now"),
        (1500, "1 s ago"),
        (61_000, "1 min ago"),
        (7_300_000, "2 h ago"),
        (10**9, "11 d ago"),
        (-5_500, "in 5 s"),
    ],
)
def test_how_long_ago(since: int, words: str) -> None:
    """One unit is enough for what is past or to come."""
    assert shown.ago(now_ms() - since) == words


@pytest.mark.parametrize(
    ("octets", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 * 2**20, "3.0 MiB"), (5 * 2**30, "5,120.0 MiB")],
)
def test_sizes(octets: int, words: str) -> None:
    """Bytes, KiB, MiB."""
    assert shown.size(octets) == words


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("crm.Deals.updated", "crm.Deals.updated"),
        ("app.invoice.line.remind", "app.invoice.line.remind"),
        ("odd", "odd"),
        ("a.b", "a.b"),
        ("", ""),
        ("..", ".."),
    ],
)
def test_an_event_type_keeps_its_letters(name: str, text: str) -> None:
    """The parts are marked and nothing is lost or added."""
    assert shown.event_type(name).striptags() == text


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_marked_json_is_well_formed_and_says_the_same(value: object) -> None:
    """The marks of keys and values break no text: what is left without them is the JSON itself."""
    html = str(shown.json(value))
    plain = html
    for kind in ("key", "text", "number", "word"):
        plain = plain.replace(f'<span class="j-{kind}">', "")
    plain = plain.replace("</span>", "")
    assert "<" not in plain
    assert ">" not in plain
    for sign, entity in (("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;"), ("&", "&amp;")):
        plain = plain.replace(entity, sign)
    assert plain == shown.pretty(value)


def test_json_beyond_json_is_still_shown() -> None:
    """What orjson refuses is shown as Python shows it."""
    assert "9" * 30 in shown.json({"x": int("9" * 30)})


def test_long_values_are_cut_and_counted() -> None:
    """A page shows the beginning and how much there is more."""
    text = shown.text("x" * (shown.LONGEST + 1234))
    assert text.endswith('<span class="cut">… and 1,234 more characters</span>')


@pytest.mark.parametrize(
    ("most", "top"), [(0, 5), (5, 5), (6, 10), (11, 20), (47, 50), (51, 100), (1001, 2000)]
)
def test_the_top_of_an_axis_is_a_round_number(most: int, top: int) -> None:
    """1, 2 or 5 times a power of ten, and never below what is to be shown."""
    assert chart.ceiling(most) == top


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=60))
def test_a_chart_is_well_formed_and_inside_its_frame(counts: list[tuple[int, int, int]]) -> None:
    """Any counts become shapes between the axis and the top."""
    svg = ET.fromstring(chart.rates([chart.Minute("12:00", *each) for each in counts]))  # noqa: S314 - it is our own
    for rect in svg.iter("rect"):
        assert 0 <= float(rect.attrib["y"]) <= chart.HEIGHT
        assert float(rect.attrib["height"]) >= 0
        assert 0 <= float(rect.attrib["x"]) <= float(svg.attrib["viewBox"].split()[2])
    assert "style" not in svg.attrib


@given(st.lists(st.integers(0, 10**9), max_size=100))
def test_the_spread_of_latencies_is_drawn_for_any(values: list[int]) -> None:
    """No latency is too short or too long, and none at all draws nothing."""
    svg = chart.spread(values)
    assert bool(svg) == bool(values)


def job(state: str, **fields: object) -> JobRow:
    """A job in a state."""
    return JobRow(id="e:h", event="e", handler="h", state=state, **fields)  # type: ignore[arg-type]


def row(state: str, *jobs: JobRow) -> EventRow:
    """An event in a state with jobs."""
    return EventRow(Event(id="e", type="crm.Deals.updated", source="crm", data={}, received=1), state, jobs)


@pytest.mark.parametrize(
    ("event", "word"),
    [
        (row("due"), "routing"), (row("running"), "routing"), (row("dead"), "unrouted"), (row("cancelled"), "cancelled"), (row("held"), "held"),
        (row("unmatched"), "unmatched"), (row("routed"), "unmatched"), (row("routed", job("done")), "done"),
        (row("routed", job("done"), job("dead")), "dead"), (row("routed", job("skipped"), job("done")), "done"),
        (row("routed", job("skipped")), "skipped"), (row("routed", job("due", tries=1), job("due")), "retrying"),
        (row("routed", job("due", deaths=1)), "retrying"), (row("routed", job("running"), job("due")), "running"),
        (row("routed", job("held"), job("running")), "held"), (row("routed", job("of another version")), "due"),
    ],
)  # fmt: skip
def test_an_event_stands_as_its_jobs_do(event: EventRow, word: str) -> None:
    """The worst that is over comes first, then the most urgent that is not."""
    assert queries.standing(event) == word
    assert word in queries.TONES


def test_an_event_for_later_is_scheduled_until_its_time() -> None:
    """What is due in the future waits for it; what is due now waits for the router."""
    later = replace(row("due"), due=now_ms() + 60_000)
    assert queries.standing(later) == "scheduled"
    assert queries.in_state(later, "scheduled")
    assert queries.standing(replace(later, due=now_ms())) == "routing"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("connection:acme", "The connection acme waits for a new consent"),
        ("no_handler:deals.won", "No living worker has the handler deals.won"),
        ("paused", "Paused"), ("paused:handler:deals.won", "The handler deals.won is paused"), ("quota", "quota"), ("", ""),
    ],
)  # fmt: skip
def test_reasons_are_said_in_words(reason: str, words: str) -> None:
    """What work waits for is named as people name it; an unknown reason is shown as it stands."""
    assert queries.why_held(reason) == words


@pytest.mark.parametrize(
    ("previous", "now", "changed", "found"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, None, [("b", 2, 3)]),
        ({"a": 1, "b": 2}, {"a": 2, "b": 3}, frozenset({"a"}), [("a", 1, 2)]),
        ({"a": 1}, {}, None, [("a", 1, None)]),
        ({"a": 1}, [], None, [("a", 1, None)]),
        (None, {"a": 1}, frozenset({"a"}), []),
        ("text", {"a": 1}, None, []),
        ({"a": 1}, {"a": 1}, frozenset({"a"}), []),
    ],
)
def test_differences_are_of_what_changed(
    previous: object, now: object, changed: frozenset[str] | None, found: list
) -> None:
    """The fields that the event names, or all that differ, where it says what was before."""
    assert queries.differences(previous, now, changed) == found


def test_percentiles() -> None:
    """The middle and the end of what is sorted; nought of nothing."""
    assert queries.percentile([], 0.5) == 0
    assert queries.percentile(list(range(100)), 0.5) == 50
    assert queries.percentile(list(range(100)), 0.99) == 99
    assert queries.percentile([7], 0.99) == 7


@pytest.mark.parametrize(
    ("row", "state"),
    [({"busy": "2", "state": "idle"}, "busy"), ({"state": "busy"}, "idle"), ({"state": "suspended"}, "suspended"),
     ({"state": "busy", "busy": "1", "last_heartbeat": "2020-01-01T00:00:00.000000Z"}, "silent"), ({"last_heartbeat": "x"}, "idle")],
)  # fmt: skip
def test_a_worker_is_what_it_does(row: dict[str, str], state: str) -> None:
    """Busy with what it executes, idle without, silent when it was not heard of for long."""
    assert queries.worker({"name": "w", **row})["state"] == state


def test_filters_are_read_and_written_alike() -> None:
    """What a query string says comes back in the links of the page; an unknown state is none."""
    filters = Filters.of({"type": " crm.* ", "source": "crm", "state": "nope", "other": "x"})
    assert filters == Filters("crm.*", "crm")
    assert filters.query(after="id") == "type=crm.%2A&source=crm&after=id"
    assert not Filters.of({})
