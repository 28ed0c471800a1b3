"""The demo's script: people at work in CRM, Books and Desk, the same for the same seed, with exact counts."""

from __future__ import annotations

import random
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from receiver.simulator.crm_schema import STAGES
from receiver.simulator.seed import domain

if TYPE_CHECKING:
    from collections.abc import Callable

    from receiver.simulator.outgoing import Outgoing
    from receiver.simulator.server import Simulator
    from receiver.simulator.wire import Json

FIRST = ("Ada", "Ben", "Carmen", "Dmitri", "Elif", "Fiona", "Goran", "Helle", "Ivo", "Jamila", "Kofi", "Lena")
LAST = (
    "Abara",
    "Bergstrom",
    "Costa",
    "Doyle",
    "Eklund",
    "Ferrer",
    "Grant",
    "Horvat",
    "Ito",
    "Jansen",
    "Kaya",
)
TRADES = ("Bakery", "Bistro", "Canteen", "Delicatessen", "Guesthouse", "Tearoom", "Brewery")
NEEDS = ("new kitchen", "counter", "cold room", "refit", "second site", "coffee bar")
TROUBLES = (
    "Hinge came loose",
    "Oven door does not close",
    "Missing part in delivery",
    "Question about my invoice",
    "Water under the sink",
    "Please move the fitting date",
)
REPLIES = (
    "We have ordered the part.",
    "The fitter comes on Tuesday.",
    "Could you send a photo?",
    "All done.",
)
# So many at most are under way, for a receiver that is slow must not fill the queue.
UNDER_WAY = 500


