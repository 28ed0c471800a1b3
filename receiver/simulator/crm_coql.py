"""A small COQL: select, from, where, order by, limit; no joins beyond one dot and no aggregates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from receiver.simulator.crm_search import equal, ordered
from receiver.simulator.crm_write import fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.simulator.crm_records import Record, Records
    from receiver.simulator.wire import Json, Refused

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\")|(?P<sign><=|>=|!=|<>|[=<>(),])"
    r"|(?P<word>[\w.:+\-]+))"
)
SIGNS = {">": "greater_than", ">=": "greater_equal", "<": "less_than", "<=": "less_equal"}
MOST_FIELDS, MOST_VALUES, MOST_ROWS = 500, 100, 2_000


@dataclass(slots=True)
class Query:
    """A parsed query."""

    names: list[str]
    module: str
    test: Callable[[Json], bool]
    order: list[tuple[str, bool]]
    limit: int = 200
    offset: int = 0


class Parser:
    """Recursive descent over the tokens; column names are checked as they come."""

    def __init__(self, text: str, records: Records) -> None:
        self._records = records
        self._tokens: list[tuple[str, str]] = []
        self._at = 0
        at, text = 0, text.strip().rstrip(";").strip()
        while at < len(text):
            found = TOKEN.match(text, at)
            if found is None or found.lastgroup is None:
                raise self._bad(text[at : at + 20])
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()

    def parse(self) -> Query:
        self._word("select")
        names = [self._take("word")]
        while self._sign(","):
            names.append(self._take("word"))
        if len(names) > MOST_FIELDS:
            raise fault("LIMIT_EXCEEDED", "limit exceeded", {"limit": MOST_FIELDS})
        self._word("from")
        module = self._take("word")
        if module not in self._records.modules:
            raise fault(
                "INVALID_QUERY", "invalid query formed", {"reason": "invalid module", "module": module}
            )
        self._module = module
        for name in names:
            self._column(name)
        self._word("where")
        query = Query(names, module, self._any(), [])
        if self._is("order"):
            self._word("by")
            query.order.append(self._ranked())
            while self._sign(","):
                query.order.append(self._ranked())
        if self._is("limit"):
            query.limit = self._number()
            if self._sign(","):
                query.offset, query.limit = query.limit, self._number()
            elif self._is("offset"):
                query.offset = self._number()
        if self._at != len(self._tokens):
            raise self._bad(self._tokens[self._at][1])
        if not 1 <= query.limit <= MOST_ROWS:
            raise fault("LIMIT_EXCEEDED", "limit exceeded", {"limit": MOST_ROWS})
        return query

    def _bad(self, near: str) -> Refused:
        return fault("SYNTAX_ERROR", "error occurred while parsing the query", {"near": near})

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _take(self, kind: str) -> str:
        found, text = self._peek()
        if found != kind:
            raise self._bad(text or "end of query")
        self._at += 1
        return text

    def _is(self, word: str) -> bool:
        kind, text = self._peek()
        if kind != "word" or text.lower() != word:
            return False
        self._at += 1
        return True

    def _word(self, word: str) -> None:
        if not self._is(word):
            raise self._bad(self._peek()[1] or "end of query")

    def _sign(self, sign: str) -> bool:
        if self._peek() != ("sign", sign):
            return False
        self._at += 1
        return True

    def _number(self) -> int:
        text = self._take("word")
        if not text.isdecimal():
            raise self._bad(text)
        return int(text)

    def _ranked(self) -> tuple[str, bool]:
        name = self._take("word")
        self._column(name)
        if self._is("desc"):
            return name, True
        self._is("asc")
        return name, False

    def _column(self, name: str) -> None:
        fields = self._records.modules[self._module].fields
        first, _, second = name.partition(".")
        known = fields.get(first)
        if known is None or (second and second != "id" and second not in self._fields_of(known.lookup)):
            raise fault(
                "INVALID_QUERY", "invalid query formed", {"column_name": name, "reason": "column not found"}
            )

    def _fields_of(self, module: str) -> set[str]:
        return set(self._records.modules[module].fields) if module in self._records.modules else set()

    def _any(self) -> Callable[[Json], bool]:
        tests = [self._every()]
        while self._is("or"):
            tests.append(self._every())
        return lambda row: any(test(row) for test in tests)

    def _every(self) -> Callable[[Json], bool]:
        tests = [self._one()]
        while self._is("and"):
            tests.append(self._one())
        return lambda row: all(test(row) for test in tests)

    def _one(self) -> Callable[[Json], bool]:
        if self._sign("("):
            test = self._any()
            if not self._sign(")"):
                raise self._bad(self._peek()[1])
            return test
        name = self._take("word")
        self._column(name)
        if self._is("is"):
            absent = not self._is("not")
            self._word("null")
            return lambda row: (value_of(self._records, row, name) in (None, "")) == absent
        unlike = self._is("not")
        test = self._comparison(name)
        return (lambda row: not test(row)) if unlike else test

    def _comparison(self, name: str) -> Callable[[Json], bool]:
        def got(row: Json) -> Any:
            return value_of(self._records, row, name)

        if self._is("in"):
            values = self._values()
            return lambda row: any(equal(got(row), value) for value in values)
        if self._is("like"):
            pattern = _like(self._value())
            return lambda row: pattern.fullmatch(str(got(row) or "")) is not None
        if self._is("between"):
            low = self._value()
            self._word("and")
            high = self._value()
            return lambda row: (
                ordered(got(row), low, "greater_equal") and ordered(got(row), high, "less_equal")
            )
        sign = self._take("sign")
        value = self._value()
        if sign == "=":
            return lambda row: equal(got(row), value)
        if sign in ("!=", "<>"):
            return lambda row: not equal(got(row), value)
        if sign not in SIGNS:
            raise self._bad(sign)
        return lambda row: ordered(got(row), value, SIGNS[sign])

    def _values(self) -> list[str]:
        if not self._sign("("):
            raise self._bad(self._peek()[1])
        values = [self._value()]
        while self._sign(","):
            values.append(self._value())
        if not self._sign(")"):
            raise self._bad(self._peek()[1])
        if len(values) > MOST_VALUES:
            raise fault("LIMIT_EXCEEDED", "limit exceeded", {"limit": MOST_VALUES})
        return values

    def _value(self) -> str:
        kind, text = self._peek()
        if kind not in ("text", "word"):
            raise self._bad(text)
        self._at += 1
        return re.sub(r"\\(.)", r"\1", text[1:-1]) if kind == "text" else text


def _like(text: str) -> re.Pattern[str]:
    return re.compile("".join(".*" if c == "%" else re.escape(c) for c in text), re.IGNORECASE | re.DOTALL)


def value_of(records: Records, row: Json, name: str) -> Any:
    """A column's value; after a dot, that of the record which the lookup names."""
    first, _, second = name.partition(".")
    value = row.get(first)
    if not second or not isinstance(value, dict):
        return value
    for table in records.rows.values():
        if value.get("id") in table:
            return table[value["id"]].values.get(second)
    return value.get(second)


def run(records: Records, text: str) -> tuple[Query, list[Record], bool]:
    """The query, its page of records, and whether there are more."""
    query = Parser(text, records).parse()
    found = [r for r in records.table(query.module).values() if query.test(r.values)]
    for name, falling in reversed(query.order):
        found.sort(key=lambda r: _rank(value_of(records, r.values, name)), reverse=falling)
    return query, found[query.offset : query.offset + query.limit], len(found) > query.offset + query.limit


def _rank(value: Any) -> tuple[int, float, str]:
    if value is None:
        return 0, 0.0, ""
    if isinstance(value, int | float):
        return 1, float(value), ""
    return 2, 0.0, str(value.get("id") if isinstance(value, dict) else value)
