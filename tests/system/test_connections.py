"""Every way to a consent, through the commands and pages that a person uses, against a Zoho on a port of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from receiver.simulator import Simulator
from tests.system.conftest import ROOT, eventually, linux

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., Any]

pytestmark = [linux, pytest.mark.timeout(120)]
PASSWORD = "a-long-password-for-the-page"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """One Zoho for all of them; a device may look every second."""
    with Simulator() as running:
        running.limits.device_pace = 1.0
        yield running


class Project:
    """A folder with one connection, and the commands in it."""

    def __init__(
        self, folder: Path, redis: str, port: int, simulator: Simulator, kind: str, made: str, more: str
    ) -> None:
        self.folder, self.simulator, self.url = folder, simulator, f"http://127.0.0.1:{port}"
        self.client = simulator.accounts.add_client(made or kind, "Test", [f"{self.url}/connect/callback"])
        (folder / "zohook.toml").write_text(
            f'public_url = "{self.url}"\n[redis]\nurl = "{redis}"\n[web]\nport = {port}\n[simulator]\nurl = "{simulator.base}"\n[connections.acme]\n'
            f'dc = "simulator"\nclient = "{kind}"\nclient_id = "{self.client.id}"\n{more}\n'
        )
        (folder / ".env").write_text(
            f"ZOHOOK_SECRET_ACME={self.client.secret}\nZOHOOK_WEB__PASSWORD={PASSWORD}\n"
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "receiver.cli", *words], cwd=self.folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def run(self, *words: str, given: str = "", status: int = 0) -> str:
        """What a command said."""
        started = self.begin(*words)
        said, _ = started.communicate(given, timeout=60)
        assert started.returncode == status, said
        return said

    def state(self) -> str:
        """The line of the connection in the list of all."""
        return next(line for line in self.run("connection", "list").splitlines() if "acme" in line)


@pytest.fixture
def project(
    tmp_path: Path, redis: Any, redis_server: Any, simulator: Simulator, free_port: int
) -> Callable[..., Project]:
    """Makes the project of a client's type, on an empty Redis."""
    assert redis.dbsize() == 0
    url = redis_server.url
    return lambda kind, made="", more="": Project(tmp_path, url, free_port, simulator, kind, made, more)


@pytest.fixture
def free_port() -> int:
    """A port that nobody has."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def read_until(started: subprocess.Popen[str], pattern: str) -> str:
    """What the pattern's group found in the output so far."""
    assert started.stdout is not None
    seen, until = "", time.monotonic() + 40
    while time.monotonic() < until and (line := started.stdout.readline()):
        seen += line
        if found := re.search(pattern, line):
            return found[1]
    raise AssertionError(seen)


def test_a_self_client_pastes_its_code(project: Callable[..., Project]) -> None:
    """The scope line is printed, the code taken, the organisations shown; the code is in no output."""
    here = project("self")
    scopes = here.run("connect", given="1000.nonsense.code\n", status=1)
    asked = re.search(r"^   (ZohoCRM\S+)$", scopes, re.MULTILINE)
    assert asked, scopes
    code = here.simulator.accounts.self_client_code(here.client, asked[1])
    said = here.run("connect", "--code", "-", given=f"{code}\n")
    assert "acme is connected." in said
    assert here.simulator.org_ids["crm"] in said
    assert code not in said
    assert " ok " in here.state()
    assert "authorization_code" in here.run("connection", "refreshes", "acme")


def test_client_credentials_need_no_person(project: Callable[..., Project]) -> None:
    """One command tries them, and a list shows them."""
    here = project("credentials", "self", 'crm = "759145822"')
    assert "acme is connected." in here.run("connect")
    assert "credentials" in here.state()


def test_a_device_is_accepted_elsewhere(project: Callable[..., Project]) -> None:
    """The terminal shows where to go and what to type, waits, and is connected when the user has accepted."""
    here = project("device")
    started = here.begin("connect")
    code = read_until(started, r"Enter the code (\w+)")
    httpx.post(
        f"{here.simulator.base}/oauth/v3/device?user_code={code}", data={"consent": "accept"}, trust_env=False
    )
    said, _ = started.communicate(timeout=60)
    assert started.returncode == 0, said
    assert "acme is connected." in said