class Scene:
    """One script at a time, on a thread of its own."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.state = "idle"
        self.actions = 0
        self.wanted = 0
        self.did: dict[str, int] = {}
        self._base = self._counts()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._random = random.Random(1)  # noqa: S311 - a script, no secret
        self._number = 0

    def start(
        self, *, rate: float = 5.0, events: int = 0, seed: int = 1, duplicates: float | None = None
    ) -> None:
        """`rate`: actions a second, 0 as fast as they go; `events`: deliveries answered 200, 0 no end."""
        if rate < 0 or events < 0:
            raise ValueError("rate and events cannot be negative")
        self.stop()
        if duplicates is not None:
            self.simulator.sender.duplicates = duplicates
        self.state, self.actions, self.wanted, self.did = "running", 0, events, {}
        self._base = self._counts()
        self._random = random.Random(seed)  # noqa: S311 - a script, no secret
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(rate,), name="scene", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None:
            thread.join(10)

    def status(self) -> Json:
        """Counts since this script began, and under `total` since the simulator did."""
        total = self._counts()
        since = {name: value - self._base[name] for name, value in total.items()}
        return {
            "state": self.state,
            "wanted": self.wanted,
            "actions": self.actions,
            "did": dict(self.did),
            "pending": self.simulator.sender.pending,
            **since,
            "total": total,
            "statuses": {str(k): v for k, v in self.simulator.sender.tally.statuses.items()},
        }

    def wait(self, timeout: float) -> bool:
        """Until the script has come to its end; False when that took longer."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return thread is None or not thread.is_alive()

    def _counts(self) -> dict[str, int]:
        tally = self.simulator.sender.tally
        return {
            "queued": tally.queued,
            "sent": tally.sent,
            "answered_200": tally.answered_200,
            "failed": tally.failed,
            "dropped": tally.dropped,
            "duplicates": tally.duplicates,
            "facts": len(tally.facts),
            "facts_200": len(tally.facts_200),
        }

    def _run(self, rate: float) -> None:
        sender = self.simulator.sender
        due = time.monotonic()
        while not self._stop.is_set():
            answered = sender.tally.answered_200 - self._base["answered_200"]
            if self.wanted and answered >= self.wanted:
                break
            if sender.pending > UNDER_WAY or (self.wanted and answered + sender.pending >= self.wanted):
                self._stop.wait(0.005)
                continue
            if not self._act():
                self.state = "waiting"
                self._stop.wait(0.1)
                continue
            self.state = "running"
            if rate:
                # Behind by more than a second, it does not try to catch up.
                due = max(due + 1 / rate, time.monotonic() - 1)
                self._stop.wait(max(0.0, due - time.monotonic()))
        sender.drain(30)
        self.state = "stopped" if self._stop.is_set() else "done"

    def _act(self) -> bool:
        """One thing that somebody does and that a subscriber hears of; False when nobody listens."""
        acts: list[tuple[Callable[[], None], int, bool]] = [
            (self.lead, 3, self._crm("Leads", "create")),
            (self.qualify, 1, self._crm("Leads", "edit")),
            (self.deal, 2, self._crm("Deals", "create")),
            (self.advance, 5, self._crm("Deals", "edit")),
            (self.ticket, 3, self._desk("Ticket_Add")),
            (self.comment, 3, self._desk("Ticket_Comment_Add")),
            (self.close, 1, self._desk("Ticket_Update")),
            (self.invoice, 2, self._books("invoice.created")),
            (self.paid, 2, self._books("invoice.paid")),
            *(
                (partial(self.elsewhere, each), 1, bool(each.hooks))
                for each in self.simulator.outgoing.values()
            ),
        ]
        heard = [(act, weight) for act, weight, listens in acts if listens]
        if not heard:
            return False
        act = self._random.choices([a for a, _ in heard], [w for _, w in heard])[0]
        with self.simulator.world.lock:
            act()
        self.actions += 1
        name = act.args[0].name if isinstance(act, partial) else act.__name__
        self.did[name] = self.did.get(name, 0) + 1
        return True

    def _crm(self, module: str, word: str) -> bool:
        crm = self.simulator.crm
        names = {f"{module}.{word}", f"{module}.all"}
        rules = {"create": ("create", "create_or_edit"), "edit": ("edit", "create_or_edit")}[word]
        with self.simulator.world.lock:
            return any(names & set(channel.events) for channel in crm.watch.live()) or any(
                rule.module == module and rule.on in rules for rule in crm.workflow.rules
            )

    def _desk(self, event: str) -> bool:
        with self.simulator.world.lock:
            return any(
                h.enabled and event in h.subscriptions for h in self.simulator.desk.hooks.hooks.values()
            )

    def _books(self, event: str) -> bool:
        return any(hook.event == event for hook in self.simulator.books.hooks.hooks)

    def elsewhere(self, product: Outgoing) -> None:
        product.happen(self._random)

    def lead(self) -> None:
        first, last, company = self._person()
        email = f"{first}.{last}@{domain(company)}".lower()
        values = {"First_Name": first, "Last_Name": last, "Company": company, "Email": email}
        who = self._random.choice(self.simulator.world.users)
        self.simulator.crm.create("Leads", {**values, "Lead_Source": "Web Research"}, who)

    def qualify(self) -> None:
        lead = self._random.choice(self.simulator.crm.all("Leads", 200))
        fresh = "Contacted" if lead["Lead_Status"] != "Contacted" else "Junk Lead"
        self.simulator.crm.update("Leads", lead["id"], {"Lead_Status": fresh})

    def deal(self) -> None:
        crm = self.simulator.crm
        contact = self._random.choice(crm.all("Contacts"))
        self._number += 1
        need = f"{self._random.choice(NEEDS)} {self._number}"
        crm.create(
            "Deals",
            {
                "Deal_Name": f"{contact['Account_Name']['name']}: {need}",
                "Stage": STAGES[0],
                "Amount": float(self._random.randrange(2_000, 60_000, 50)),
                "Closing_Date": self.simulator.world.day(30),
                "Account_Name": {"id": contact["Account_Name"]["id"]},
                "Contact_Name": {"id": contact["id"]},
            },
            self._random.choice(self.simulator.world.users),
        )

    def advance(self) -> None:
        """Moves an open deal on by one stage; nearly every one is won."""
        crm = self.simulator.crm
        still = [d for d in crm.all("Deals", 300) if not d["Stage"].startswith("Closed")]
        if not still:
            self.deal()
            return
        deal = self._random.choice(still)
        stage = STAGES[STAGES.index(deal["Stage"]) + 1] if deal["Stage"] in STAGES else STAGES[0]
        if stage == "Closed Won" and self._random.random() < 0.1:
            stage = "Closed Lost"
        crm.update("Deals", deal["id"], {"Stage": stage}, self._random.choice(self.simulator.world.users))

    def ticket(self) -> None:
        desk = self.simulator.desk
        contact = self._random.choice(desk.all("contacts"))
        subject = f"{self._random.choice(TROUBLES)} ({contact['lastName']})"
        where = {"departmentId": desk.rows.departments[0]["id"], "contactId": contact["id"]}
        desk.create("tickets", {"subject": subject, **where})

    def comment(self) -> None:
        tickets = self._open_tickets()
        if not tickets:
            self.ticket()
            return
        text = self._random.choice(REPLIES)
        self.simulator.desk.comment(self._random.choice(tickets)["id"], text, public=True)

    def close(self) -> None:
        tickets = self._open_tickets()
        if len(tickets) < 3:
            self.ticket()
            return
        self.simulator.desk.update("tickets", self._random.choice(tickets)["id"], {"status": "Closed"})

    def invoice(self) -> None:
        books = self.simulator.books
        customer = self._random.choice(books.all("contacts"))
        item = self._random.choice(books.all("items"))
        line = {"item_id": item["item_id"], "quantity": self._random.randint(1, 9)}
        books.create("invoices", {"customer_id": customer["contact_id"], "line_items": [line]}, sent=True)

    def paid(self) -> None:
        books = self.simulator.books
        unpaid = [i for i in books.all("invoices", 300) if i["balance"] > 0 and i["status"] != "void"]
        if not unpaid:
            self.invoice()
            return
        books.pay(self._random.choice(unpaid)["invoice_id"])

    def _open_tickets(self) -> list[Json]:
        return [t for t in self.simulator.desk.all("tickets", 300) if t["statusType"] != "Closed"]

    def _person(self) -> tuple[str, str, str]:
        self._number += 1
        first, last = self._random.choice(FIRST), self._random.choice(LAST)
        return first, last, f"{last} {self._random.choice(TRADES)} {self._number}"
