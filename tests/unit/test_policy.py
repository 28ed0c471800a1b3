"""What becomes of a job after a run: a pure function of the error, the tries and the time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from receiver import errors
from receiver.errors import RetryLater, Skip, TokenThrottled, ZohoError
from receiver.routing.options import Options
from receiver.routing.policy import FIRST, LONGEST, TRACEBACK, backoff, decide, name, shown

NOW = 1_790_000_000_000
HOUR = 3_600_000


def after(error, *, tries=0, made=NOW, chance=0.5, **options):
    """The decision on a run that ends now."""
    return decide(error, tries=tries, options=Options(**options), now=NOW, made=made, chance=chance)


RETRIED = (
    *(errors.NotFound, errors.Conflict, errors.Unavailable, errors.Fenced),
    *(errors.HandlerError, errors.SettingsError, ValueError, TimeoutError, KeyError),
)
DEAD = (
    *(errors.InvalidRequest, errors.DuplicateData, errors.PermissionDenied, errors.ScopeMissing),
    errors.StepUnknown,
)
HELD = (
    *(errors.ConnectionUnusable, errors.ConnectionRevoked, errors.ConnectionMisconfigured),
    errors.NotConnected,
)


@pytest.mark.parametrize("kind", RETRIED)
def test_what_may_pass_is_tried_again(kind):
    """A bug, an outage and a record that is not there yet come due again, and count a try."""
    decision = after(kind("today"), tries=3)
    assert (decision.state, decision.tries, decision.parked) == ("due", 4, "")
    assert (decision.wait, decision.at) == (80_000, 0)
    assert decision.reason.startswith(f"{kind.__name__}: ")


@pytest.mark.parametrize("kind", DEAD)
def test_what_waiting_does_not_cure_dies_at_once(kind):
    """Zoho calls the data wrong, or a person must decide: no second try, however many are allowed."""
    decision = after(kind("no such field"), retries=99)
    assert (decision.state, decision.tries, decision.due(0)) == ("dead", 1, 0)
    assert "no such field" in decision.reason


@pytest.mark.parametrize("kind", HELD)
def test_what_waits_for_a_person_is_held_and_burns_no_try(kind):
    """It is parked under the connection, even when the time to retry is long over."""
    decision = after(kind("consent again", connection="acme"), tries=2, made=NOW - 99 * HOUR)
    assert (decision.state, decision.tries, decision.due(0)) == ("held", 2, 0)
    assert decision.parked == "connection:acme"
    assert decision.reason == "consent again"


def test_every_error_of_zoho_is_decided_on_purpose():
    """An error that is added to the tree must be put in one of the groups above."""

    def below(kind):
        return {kind, *(each for sub in kind.__subclasses__() for each in below(sub))}

    assert below(ZohoError) - {ZohoError} == {
        kind
        for kind in (*RETRIED, *DEAD, *HELD, TokenThrottled, errors.RateLimited)
        if issubclass(kind, ZohoError)
    }


@pytest.mark.parametrize("retry_after", [None, 30.0, 900.0])
def test_a_throttled_token_burns_no_try_and_comes_due_when_zoho_says(retry_after):
    """Or after the ten minutes that Zoho's window has; spread over half a minute, for all wait for the same."""
    wait = (retry_after or 600) * 1000
    for chance, spread in ((0.0, 0), (1.0, 30_000)):
        decision = after(TokenThrottled("slow", retry_after=retry_after), tries=2, chance=chance)
        assert (decision.state, decision.tries) == ("due", 2)
        assert decision.due(NOW) == NOW + wait + spread


def test_an_end_on_purpose_is_no_failure():
    """Done, skipped and later leave the tries as they were."""
    assert after(None, tries=2).state == "done"
    skipped = after(Skip("no mail"), tries=2)
    assert (skipped.state, skipped.tries, skipped.reason) == ("skipped", 2, "no mail")
    later = after(RetryLater(60, reason="not there yet"), tries=2, retries=0)
    assert (later.state, later.tries, later.wait, later.reason) == ("due", 2, 60_000, "not there yet")
    assert after(RetryLater(60)).reason == "asked to be run later"
    at = datetime.fromtimestamp(NOW / 1000 + 5, UTC)
    assert after(RetryLater(at=at)).at == after(RetryLater(at=at)).due(0) == NOW + 5000
    assert after(RetryLater(0)).due(NOW) == NOW


def test_retry_later_needs_one_moment_with_its_zone():
    """What could be read in two ways is refused where it is written."""
    for wrong in ({}, {"seconds": 1, "at": datetime.now(UTC)}, {"at": datetime(2026, 1, 1)}):  # noqa: DTZ001
        with pytest.raises(TypeError):
            RetryLater(**wrong)


@pytest.mark.parametrize(("retries", "tries", "state"), [(0, 0, "dead"), (2, 1, "due"), (2, 2, "dead")])
def test_retries_is_how_often_a_failure_is_tried_again(retries, tries, state):
    """None is left after so many; the reason says how often and with what it failed."""
    decision = after(ValueError("odd"), tries=tries, retries=retries)
    assert (decision.state, decision.tries) == (state, tries + 1)
    if state == "dead":
        assert decision.reason == f"failed {tries + 1} times, the last with ValueError: odd"


