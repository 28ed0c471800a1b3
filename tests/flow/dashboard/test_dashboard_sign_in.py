"""Signing in and out: sessions, cookies, and the limits on guessing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson
import pytest
from dashboard_kit import PASSWORD, TOML, VIEWER, Visitor

from receiver import keys
from receiver.dashboard import access

if TYPE_CHECKING:
    from conftest import MakeVisitor
    from redis import Redis

    from tests.conftest import MakeSettings


def test_signing_in_leads_where_one_wanted_to_go(visitor: MakeVisitor) -> None:
    """The page asked for comes after the sign-in, with its query."""
    guest = visitor()
    to = guest.get("/events?type=crm.Deals.updated&source=crm").headers["location"]
    field = re.search(r'name="to" value="([^"]+)"', guest.get(to).text)
    assert field
    answer = guest.post("/sign-in", {"password": PASSWORD, "to": field[1].replace("&amp;", "&")})
    assert answer.headers["location"] == "/events?type=crm.Deals.updated&source=crm"


@pytest.mark.parametrize(
    "to", ["http://evil.test", "//evil.test", "/\\evil.test", "evil", "/a\r\nx: y", "/\t/evil", ""]
)
def test_signing_in_never_leads_out(to: str, visitor: MakeVisitor) -> None:
    """Only a path of ours is gone to after the sign-in."""
    assert visitor().post("/sign-in", {"password": PASSWORD, "to": to}).headers["location"] == "/"


def test_the_session_cookie_is_kept_from_scripts_and_other_sites(
    visitor: MakeVisitor, settings: MakeSettings
) -> None:
    """HttpOnly and SameSite=Lax always; __Host- and Secure where the public address is https."""
    plain = visitor().post("/sign-in", {"password": PASSWORD}).headers["set-cookie"]
    assert plain.startswith("zohook=")
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    assert "Secure" not in plain
    secure = settings(TOML.replace("http://hooks.test", "https://hooks.test"))
    guest = visitor(settings=secure)
    answer = guest.post("/sign-in", {"password": PASSWORD}, origin="https://hooks.test")
    assert answer.headers["set-cookie"].startswith("__Host-zohook=")
    assert all(
        word in answer.headers["set-cookie"] for word in ("HttpOnly", "SameSite=lax", "Secure", "Path=/")
    )
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_a_dump_of_redis_opens_no_session(visitor: MakeVisitor, redis: Redis) -> None:
    """Redis has the hash of the token, a role, an end within twelve hours, and no password."""
    guest = visitor().sign_in()
    token = guest.cookies["zohook"]
    (key,) = [key for key in redis.scan_iter(keys.session("*")) if b"failed" not in key]
    assert token.encode() not in key
    assert token.encode() not in redis.get(key)
    assert PASSWORD.encode() not in redis.get(key)
    assert 0 < redis.ttl(key) <= 12 * 3600
    thief = visitor()
    thief.cookies.set("zohook", key.decode().rpartition(":")[2])
    assert thief.get("/").status_code == 303


def test_signing_out_ends_the_session_itself(visitor: MakeVisitor) -> None:
    """A copy of the cookie is worth nothing after the sign-out."""
    guest = visitor().sign_in()
    token = guest.cookies["zohook"]
    assert guest.post("/sign-out").headers["location"] == "/sign-in"
    copy = visitor()
    copy.cookies.set("zohook", token)
    assert copy.get("/events").status_code == 303


def test_a_new_password_ends_the_old_sessions(visitor: MakeVisitor, settings: MakeSettings) -> None:
    """A session lives as long as the password that opened it; the other role's sessions go on."""
    operator, viewer = visitor().sign_in(), visitor().sign_in(VIEWER)
    changed = settings(TOML.replace(PASSWORD, "another password"))
    for guest, status in ((operator, 303), (viewer, 200)):
        later = visitor(settings=changed)
        later.cookies = guest.cookies
        assert later.get("/events").status_code == status


def test_a_session_that_is_over_in_redis_is_over(operator: Visitor, redis: Redis) -> None:
    """What Redis no longer has does not open anything."""
    for key in redis.scan_iter(keys.session("*")):
        redis.delete(key)
    assert operator.get("/").status_code == 303


@pytest.mark.parametrize("token", ["", "x", "x" * 5000, "../../etc", "%00" * 20, "a:b:c:" * 5])
def test_a_made_up_cookie_opens_nothing(token: str, visitor: MakeVisitor) -> None:
    """Any token that is not ours is no token."""
    guest = visitor()
    guest.cookies.set("zohook", token)
    assert guest.get("/").status_code == 303


def test_wrong_passwords_are_limited_by_address(visitor: MakeVisitor) -> None:
    """After ten in a minute not even the right one is taken from that address; others go on."""
    guest = visitor()
    words = [guest.post("/sign-in", {"password": "wrong"}).status_code for _ in range(12)]
    assert words == [403] * 10 + [429] * 2
    assert guest.post("/sign-in", {"password": PASSWORD}).status_code == 429
    assert visitor(address="192.0.2.11").post("/sign-in", {"password": PASSWORD}).status_code == 303


def test_wrong_passwords_are_limited_in_all(visitor: MakeVisitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd of addresses does not get around the limit, and a whole IPv6 network counts as one address."""
    monkeypatch.setattr(access, "FAILURES", 5)
    for number in range(5):
        assert visitor(address=f"192.0.2.{number}").post("/sign-in", {"password": "x"}).status_code == 403
    assert visitor(address="198.51.100.1").post("/sign-in", {"password": PASSWORD}).status_code == 429
    monkeypatch.setattr(access, "FAILURES", 1000)
    for number in range(10):
        visitor(address=f"2001:db8::{number:x}").post("/sign-in", {"password": "x"})
    assert visitor(address="2001:db8::ffff").post("/sign-in", {"password": PASSWORD}).status_code == 429


def test_right_passwords_are_not_counted(visitor: MakeVisitor) -> None:
    """Whoever knows the password can sign in as often as needed."""
    guest = visitor()
    assert {guest.post("/sign-in", {"password": PASSWORD}).status_code for _ in range(15)} == {303}


@pytest.mark.parametrize("given", ["", PASSWORD + " ", PASSWORD.upper(), PASSWORD[:-1], "\ud800", "\x00"])
def test_only_the_password_is_the_password(given: str, visitor: MakeVisitor) -> None:
    """Nothing near the password opens anything."""
    raw = b"password=" + given.encode("utf-8", "surrogatepass").replace(b" ", b"+")
    headers = {"origin": "http://hooks.test", "content-type": "application/x-www-form-urlencoded"}
    assert visitor().ask("POST", "/sign-in", content=raw, headers=headers).status_code == 403


def test_a_damaged_session_is_an_error_page_and_no_way_in(operator: Visitor, redis: Redis) -> None:
    """A session record that is no longer ours does not open the page."""
    (key,) = [key for key in redis.scan_iter(keys.session("*")) if b"failed" not in key]
    kept = orjson.loads(redis.get(key))
    redis.set(key, orjson.dumps({**kept, "role": "viewer"}))
    assert operator.get("/").status_code == 303
    redis.set(key, orjson.dumps({**kept, "role": "admin"}))
    assert operator.get("/").status_code == 303
    redis.set(key, b"\xff not json")
    assert operator.get("/").status_code == 303
