"""What every test may ask for: a real Redis, settings in a folder of the test's own, a clean environment."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from cryptography.fernet import Fernet

from receiver.ledger.embedded import Embedded
from receiver.settings import FILE, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import redis as redis_py

OURS = "ZOHOOK_"
NEED_BROWSER = "ZOHOOK_NEED_BROWSER"


class MakeSettings(Protocol):
    """What the fixture `settings` is."""

    def __call__(self, toml: str = "", *, secrets: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """Load settings from this zohook.toml, with these secrets in the environment."""


def chromium() -> str | None:
    """The browser that the tests in `browser/` drive."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without a browser its tests are skipped at home, and an error where CI says that they must run."""
    if item.get_closest_marker("browser") is None or chromium():
        return
    if os.environ.get(NEED_BROWSER):
        pytest.fail(f"{NEED_BROWSER} is set, and there is no chromium on the PATH", pytrace=False)
    pytest.skip("there is no chromium on the PATH")


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

    The folder is the test's `tmp_path`; the key is a fresh one unless given; `given` goes over the file.
    """

    def make(toml: str = "", *, secrets: Mapping[str, str] | None = None, **given: Any) -> Settings:
        (tmp_path / FILE).write_text(toml)
        for name, value in (secrets or {}).items():
            monkeypatch.setenv(f"{OURS}SECRET_{name.upper()}", value)
        return Settings.load(tmp_path, **{"key": Fernet.generate_key().decode(), **given})

    return make
