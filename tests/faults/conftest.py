"""The fault suite. Each test is a row of the fault matrix; short in the ordinary run, long with `--long`.

    python -m pytest tests/faults --long [--share 0.1] [--minutes 60] [--seed 7] [-k F18]

prints a table with one row per fault, and the same as JSON last.
"""

from __future__ import annotations

import json
import os
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from faults_rig import House
from faults_verdict import Tally

from receiver import keys
from receiver.ledger import runs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS: list[dict[str, Any]] = []
FAILED: set[str] = set()
WHY: dict[str, str] = {}
COLUMNS = ("fault", "injected", "accepted", "handled", "lost", "double", "recovery_p50", "recovery_p99")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Seen only where this folder is named on the command line; the ordinary run is the short form."""
    group = parser.getgroup("faults")
    group.addoption("--share", type=float, default=1.0, help="part of the long counts, 0.1 for a night's run")
    group.addoption("--minutes", type=float, default=0, help="length of the soak, F52; 0 leaves it out")
    group.addoption("--seed", type=int, default=None, help="of all that is random here")


def pytest_configure(config: pytest.Config) -> None:
    """The mark of a row, and one seed for all processes of a run."""
    config.addinivalue_line(
        "markers", "fault(name, about, short, long): a row of the fault matrix and its counts"
    )
    seed = config.getoption("seed", None)
    os.environ.setdefault("FAULTS_SEED", str(int(time.time()) if seed is None else seed))


def is_long(config: pytest.Config) -> bool:
    """Whether this is the long form."""
    return bool(config.getoption("long"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A row without a short form is skipped in the ordinary run."""
    for item in items:
        mark = item.get_closest_marker("fault")
        if mark is None:
            continue
        if not is_long(config) and not mark.kwargs.get("short"):
            item.add_marker(pytest.mark.skip(reason="long form only: python -m pytest tests/faults --long"))


@pytest.fixture
def tally(request: pytest.FixtureRequest, record_property: Any) -> Iterator[Tally]:
    """The row of a test: how often to break things, and what came of it."""
    mark = request.node.get_closest_marker("fault")
    name, about = mark.args
    count = mark.kwargs.get("short", 0)
    if is_long(request.config):
        count = max(1, round(mark.kwargs.get("long", count) * request.config.getoption("share")))
    made = Tally(name, about, count, seed=int(os.environ["FAULTS_SEED"]))
    random.seed(f"{made.seed} {request.node.name}")
    yield made
    record_property("row", made.row())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The house that the rows of a file share, with one web process and one worker."""
    made = House(tmp_path_factory.mktemp("house"))
    yield made
    made.close()


@pytest.fixture
def house(shared: House) -> Iterator[House]:
    """The shared house, whole again before each row."""
    shared.with_only(web=1, worker=1)
    yield shared
    shared.load.end()
    shared.mend()
    for what in shared.redis.smembers(keys.paused()):
        runs.resume(shared.redis, what.decode())
    for each in shared.more:
        each.close()
    shared.more.clear()


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether this is the long form."""
    return is_long(request.config)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the rows; the tally of a row is whole once its test is torn down."""
    if report.when == "setup" and report.skipped and isinstance(report.longrepr, tuple):
        ROWS.append({"fault": report.nodeid.rpartition("test_")[2], "not_injected": report.longrepr[2]})
    if report.failed:
        FAILED.add(report.nodeid)
    if report.when == "call" and report.skipped and isinstance(report.longrepr, tuple):
        WHY[report.nodeid] = report.longrepr[2]
    if report.when == "teardown":
        for name, row in report.user_properties:
            if name == "row":
                failed = {"outcome": "FAILED"} if report.nodeid in FAILED else {}
                why = {"not_injected": WHY[report.nodeid]} if report.nodeid in WHY else {}
                ROWS.append({**row, **failed, **why})


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The report, in the long form."""
    if is_long(config):
        _print(terminalreporter, ROWS)


def _print(out: Any, rows: list[dict[str, Any]]) -> None:
    rows.sort(key=lambda row: (len(row["fault"].partition(" ")[0]), row["fault"]))
    out.section("faults")
    out.write_line("".join(f"{name:>14}" for name in COLUMNS) + "  about")
    for row in rows:
        shown = "".join(f"{'-' if row.get(name) is None else row[name]:>14}" for name in COLUMNS)
        rest = {key: value for key, value in row.items() if key not in {*COLUMNS, "about"}}
        out.write_line(f"{shown}  {row.get('about', '')} {rest or ''}")
    out.write_line(json.dumps({"seed": int(os.environ["FAULTS_SEED"]), "rows": rows}))
