"""The table of threats in this folder's README is complete, and speaks of tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from security_kit import ROOT

HERE = Path(__file__).parent
ROW = re.compile(r"^\| S(\d+) ([^|]+)\|([^|]+)\|([^|]+)\|$", re.MULTILINE)
ROWS = {
    int(number): (title.strip(), control.strip(), tests)
    for number, title, control, tests in ROW.findall((HERE / "README.md").read_text())
}
NAMED = [
    (number, *reference.split("::"))
    for number, (_, _, tests) in ROWS.items()
    for reference in re.findall(r"`([^`]+)`", tests)
]


@cache
def known_in(place: str) -> frozenset[str]:
    """The names of the tests in a file, those of classes too."""
    tree = ast.parse((ROOT / place).read_text())
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def test_every_threat_has_its_row() -> None:
    """S1 to S34, in their order, each with a control and at least one test of its own or elsewhere."""
    assert list(ROWS) == list(range(1, 35))
    assert all(len(control) > 5 for _, control, _ in ROWS.values())
    assert {number for number, *_ in NAMED} == set(ROWS)


@pytest.mark.parametrize("number", range(1, 35))
def test_the_tests_of_a_threat_exist(number: int) -> None:
    """Each name leads to a test in that very file."""
    for _, place, name in [each for each in NAMED if each[0] == number]:
        assert (ROOT / place).is_file(), place
        assert name in known_in(place), f"{place} has no {name}"


def test_every_test_of_this_folder_has_its_threat() -> None:
    """Each test here is named in the row of every threat that its own name tells."""
    rows: dict[tuple[str, str], set[int]] = {}
    for number, place, name in NAMED:
        rows.setdefault((place, name), set()).add(number)
    for file in HERE.glob("test_security_*.py"):
        place = file.relative_to(ROOT).as_posix()
        if file == Path(__file__):
            continue
        for name in known_in(place):
            told = {int(number) for number in re.findall(r"(?<=_)s(\d\d)(?=_)", name)}
            assert told, f"{name} names no threat"
            assert rows.get((place, name)) == told, name
