"""The wire and the transport against servers that drip, bomb, cut and redirect, and against the strict simulator."""

from __future__ import annotations

import gzip
import resource
import socket
import time

import pytest
from zoho_kit import whole

from receiver.errors import (
    Conflict,
    ConnectionMisconfigured,
    Fenced,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    ScopeMissing,
    SettingsError,
    Unavailable,
)
from receiver.zoho.ask import Ask
from receiver.zoho.wire import NoReply, Wire


def drip(path, sock):
    """One byte of the body each 50 ms, for ever."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        sock.sendall(b"x")
        time.sleep(0.05)


def drip_head(path, sock):
    """A header that never ends."""
    sock.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
    while True:
        sock.sendall(b"x")
        time.sleep(0.05)


def silence(path, sock):
    """Nothing at all."""
    time.sleep(1)


@pytest.mark.parametrize("say", [drip, drip_head, silence])
def test_the_deadline_is_for_the_whole_of_it(odd, wire, say):
    """A host that drips its body or its headers, or says nothing, is left at the deadline."""
    began = time.monotonic()
    reply = wire.exchange("GET", odd(say).base + "/x", deadline=0.5)
    assert isinstance(reply, NoReply)
    assert (reply.why, reply.sent) == ("timeout", True)
    assert 0.4 < time.monotonic() - began < 3


def test_a_bomb_is_stopped_while_it_inflates(odd, wire):
    """300 MB in 300 KB of gzip end at ten megabytes: too large, not retried, and memory grows by less than 32 MiB."""
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = b"0" * 1_000_000
    bomb = b"".join(packer.compress(block) for _ in range(300)) + packer.flush()
    server = odd(lambda path, sock: sock.sendall(whole(bomb, Content_Encoding="gzip")))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reply = wire.exchange("GET", server.base + "/x")
    assert isinstance(reply, NoReply)
    assert reply.why == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_gzip_is_read_and_damage_is_a_cut(odd, wire):
    """A compressed answer is inflated; a cut or foreign one is no answer."""
    packed = gzip.compress(b'{"a": 1}')
    assert (
        wire.exchange("GET", odd(lambda _, s: s.sendall(whole(packed, Content_Encoding="gzip"))).base).body
        == b'{"a": 1}'
    )
    for body, encoding in ((packed[:-9], "gzip"), (b"no gzip", "gzip"), (b"x", "br"), (b"", "gzip")):
        server = odd(lambda _, s, b=body, e=encoding: s.sendall(whole(b, Content_Encoding=e)))
        assert isinstance(wire.exchange("GET", server.base), NoReply)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 999999 X\r\n\r\n",
    ],
)
def test_a_broken_answer_may_have_arrived(odd, wire, raw):
    """An answer that is cut or no HTTP is no answer, and the request counts as sent."""
    reply = wire.exchange("GET", odd(lambda _, s: s.sendall(raw)).base)
    assert isinstance(reply, NoReply)
    assert reply.sent


def test_a_closed_port_was_not_reached(wire):
    """A refused connection, and a host that does not exist, say that nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", "http://no-such-host.invalid"):
        reply = wire.exchange("POST", url, body=b"x")
        assert isinstance(reply, NoReply)
        assert not reply.sent


def test_no_proxy_and_no_redirect(odd, wire, monkeypatch):
    """Proxies of the environment are not used, and a redirect is given back as it is: the token goes nowhere else."""
    elsewhere = odd(lambda _, s: s.sendall(whole(b"{}")))
    monkeypatch.setenv("HTTP_PROXY", elsewhere.base)
    server = odd(lambda _, s: s.sendall(whole(b"", "302 Found", Location=elsewhere.base + "/stolen")))
    own = Wire()
    assert own.exchange("GET", server.base).status == 302
    own.close()
    assert elsewhere.paths == []


def house_of(build, server):
    house = build(server)
    house.connect()
    return house


