"""Logs: lines with secrets masked and control characters escaped; what is worth a line is said elsewhere.

JSON lines where the output is no terminal. The lines of the libraries (uvicorn, rq) go the same way.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections import deque
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote, quote_plus

import orjson
import structlog

from receiver.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, MutableMapping
    from contextlib import AbstractContextManager
    from types import TracebackType

    from structlog.typing import FilteringBoundLogger, Processor

    from receiver.settings import Settings

MASK = "***"
SHORTEST = 6
"""A shorter value is not searched for: masking every "abc" would leave nothing to read."""
LONGEST_TEXT = 16_384
DEEPEST = 8
QUIET = ("httpx", "httpcore", "uvicorn.access", "rq", "asyncio")
"""They log addresses with secrets in them, or a line per step."""

_SECRET_NAME = re.compile(
    r"(?:^|.*[_\-.])(?:tokens?|secrets?|passwords?|passwd|authorization|cookies?|credentials?|api[_-]?key|private[_-]?key)$|^code$",
    re.IGNORECASE,
)
SHAPES = r"1000\.[0-9a-f]{32}\.[0-9a-f]{32}\b|[1-9][0-9]{4}\.[A-Za-z0-9_-]{40}"
"""What Zoho's tokens look like, and the tokens of our channels."""
_SECRET_IN_TEXT = re.compile(
    # Linear on any text: nothing before the words repeats.
    r"""((?:(?:token|secret|password)["']?\s{0,3}[=:]|[?&]code=)\s{0,3}["']?)[^\s"'&,;*)}\]]+"""
    r"""|((?:Zoho-oauthtoken|Bearer|Basic)\s{1,3})[A-Za-z0-9+/=._~-]{6,}"""
    rf"""|\b()(?:{SHAPES})""",
    re.IGNORECASE,
)
# Controls, line and paragraph separators, what turns the direction of text, and what cannot be encoded.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_BUT_LINES = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MANY_LINES = frozenset({"exception", "stack"})

_lines = Lines(lambda count: _line("logs", "warning", "lines.lost", {"lines": count}))
_as_json = False
_settings_secrets: tuple[str, ...] = ()
_hidden: deque[str] = deque(maxlen=512)


class _Printer:
    """Takes a rendered line, and knows whose it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def msg(self, message: str) -> None:
        """Write a line."""
        _lines.write(message + "\n")

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def setup(
    settings: Settings | None = None, *, stream: TextIO | None = None, pretty: bool | None = None
) -> None:
    """Set logging up for this process, on stderr. A second call changes secrets, stream and shape."""
    global _settings_secrets, _as_json  # noqa: PLW0603 - one process has one log
    if settings is not None:
        _settings_secrets = forms(settings.all_secrets())
    out = stream or sys.stderr
    terminal = out.isatty() if pretty is None else pretty
    _lines.turn_to(out)
    _as_json = not terminal
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=terminal and out.isatty()) if terminal else _json
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        _masked_pretty if terminal else masked,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda name="receiver": _Printer(name),
        cache_logger_on_first_use=False,  # tests capture what module-level loggers say
    )
    _take_over_stdlib(shared, renderer)
    sys.excepthook = _unhandled
    threading.excepthook = _unhandled_in_thread


def get(name: str) -> FilteringBoundLogger:
    """The logger of a part of the program; what `structlog.contextvars` binds is on each of its lines."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


@contextmanager
def in_background() -> Iterator[None]:
    """Within it lines are written by a thread, many at a time: nobody waits for the log, whose reader may have stopped.

    At its end all are written. What is killed loses the lines of its last moment.
    """
    _lines.begin()
    try:
        yield
    finally:
        _lines.end()


def say_own(name: str, event: str, values: Mapping[str, Any]) -> None:
    """`get(name).info(event, **values)` at a tenth of its cost, for values that are the house's own: ids, numbers, our words.

    They are neither masked nor escaped: nothing that somebody sent may be among them.
    """
    if _as_json:
        _lines.write(_line(name, "info", event, values))
    else:
        get(name).info(event, **values)


def _line(name: str, level: str, event: str, values: Mapping[str, Any]) -> str:
    said = {**values, "event": event, "logger": name, "level": level, "timestamp": datetime.now(UTC)}
    return orjson.dumps(said, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE).decode()


