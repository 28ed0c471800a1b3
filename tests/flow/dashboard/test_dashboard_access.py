"""Who gets in, who may do what, and what is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from dashboard_kit import PASSWORD, VIEWER, Visitor
from starlette.routing import Route

from receiver.dashboard import ACTIONS, PAGES
from receiver.dashboard.guard import HEADERS, OPEN

if TYPE_CHECKING:
    from conftest import MakeVisitor
    from dashboard_kit import Seed

    from tests.conftest import MakeSettings


def walk(routes: list) -> list[str]:
    """An address of every route."""
    filled = {"{name}": "zohook.js", "{topic}": "nav", "{id}": "none", "{token}": "none"}
    return [
        re.sub(r"{\w+}", lambda match: filled[match[0]], each.path)
        for each in routes
        if isinstance(each, Route)
    ]


READ, WRITTEN = walk(PAGES), walk(ACTIONS)


@pytest.mark.parametrize("path", READ)
def test_nothing_is_read_without_a_session(path: str, visitor: MakeVisitor) -> None:
    """Every page leads to the sign-in or says 401, but for the few that are open on purpose."""
    answer = visitor().ask("GET", path)
    if path in OPEN:
        assert answer.status_code in {200, 400, 401}
    elif path.startswith(("/live/", "/static/")):
        assert answer.status_code == 401
    else:
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in")


@pytest.mark.parametrize("path", [path for path in WRITTEN if path != "/sign-in"])
def test_nothing_is_changed_without_a_session(path: str, visitor: MakeVisitor) -> None:
    """Every form of a stranger is refused, even one with our own Origin."""
    assert visitor().post(path).status_code == 401


@pytest.mark.parametrize(
    "path", ["/nope", "/in", "/events/1/2/3", "/static/../settings.py", "//events", "/EVENTS"]
)
def test_an_unknown_address_needs_a_session_too(path: str, visitor: MakeVisitor) -> None:
    """What no route knows is denied before it is looked for."""
    assert visitor().ask("GET", path).status_code in {303, 401}


@pytest.mark.parametrize(
    "host", ["hooks.test", "evil.test/sign-in?", "x@evil.test", "evil.test#/healthz", "a b"]
)
def test_the_host_header_opens_nothing(host: str, visitor: MakeVisitor) -> None:
    """The guard reads the path of the request and never an address that the Host header had a part in."""
    answer = visitor().ask("GET", "/events", headers={"host": host})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?to=/events"


@pytest.mark.parametrize(
    "path", [path for path in WRITTEN if path not in {"/sign-in", "/dead", "/deliveries"}]
)
def test_no_get_has_an_effect(path: str, operator: Visitor) -> None:
    """GET on what takes a form is 405."""
    answer = operator.ask("GET", path)
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize("path", [path for path in WRITTEN if path != "/sign-in"])
@pytest.mark.parametrize(
    "sent",
    [
        {"csrf": ""},
        {"csrf": "wrong"},
        {"origin": "http://evil.test"},
        {"origin": "null"},
        {"origin": "http://hooks.test.evil.test"},
    ],
    ids=str,
)
def test_a_foreign_form_is_refused(path: str, sent: dict, operator: Visitor) -> None:
    """No form is taken without the session's token, nor with another site's Origin."""
    assert operator.post(path, **sent).status_code == 403


def test_a_form_of_another_site_is_refused_where_browsers_send_no_origin(operator: Visitor) -> None:
    """Sec-Fetch-Site tells of a foreign form as well."""
    answer = operator.ask(
        "POST", "/sign-out", data={"csrf": operator.csrf}, headers={"sec-fetch-site": "cross-site"}
    )
    assert answer.status_code == 403


def test_the_sign_in_takes_no_foreign_form(visitor: MakeVisitor) -> None:
    """The one form without a token still compares the Origin."""
    assert visitor().post("/sign-in", {"password": PASSWORD}, origin="http://evil.test").status_code == 403


@pytest.mark.parametrize("path", [path for path in READ if path not in OPEN and not path.startswith("/live")])
def test_viewers_and_operators_read_alike(path: str, visitor: MakeVisitor) -> None:
    """Both roles see every page."""
    wanted = 404 if "none" in path else 200
    assert visitor().sign_in().ask("GET", path).status_code == wanted
    assert visitor().sign_in(VIEWER).ask("GET", path).status_code == wanted


@pytest.mark.parametrize("path", [path for path in WRITTEN if path not in {"/sign-in", "/sign-out"}])
def test_viewers_change_nothing(path: str, visitor: MakeVisitor) -> None:
    """Every form that changes anything is the operator's."""
    assert visitor().sign_in(VIEWER).post(path).status_code == 403