def test_a_bomb_and_a_drip_are_errors_of_the_call(build, odd):
    """A handler sees Unavailable: "too large" is not worth a retry, a drip is one; the foreign api_domain is not used."""
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"0" * 1_000_000) for _ in range(30)) + packer.flush()
    house = house_of(build, odd(lambda _, s: s.sendall(whole(bomb, Content_Encoding="gzip"))))
    with pytest.raises(Unavailable, match="exceeds") as told:
        house.zoho.crm.org()
    assert not told.value.retryable
    assert house.tokens.status("acme").api_domain == ""
    zoho = house_of(build, odd(drip)).zoho
    with pytest.raises(Unavailable, match="no whole answer") as told:
        zoho.send(Ask("crm", "POST", "/crm/v8/Leads", json={}, deadline=0.3))
    assert told.value.retryable
    assert len(zoho.calls) == 1


def test_a_create_is_not_repeated_but_a_read_is(house):
    """After a 502 a GET is sent again and a POST create is not; after a lost answer an upsert is, and makes one record."""
    zoho, faults = house.zoho, house.simulator.faults
    faults.add("html", product="crm", status=502)
    assert zoho.crm.org()
    assert [call["status"] for call in zoho.calls] == [502, 200]
    assert [call["repeated"] for call in zoho.calls] == [False, True]
    faults.add("lost", product="crm", method="POST")
    with pytest.raises(Unavailable):
        zoho.crm.create("Leads", {"Last_Name": "Once", "Company": "C"})
    assert len(zoho.crm.coql("select id from Leads where Last_Name = 'Once'")) == 1
    faults.add("lost", product="crm", path="upsert")
    made = zoho.crm.upsert(
        "Leads", {"Last_Name": "Two", "Company": "C", "Email": "two@x.example"}, by=["Email"]
    )
    assert made["id"]
    assert len(zoho.crm.coql("select id from Leads where Email = 'two@x.example'")) == 1


def test_a_dead_token_is_renewed_once_per_product(house):
    """Each product's word for a dead token makes one refresh and one repeat, a create included; and then it works."""
    house.simulator.limits.access_live = 1
    for number, call in enumerate(
        (
            lambda zoho: zoho.crm.create("Leads", {"Last_Name": "X", "Company": "Y"}),
            lambda zoho: next(zoho.books.list("contacts")),
            lambda zoho: next(zoho.desk.list("tickets")),
        ),
        start=2,
    ):
        house.tokens.get("acme")
        house.simulator.accounts.kill_access_tokens()
        zoho = house.zoho
        assert call(zoho)
        assert zoho.calls[0]["status"] == 401
        assert len(zoho.calls) == 2
        assert house.refreshes() == number


def test_a_missing_scope_never_renews(house):
    """Scope errors of CRM and Desk raise ScopeMissing and leave the token alone."""
    house.zoho.crm.org()
    house.simulator.world.lock.acquire()
    for access in house.simulator.accounts._accesses.values():
        access.scopes = ("ZohoMail.messages.READ",)
    house.simulator.world.lock.release()
    with pytest.raises(ScopeMissing, match="connect again"):
        house.zoho.crm.org()
    with pytest.raises(ScopeMissing):
        next(house.zoho.desk.list("tickets"))
    assert house.refreshes() == 1


def test_a_permission_that_books_calls_57_costs_one_refresh_in_ten_minutes(house):
    """Books says 57 for dead tokens and for missing permissions: one refresh to find out, then none; CRM works all along."""
    body = {"code": 57, "message": "You are not authorized to perform this operation"}
    house.zoho.crm.org()
    for _ in range(3):
        house.simulator.faults.add("body", product="books", status=401, body=body, times=2)
        with pytest.raises(PermissionDenied):
            next(house.zoho.books.list("invoices"))
        house.simulator.faults.clear()
        assert house.zoho.crm.org()
    assert house.refreshes() == 2


def test_a_fresh_token_that_is_refused_is_no_loop(house):
    """INVALID_TOKEN with a token just made ends as a wrong configuration, after one refresh, and the next call makes none."""
    body = {"code": "INVALID_TOKEN", "details": {}, "message": "invalid oauth token", "status": "error"}
    house.simulator.faults.add("body", product="crm", status=401, body=body, times=100)
    for _ in range(3):
        with pytest.raises(ConnectionMisconfigured, match="data centre"):
            house.zoho.crm.org()
    assert house.refreshes() == 2


