"""Zoho Cliq: a webhook-based extension, whose components call the URL of its author. PyPI zcatalyst-cliq has their shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.simulator import rsa_keys
from receiver.simulator.outgoing import Hook, Outgoing

if TYPE_CHECKING:
    from random import Random

    from receiver.simulator.wire import Json

HANDLERS = {
    "bot": ("message", "mention", "welcome", "context", "action", "participation", "alert"),
    "command": ("execution", "suggestion"),
    "messageaction": ("execution",),
    "function": ("button", "form"),
    "widget": ("view",),
    "extension": ("installation", "uninstallation"),
}
KEY = "cliq 1"


class Cliq(Outgoing):
    """One extension; its key pair is its own and stays."""

    name = "cliq"
    words = frozenset(f"{component}.{handler}" for component, of in HANDLERS.items() for handler in of)
    most = 1
    acts = ("call", "say")

    def admit(self, hook: Hook) -> None:
        """The URL has to answer a HEAD."""
        self.ask("HEAD", hook.url)

    def public_keys(self) -> list[str]:
        """What the extension's page shows."""
        return [rsa_keys.shown(KEY)]

    def say(self, text: str = "status of invoice 1042") -> Json:
        """Somebody writes to the bot."""
        return self.call("bot", "message", {"message": text, "raw_message": text})

    def call(self, component: str, handler: str, params: Json | None = None) -> Json:
        """Any handler of any component."""
        if f"{component}.{handler}" not in self.words:
            raise ValueError(f"no such handler: {component}.{handler}")
        moment, user = self.world.tick(), self.world.admin
        chat = "CT_2242125048_55743307"
        said: Json = {
            "name": "Zohook",
            "unique_name": "zohook",
            "handler": {"type": f"{handler}_handler"},
            "response_url": f"{self.world.base}/api/v2/executions/response/{moment}",
            "type": component,
            "timestamp": moment,
            "params": {
                "access": {"zoho_user_id": 55743307, "chat_id": chat, "message_id": f"{moment}_17"},
                "chat": {"id": chat, "type": "bot", "title": "Zohook"},
                "user": {"id": "55743307", "email": user.email, "organization_id": int(self.world.desk_org)},
                **(params or {}),
            },
        }
        self.publish(f"{component}.{handler}", said, str(moment))
        return said

    def proof(self, hook: Hook, body: bytes) -> dict[str, str]:  # noqa: ARG002 - the key is the extension's
        """RSA-SHA256 of the body."""
        return {"X-Cliq-Signature": rsa_keys.signature(KEY, body)}

    def happen(self, random: Random) -> None:
        """Somebody writes to the bot."""
        self.say(f"status of invoice {random.randrange(1000, 2000)}")
