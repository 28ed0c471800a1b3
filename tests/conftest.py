"""What every test may ask for: a real Redis, settings in a folder of the test's own, a clean environment."""

from __future__ import annotations

import functools
import gc
import logging
import os
import shutil
import ssl
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import structlog
from cryptography.fernet import Fernet

from receiver.ledger.embedded import Embedded
from receiver.settings import FILE, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import redis as redis_py
    from xdist.scheduler.loadscope import LoadScopeScheduling

# Some hundred processes are started, and each would compile all of us again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
OURS = "ZOHOOK_"
NEED_BROWSER = "ZOHOOK_NEED_BROWSER"
LONG = ("tests/system/", "tests/unit/test_style.py", "tests/unit/test_sources_covered.py", "tests/faults/")
"""Where the tests are that take seconds each, the longest first."""


class MakeSettings(Protocol):
    """What the fixture `settings` is."""

    def __call__(self, toml: str = "", *, secrets: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """Load settings from this zohook.toml, with these secrets in the environment."""


def chromium() -> str | None:
    """The browser that the tests in `browser/` drive."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the fault suite and the test against a model have a long form for."""
    parser.addoption(
        "--long", action="store_true", help="the counts of a release, and the rows that take minutes"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Processes that share the tests begin with the long ones, lest one be left alone with them at the end. In the long form none
    is held to two minutes.
    """
    if config.getoption("long"):
        for item in items:
            item.add_marker(pytest.mark.timeout(4 * 3600), append=False)

    def place(item: pytest.Item) -> tuple[int, bool]:
        name = item.nodeid
        first = next((at for at, start in enumerate(LONG) if name.startswith(start)), len(LONG))
        return first, name.startswith("tests/unit/")

    if hasattr(config, "workerinput"):
        items.sort(key=place)


def pytest_collection_finish() -> None:
    """Six thousand tests stay until the end: looking through them for garbage again and again takes a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """A file is run by one process, for what its tests share; of the system tests, which share nothing, each by whoever is free."""
    from xdist.scheduler.loadscope import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if nodeid.startswith("tests/system/") else nodeid.partition("::")[0]

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without a browser its tests are skipped at home, and an error where CI says that they must run."""
    if item.get_closest_marker("browser") is None or chromium():
        return
    if os.environ.get(NEED_BROWSER):
        pytest.fail(f"{NEED_BROWSER} is set, and there is no chromium on the PATH", pytrace=False)
    pytest.skip("there is no chromium on the PATH")


KEY = Fernet.generate_key().decode()


@pytest.fixture(autouse=True)
def clean_environment() -> Iterator[None]:
    """No setting of the developer's reaches a test, and none of a test or its .env reaches the next."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(OURS)}
    for name in kept.keys() - {NEED_BROWSER}:
        del os.environ[name]
    yield
    for name in [name for name in os.environ if name.startswith(OURS)]:
        del os.environ[name]
    os.environ.update(kept)


@pytest.fixture(autouse=True)
def clean_logs() -> Iterator[None]:
    """What a process of ours does to logging, done here by a test or by what a file's tests share, does not reach the next test."""
    yield
    structlog.reset_defaults()
    root = logging.getLogger()
    root.handlers[:] = [
        each for each in root.handlers if not isinstance(each.formatter, structlog.stdlib.ProcessorFormatter)
    ]
    root.setLevel(logging.WARNING)
    for name in (
        "uvicorn",
        "uvicorn.access",
        "uvicorn.error",
        "rq.worker",
    ):  # whoever serves or works quiets these
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


@pytest.fixture(scope="session", autouse=True)
def roots() -> Iterator[None]:
    """The web's roots are read once for each file that they are in: a client needs 20 ms for it, and most tests make one."""
    read = ssl.create_default_context
    once = functools.cache(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ssl, "create_default_context", lambda **given: (once if "cafile" in given else read)(**given)
        )
        yield


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A real Redis for this test process; without fsync, since no test of it cuts the power."""
    with Embedded(tmp_path_factory.mktemp("redis"), appendfsync="no", share=False) as server:
        yield server


@pytest.fixture
def redis(redis_server: Embedded) -> Iterator[redis_py.Redis]:
    """A client of the real Redis, empty at the start of the test."""
    client = redis_server.client()
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeSettings:
    """Makes settings: `settings(toml, secrets={"books": "..."}, redis={"url": redis_server.url}, ...)`.

    The folder is the test's `tmp_path`; the key is that of the run unless given, for tests share a Redis; `given` goes over the file.
    """

    def make(toml: str = "", *, secrets: Mapping[str, str] | None = None, **given: Any) -> Settings:
        (tmp_path / FILE).write_text(toml)
        for name, value in (secrets or {}).items():
            monkeypatch.setenv(f"{OURS}SECRET_{name.upper()}", value)
        return Settings.load(tmp_path, **{"key": KEY, **given})

    return make
