"""Logs: what a line looks like, and what never gets into one."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from receiver import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import MakeSettings

    Setup = Callable[..., io.StringIO]

CANARY = "canary/secret+with&marks=\"'äé"
TOKEN = "1000.0123456789abcdef0123456789abcdef.0123456789abcdef0123456789abcdef"


@pytest.fixture
def setup(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """Sets logging up on a stream that it returns, with a canary among the secrets; undone afterwards."""
    root = logging.getLogger()
    kept, level = list(root.handlers), root.level
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logs, "_settings_secrets", ())
    monkeypatch.setattr(logs, "_hidden", logs.deque(maxlen=512))

    def make(*, pretty: bool = False) -> io.StringIO:
        stream = io.StringIO()
        logs.setup(
            settings('[sources]\ncrm = "crm_channel"', secrets={"crm": CANARY}), stream=stream, pretty=pretty
        )
        return stream

    yield make
    root.handlers[:] = kept
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was logged; each line must be JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail(words: str) -> None:
    """Something that goes wrong."""
    raise ValueError(words)


def test_a_line_is_one_json_object(setup: Setup) -> None:
    """Without a terminal every line is JSON with time, level, name and what was given."""
    stream = setup()
    logs.get("room").info("delivery", source="crm", ms=12, nested={"a": [1, None, True]})
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "delivery", "level": "info", "logger": "room", "source": "crm", "ms": 12, "nested": {"a": [1, None, True]},
    }  # fmt: skip


def test_bound_ids_are_on_every_line(setup: Setup) -> None:
    """What is bound for a unit of work is on its lines, in the libraries' too, and on no later one."""
    stream = setup()
    with logs.bound(job="j1", event="e1"):
        logs.get("a").info("one")
        logging.getLogger("library").warning("two")
    logs.get("a").info("three")
    first, second, third = lines(stream)
    assert (first["job"], first["event_id"], first["event"]) == ("j1", "e1", "one")
    assert (second["job"], second["logger"], second["event"]) == ("j1", "library", "two")
    assert "job" not in third


def test_a_secret_is_masked_wherever_it_is(setup: Setup) -> None:
    """A known secret never gets out: as a value, a key, nested, in bytes, in an object, in a message, quoted for a URL."""
    stream = setup()
    logs.hide("token-of-the-run-time")

    class Thing:
        def __str__(self) -> str:
            return f"thing with {CANARY}"

    logs.get("x").info(
        f"said {CANARY}",
        plain=CANARY,
        nested=[{"deep": {"er": (f"x{CANARY}x", Thing())}}],
        raw=CANARY.encode(),
        error=ValueError(CANARY),
        shown=repr({"x": CANARY}),
        url=str(__import__("httpx").URL("https://x.example/", params={"a": CANARY})),
        late="token-of-the-run-time",
        **{CANARY: 1},
    )
    text = stream.getvalue()
    assert "canary" not in text
    assert "run-time" not in text
    assert "***" in text
    assert lines(stream)


def test_a_secret_in_an_exception_is_masked(setup: Setup) -> None:
    """Neither message, cause nor source line of a traceback shows a secret."""
    stream = setup()
    try:
        try:
            fail(CANARY)
        except ValueError as error:
            raise KeyError(f"with {CANARY} and {TOKEN}") from error
    except KeyError:
        logs.get("x").exception("failed")
        logging.getLogger("library").exception("failed with %s", CANARY)
    text = stream.getvalue()
    assert "canary/" not in text
    assert TOKEN not in text
    assert all("Traceback" in line["exception"] for line in lines(stream))


@pytest.mark.parametrize(
    "name",
    ["token", "access_token", "refresh_token", "client_secret", "password", "Authorization", "cookie", "Set-Cookie", "code",
     "x-webhook-token", "secrets", "ZOHOOK_WEB__PASSWORD", "api_key"],
)  # fmt: skip
def test_what_is_called_a_secret_is_masked(setup: Setup, name: str) -> None:
    """A value under such a name is masked though nobody knows it, at any depth, whatever its type."""
    stream = setup()
    logs.get("x").info("said", headers=[{name: "unknown-value"}], **{name: ["unknown-value"]})
    assert "unknown-value" not in stream.getvalue()


@pytest.mark.parametrize(
    "name", ["token_refreshes", "tokens_left", "encoded", "secretary", "status_code", "error_code"]
)
def test_what_only_sounds_like_a_secret_is_shown(setup: Setup, name: str) -> None:
    """Counts and codes that one wants to read are not masked."""
    stream = setup()
    logs.get("x").info("said", **{name: "value"})
    assert lines(stream)[0][name] == "value"


@pytest.mark.parametrize(
    "text",
    [f"Authorization: Zoho-oauthtoken {TOKEN}", f"got {TOKEN}", "https://x.example/cb?code=1000.aa.bb&state=1",
     "{'refresh_token': '1000.aa.bb'}", '{"client_secret":"1000.aa.bb"}', "Bearer 1000.aa.bb", "password=1000.aa.bb"],
)  # fmt: skip
def test_what_looks_like_a_secret_is_masked(text: str) -> None:
    """Tokens in the shapes that they travel in are masked in free text too."""
    said = logs.mask(text)
    assert "1000." not in said
    assert "***" in said


def test_short_values_are_not_searched_for(setup: Setup) -> None:
    """Hiding an empty or tiny value would mask everything, so it masks nothing."""
    stream = setup()
    logs.hide("")
    logs.hide("a")
    logs.get("x").info("an apple")
    assert lines(stream)[0]["event"] == "an apple"


EVIL = "a\r\nb\x1b[31m\u2028\u2029\x00\x7f\x85\u202e\ud800"


