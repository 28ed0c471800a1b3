"""Zoho Payments: payments and refunds, each attempt of a delivery signed anew with its time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Any

from receiver.simulator.outgoing import Hook, Outgoing

if TYPE_CHECKING:
    from random import Random

    from receiver.simulator.wire import Json

WORDS = (
    *("payment.succeeded", "payment.failed", "payment.pending", "refund.succeeded", "refund.failed"),
    *("payment_link.paid", "payment_link.expired", "payment_link.canceled"),
    *("payout.initiated", "payout.paid", "payout.failed"),
)


class Payments(Outgoing):
    """Up to five endpoints; the signing key is made by the product, and shown when the endpoint is saved."""

    name = "payments"
    words = frozenset(WORDS)
    most = 5
    acts = ("pay", "refund", "tell", "redeliver")

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._told: dict[int, tuple[str, Json]] = {}

    def admit(self, hook: Hook) -> None:
        """The URL is tried once, and the key made."""
        self.ask("POST", hook.url)
        hook.secret = secrets.token_hex(80)

    def pay(self, amount: str = "200.00", *, live: bool = True, failed: bool = False) -> Json:
        """Somebody pays, or tries to."""
        word = "payment.failed" if failed else "payment.succeeded"
        payment = {
            "payment_id": self.world.next_id("payments"),
            "amount": amount,
            "currency": "USD",
            "status": word.partition(".")[2],
            "date": int(self.world.now()),
            "transaction_reference_number": "123456543XXXX",
            "fee_details": {"processing_fee": {"fee_amount": "5.88", "fee_type": "processing_fee"}},
        }
        return self.tell(word, {"payment": payment}, live=live)

    def refund(self, payment_id: str, amount: str = "50.00", *, live: bool = True) -> Json:
        """Some of it goes back."""
        refund = {
            "refund_id": self.world.next_id("payments"),
            "payment_id": payment_id,
            "amount": amount,
            "status": "succeeded",
            "date": int(self.world.now()),
        }
        return self.tell("refund.succeeded", {"refund": refund}, live=live)

    def tell(self, event: str, about: Json, *, live: bool = True) -> Json:
        """Any event of Payments, about any object."""
        if event not in self.words:
            raise ValueError(f"no such event: {event}")
        said: Json = {
            "event_id": int(self.world.next_id("payments")),
            "event_type": event,
            "account_id": 105078477,
            "live_mode": live,
            "event_time": self.world.tick(),
            "event_object": about,
        }
        self._told[said["event_id"]] = event, said
        self.publish(event, said, str(said["event_id"]))
        return said

    def redeliver(self, event_id: int) -> Json:
        """Another attempt, as for up to two days after an answer that was none: the same fact under a new signature."""
        event, said = self._told[event_id]
        self.publish(event, said, str(event_id))
        return said

    def proof(self, hook: Hook, body: bytes) -> dict[str, str]:
        """HMAC-SHA256 of the time in milliseconds, a dot, and the body, in hex."""
        stamp = str(int(self.world.now() * 1000))
        digest = hmac.new(hook.secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        return {"X-Zoho-Webhook-Signature": f"t={stamp},v={digest}"}

    def happen(self, random: Random) -> None:
        """Somebody pays; one in ten cannot."""
        self.pay(f"{random.randrange(20, 900)}.00", failed=random.random() < 0.1)
