"""Handing in a token by program: who may, what is taken, and what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from dashboard_kit import PASSWORD, TOML, VIEWER

from receiver import keys
from receiver.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx
    from conftest import MakeVisitor
    from dashboard_kit import Visitor

    from tests.conftest import MakeSettings

PATH = "/api/connections/acme/token"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A Zoho with a mobile client."""
    with Simulator() as running:
        running.client = running.accounts.add_client("mobile", "App", [])
        yield running


@pytest.fixture
def guest(simulator: Simulator, settings: MakeSettings, visitor: MakeVisitor) -> Visitor:
    """A program that talks to a dashboard whose connection is at that Zoho."""
    toml = TOML.replace('dc = "eu"', 'dc = "simulator"').replace("http://127.0.0.1:9", simulator.base)
    toml = toml.replace('client = "server"', 'client = "mobile"').replace(
        "1000.ABCDEFGHIJ", simulator.client.id
    )
    return visitor(settings=settings(toml))


def hand(guest: Visitor, body: Any, password: str = PASSWORD, path: str = PATH) -> httpx.Response:
    """One call with a bearer token."""
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    return guest.ask(
        "POST", path, headers={"authorization": f"Bearer {password}"} if password else {}, **sent
    )


def test_a_mobile_app_hands_its_refresh_token_over(guest: Visitor, simulator: Simulator) -> None:
    """The token is tried at Zoho, kept sealed, and the answer has nothing of it."""
    token = simulator.accounts.grant(
        simulator.client, simulator.world.admin, ("ZohoCRM.users.READ",)
    ).refresh_token
    answer = hand(guest, {"refresh_token": token})
    assert (answer.status_code, answer.content) == (204, b"")
    redis = guest.sign_in() and guest
    assert "connected" in redis.get("/connections").text


@pytest.mark.parametrize("password", ["", "wrong", VIEWER])
def test_only_the_operator_hands_in(guest: Visitor, password: str) -> None:
    """Nobody, a stranger and a viewer are refused, and nothing is asked of Zoho."""
    answer = hand(guest, {"refresh_token": "1000.aaaaaaaa.bbbbbbbb"}, password)
    assert answer.status_code == 401
    assert "1000." not in answer.text


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b"null", b'"x"', {}, {"refresh_token": ""}, {"refresh_token": 5}, {"token": "1000.a"},
     {"refresh_token": "1000.aaaaaaaa", "access_token": "1000.bbbbbbbb"}, {"access_token": "1000.bbbbbbbb", "expires_in": 0},
     {"access_token": "1000.bbbbbbbb", "expires_in": 99999}, {"access_token": "a b c d e f g h"}],
)  # fmt: skip
def test_what_is_no_token_is_told_what_to_send(guest: Visitor, body: Any) -> None:
    """A body that cannot be read, or says both or neither: 422 with what to send, and never what was sent."""
    answer = hand(guest, body)
    assert answer.status_code == 422
    assert "bbbbbbbb" not in answer.text


def test_a_body_has_a_limit(guest: Visitor) -> None:
    """Eight kilobytes are enough for any token."""
    assert hand(guest, b"x" * 9000).status_code == 413


def test_an_unknown_connection_is_404(guest: Visitor) -> None:
    """Only connections that there are."""
    answer = hand(guest, {"refresh_token": "1000.aaaaaaaa.bbbbbbbb"}, path="/api/connections/none/token")
    assert (answer.status_code, answer.json()["error"]) == (404, "unknown_connection")


def test_a_token_that_zoho_does_not_take_leaves_the_row(guest: Visitor, redis: Any) -> None:
    """409 with Zoho's word and the cure; the stored consent is as it was."""
    redis.hset(keys.token("acme"), mapping={"state": "ok", "generation": 7})
    answer = hand(guest, {"refresh_token": "1000.aaaaaaaa.bbbbbbbb"})
    assert (answer.status_code, answer.json()["error"]) == (409, "invalid_code")
    assert "bbbbbbbb" not in answer.text
    assert redis.hgetall(keys.token("acme")) == {b"state": b"ok", b"generation": b"7"}


def test_guessing_is_slowed_down(guest: Visitor) -> None:
    """Ten wrong passwords of one address in a minute shut it out, the right one too."""
    for _ in range(10):
        assert hand(guest, {"refresh_token": "1000.aaaaaaaa"}, "guess").status_code == 401
    assert hand(guest, {}, PASSWORD).status_code == 401


def test_a_browser_has_no_business_there(guest: Visitor) -> None:
    """A session's cookie opens nothing here, so that no foreign page can use it."""
    guest.sign_in()
    assert guest.post(PATH, {"refresh_token": "1000.aaaaaaaa"}).status_code == 401