@pytest.mark.parametrize("pretty", [False, True])
def test_nobody_can_forge_a_line(setup: Setup, pretty: bool) -> None:
    """Line ends, escapes, separators and what turns text around come out escaped, from values, names and messages."""
    stream = setup(pretty=pretty)
    logs.get("x").info(EVIL, value=EVIL, nested=[{EVIL: EVIL}], **{EVIL: "x"})
    logging.getLogger("library").warning(
        "%s", EVIL[:-1]
    )  # pytest keeps what the stdlib logs, and takes no surrogate
    text = stream.getvalue()
    assert len(text.splitlines()) == 2
    assert not set("\r\x1b\u2028\u2029\x00\x7f\x85\u202e\ud800") & set(text)
    assert r"\n" in text


def test_on_a_terminal_a_traceback_cannot_pass_for_a_line(setup: Setup) -> None:
    """Every line of a traceback is indented, those of its message too."""
    stream = setup(pretty=True)
    try:
        fail("bad\n2026-01-01T00:00:00Z [info] all is well")
    except ValueError:
        logs.get("x").exception("failed")
    first, *others = stream.getvalue().splitlines()
    assert "failed" in first
    assert all(line.startswith("    ") for line in others)


def test_noisy_libraries_are_heard_from_warnings_on(setup: Setup) -> None:
    """An HTTP client logs every address at INFO, and addresses have secrets in them."""
    stream = setup()
    for name in ("httpx", "httpcore.http11", "uvicorn.access", "rq.worker"):
        logger = logging.getLogger(name)
        logger.info("GET https://x.example/?code=1")
        logger.warning("heard")
    assert [line["event"] for line in lines(stream)] == ["heard"] * 4


def test_setting_up_again_replaces_and_does_not_double(setup: Setup) -> None:
    """After a second setup a line comes once, and to the new stream."""
    first, second = setup(), setup()
    logging.getLogger("library").warning("once")
    logs.get("x").info("once")
    assert first.getvalue() == ""
    assert len(lines(second)) == 2


def test_what_nobody_caught_is_logged_and_masked(setup: Setup) -> None:
    """An exception that ends a thread or the program is a line like the others, and no bare traceback."""
    stream = setup()
    thread = threading.Thread(target=fail, args=[CANARY])
    thread.start()
    thread.join()
    try:
        fail(CANARY)
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    assert [line["level"] for line in lines(stream)] == ["critical", "critical"]
    assert "canary/" not in stream.getvalue()


def test_a_value_that_cannot_be_shown_does_not_cost_the_line(setup: Setup) -> None:
    """An object whose str() fails, a ring and a number wider than 64 bits are all survived."""

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    stream = setup()
    ring: list[Any] = []
    ring.append(ring)
    logs.get("x").info("said", broken=Broken(), ring=ring, wide=2**100, long="x" * 100_000, when={1: 2})
    (line,) = lines(stream)
    assert "Broken" in line["broken"]
    assert line["wide"] == 2**100
    assert len(line["long"]) < 20_000


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
    max_leaves=10,
)


@given(anything, st.text())
def test_anything_makes_one_line(value: Any, message: str) -> None:
    """Whatever is logged becomes one line of JSON without control characters."""
    line = logs._json(None, "info", logs.masked(None, "info", {"event": message, "value": value}))
    assert len(line.splitlines()) == 1
    json.loads(line)


@given(st.text(), st.text())
def test_a_hidden_value_never_comes_out(before: str, after: str) -> None:
    """Whatever stands around it, the secret is not in the masked text."""
    secret = "s3cr3t-0123456789"
    logs.hide(secret)
    assert secret not in logs.mask(f"{before}{secret}{after}")


@pytest.mark.parametrize(
    "part", ["x", "token", "token=", "secret ", "code", "?code=", "Bearer ", "1000.", "password: '"]
)
def test_masking_takes_time_by_the_length(part: str) -> None:
    """No text of a stranger's makes the masking slow: a hundred thousand characters are done in well under a second."""
    began = time.monotonic()
    logs.mask(part * (100_000 // len(part)))
    assert time.monotonic() - began < 3  # by the square of it, minutes


def test_a_log_that_cannot_be_written_stops_no_work(tmp_path: Path) -> None:
    """A closed or full log loses the line, and the caller never hears of it."""
    out = (tmp_path / "log").open("w")
    logs.setup(stream=out, pretty=False)
    out.close()
    logs.get("test").error("nobody.reads_this")


def test_what_is_the_houses_own_is_said_in_the_same_form(setup: Setup) -> None:
    """The short way gives the line that the long one gives, as JSON and on a terminal."""
    for pretty in (False, True):
        stream = setup(pretty=pretty)
        values = {"source": "crm", "ms": 1.5, "events": ["0abc"], "verdict": "accepted"}
        logs.get("delivery").info("delivery", **values)
        logs.say_own("delivery", "delivery", values)
        if pretty:
            long, short = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
            assert long == short
        else:
            long, short = lines(stream)
            assert (long.pop("timestamp")[:4], long) == (short.pop("timestamp")[:4], short)
            assert list(long) == list(short)


def test_in_the_background_no_line_is_lost(setup: Setup) -> None:
    """Lines of ours and of the libraries are all there when it ends, in the order in which they were said."""
    stream = setup()
    with logs.in_background():
        for number in range(100):
            logs.get("a").info("ours", number=number)
            logging.getLogger("library").warning("theirs %s", number)
            logs.say_own("b", "own", {"number": number})
    said = [(line["event"], line.get("number")) for line in lines(stream)]
    assert said == [
        each
        for number in range(100)
        for each in (("ours", number), (f"theirs {number}", None), ("own", number))
    ]
