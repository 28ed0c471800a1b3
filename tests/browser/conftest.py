"""A served dashboard and a browser to look at it."""

from __future__ import annotations

import shutil
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from receiver.dashboard import routes

sys.path.append(str(Path(__file__).parents[1] / "flow" / "dashboard"))

from chrome import Chrome
from dashboard_kit import PASSWORD, TOML, Seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from tests.conftest import MakeSettings


@dataclass
class Site:
    """A dashboard on a port, and the cookie of an operator."""

    address: str
    cookie: str
    seed: Seed


@pytest.fixture
def site(settings: MakeSettings, redis: Redis) -> Iterator[Site]:
    """The dashboard, served by a real server in a thread."""
    sock = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{sock.getsockname()[1]}"
    known = settings(
        TOML.replace("http://hooks.test", address),
        secrets={"acme": "a-client-secret", "books": "books-secret-0001"},
    )
    app = Starlette(routes=routes(known, redis, lambda: server.should_exit))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    answer = httpx.post(f"{address}/sign-in", data={"password": PASSWORD}, headers={"origin": address})
    yield Site(address, answer.cookies["zohook"], Seed(redis))
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive(), "open streams held up the shutdown"
    sock.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One browser for all tests of this process."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert binary
    with Chrome(binary, tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture
def chrome(chromium: Chrome, site: Site) -> Iterator[Chrome]:
    """The browser, signed in, with nothing to complain about yet."""
    chromium.go("about:blank")
    chromium.events.clear()
    chromium.cookie("zohook", site.cookie, site.address)
    yield chromium
    chromium.go("about:blank")  # its streams end with the page
    chromium.call("Network.clearBrowserCookies")
