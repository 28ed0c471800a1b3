"""Zoho Commerce: orders of a store; the event is in a header, and the JSON goes out under a form's Content-Type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.simulator.books_hooks import sign
from receiver.simulator.outgoing import Hook, Outgoing

if TYPE_CHECKING:
    from random import Random

    from receiver.simulator.wire import Json


class Commerce(Outgoing):
    """https://www.zoho.com/commerce/api/webhooks.html knows no signature: `secret` plays an account that has the finance family's."""

    name = "commerce"
    words = frozenset({"salesorder.created", "salesorder.shipped", "salesorder.delivered", "salesorder.void"})
    content_type = "application/x-www-form-urlencoded;charset=UTF-8"
    acts = ("order",)

    def order(self, event: str = "salesorder.delivered", total: float = 99.5) -> Json:
        """Something happens to an order."""
        if event not in self.words:
            raise ValueError(f"no such event: {event}")
        number = self.world.books_id()
        said: Json = {
            "salesorder": {
                "salesorder_id": number,
                "salesorder_number": f"SO-{number[-5:]}",
                "total": total,
                "last_modified_time": self.world.books_stamp(),
            }
        }
        headers = {"X-ZOHO-Event": event, "X-Zoho-Skip-Webhook-Trigger": "true"}
        self.publish(event, said, f"{event}:{number}", headers)
        return said

    def proof(self, hook: Hook, body: bytes) -> dict[str, str]:
        """Nothing, or what the family signs."""
        if not hook.secret:
            return {}
        return {"X-Zoho-Webhook-Signature": sign(hook.secret, hook.url, body, is_form=False)}

    def happen(self, random: Random) -> None:
        """An order is made, or comes to its customer."""
        self.order(random.choice(("salesorder.created", "salesorder.delivered")))