def test_a_server_based_client_by_command_and_by_page(house: Start, project: Callable[..., Project]) -> None:
    """`zohook connect` opens Zoho's page and sees the callback arrive at the web process; the dashboard's button does the same."""
    here = project("server")
    with house("web"):
        eventually(lambda: up(here.url))
        started = here.begin("connect")
        url = read_until(started, r"^   (http://\S+/oauth/v2/auth\S+)")
        with httpx.Client(trust_env=False) as browser:
            back = browser.post(url, data={"consent": "accept"}).headers["location"]
            assert "Connected" in browser.get(back).text
            said, _ = started.communicate(timeout=60)
            assert started.returncode == 0, said
            browser.post(f"{here.url}/sign-in", data={"password": PASSWORD})
            csrf = re.search(r'name="csrf" value="([^"]+)"', browser.get(f"{here.url}/connections").text)
            assert csrf
            to = browser.post(f"{here.url}/connections/acme/connect", data={"csrf": csrf[1]}).headers[
                "location"
            ]
            back = browser.post(to, data={"consent": "accept"}).headers["location"]
            assert browser.get(back).headers["location"] == "/connections"
        assert "1 of 20" in here.state()


def test_a_mobile_app_and_a_browser_app_hand_their_tokens_in(
    house: Start, project: Callable[..., Project]
) -> None:
    """By an authenticated call to the web process, and by the command."""
    here = project("mobile")
    granted = here.simulator.accounts.grant(here.client, here.simulator.world.admin, ("ZohoCRM.users.READ",))
    with house("web"):
        eventually(lambda: up(here.url))
        call = f"{here.url}/api/connections/acme/token"
        bearer = {"authorization": f"Bearer {PASSWORD}"}
        answer = httpx.post(
            call, json={"refresh_token": granted.refresh_token}, headers=bearer, trust_env=False
        )
        assert answer.status_code == 204, answer.text
        assert "handed_refresh_token" in here.run("connection", "refreshes", "acme")
    said = here.run(
        "connect", "--access-token", "-", "--expires-in", "60", given=here.simulator.access_token()
    )
    assert "acme is connected." in said


def test_a_secret_is_rotated_and_a_connection_removed(project: Callable[..., Project]) -> None:
    """The new secret is tried before it is kept, a wrong one changes nothing; a removed consent is gone at Zoho too."""
    here = project("self")
    code = here.simulator.accounts.self_client_code(here.client, "ZohoCRM.users.READ,ZohoCRM.org.READ")
    here.run("connect", "--code", "-", given=code)
    before = (here.folder / ".env").read_text()
    said = here.run(
        "connection", "rotate-secret", "acme", "--secret", "-", given="not-the-new-secret", status=1
    )
    assert "client secret is wrong" in said
    assert (here.folder / ".env").read_text() == before
    old, here.client.secret = here.client.secret, "the-new-secret-of-the-client"
    assert "Zoho takes it" in here.run(
        "connection", "rotate-secret", "acme", "--secret", "-", given=here.client.secret
    )
    assert f"ZOHOOK_SECRET_ACME={here.client.secret},{old}" in (here.folder / ".env").read_text()
    assert f"ZOHOOK_WEB__PASSWORD={PASSWORD}" in (here.folder / ".env").read_text()
    assert "add --yes" in here.run("connection", "remove", "acme")
    assert " ok " in here.state()
    assert "revoked at Zoho" in here.run("connection", "remove", "acme", "--yes")
    assert "not_connected" in here.state()
    assert here.client.id not in {each["client_id"] for each in here.simulator.accounts.summary()["grants"]}


def test_a_customer_consents_by_a_link_and_the_key_is_rotated_under_the_running_house(
    house: Start, project: Callable[..., Project]
) -> None:
    """The command makes the link, the customer's browser follows it to Zoho and back, and his connection is listed; a new key seals
    his tokens while the web process runs, which goes on with it.
    """
    here = project("server", more="customers = true")
    with house("web"):
        eventually(lambda: up(here.url))
        link = (
            here.run("connection", "invite", "acme", "globex", "--label", "Globex").strip().splitlines()[-1]
        )
        with httpx.Client(trust_env=False) as browser:
            assert "Globex" in browser.get(link).text
            to = browser.post(link, headers={"origin": here.url}).headers["location"]
            back = browser.post(to, data={"consent": "accept"}).headers["location"]
            assert "globex" in browser.get(back).text
            assert browser.get(link).status_code == 404
        assert "globex" in here.run("connection", "list")
        assert "seals now" in here.run("keys", "rotate")
        assert here.run("keys", "list").count("opens") == 1
        with httpx.Client(trust_env=False) as browser:
            browser.post(f"{here.url}/sign-in", data={"password": PASSWORD})
            assert "globex" in browser.get(f"{here.url}/connections").text


def up(url: str) -> bool:
    """Whether a web process answers there."""
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
