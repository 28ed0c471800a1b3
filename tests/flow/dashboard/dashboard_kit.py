"""What tests of the dashboard need: a ledger written by its own scripts, and a browser's manners without a browser."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import httpx
import orjson
from starlette.applications import Starlette

from receiver import keys
from receiver.dashboard import routes
from receiver.event import Delivery, Event, new_id, now_ms
from receiver.intake.secrecy import Names, cover
from receiver.ledger import runs
from receiver.ledger.accept import Record, accept
from receiver.ledger.runs import Ending, Opening

if TYPE_CHECKING:
    from redis import Redis

    from receiver.settings import Settings

HANDLER = "deals.invoice_won_deal"
PASSWORD, VIEWER = "correct horse battery", "look but do not touch"
WORKER = "box-4711-abcdef"
TOML = """
public_url = "http://hooks.test"
[web]
password = "correct horse battery"
viewer_password = "look but do not touch"
[simulator]
url = "http://127.0.0.1:9"
[connections.acme]
dc = "eu"
client = "server"
client_id = "1000.ABCDEFGHIJ"
crm = "20061234567"
books = "20069876543"
[sources]
crm = "crm_channel"
books = { product = "books", events = ["invoice.paid"] }
"""


class Seed:
    """Writes a ledger as the door and the workers do."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def accept(self, event_type: str = "crm.Deals.updated", data: Any = None, **fields: Any) -> Event:
        """One accepted event."""
        source = fields.pop("source", event_type.partition(".")[0])
        headers = fields.pop("headers", {"content-type": "application/json", "user-agent": "ZohoCRM"})
        received = fields.pop("received", now_ms())
        window = fields.pop("window", 0)
        body = fields.pop("body", None) or orjson.dumps({"operation": "update", "data": data}, default=str)
        remote = fields.pop("remote", "136.143.188.51")
        delivery = Delivery.arrive(source, body, headers=headers, received=received, remote=remote)
        delivery = cover(delivery, Names())[0]
        event = Event(
            id=new_id(received), type=event_type, source=source, data=data or {"id": fields.get("record_id", "")}, received=received,
            delivery=delivery.id, connection="acme", verified_by="channel token", **fields,
        )  # fmt: skip
        accept(
            self.redis,
            [Record(delivery, "accepted", events=[event], window=window, verified_by="channel token")],
            slips=1_000_000,
        )
        return event

    def refuse(
        self,
        verdict: str = "rejected",
        reason: str = "the signature does not fit",
        source: str = "books",
        **given: Any,
    ) -> str:
        """One delivery that became no event."""
        delivery = Delivery.arrive(source, given.pop("body", b'{"x": 1}'), remote="203.0.113.7", **given)
        delivery = cover(delivery, Names().widened(()))[0]
        accept(self.redis, [Record(delivery, verdict, reason)], cap=10_000)  # type: ignore[arg-type]
        return delivery.id

    def route(self, event: Event, *handlers: str) -> None:
        """Route an event to these handlers."""
        claim = runs.claim(self.redis, "e", event.id, 1, WORKER, 45)
        assert not isinstance(claim, str), claim
        runs.route(
            self.redis,
            claim,
            [Opening(each) for each in handlers],
            lease=45,
            again=30,
            claim_first=False,
            slips=1_000_000,
        )

    def run(
        self, event: Event, handler: str = HANDLER, state: str = "done", *, run: int = 1, **ending: Any
    ) -> str:
        """Run one job to an end; its id."""
        job = runs.job_id(event.id, handler)
        claim = runs.claim(self.redis, "j", job, run, WORKER, 45)
        assert not isinstance(claim, str), claim
        took = ending.pop("took", 34)
        error, calls = ending.pop("error", None), ending.pop("calls", [])
        ended = ending.pop("ended", now_ms())
        attempt = {"run": run, "tries": ending.get("tries", 0), "started": ended - took, "ended": ended, "outcome": state,
                   "worker": WORKER}  # fmt: skip
        if ending.get("reason"):
            attempt["reason"] = ending["reason"]
        if error:
            attempt["error"] = error
        if calls:
            attempt["calls"] = calls
        text = orjson.dumps(attempt).decode()
        assert runs.finish(self.redis, claim, Ending(state, attempt=text, calls=len(calls), **ending))  # type: ignore[arg-type]
        return job

    def handled(
        self, event_type: str = "crm.Deals.updated", handler: str = HANDLER, state: str = "done", **given: Any
    ) -> Event:
        """An event that one handler wanted, and what came of it."""
        ending = {
            name: given.pop(name)
            for name in ("reason", "error", "calls", "parked", "took", "tries")
            if name in given
        }
        event = self.accept(event_type, **given)
        self.route(event, handler)
        self.run(event, handler, state, **ending)
        return event

    def catalogue(self, *handlers: dict[str, Any]) -> None:
        """What a living worker publishes."""
        self.redis.set(keys.catalogue("d1"), orjson.dumps(handlers))
        self.redis.zadd(keys.catalogues(), {"d1": now_ms()})


class Visitor:
    """A browser without windows: it keeps cookies, sends Origin with forms, and does not follow redirects unless told."""

    def __init__(
        self, settings: Settings, redis: Redis, *, address: str = "192.0.2.10", host: str = "hooks.test"
    ) -> None:
        self.app = Starlette(routes=routes(settings, redis))
        self.transport = httpx.ASGITransport(
            app=self.app, client=(address, 40_000), raise_app_exceptions=False
        )
        self.base = f"http://{host}"
        self.cookies = httpx.Cookies()
        self.csrf = ""

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        """One request."""

        async def one() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=self.transport, base_url=self.base, cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **given)
                self.cookies = client.cookies
                return answer

        return asyncio.run(one())

    def get(self, path: str, **given: Any) -> httpx.Response:
        """GET a page, and remember the CSRF token of the first form on it."""
        answer = self.ask("GET", path, **given)
        if found := re.search(r'name="csrf" value="([^"]+)"', answer.text):
            self.csrf = found[1]
        return answer

    def post(
        self,
        path: str,
        data: dict[str, Any] | None = None,
        *,
        origin: str | None = "",
        csrf: str | None = None,
        **given: Any,
    ) -> httpx.Response:
        """POST a form as a page of ours would, unless told to send another origin or token."""
        headers = {} if origin is None else {"origin": origin or self.base}
        return self.ask(
            "POST",
            path,
            data={**(data or {}), "csrf": self.csrf if csrf is None else csrf},
            headers=headers,
            **given,
        )

    def sign_in(self, password: str = PASSWORD) -> Visitor:
        """Sign in, and load a page for its CSRF token."""
        answer = self.post("/sign-in", {"password": password})
        assert answer.status_code == 303, answer.text
        self.get("/handlers")
        return self


class Tags(HTMLParser):
    """Every tag and attribute of a page, and all its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data