@pytest.mark.parametrize(
    ("retry_for", "words"),
    [(86_400, "1 day"), (3 * 86_400, "3 days"), (5400, "1.5 hours"), (60, "1 minute"), (20, "20 seconds")],
)
def test_giving_up_says_after_how_long(retry_for, words):
    """In the unit that a person would use, with the last error."""
    decision = after(ValueError("odd"), made=NOW - retry_for * 1000, retry_for=float(retry_for))
    assert decision.state == "dead"
    assert decision.reason == f"given up after {words}, the last with ValueError: odd"


@given(tries=st.integers(1, 10_000), chance=st.floats(0, 1))
@example(tries=1, chance=0.0)
def test_backoff_doubles_from_ten_seconds_to_six_hours(tries, chance):
    """Within a tenth on either side, never less than the try before by more than that, and without overflow."""
    wait = min(LONGEST, FIRST * 2 ** min(tries - 1, 99))
    assert 0.9 * wait <= backoff(tries, chance) <= 1.1 * wait
    assert backoff(tries + 1, chance) >= backoff(tries, chance)


ERRORS = st.one_of(
    st.none(),
    st.sampled_from([kind("x") for kind in (*RETRIED, *DEAD, *HELD)]),
    st.builds(RetryLater, st.floats(0, 1e7)),
    st.builds(Skip, st.text()),
    st.builds(
        lambda kind, wait: kind("x", retry_after=wait),
        st.sampled_from([errors.RateLimited, errors.Unavailable, errors.NotFound]),
        st.floats(0, 1e7),
    ),
)


@given(
    error=ERRORS,
    tries=st.integers(0, 60),
    age=st.integers(0, 10**9),
    retry_for=st.floats(0, 1e6),
    chance=st.floats(0, 1),
)
def test_nothing_comes_due_past_its_time_to_retry(error, tries, age, retry_for, chance):
    """Whatever the error asks for: it comes due within retry_for of the first try, and not in the past."""
    made = NOW - age
    decision = after(error, tries=tries, made=made, chance=chance, retry_for=retry_for)
    assert decision.tries in (tries, tries + 1)
    if decision.state == "due":
        assert NOW <= decision.due(NOW) <= made + retry_for * 1000


@given(st.floats(0, 200_000), st.integers(0, 20))
def test_zohos_retry_after_is_kept_to(retry_after, tries):
    """Never sooner than Zoho says, nor sooner than our own backoff."""
    decision = after(errors.Unavailable("slow", retry_after=retry_after), tries=tries, retry_for=9e9)
    wait = int(max(retry_after, backoff(tries + 1, 0.5)) * 1000)
    assert wait <= decision.wait <= wait + 1


@given(st.floats(0, 200_000), st.integers(0, 20), st.floats(0, 1))
def test_a_limit_costs_no_try(retry_after, tries, chance):
    """It comes again once there may be room, at most twice as late, and not all of them at one moment."""
    error = errors.RateLimited("full", retry_after=retry_after)
    decision = after(error, tries=tries, retry_for=9e9, chance=chance)
    wait = retry_after or FIRST
    assert (decision.state, decision.tries) == ("due", tries)
    assert int(wait * 1000) <= decision.wait <= int(wait * 2000) + 1


def test_what_is_blocked_for_all_holds_the_job():
    """It waits for the place to take calls again, and is not given up meanwhile."""
    error = errors.RateLimited("day limit", retry_after=3600)
    error.hold = "acme:books:20061234567"
    decision = after(error, tries=2, made=NOW - 10**9, retry_for=10.0)
    assert (decision.state, decision.tries, decision.parked) == ("held", 2, "limit:acme:books:20061234567")


def test_an_error_is_named_in_one_line():
    """Its type and the first line of what it says, cut where it is long."""
    assert name(ValueError("one\ntwo")) == "ValueError: one"
    assert name(ValueError()) == "ValueError"
    assert len(name(ValueError("x" * 10_000))) < 400


def test_an_error_is_kept_without_its_secrets():
    """Type, message, the end of its traceback, and Zoho's code where there is one."""
    token = f"1000.{'a' * 32}.{'b' * 32}"
    with pytest.raises(errors.RateLimited) as raised:
        raise errors.RateLimited(f"slow down, {token}", code="45")
    kept = shown(raised.value)
    assert (kept["type"], kept["code"]) == ("RateLimited", "45")
    assert "test_policy.py" in kept["traceback"]
    assert token not in str(kept)
    assert "code" not in shown(ValueError("odd"))
    long = shown(ValueError("x" * 100_000))
    assert len(long["message"]) <= 1000
    assert len(long["traceback"]) <= TRACEBACK


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan"), 10**12])
def test_retry_later_is_a_time_that_comes(seconds: float) -> None:
    """A wait that is negative or never ends is refused where it is written, in the handler."""
    with pytest.raises(ValueError, match="a year"):
        RetryLater(seconds)