def test_a_short_throttle_is_waited_out_and_a_long_one_raised(house):
    """A 429 without a time is tried again, a create included; one that is to wait a minute raises with retry_after."""
    zoho = house.zoho
    house.simulator.faults.add("status", product="crm", status=429)
    assert zoho.crm.create("Leads", {"Last_Name": "X", "Company": "Y"})
    house.simulator.faults.add("body", product="books", status=429, body={"code": 44, "message": "blocked"})
    began = time.monotonic()
    with pytest.raises(RateLimited) as told:
        next(zoho.books.list("invoices"))
    assert told.value.retry_after == 60
    assert told.value.code == "44"
    assert time.monotonic() - began < 10


def test_an_outage_is_given_back_within_seconds(house):
    """Four tries and at most a few seconds; the job can wait better than a thread."""
    house.simulator.faults.add("status", product="crm", status=503, times=50)
    zoho = house.zoho
    began = time.monotonic()
    with pytest.raises(Unavailable) as told:
        zoho.crm.org()
    assert len(zoho.calls) == 4
    assert time.monotonic() - began < 10
    assert told.value.status == 503
    assert told.value.request.url.endswith("/crm/v8/org")


@pytest.mark.parametrize("kind", ["html", "cut"])
def test_no_usable_answer_is_unavailable(house, kind):
    """A page instead of JSON, and half an answer, are outages and not results."""
    house.simulator.faults.add(kind, product="crm", status=200, times=50)
    with pytest.raises(Unavailable):
        house.zoho.request("crm", "POST", "/crm/v8/coql", json={"select_query": "x"}, write=False)


def test_the_fence_comes_before_every_request(house):
    """A run that was fenced makes no further call, not even the second try of one under way."""
    seen = []

    def fence():
        seen.append(1)
        if len(seen) == 2:
            raise Fenced("not yours")

    house.simulator.faults.add("status", product="crm", status=503, times=9)
    zoho = house.clients.for_job("acme", fence=fence)
    with pytest.raises(Fenced):
        zoho.crm.org()
    assert len(house.simulator.journal.calls("crm")) == 1


def test_a_call_is_recorded_without_secrets(house):
    """Every try is listed with status, code and time, and neither token nor body is in it."""
    zoho = house.zoho
    zoho.crm.org()
    with pytest.raises(NotFound):
        zoho.crm.get("Leads", "999")
    (first, *_, last) = zoho.calls
    assert set(first) == {
        "at",
        "product",
        "method",
        "path",
        "params",
        "status",
        "code",
        "ms",
        "credits",
        "write",
        "repeated",
    }
    assert (first["status"], last["path"]) == (200, "/crm/v8/Leads/999")
    assert house.tokens.get("acme").value not in repr(zoho.calls)
    assert next(zoho.desk.list("tickets"))
    assert isinstance(zoho.calls[-1]["credits"], int)


def test_a_generic_request_is_addressed_like_the_clients(house):
    """request() adds the organisation of its product, and refuses a path that could lead elsewhere."""
    zoho = house.zoho
    assert zoho.request("books", "GET", "/books/v3/contacts")["code"] == 0
    assert zoho.request("desk", "GET", "/api/v1/tickets", params={"limit": 1})["data"]
    assert zoho.request("crm", "GET", "/crm/v8/Leads/search", params={"word": "nobodyhere"}) is None
    with pytest.raises(InvalidRequest):
        zoho.request("crm", "GET", "@evil.example/")
    with pytest.raises(SettingsError, match=r"add +inventory"):
        zoho.request("inventory", "GET", "/inventory/v1/items")