def bound(**ids: Any) -> AbstractContextManager[None]:
    """Each line within carries those ids. An `event` is shown as `event_id`, for structlog uses that word."""
    shown = {"event_id" if name == "event" else name: value for name, value in ids.items()}
    return structlog.contextvars.bound_contextvars(**shown)


def forms(secrets: Iterable[str]) -> tuple[str, ...]:
    """Each secret as it is, and as URLs and reprs show it; the longest first: one may be part of another."""
    forms = set()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            forms |= {
                secret,
                quote(secret, safe=""),
                quote_plus(secret),
                repr(secret)[1:-1],
                json.dumps(secret)[1:-1],
            }
    return tuple(sorted(forms, key=len, reverse=True))


def hide(value: str) -> None:
    """Mask this value wherever it shows up from now on: for tokens and codes that come up at run time."""
    for form in forms((value,)):
        if form not in _hidden:
            _hidden.append(form)


def mask(text: str) -> str:
    """The text without the secrets known to this process, and without what looks like one. Half a character, of which no JSON can
    be made, is spelled out.
    """
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) < SHORTEST:
        return text
    for secret in _settings_secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    for secret in tuple(_hidden):
        if secret in text:
            text = text.replace(secret, MASK)
    if text.replace("_", "").isalnum():  # what looks like a secret needs a sign or a blank before it
        return text
    return _SECRET_IN_TEXT.sub(lambda match: (match[1] or match[2] or "") + MASK, text)


def names_a_secret(name: str) -> bool:
    """Whether the name of a header, field or key says that its value is a secret."""
    return _ends_as_secrets_do(name[-100:])  # names come from outside, and are remembered


@lru_cache(maxsize=1024)
def _ends_as_secrets_do(name: str) -> bool:
    return bool(_SECRET_NAME.match(name))


def masked(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """A structlog processor: the values with secrets masked and control characters escaped, at any depth."""
    return {_clean_text(str(key)): _clean(key, value, 0) for key, value in event.items()}


def _masked_pretty(logger: Any, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """On a terminal a traceback is indented: no message in it can pass for a line of the log."""
    line = dict(masked(logger, method, event))
    for key in _MANY_LINES & line.keys():
        line[key] = "\n".join("    " + part for part in str(line[key]).split("\n"))
    return line


def _clean(key: object, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(key, str) and names_a_secret(key):
        return MASK if value not in ("", b"") else ""
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return _clean_text(value, lines=depth == 0 and key in _MANY_LINES)
    if isinstance(value, bytes | bytearray):
        return _clean_text(bytes(value[:LONGEST_TEXT]).decode("utf-8", "backslashreplace"))
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {_clean_text(str(name)): _clean(name, inner, depth + 1) for name, inner in list(value.items())}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", inner, depth + 1) for inner in list(value)]
    return _clean_text(_said(value))


def _said(value: object) -> str:
    try:
        return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
    except Exception:  # noqa: BLE001 - a value that cannot be shown must not cost the line
        return f"<{type(value).__name__} that cannot be shown>"


def _clean_text(text: str, *, lines: bool = False) -> str:
    text = mask(text)
    if len(text) > LONGEST_TEXT:
        text = f"{text[:LONGEST_TEXT]}… and {len(text) - LONGEST_TEXT} more characters"
    if text.isascii() and text.isprintable():
        return text
    unsafe = _CONTROL_BUT_LINES if lines else _CONTROL
    return unsafe.sub(_escape, text) if unsafe.search(text) else text


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return {9: "\\t", 10: "\\n", 13: "\\r"}.get(code) or (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    )


def _json(_logger: Any, _method: str, event: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a number wider than 64 bits
        return json.dumps(event, default=str)


def _take_over_stdlib(shared: list[Processor], renderer: Processor) -> None:
    handler = logging.StreamHandler(_lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(_wanted)  # not their levels: rq sets its own when a worker starts
    root = logging.getLogger()
    for old in [
        old for old in root.handlers if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter)
    ]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def _wanted(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING or not record.name.startswith(QUIET)


def _unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    get("receiver").critical("unhandled exception", exc_info=(kind, error, trace))


def _unhandled_in_thread(given: threading.ExceptHookArgs) -> None:
    if given.exc_value is not None and not isinstance(given.exc_value, SystemExit):
        _unhandled(given.exc_type, given.exc_value, given.exc_traceback)
