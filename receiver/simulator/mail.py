"""Zoho Mail: outgoing webhooks that tell their secret when they are saved, new mail and changed tasks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

import orjson

from receiver.simulator.deliver import Parcel
from receiver.simulator.outgoing import JSON, Hook, Outgoing

if TYPE_CHECKING:
    from random import Random

    from receiver.simulator.wire import Json

SUBJECTS = (
    "Offer for the counter",
    "When do you come?",
    "Re: invoice",
    "Photos of the kitchen",
    "Cancellation",
)


class Mail(Outgoing):
    """`events` of a webhook is its entity: mail or task."""

    name = "mail"
    words = frozenset({"mail", "task"})
    acts = ("receive", "task", "change_url")

    def admit(self, hook: Hook) -> None:
        """The first request: nothing is proven, and without a 200 the webhook is not saved."""
        hook.secret = secrets.token_hex(32)
        self.ask("POST", hook.url, {"X-Hook-Secret": hook.secret})

    def change_url(self, hook_id: str, url: str) -> Json:
        """Another URL brings a first request again, with a new secret."""
        hook = next(hook for hook in self.hooks if hook.id == hook_id)
        new = Hook(id=hook.id, url=url, events=hook.events)
        self.admit(new)
        hook.url, hook.secret = new.url, new.secret
        return {"id": hook.id, "url": hook.url}

    def receive(self, subject: str = "Hello", sender: str = "Priya Raman", html: str = "") -> Json:
        """A mail comes in. Its body is escaped as Mail escapes it, which no second writer would do alike."""
        moment = self.world.tick()
        number = moment * 1_000_000 + 154_200
        address = f"{sender.lower().replace(' ', '.')}@harbourlanehotels.example"
        said: Json = {
            "summary": subject,
            "sentDateInGMT": moment + 25_200_000,
            "subject": subject,
            "Mode": 0,
            "messageId": number,
            "toAddress": f"<{self.world.admin.email}>",
            "folderId": 7214453000000008008,
            "zuid": 848632206,
            "threadId": 0,
            "hasAttachment": "No",
            "size": len(subject) + 200,
            "sender": sender,
            "receivedTime": moment,
            "fromAddress": address,
            "html": html or f"<div>{subject}</div>\r\n",
            "messageIdString": str(number),
            "IntegIdList": "1784105384068156900,",
        }
        self._send("mail", said, str(number))
        return said

    def task(self, title: str = "Call back", action: str = "taskUpdated") -> Json:
        """A task is changed. Which words `action` may have is printed nowhere."""
        moment = self.world.tick()
        said: Json = {
            "entityId": moment,
            "entityType": 3,
            "action": action,
            "title": title,
            "summary": title,
            "assignee": 647772765,
            "assigneeName": self.world.admin.name,
            "dueDate": moment + 86_400_000,
            "nameSpaceId": 9000000002014,
            "groupName": "Fitting",
            "status": 2,
            "statusName": "In Progress",
            "triggerZuid": 647772765,
        }
        self._send("task", said, str(moment))
        return said

    def proof(self, hook: Hook, body: bytes) -> dict[str, str]:
        """HMAC-SHA256 of the body in base64, with the secret's text as the key."""
        digest = hmac.new(hook.secret.encode(), body, hashlib.sha256).digest()
        return {"X-Hook-Signature": base64.b64encode(digest).decode()}

    def happen(self, random: Random) -> None:
        """Mail comes in, and now and then a task is changed."""
        if random.random() < 0.8:
            self.receive(random.choice(SUBJECTS))
        else:
            self.task()

    def _send(self, entity: str, said: Json, fact: str) -> None:
        """As `publish`, with the slashes escaped: the signature is of these very bytes."""
        body = orjson.dumps(said).replace(b"</", b"<\\/")
        for hook in self.hooks:
            if not hook.events or entity in hook.events:
                headers = {"content-type": JSON, **self.proof(hook, body)}
                self.sender.put(
                    Parcel(self.name, entity, hook.url, body, headers, (f"mail:{hook.id}:{fact}",))
                )