def test_shadow_sends_no_write(house):
    """In shadow mode reads are real, and writes are listed with what they would have sent."""
    zoho = house.clients.for_job("acme", shadow=True, on_write=lambda *_: pytest.fail("nothing is written"))
    deal = next(zoho.crm.list("Deals", fields=["Stage"]))
    assert zoho.crm.update("Deals", deal["id"], {"Stage": "Closed Won"}) == {
        "id": deal["id"],
        "action": "update",
    }
    assert zoho.crm.create("Leads", [{"Last_Name": "X"}] * 2)[1].ok
    assert zoho.crm.ensure("Leads", by={"Email": "new@x.example"}, values={"Last_Name": "X"})[1]
    assert zoho.crm.delete("Deals", deal["id"])["id"] == deal["id"]
    assert zoho.books.ensure("invoices", by={"cf_none": "1"}, values={"customer_id": "5"})[1]
    assert zoho.desk.create("tickets", {"subject": "S"})["subject"] == "S"
    zoho.desk.trash("tickets", ["1"])
    zoho.books.mark_sent("1")
    writes = [call for call in zoho.calls if call["write"]]
    assert {call["code"] for call in writes} == {"shadow"}
    assert writes[0]["json"]["data"] == [{"Stage": "Closed Won", "id": deal["id"]}]
    assert not [call for call in house.simulator.journal.calls() if call.method in {"PUT", "DELETE", "PATCH"}]


def test_a_write_is_told_before_it_is_made(house):
    """on_write hears product, module, record and values of each record, before the call; a read is not told."""
    heard = []
    zoho = house.clients.for_job(
        "acme", on_write=lambda *about: heard.append((about, len(house.simulator.journal.calls("crm"))))
    )
    deal = next(zoho.crm.list("Deals", fields=["Stage"]))
    zoho.crm.coql("select id from Deals where Stage = 'x'")
    before = len(house.simulator.journal.calls("crm"))
    zoho.crm.update("Deals", deal["id"], {"Stage": "Qualification"})
    zoho.crm.update("Deals", [{"id": deal["id"], "Amount": 1}])
    values = {"Stage": "Qualification", "id": deal["id"]}
    assert heard[0] == (("crm", "Deals", deal["id"], values, False), before)
    assert [about[0][2] for about in heard] == [deal["id"]] * 2


def test_a_new_record_is_told_of_again_once_it_has_its_id(house):
    """Of each product, and of many at once; one that was refused has none."""
    heard = []
    zoho = house.clients.for_job("acme", on_write=lambda *about: heard.append(about))
    lead = zoho.crm.create("Leads", {"Last_Name": "A"})
    _, second = zoho.crm.create("Leads", [{"First_Name": "no last name"}, {"Last_Name": "B"}])
    contact, _ = zoho.books.ensure("contacts", by={"contact_name": "C"}, values={})
    other = next(zoho.desk.list("tickets"))
    about = {"subject": "S", "departmentId": other["departmentId"], "contactId": other["contactId"]}
    ticket = zoho.desk.create("tickets", about)
    comment = zoho.desk.comment(ticket["id"], "Look")
    assert [about for about in heard if about[4]] == [
        ("crm", "Leads", lead["id"], {"Last_Name": "A"}, True),
        ("crm", "Leads", second.id, {"Last_Name": "B"}, True),
        ("books", "contacts", contact["contact_id"], {"contact_name": "C"}, True),
        ("desk", "tickets", ticket["id"], about, True),
        (
            "desk",
            "ticket_comments",
            comment["id"],
            {"content": "Look", "isPublic": False, "contentType": "plainText"},
            True,
        ),
    ]
    assert [about[2] for about in heard if not about[4]] == ["", "", "", "", "", ticket["id"]]


def test_a_conflict_names_itself(house):
    """If-Unmodified-Since before the last change: 412 becomes Conflict."""
    deal = next(house.zoho.crm.list("Deals", fields=["Stage"]))
    house.zoho.crm.update("Deals", deal["id"], {"Stage": "Qualification"})
    with pytest.raises(Conflict):
        house.zoho.crm.update(
            "Deals", deal["id"], {"Stage": "Closed Won"}, unmodified_since="2020-01-01T00:00:00+00:00"
        )
