"""A ledger as it looks on a working day, for looking at pages: screenshots, the browser, and whoever wants to see them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import orjson
from dashboard_kit import WORKER, Seed

from receiver import keys
from receiver.event import now_ms
from receiver.ledger.accept import Record, accept
from receiver.ledger.runs import job_id

if TYPE_CHECKING:
    from redis import Redis

TRACEBACK = """Traceback (most recent call last):
  File "/srv/zohook/handlers/deals.py", line 31, in invoice_won_deal
    invoice, made = zoho.books.ensure("invoices", by={"cf_crm_deal": deal["id"]}, values=values)
  File "receiver/zoho/books.py", line 118, in ensure
    raise InvalidRequest("books POST /books/v3/invoices: 4: Invalid value passed for Contact ID")
receiver.errors.InvalidRequest: books POST /books/v3/invoices: 4: Invalid value passed for Contact ID
"""
HANDLERS = (
    ("deals.invoice_won_deal", "Raise the invoice in Books when a deal is won.", ["crm.Deals.created", "crm.Deals.updated"],
     {"changed": ["Stage"], "record": True, "where": {"Stage": "Closed Won"}, "retry_for": 259200.0, "timeout": 60.0}),
    ("invoices.move_paid_deal", "Move the deal on when its invoice is paid.", ["books.invoice.paid"],
     {"retry_for": 259200.0, "timeout": 60.0}),
    ("leads.greet", "Greet a new lead, and give its owner a follow-up task.", ["crm.Leads.created"],
     {"max_age": 86400.0, "retry_for": 259200.0, "timeout": 60.0}),
    ("tickets.add_context", "Put the customer's CRM history beside a new ticket.", ["desk.Ticket.created"],
     {"retry_for": 259200.0, "timeout": 30.0}),
    ("mirror.records", "Mirror contacts and accounts into the database.", ["crm.Contacts.*", "crm.Accounts.*"],
     {"retries": 5, "retry_for": 259200.0, "timeout": 60.0}),
)  # fmt: skip


def scene(redis: Redis) -> dict[str, str]:
    """Fill the ledger; the ids of what is worth looking at."""
    seed = Seed(redis)
    seed.catalogue(*({"id": i, "doc": d, "patterns": p, "options": o} for i, d, p, o in HANDLERS))
    for index in range(40):
        ordinary(seed, index, now_ms() - (40 - index) * 47_000)
    found = {"dead": _dead(seed), "retrying": _retrying(seed), "done": _done(seed), "held": _held(seed)}
    unmatched = seed.accept("crm.Campaigns.created", {"id": "4876000000771"}, record_id="4876000000771")
    seed.route(unmatched)
    found["unmatched"] = unmatched.id
    _deliveries(seed, found)
    _running(seed)
    _rates(redis)
    _workers(redis)
    _token(redis)
    return found


def ordinary(seed: Seed, index: int, received: int) -> None:
    """One event like most."""
    type_, handler = [
        ("crm.Contacts.updated", "mirror.records"), ("crm.Leads.created", "leads.greet"),
        ("desk.Ticket.created", "tickets.add_context"), ("books.invoice.paid", "invoices.move_paid_deal"),
        ("crm.Deals.updated", "deals.invoice_won_deal"), ("crm.Accounts.updated", "mirror.records"),
    ][index % 6]  # fmt: skip
    record = f"48760000{index * 7919 % 99991:05d}"
    state = "skipped" if index % 6 == 4 and index % 4 else "done"
    reason = "where: Stage is 'Negotiation', not 'Closed Won'" if state == "skipped" else ""
    seed.handled(
        type_,
        handler,
        state,
        received=received,
        record_id=record,
        data={"id": record},
        reason=reason,
        took=20 + index * 7 % 90,
    )


def _deal(seed: Seed, stage: str, **fields: Any) -> Any:
    data = {
        "id": "4876000000331", "Deal_Name": "Acme GmbH: 40 seats, three years", "Amount": 48_250.0, "Currency": "EUR",
        "Stage": stage, "Closing_Date": "2026-11-30", "Account_Name": {"name": "Acme GmbH", "id": "4876000000120"},
        "Owner": {"name": "Rosa Berg", "id": "4876000000007"}, "Tag": [], "Locked": False, "Invoice_No": None,
    }  # fmt: skip
    return seed.accept(
        "crm.Deals.updated", data, record_id="4876000000331", native="Deals.edit", organisation="20061234567",
        changed=frozenset({"Stage", "Amount"}), previous={**data, "Stage": "Negotiation", "Amount": 41_000.0},
        occurred=now_ms() - 2400, **fields,
    )  # fmt: skip


def _call(product: str, method: str, path: str, status: int, ms: int, code: str = "") -> dict[str, Any]:
    return {"at": now_ms(), "product": product, "method": method, "path": path, "status": status, "code": code, "ms": ms,
            "write": method != "GET", "repeated": False}  # fmt: skip


def _dead(seed: Seed) -> str:
    event = _deal(seed, "Closed Won")
    seed.route(event, "deals.invoice_won_deal")
    error = {"type": "InvalidRequest", "message": "books POST /books/v3/invoices: 4: Invalid value passed for Contact ID",
             "code": "4", "traceback": TRACEBACK}  # fmt: skip
    calls = [_call("crm", "GET", "/crm/v8/Deals/4876000000331", 200, 141),
             _call("books", "GET", "/books/v3/invoices", 200, 203), _call("books", "POST", "/books/v3/invoices", 400, 188, "4")]  # fmt: skip
    seed.run(event, state="dead", tries=1, error=error, calls=calls, took=548,
             reason="Zoho will not take this: books POST /books/v3/invoices: 4: Invalid value passed for Contact ID")  # fmt: skip
    for index in range(3):
        seed.handled("crm.Contacts.updated", "mirror.records", "dead", record_id=f"487600000{index}412", tries=6,
                     reason="failed 6 times, the last with OperationalError: connection to server at 10.0.3.7, port 5432 failed")  # fmt: skip
    return str(event.id)


def _retrying(seed: Seed) -> str:
    event = seed.accept(
        "books.invoice.paid", {"invoice_id": "982000000567114", "total": 1190.0}, record_id="982000000567114"
    )
    seed.route(event, "invoices.move_paid_deal")
    error = {
        "type": "Unavailable",
        "message": "crm PUT /crm/v8/Deals: Zoho answered HTTP 503",
        "traceback": TRACEBACK,
    }
    for run in (1, 2):
        seed.redis.hset(keys.job(job_id(event.id, "invoices.move_paid_deal")), "due", now_ms() - 1)
        seed.run(event, "invoices.move_paid_deal", "due", run=run, tries=run, at=now_ms() + 20_000 * run, error=error,
                 reason="Unavailable: crm PUT /crm/v8/Deals: Zoho answered HTTP 503", took=912)  # fmt: skip
    return str(event.id)


def _done(seed: Seed) -> str:
    event = _deal(seed, "Closed Won")
    seed.route(event, "deals.invoice_won_deal", "mirror.records")
    calls = [_call("crm", "GET", "/crm/v8/Deals/4876000000331", 200, 133),
             _call("books", "POST", "/books/v3/invoices", 201, 240), _call("crm", "PUT", "/crm/v8/Deals", 200, 171)]  # fmt: skip
    seed.run(event, calls=calls, took=561)
    seed.run(event, "mirror.records", took=12)
    return str(event.id)


def _held(seed: Seed) -> str:
    event = seed.accept(
        "desk.Ticket.created", {"id": "77000000021", "subject": "Printer on fire"}, record_id="77000000021"
    )
    seed.route(event, "tickets.add_context")
    seed.run(
        event,
        "tickets.add_context",
        "held",
        parked="connection:acme",
        reason="Zoho no longer takes the consent of acme",
    )
    return str(event.id)


def _running(seed: Seed) -> None:
    from receiver.ledger import runs

    event = seed.accept("crm.Leads.created", {"id": "4876000000909"}, record_id="4876000000909")
    seed.route(event, "leads.greet", "mirror.records")
    runs.claim(seed.redis, "j", job_id(event.id, "leads.greet"), 1, WORKER, 45)


def _deliveries(seed: Seed, found: dict[str, str]) -> None:
    found["rejected"] = seed.refuse(body=b'{"invoice": {"invoice_id": "982000000567114", "status": "paid"}}',
                                    headers={"x-zoho-webhook-signature": "9f2c", "content-type": "application/json"})  # fmt: skip
    for index in range(6):
        seed.refuse(
            reason=["the header x-webhook-token is missing", "the signature does not fit"][index % 2],
            source=["rules", "books"][index % 2],
        )
    found["quarantined"] = seed.refuse(
        "quarantined",
        "the body is no JSON: unexpected end of data: line 1 column 88",
        "crm",
        body=b'{"module": "Deals", "ids": ["48760',
    )
    from receiver.event import Delivery, Event, new_id

    first = seed.accept("crm.Deals.created", record_id="1", identity="same", window=60)
    again = Delivery.arrive("crm", b"{}", remote="136.143.188.51")
    twin = Event(
        id=new_id(),
        type=first.type,
        source="crm",
        data={},
        received=now_ms(),
        identity="same",
        delivery=again.id,
    )
    accept(seed.redis, [Record(again, "accepted", events=[twin], window=60)])
    seed.route(first, "mirror.records")
    seed.run(first, "mirror.records")


def _rates(redis: Redis) -> None:
    last = now_ms() // 60_000
    for back in range(1, 60):
        base = 26 + 14 * math.sin(back / 7) + (back * 37 % 11) - (30 if 33 < back < 37 else 0)
        accepted = max(0, int(base))
        failed = 4 if back in {34, 35, 36} else 1 if back % 17 == 0 else 0
        done = max(0, accepted + (9 if 30 < back < 34 else 0) - failed - back % 3)
        counts = {"accepted": accepted, "done": done, "retried": failed, "skipped": accepted // 9}
        for name, count in counts.items():
            redis.hincrby(keys.counts_in(last - back), name, count)
            redis.hincrby(keys.counts(), name, count * 400)
    redis.hincrby(keys.counts(), "zoho_calls", 18_411)
    redis.delete(keys.latencies())
    redis.rpush(
        keys.latencies(),
        *[int(14 + (n * 7919 % 89) + (n % 23 == 0) * 420 + (n % 71 == 0) * 2600) for n in range(1000)],
    )


def _workers(redis: Redis) -> None:
    from datetime import UTC, datetime, timedelta

    for index, (host, pid, done) in enumerate((("hooks-1", 2114, 81_240), ("hooks-2", 1987, 79_912))):
        name = f"{host}-{pid}-x7k2m9"
        beat = datetime.now(UTC) - timedelta(seconds=3 + index * 4)
        redis.sadd("rq:workers", keys.rq_worker(name))
        redis.hset(keys.rq_worker(name), mapping={
            "hostname": host, "pid": pid, "state": "busy", "queues": "zohook_recovered,zohook,zohook_replay",
            "last_heartbeat": beat.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "birth": beat.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "successful_job_count": done, "version": "3.0.0"})  # fmt: skip
        if index == 0:
            redis.sadd(keys.rq_worker_executions(name), "a:b")


def _token(redis: Redis) -> None:
    now = now_ms()
    redis.hset(keys.token("acme"), mapping={
        "state": "ok", "generation": 214, "access": "sealed", "refresh": "sealed", "expires": now + 2_460_000, "life": 3600,
        "dc": "eu", "api_domain": "https://www.zohoapis.eu", "outcome": "ok", "outcome_at": now - 1_140_000,
        "scopes": "ZohoCRM.modules.ALL ZohoCRM.coql.READ ZohoCRM.settings.fields.READ ZohoCRM.users.READ ZohoCRM.org.READ "
                  "ZohoBooks.invoices.ALL ZohoBooks.contacts.ALL",
    })  # fmt: skip
    for back in range(6):
        entry = {"at": now - 1_140_000 - back * 3_000_000, "process": "hooks-1:2114", "grant": "refresh_token",
                 "outcome": "transient" if back == 2 else "ok", "code": "timeout" if back == 2 else "", "ms": 180 + back * 9,
                 "generation": 213 - back}  # fmt: skip
        redis.rpush(keys.token_history("acme"), orjson.dumps(entry))
