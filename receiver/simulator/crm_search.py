"""The CRM's record search by criteria, email, phone or word, over an index that lags behind the writes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_schema import EMAIL
from receiver.simulator.crm_write import fault
from receiver.simulator.world import instant

if TYPE_CHECKING:
    from receiver.simulator.crm_records import Record, Records
    from receiver.simulator.wire import Call, Json

Test = Callable[["Json"], bool]
MOST_ROWS = 2_000
MOST_CRITERIA = 10
OPERATORS = frozenset(
    {"equals", "not_equal", "starts_with", "contains", "in", "between"}
    | {"greater_than", "greater_equal", "less_than", "less_equal"}
)


def comparable(value: Any) -> Any:
    """A value as it is compared: a lookup by its id, times by the instant, text without case."""
    if isinstance(value, dict):
        return str(value.get("id", ""))
    if isinstance(value, str):
        at = instant(value) if "T" in value else None
        return value.casefold() if at is None else at
    return value


def ordered(left: Any, right: Any, operator: str) -> bool:
    """Numbers as numbers, whatever was written; None is never in order."""
    left, right = comparable(left), comparable(right)
    if left is None or right is None:
        return False
    if isinstance(left, int | float) and not isinstance(right, int | float):
        try:
            right = float(right)
        except ValueError:
            return False
    if isinstance(left, str) != isinstance(right, str):
        return False
    return bool(
        {
            "greater_than": lambda: left > right,
            "greater_equal": lambda: left >= right,
            "less_than": lambda: left < right,
            "less_equal": lambda: left <= right,
        }[operator]()
    )


def equal(left: Any, right: Any) -> bool:
    left, right = comparable(left), comparable(right)
    if isinstance(left, bool):
        return str(left).lower() == str(right).lower()
    if isinstance(left, int | float) and isinstance(right, str):
        try:
            return left == float(right)
        except ValueError:
            return False
    return bool(left == right)


class Criteria:
    """`((Last_Name:equals:Burns)and(Company:starts_with:Z))` as a test on a record's values."""

    def __init__(self, text: str, fields: set[str]) -> None:
        self._text = text
        self._at = 0
        self._fields = fields
        self._count = 0

    def parse(self) -> Test:
        test = self._group()
        if self._at != len(self._text):
            raise self._bad()
        return test

    def _bad(self) -> Exception:
        return fault("INVALID_QUERY", "Invalid query formed", {"reason": "invalid criteria", "at": self._at})

    def _group(self) -> Test:
        tests = [self._term()]
        joint = ""
        while (found := re.compile(r"\s*(and|or)\s*").match(self._text, self._at)) is not None:
            if joint and found[1] != joint:
                raise self._bad()
            joint = found[1]
            self._at = found.end()
            tests.append(self._term())
        every = any if joint == "or" else all
        return lambda values: every(test(values) for test in tests)

    def _term(self) -> Test:
        if not self._text.startswith("(", self._at):
            raise self._bad()
        self._at += 1
        test = self._group() if self._text.startswith("(", self._at) else self._leaf()
        if not self._text.startswith(")", self._at):
            raise self._bad()
        self._at += 1
        return test

    def _leaf(self) -> Test:
        found = re.compile(r"([\w.]+):(\w+):((?:\\.|[^()\\])*)").match(self._text, self._at)
        if found is None or found[2] not in OPERATORS:
            raise self._bad()
        self._count += 1
        if self._count > MOST_CRITERIA:
            raise fault("LIMIT_EXCEEDED", "criteria limit exceeded", {"limit": MOST_CRITERIA})
        if found[1] not in self._fields:
            raise fault(
                "INVALID_QUERY", "Invalid query formed", {"reason": "invalid field", "api_name": found[1]}
            )
        self._at = found.end()
        return _leaf(found[1], found[2], re.sub(r"\\(.)", r"\1", found[3]))


def _leaf(name: str, operator: str, text: str) -> Test:
    choices = text.split(",")
    match operator:
        case "equals":
            return lambda values: equal(values.get(name), text)
        case "not_equal":
            return lambda values: not equal(values.get(name), text)
        case "in":
            return lambda values: any(equal(values.get(name), choice) for choice in choices)
        case "starts_with":
            return lambda values: str(values.get(name) or "").casefold().startswith(text.casefold())
        case "contains":
            return lambda values: text.casefold() in str(values.get(name) or "").casefold()
        case "between":
            low, high = choices[0], choices[-1]
            return lambda values: (
                ordered(values.get(name), low, "greater_equal")
                and ordered(values.get(name), high, "less_equal")
            )
        case _:
            return lambda values: ordered(values.get(name), text, operator)


def search(records: Records, module: str, call: Call, lag: float) -> list[Record]:
    """What was found, newest first; Refused where not exactly one way of asking is given."""
    asked = [key for key in ("criteria", "email", "phone", "word") if call.param(key)]
    if len(asked) != 1:
        missing = {"param_names": ["criteria", "email", "phone", "word"]}
        raise fault("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", missing)
    text = call.param(asked[0])
    fields = records.modules[module].fields
    if asked[0] == "criteria":
        test = Criteria(text, set(fields)).parse()
    elif asked[0] == "email":
        if not EMAIL.fullmatch(text):
            raise fault("INVALID_DATA", "invalid data", {"param_name": "email"})
        test = _among([f.api_name for f in fields.values() if f.data_type == "email"], text, whole_value=True)
    elif asked[0] == "phone":
        test = _among([f.api_name for f in fields.values() if f.data_type == "phone"], text, whole_value=True)
    else:
        if len(text) < 2:
            raise fault("INVALID_DATA", "invalid data", {"param_name": "word", "minimum_length": 2})
        texts = [f.api_name for f in fields.values() if f.data_type in ("text", "email", "phone", "textarea")]
        test = _among(texts, text, whole_value=False)
    indexed = records.world.now() - lag
    found = [r for r in records.table(module).values() if r.born <= indexed and test(r.values)]
    return found[::-1]


def _among(names: list[str], text: str, *, whole_value: bool) -> Test:
    wanted = text.casefold()

    def test(values: Json) -> bool:
        for name in names:
            value = str(values.get(name) or "").casefold()
            words = () if whole_value else re.split(r"\W+", value)
            if value == wanted or any(word.startswith(wanted) for word in words):
                return True
        return False

    return test
