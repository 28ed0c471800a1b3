"""Zoho Projects: webhooks of business rules, with standard parameters or a body of the admin's own."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING

from receiver.simulator.outgoing import Hook, Outgoing

if TYPE_CHECKING:
    from random import Random

    from receiver.simulator.wire import Json


class Projects(Outgoing):
    """One URL a rule, for nothing in a body says what happened; the HMAC is a switch of the webhook."""

    name = "projects"
    words = frozenset({"task.created", "task.updated", "issue.created", "issue.closed"})
    acts = ("change",)
    spelling = "base64"
    """Or hex: Zoho's page does not say which it is."""

    def admit(self, hook: Hook) -> None:
        """One rule, and a key of the length that the page asks for."""
        if len(hook.events) != 1:
            raise ValueError("events: one, for a rule is about one thing")
        if hook.secret and not 16 <= len(hook.secret) <= 128:
            raise ValueError("secret: 16 to 128 characters")

    def change(self, event: str = "task.updated", name: str = "Fit the worktop") -> Json:
        """Something happens to a task or an issue, and the rules about it fire."""
        if event not in self.words:
            raise ValueError(f"no such event: {event}")
        said: Json = {
            "id": self.world.next_id("projects"),
            "name": name,
            "project": "Harbour Lane: hotel kitchen",
            "modified_time": self.world.stamp(),
        }
        self.publish(event, said, said["id"])
        return said

    def proof(self, hook: Hook, body: bytes) -> dict[str, str]:
        """HMAC-SHA256 of the body, where it is switched on."""
        if not hook.secret:
            return {}
        digest = hmac.new(hook.secret.encode(), body, hashlib.sha256).digest()
        text = digest.hex() if self.spelling == "hex" else base64.b64encode(digest).decode()
        return {"X-ZP-WEBHOOK-SIGNATURE": text}

    def happen(self, random: Random) -> None:
        """A task is made or moved on."""
        self.change(random.choice(("task.created", "task.updated")))
