"""The house keeps its order: who imports whom, and what is nowhere to be found in it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("receiver", "handlers")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
SECRET = re.compile(r"(^|_)(sig|signature|token|secret|digest|password|hmac|mac)s?$", re.IGNORECASE)
FORBIDDEN = {
    "pickle": "whoever can write to Redis could run code",
    "marshal": "as pickle",
    "shelve": "it is pickle",
    "requests": "httpx is what we call with",
    "flask": "the door is Starlette",
    "celery": "work travels by RQ",
}
RQ_FILES = 6
"""How many files may import RQ: it is the transport, and another one must be possible."""


@cache
def tree(path):
    """The syntax tree of a file."""
    return ast.parse(path.read_text(), str(path))


@cache
def imported(path):
    """(line, module) of every import, wherever it is."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append((node.lineno, node.module))
    return found


def shown(path, line):
    """Where it is, as an editor takes it."""
    return f"{path.relative_to(ROOT)}:{line}"


def test_imports_go_one_way():
    """The contracts of pyproject.toml hold."""
    command = Path(sys.executable).with_name("lint-imports")
    said = subprocess.run(
        [command, "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout[-4000:] + said.stderr[-1000:]


@pytest.mark.parametrize("name", FORBIDDEN)
def test_some_libraries_are_not_used(name):
    """Each for its reason."""
    guilty = [
        shown(path, line) for path in FILES for line, module in imported(path) if module.split(".")[0] == name
    ]
    assert guilty == [], FORBIDDEN[name]


def test_rq_is_met_in_few_places():
    """Everything else speaks of slips."""
    using = [
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if any(module.split(".")[0] == "rq" for _, module in imported(path))
    ]
    assert 0 < len(using) <= RQ_FILES, using
    rooms = {"receiver/ledger", "receiver/routing", "receiver/worker.py", "receiver/worker"}
    assert all(any(name.startswith(room) for room in rooms) for name in using), using


def named(node):
    """The last name of what is compared: `row.token`, `secret`, `digest()`."""
    if isinstance(node, ast.Call):
        return named(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def test_no_secret_is_compared_with_equals():
    """Its time would tell how much of it was right: `hmac.compare_digest` is there for that.

    Empty or not, and constants that are no secrets, may be asked. The simulator is nobody's door.
    """
    guilty = []
    for path in FILES:
        if "simulator" in path.parts:
            continue
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.Compare) or not any(
                isinstance(op, ast.Eq | ast.NotEq) for op in node.ops
            ):
                continue
            sides = [node.left, *node.comparators]
            if any(SECRET.search(named(side)) for side in sides) and not any(
                isinstance(side, ast.Constant) for side in sides
            ):
                guilty.append(f"{shown(path, node.lineno)}: {ast.unparse(node)}")
    assert [each for each in guilty if not each.startswith(PUBLIC)] == []


PUBLIC = (
    # A hash of handlers that workers publish, by which they tell versions apart: no secret.
    "receiver/routing/catalogue.py",
)


def test_only_settings_and_entry_points_read_the_environment():
    """A setting is found where the others are. What starts processes passes their environment on."""
    allowed = ("receiver/settings.py", "receiver/cli/", "receiver/testing/", "receiver/simulator/")
    guilty = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            reads = (
                isinstance(node, ast.Attribute)
                and node.attr in {"environ", "getenv"}
                and named(node.value) == "os"
            )
            place = path.relative_to(ROOT).as_posix()
            if reads and not place.startswith(allowed):
                guilty.append(shown(path, node.lineno))
    assert guilty == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_says_what_it_is(path):
    """In its first line; a package that only holds others too."""
    assert ast.get_docstring(tree(path)), f"{path} has no docstring"


def test_nothing_is_left_to_be_done():
    """No stub and no note to self."""
    note = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    guilty = [
        shown(path, number)
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if note.search(line)
    ]
    assert guilty == []


def test_importing_one_room_does_not_load_all():
    """The words of a handler's author come without the web, RQ, the network or the command line."""
    code = "import sys\nfrom receiver import on, resource, Event, Skip, RetryLater, Zoho\nprint(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"starlette", "uvicorn", "rq", "httpx", "redis", "typer", "rich", "jinja2", "receiver.simulator"}
    assert heavy & set(loaded) == set()
