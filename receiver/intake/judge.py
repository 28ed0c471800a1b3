"""What a delivery is: verified, read, and made the record that is kept of it. The door and a re-verification both ask here."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from receiver import logs
from receiver.errors import DeliveryError, Malformed
from receiver.ledger.accept import Record
from receiver.sources.source import Parsed

if TYPE_CHECKING:
    from receiver.event import Delivery
    from receiver.intake.keyring import Lock
    from receiver.sources.source import Verified

log = logs.get("delivery")


class MethodNotAllowed(DeliveryError):
    """The product never uses this method."""

    status = 405
    code = "method_not_allowed"


class Judged(NamedTuple):
    """An authenticated delivery: the record to keep, accepted or quarantined, how it proved itself, and how many elements were bad."""

    record: Record
    verified: Verified
    bad: int = 0


def lacks_key(delivery: Delivery, lock: Lock) -> bool:
    """Whether it needs a key that is not at hand. It may be newer than ours: to be looked for at our own address, and never at
    one that a token names.
    """
    return lock.look is not None and lock.source.lacks(delivery, lock.keys)


def judge(delivery: Delivery, lock: Lock) -> Judged:
    """The record of a delivery that proved itself; raises DeliveryError where it did not. Times are held against that of receipt."""
    if delivery.method not in lock.source.methods:
        raise MethodNotAllowed(f"{lock.way.product} never uses {delivery.method}")
    return read(delivery, lock, lock.source.verify(delivery, lock.way, lock.keys))


def read(delivery: Delivery, lock: Lock, verified: Verified) -> Judged:
    """The record of a delivery that has proved itself, now or when it came."""
    try:
        parsed = lock.source.parse(delivery, lock.way, verified)
    except Malformed as error:
        parsed = Parsed(bad=[str(error)])
    if parsed.bad:
        # The good elements are taken all the same; the delivery is kept whole beside the reasons.
        log.warning(
            "delivery.malformed", source=delivery.source, delivery=delivery.id, reasons=parsed.bad[:5]
        )
    record = Record(
        delivery,
        "accepted" if parsed.events else "quarantined",
        "; ".join(parsed.bad) or ("" if parsed.events else "it tells no event"),
        parsed.events,
        lock.source.window(lock.way),
        verified.by,
        verified.secret,
        forward=lock.forward,
    )
    return Judged(record, verified, len(parsed.bad))