def test_viewers_see_no_buttons(visitor: MakeVisitor, seed: Seed) -> None:
    """A page shows the forms that its reader may send, and no others."""
    event = seed.handled(state="dead", reason="no")
    assert "Retry" in visitor().sign_in().get(f"/events/{event.id}").text
    assert "Retry" not in visitor().sign_in(VIEWER).get(f"/events/{event.id}").text
    assert "<button>Retry" not in visitor().sign_in(VIEWER).get("/dead").text


def test_without_a_password_the_dashboard_is_closed(settings: MakeSettings, visitor: MakeVisitor) -> None:
    """A page says why and what to set; an empty password opens nothing; health still answers."""
    closed = settings('public_url = "http://hooks.test"\n')
    guest = visitor(settings=closed)
    for path in ("/", "/sign-in", "/events", "/live/nav"):
        answer = guest.get(path)
        assert answer.status_code == 403
        assert "ZOHOOK_WEB__PASSWORD" in answer.text
    assert guest.post("/sign-in", {"password": ""}).status_code == 403
    assert guest.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "application/json"}, b"{}", 415),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--", 415),
        ({}, b"a=" + b"x" * 200_000, 413),
        ({}, b"&".join(b"a=1" for _ in range(2000)), 413),
        ({}, b"%ff%00&=&&;=\xff\xfe", 403),
    ],
)
def test_a_strange_body_is_refused(headers: dict, body: bytes, status: int, operator: Visitor) -> None:
    """Only small plain forms are read."""
    sent = {"origin": "http://hooks.test", "content-type": "application/x-www-form-urlencoded", **headers}
    assert operator.ask("POST", "/jobs", content=body, headers=sent).status_code == status


@pytest.mark.parametrize("path", ["/", "/sign-in", "/nope", "/healthz", "/static/zohook.css", "/static/none"])
def test_every_answer_has_the_headers(path: str, operator: Visitor) -> None:
    """Pages, errors, files and JSON carry the same policy, and no policy allows anything inline."""
    answer = operator.get(path)
    for name, value in HEADERS.items():
        if name != "cache-control" or not path.startswith("/static/zohook"):
            assert answer.headers[name] == value
    assert "unsafe" not in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "path", [path for path in READ if path not in OPEN and not path.startswith(("/live", "/static"))]
)
def test_no_page_has_anything_inline(path: str, operator: Visitor, seed: Seed) -> None:
    """No script, style or handler is written into a page, so the policy costs nothing."""
    event = seed.handled(state="dead", reason="no")
    text = operator.get(path.replace("none", event.id)).text
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert all('src="/static/zohook.js?v=' in each for each in re.findall(r"<script[^>]*>", text))


def test_files_are_kept_by_browsers_as_long_as_they_are_the_same(operator: Visitor) -> None:
    """The address of a file has its digest; any other address of it is asked for again."""
    address = re.search(r"/static/zohook\.css\?v=\w+", operator.get("/").text)
    assert address
    assert "immutable" in operator.get(address[0]).headers["cache-control"]
    assert operator.get("/static/zohook.css?v=old").headers["cache-control"] == "no-cache"
