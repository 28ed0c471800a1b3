"""Threats at the dashboard, by walking whatever routes there are: each of them must be known here by name (S23, S24, S26, S29, S30)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from dashboard_kit import VIEWER
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount, Route

from receiver.app import build
from receiver.dashboard.guard import HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from tests.conftest import MakeSettings

OPEN = {
    # What anybody may ask for, and what a stranger is answered.
    "GET /sign-in": {200},
    "POST /sign-in": {403},  # no password
    "GET /healthz": {200, 503},
    "GET /metrics": {401},
    "GET /connect/callback": {400},
    "GET /static/zohook.css": {200},
    "GET /consent/{token}": {404},
    "POST /consent/{token}": {404},
    "POST /api/connections/{name}/token": {401},
}
READ = {
    # What viewers and operators may look at.
    *(
        "/",
        "/events",
        "/events/{id}",
        "/dead",
        "/deliveries",
        "/deliveries/{id}",
        "/handlers",
        "/connections",
        "/sources",
        "/calls",
    ),
    *("/live/{topic}", "/live/events/{id}", "/static/zohook.js"),
}
VIEWERS_TOO = {"/sign-out"}
OPERATORS = {
    # What changes something.
    *("/jobs", "/dead", "/replays/{id}/cancel", "/pause", "/resume", "/events/{id}/route", "/deliveries"),
    *(
        "/deliveries/{id}/run",
        "/deliveries/{id}/verify",
        "/connections/{name}/connect",
        "/connections/{name}/invite",
        "/sources/{name}/arm",
        "/sources/{name}/forward",
    ),
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


def walk(routes: list[BaseRoute], before: str = "") -> Iterator[tuple[str, str]]:
    """(method, path) of every route under these, mounted applications included."""
    for route in routes:
        if isinstance(route, Mount):
            inner = route.app
            while not isinstance(inner, Starlette):
                inner = inner.app  # what wraps it
            yield from walk(inner.routes, before + route.path)
        else:
            assert isinstance(route, Route), f"{route}: a kind of route that nobody looked at"
            for method in (route.methods or set()) - {"HEAD"}:
                path = before + route.path
                names = ("zohook.css", "zohook.js") if "/static/" in path else ("",)
                for name in names:
                    yield method, path.replace("{name}", name) if name else path


@pytest.fixture(scope="module")
def routes() -> list[tuple[str, str]]:
    """Every route of the dashboard."""
    from receiver.dashboard import ACTIONS, OTHERS, PAGES

    return sorted(set(walk([*PAGES, *ACTIONS, *OTHERS])))


def filled(path: str) -> str:
    """An address of a route."""
    return re.sub(r"{(\w+)}", lambda match: "nav" if match[1] == "topic" else "none", path)


def test_s26_every_route_is_known_here(routes: list[tuple[str, str]], visitor: Callable[..., Any]) -> None:
    """A new route must be given to somebody in this file, and what the application serves is what is listed."""
    known = {*OPEN, *(f"GET {path}" for path in READ), *(f"POST {path}" for path in OPERATORS | VIEWERS_TOO)}
    assert {f"{method} {path}" for method, path in routes} == known
    served = sorted(set(walk(visitor().app.routes)))
    assert served == routes


def test_s23_s26_each_role_may_do_what_is_written_here(
    routes: list[tuple[str, str]], visitor: Callable[..., Any]
) -> None:
    """Role by route: a stranger gets 303 or 401, a viewer reads and signs out, an operator does everything."""
    stranger, viewer, operator = visitor(), visitor().sign_in(VIEWER), visitor().sign_in()
    for method, path in routes:
        if path.startswith("/live/"):
            assert stranger.ask("GET", filled(path)).status_code == 401
            continue  # what streams for ever is asked for by the tests of the live pages
        where, key = filled(path), f"{method} {path}"
        if key in OPEN:
            answer = stranger.ask("GET", where) if method == "GET" else stranger.post(where)
            assert answer.status_code in OPEN[key], key
        elif method == "GET":
            assert stranger.ask("GET", where).status_code in {303, 401}, key
            assert {each.ask("GET", where).status_code for each in (viewer, operator)} <= {200, 404}, key
        elif path in VIEWERS_TOO:
            assert stranger.post(where).status_code == 401
            assert visitor().sign_in(VIEWER).post(where).status_code == 303
        else:
            assert stranger.post(where).status_code == 401, key
            assert viewer.post(where).status_code == 403, key
            assert operator.post(where).status_code not in {401, 403, 405, 500}, key


def test_s24_no_other_method_and_no_foreign_form_does_anything(
    routes: list[tuple[str, str]], visitor: Callable[..., Any], redis: Redis
) -> None:
    """Every method that a route does not have is refused to the operator himself; forms without token or of another origin are 403; Redis is as before."""
    operator = visitor().sign_in()
    before = {key: redis.dump(key) for key in redis.scan_iter()}
    taken: dict[str, set[str]] = {}
    for method, path in routes:
        taken.setdefault(path, {"HEAD"}).add(method)
    for path, methods in taken.items():
        if path.startswith("/live/"):
            continue
        for method in METHODS:
            if method not in methods:
                asked = (
                    operator.ask(method, filled(path), data={"csrf": operator.csrf})
                    if method == "POST"
                    else operator.ask(method, filled(path))
                )
                assert asked.status_code in {403, 404, 405}, f"{method} {path}"
        if "POST" in methods and f"POST {path}" not in OPEN:
            for sent in ({"csrf": ""}, {"csrf": "wrong"}, {"origin": "http://evil.test"}, {"origin": "null"}):
                assert operator.post(filled(path), **sent).status_code == 403, f"{path} {sent}"
    assert {key: redis.dump(key) for key in redis.scan_iter()} == before


def test_s25_every_answer_of_every_route_has_the_policy(
    routes: list[tuple[str, str]], visitor: Callable[..., Any]
) -> None:
    """Pages, refusals, files, JSON and errors alike forbid scripts but our own, frames and sniffing."""
    for visiting in (visitor(), visitor().sign_in()):
        for method, path in [*routes, ("GET", "/nothing/there"), ("DELETE", "/events")]:
            if path.startswith("/live/"):
                continue
            headers = visiting.ask(method, filled(path)).headers
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'"), (
                path
            )
            assert "unsafe" not in headers["content-security-policy"]
            for name in ("x-content-type-options", "x-frame-options", "referrer-policy"):
                assert headers[name] == HEADERS[name], path


@pytest.mark.parametrize(
    "host", ["evil.example", "hooks.test@evil.example", "evil.example#", "hooks.test:1/x?"]
)
def test_s29_the_host_header_leads_nowhere(host: str, visitor: Callable[..., Any]) -> None:
    """Whatever Host, path or forwarding headers say, a consent comes back to the configured address, and no link or redirect leaves the house."""
    operator = visitor().sign_in()
    said = {
        "host": host,
        "x-forwarded-host": host,
        "forwarded": f"host={host}",
        "origin": "http://hooks.test",
    }
    answer = operator.ask("POST", "/connections/acme/connect", data={"csrf": operator.csrf}, headers=said)
    to = parse_qs(urlsplit(answer.headers["location"]).query)
    assert to["redirect_uri"] == ["http://hooks.test/connect/callback"]
    for path in (
        "/connections",
        "/sign-in?to=//evil.example",
        "//evil.example/",
        "/@evil.example",
        "/%2f%2fevil.example",
    ):
        answer = operator.ask("GET", path, headers=said)
        assert "evil.example" not in answer.headers.get("location", "")
        assert f"//{host.partition('@')[2] or host}" not in answer.text


def test_s34_a_websocket_is_closed_at_once(
    settings: MakeSettings, redis_server: Embedded, redis: Redis
) -> None:
    """The pages open none, were a server to pass one on; the door speaks plain HTTP by itself."""
    import asyncio

    redis.config_set("appendonly", "yes")
    toml = '[sources]\nbooks = { product = "books", events = ["invoice.paid"] }\n'
    app = build(
        settings(toml, secrets={"books": "throwawaybookskey01"}, redis={"url": redis_server.url})
    ).pages
    for path in ("/in/books", "/", "/events", "/live/nav"):
        said: list[Any] = []

        async def send(message: Any, said: list[Any] = said) -> None:
            said.append(message["type"])

        async def receive() -> Any:
            return {"type": "websocket.connect"}

        scope = {"type": "websocket", "path": path, "headers": [], "query_string": b"", "subprotocols": []}
        asyncio.run(app(scope, receive, send))
        assert said == ["websocket.close"], path
