"""What combines with what: the README's table is what the code does, for all pairs of options."""

from __future__ import annotations

from dataclasses import fields
from itertools import combinations
from pathlib import Path

import pytest

from receiver import on
from receiver.errors import HandlerError
from receiver.routing.options import Options

README = (Path(__file__).parents[2] / "README.md").read_text()
CHAPTER = README[README.index("**What combines with what.**") : README.index("**Batches.**")]
SAMPLES = {
    "changed": {"changed": "Stage"},
    "when": {"when": {"status": "paid"}},
    "record": {"record": True},
    "where": {"record": True, "where": {"Stage": "Won"}},
    "retries": {"retries": 3},
    "retry_for": {"retry_for": "1d"},
    "timeout": {"timeout": 5},
    "max_age": {"max_age": "1d"},
    "origins": {"origins": "live"},
    "source": {"source": "crm"},
    "connection": {"connection": "acme"},
    "scopes": {"scopes": "ZohoCRM.modules.Quotes.READ"},
    "queue": {"queue": "slow"},
    "model": {"model": object},
    "key": {"key": "record"},
    "order": {"order": "record"},
    "on_dead": {"order": "record", "on_dead": "hold"},
    "on_failure": {"order": "record", "on_failure": "yield"},
    "latest": {"latest": str},
    "debounce": {"debounce": 1},
    "debounce_for": {"debounce": 1, "debounce_for": 9},
    "batch": {"batch": 5},
    "batch_for": {"batch": 5, "batch_for": 1},
    "concurrency": {"concurrency": 2},
    "concurrency_per_key": {"key": "record", "concurrency_per_key": 1},
    "rate": {"rate": "10/m"},
    "rate_per_key": {"key": "record", "rate_per_key": "10/m"},
    "isolated": {"isolated": True},
    "share": {"share": 1},
    "was": {"was": "rooms.old"},
    "mode": {"mode": "shadow"},
}
"""Each option as it can be written, with what it needs."""
PART_OF = {"on_dead": "order", "on_failure": "order", "debounce_for": "debounce", "batch_for": "batch"}
"""What an option combines with is what its owner does."""


def table():
    """(one, other) -> whether they combine, as the README says it."""
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]]
        for line in CHAPTER.splitlines()
        if line.startswith("|")
    ]
    head = rows[0][1:]
    return {
        (row[0], other): cell for row in rows[2:] for other, cell in zip(head, row[1:], strict=True) if cell
    }


TABLE = table()


def combine(one, other):
    """Whether two options combine by the README: what is not in its table does."""
    return TABLE.get((PART_OF.get(one, one), PART_OF.get(other, other)), "yes") == "yes"


def test_the_table_says_the_same_both_ways_and_nothing_else():
    """Each cell is yes or no, its mirror image says so too, and a name is an option."""
    assert set(TABLE.values()) == {"yes", "no"}
    assert all(TABLE[other, one] == word for (one, other), word in TABLE.items())
    names = {name for pair in TABLE for name in pair}
    assert names < set(SAMPLES)
    assert len(TABLE) == len(names) * (len(names) - 1)


def test_every_option_is_sampled_here_and_explained_in_the_readme():
    """A new option must say what it combines with."""
    assert set(SAMPLES) == {each.name for each in fields(Options)}
    options = README[README.index("| option | meaning |") : README.index("**What combines with what.**")]
    for name in SAMPLES:
        assert f"`{name}=" in options, name


@pytest.mark.parametrize("name", SAMPLES)
def test_every_option_can_be_written(name):
    """The samples are right in themselves, so a refusal of a pair is about the pair."""
    assert on("crm.Deals.updated", **SAMPLES[name])


@pytest.mark.parametrize(("one", "other"), list(combinations(SAMPLES, 2)))
def test_what_the_table_refuses_is_refused_and_nothing_else_is(one, other):
    """With a sentence that names both or says what to write instead."""
    options = {**SAMPLES[one], **SAMPLES[other]}
    if combine(one, other):
        assert on("crm.Deals.updated", **options)
        return
    with pytest.raises(HandlerError) as refused:
        on("crm.Deals.updated", **options)
    said = str(refused.value)
    assert f"{PART_OF.get(one, one)}=" in said
    assert f"{PART_OF.get(other, other)}=" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch": 5, "key": "record", "latest": True}, "leave key= out and write latest= with it"),
        ({"batch": 5, "key": "record", "latest": "record"}, "leave key= out"),
        ({"batch": 5, "key": str, "latest": str}, "leave key= out"),
        ({"where": {"a": 1}}, "needs record=True"),
        ({"debounce_for": 3}, "which is missing"),
        ({"batch_for": 3}, "which is missing"),
        ({"on_failure": "yield"}, "order= is missing"),
        ({"concurrency_per_key": 1}, "needs key="),
        ({"order": True}, "takes the key of key=, which is missing"),
    ],
)
def test_what_is_missing_or_pointless_is_refused_with_the_cure(options, words):
    """Of three options, or of one that needs another."""
    with pytest.raises(HandlerError, match=words):
        on("crm.Deals.updated", **options)


def test_another_key_for_latest_goes_with_a_batch_per_key():
    """The newest of each record, a batch per owner."""
    assert on("crm.Deals.updated", batch=5, key=lambda event: event.data["owner"], latest="record")
