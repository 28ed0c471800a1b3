"""Zoho SalesIQ: event webhooks of conversations, with keys that rotate, and executions that are sent again by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.simulator import rsa_keys
from receiver.simulator.outgoing import Hook, Outgoing

if TYPE_CHECKING:
    from random import Random

    from receiver.simulator.wire import Json

WORDS = (
    *("conversation.created", "conversation.attender.updated", "conversation.missed"),
    *("conversation.operator.replied", "conversation.visitor.replied", "conversation.completed"),
    *("conversation.rated", "conversation.transfer.initiated", "conversation.transfer.accepted"),
    *("conversation.transfer.rejected", "conversation.participants.added"),
    *("conversation.participants.deleted", "conversation.supervisor.added"),
    *("conversation.message.edited", "conversation.message.deleted", "visitor.updated"),
)
KEYS = 2


class SalesIq(Outgoing):
    """Every webhook is secured; the oldest of its keys signs, so that a new one can be copied before it is used."""

    name = "salesiq"
    words = frozenset(WORDS)
    acts = ("converse", "tell", "retry", "new_key", "drop_key", "zobot")

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.keys = ["salesiq 1"]
        self._made = 1
        self._told: dict[str, tuple[str, Json]] = {}

    def admit(self, hook: Hook) -> None:
        """The URL has to answer a HEAD."""
        self.ask("HEAD", hook.url)

    def public_keys(self) -> list[str]:
        """What is copied into the receiver, the newest first."""
        return [rsa_keys.shown(name) for name in reversed(self.keys)]

    def new_key(self) -> Json:
        """https://www.zoho.com/salesiq/help/developer-section/generate-public-key-webhook-v2.html: two at most."""
        if len(self.keys) >= KEYS:
            raise ValueError(f"at most {KEYS} keys")
        self._made += 1
        self.keys.append(f"salesiq {self._made}")
        return {"public_keys": self.public_keys()}

    def drop_key(self) -> Json:
        """The oldest goes, and the next one signs."""
        if len(self.keys) < KEYS:
            raise ValueError("the only key stays")
        del self.keys[0]
        return {"public_keys": self.public_keys()}

    def converse(self, question: str = "When does the fitter come?") -> Json:
        """A visitor asks something; what else happens to the conversation is told by `tell`."""
        return self.tell("conversation.created", {"question": question})

    def tell(self, event: str, about: Json | None = None, conversation: str = "") -> Json:
        """Any event, about a conversation that goes on or a new one."""
        if event not in self.words:
            raise ValueError(f"no such event: {event}")
        thing = conversation or self.world.next_id("salesiq")
        said: Json = {
            "entity_type": event.partition(".")[0],
            "webhook": {"id": "19367000000120011"},
            "org_id": self.world.zgid,
            "event": event,
            "entity_id": thing,
            "attempt": 1,
            "version": 1.0,
            "app_id": "19367000000002043",
            "entity": {"id": thing, "visitor": {"name": "Priya Raman", "type": "lead"}, **(about or {})},
            "event_time": str(self.world.tick()),
        }
        self._told[thing] = event, said
        self.publish(event, said, f"{event}:{thing}:{said['event_time']}")
        return said

    def retry(self, conversation: str) -> Json:
        """The last execution of a conversation is sent again, with another number of its attempt."""
        event, said = self._told[conversation]
        said["attempt"] += 1
        self.publish(event, said, f"{event}:{conversation}:{said['event_time']}")
        return said

    def zobot(self, handler: str = "message", text: str = "hello") -> Json:
        """A Zobot's call, which would want its answer at once; only to see what becomes of one that is pointed here."""
        said: Json = {
            "handler": handler,
            "operation": "message",
            "visitor": {"id": "v-1"},
            "request": {"conversation_id": "c-1"},
            "message": {"text": text},
        }
        self.publish("conversation.visitor.replied", said, f"zobot:{self.world.tick()}")
        return said

    def proof(self, hook: Hook, body: bytes) -> dict[str, str]:  # noqa: ARG002 - one key serves all
        """The oldest key signs."""
        return {"x-siqsignature": rsa_keys.signature(self.keys[0], body)}

    def happen(self, random: Random) -> None:
        """Visitors ask, and are answered."""
        if self._told and random.random() < 0.6:
            self.tell("conversation.operator.replied", conversation=random.choice(list(self._told)))
        else:
            self.converse()
