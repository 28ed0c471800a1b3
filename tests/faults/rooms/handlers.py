"""The handlers of the fault suite, copied into each project of it. What a delivery wants done is in its body."""

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from receiver import on

SEEN = Path(__file__).parent.parent / "seen.txt"


def note(word, event):
    """One line, whole whoever else writes: handler, number, key, process, seconds."""
    line = f"{word} {event.data['number']} {event.idempotency_key} {os.getpid()} {time.time()}\n"
    descriptor = os.open(SEEN, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def behave(event):
    """What the delivery wants of its handler."""
    wish, seconds = event.data.get("do", ""), event.data.get("for", 0)
    if wish == "sleep":
        time.sleep(seconds)
    elif wish == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif wish == "raise":
        raise ValueError("a bug")
    elif wish == "once" and not event.tries:
        raise ValueError("a bug that is gone the next time")


@on("books.invoice.paid", timeout=600)
def apply(event, zoho):
    """An effect at Zoho, under the key of its job."""
    note("begin", event)
    behave(event)
    lead = {
        "Last_Name": str(event.data["number"]),
        "Company": "Faults",
        "Email": f"{event.idempotency_key}@faults.example",
    }
    zoho.crm.upsert("Leads", lead, by=["Email"], trigger=[])
    note("apply", event)


@on("books.invoice.paid", "books.contact.created", timeout=600)
def tell(event):
    """An effect of our own, where many are needed."""
    note("tell", event)


@on("books.bill.created", retries=2)
def poison(event):
    """Never works."""
    note("poison", event)
    raise ValueError("never works")


@on("books.expense.created", isolated=True, timeout=1)
def hang(event):
    """Takes no for an answer from nobody."""
    note("hang", event)
    while True:
        with suppress(BaseException):
            time.sleep(1)


@on("books.item.created", isolated=True)
def eat(event):
    """Takes all the memory that there is, in a process whose limit the test sets."""
    note("eat", event)
    kept = []
    while True:
        kept.append(bytearray(16 * 2**20))
        ctypes.memset((ctypes.c_char * 4096).from_buffer(kept[-1]), 1, 4096)


@on("books.vendorpayment.created", isolated=True)
def alone(event):
    """Takes its time in a process of its own."""
    note("begin_alone", event)
    time.sleep(event.data["for"])
    note("alone", event)


@on("books.estimate.created")
def slow(event):
    """Takes its time."""
    note("slow", event)
    time.sleep(event.data["for"])


@on("books.transfer_order.created", timeout=600)
def brief(event):
    """Sometimes here, sometimes not."""
    note("brief", event)


@on("crm.Deals.edited", record=True)
def latest(event):
    """Copies the record as it is now."""
    path = SEEN.with_name(f"copy-{event.record_id}")
    made = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
    made.write_text(event.record["Deal_Name"])
    made.replace(path)
