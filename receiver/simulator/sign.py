"""Zoho Sign: requests that several people sign, and the button that tries a webhook."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Any

import orjson

from receiver.simulator.deliver import Parcel
from receiver.simulator.outgoing import JSON, Hook, Outgoing

if TYPE_CHECKING:
    from random import Random

    from receiver.simulator.wire import Json

WORDS = {
    "RequestSubmitted": ("inprogress", "Document has been sent"),
    "RequestViewed": ("inprogress", "Document has been viewed"),
    "RequestSigningSuccess": ("inprogress", "Document has been signed"),
    "RequestCompleted": ("completed", "Document has been completed"),
    "RequestRejected": ("declined", "Document has been declined"),
    "RequestRecalled": ("recalled", "Document has been recalled"),
    "RequestExpired": ("expired", "Document has expired"),
}
"""Word -> the status of the request after it, and what the activity says."""
SAMPLE = {
    "notifications": {
        "performed_by_email": "noreply1@zohosign.com",
        "performed_at": 1667831890816,
        "reason": "Reason stated if any",
        "activity": "Document has been signed",
        "operation_type": "RequestSigningSuccess",
        "action_id": 1000000102052,
        "performed_by_name": "Recipient Name",
        "ip_address": "127.0.0.1",
    },
    "requests": {"request_id": 1000000102049, "request_status": "completed"},
}
"""https://help.zoho.com, Zoho Sign, Webhooks management: what "Test Url" sends, whose ids are numbers."""


class Sign(Outgoing):
    """Two webhooks an account; a key is optional, and without one nothing is signed."""

    name = "sign"
    words = frozenset(WORDS)
    most = 2
    acts = ("request", "sign", "decline", "test_url")

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.requests: dict[str, Json] = {}

    def request(self, name: str = "Fitting contract", signers: int = 2) -> Json:
        """Send a document to so many people; its `request_id` is what the other acts ask for."""
        request: Json = {
            "request_id": self.world.next_id("sign"),
            "request_name": name,
            "request_status": "inprogress",
            "owner_email": self.world.admin.email,
            "document_ids": [{"document_name": f"{name}.pdf", "document_id": self.world.next_id("sign")}],
            "actions": [
                {
                    "action_id": self.world.next_id("sign"),
                    "action_type": "SIGN",
                    "action_status": "NOACTION",
                    "recipient_name": f"Signer {number}",
                    "recipient_email": f"signer{number}@pomelocafes.example",
                    "signing_order": number,
                }
                for number in range(1, signers + 1)
            ],
        }
        self.requests[request["request_id"]] = request
        self.submitted(request)
        return request

    def submitted(self, request: Json) -> None:
        """It goes out to those who sign."""
        self._tell("RequestSubmitted", request, self.world.admin.email)

    def recalled(self, request: Json) -> None:
        """It is taken back."""
        self._tell("RequestRecalled", request, self.world.admin.email)

    def sign(self, request_id: str) -> Json:
        """The next one signs; after the last one the request is completed, which is told apart."""
        request = self._open(request_id)
        action = next(action for action in request["actions"] if action["action_status"] == "NOACTION")
        action["action_status"] = "SIGNED"
        last = all(action["action_status"] == "SIGNED" for action in request["actions"])
        self._tell("RequestSigningSuccess", request, action["recipient_email"], action)
        if last:
            self._tell("RequestCompleted", request, "System Generated")
        return request

    def decline(self, request_id: str) -> Json:
        """One does not sign."""
        request = self._open(request_id)
        action = next(action for action in request["actions"] if action["action_status"] == "NOACTION")
        self._tell("RequestRejected", request, action["recipient_email"], action)
        return request

    def test_url(self, hook_id: str) -> Json:
        """The button: a sample that is not signed, whatever key the webhook has."""
        hook = next(hook for hook in self.hooks if hook.id == hook_id)
        self.sender.put(
            Parcel(
                self.name,
                "Test Url",
                hook.url,
                orjson.dumps(SAMPLE),
                {"content-type": JSON},
                (f"sign:{hook.id}:test",),
            )
        )
        return SAMPLE

    def proof(self, hook: Hook, body: bytes) -> dict[str, str]:
        """HMAC-SHA256 of the body in base64, with the key's text as the key."""
        if not hook.secret:
            return {}
        digest = hmac.new(hook.secret.encode(), body, hashlib.sha256).digest()
        return {"X-ZS-WEBHOOK-SIGNATURE": base64.b64encode(digest).decode()}

    def happen(self, random: Random) -> None:
        """Somebody signs what is open, or something new is sent."""
        waiting = [
            each["request_id"] for each in self.requests.values() if each["request_status"] == "inprogress"
        ]
        if waiting and random.random() < 0.8:
            self.sign(random.choice(waiting))
        else:
            self.request(signers=random.randint(1, 3))

    def _open(self, request_id: str) -> Json:
        request = self.requests[request_id]
        if request["request_status"] != "inprogress":
            raise ValueError(f"the request is {request['request_status']}")
        return request

    def _tell(self, word: str, request: Json, by: str, action: Json | None = None) -> None:
        request["request_status"], activity = WORDS[word]
        moment = self.world.tick()
        notification: Json = {
            "performed_by_email": by,
            "performed_by_name": by.partition("@")[0],
            "performed_at": moment,
            "activity": activity,
            "operation_type": word,
        }
        if action is not None:
            notification["action_id"] = action["action_id"]
        fact = f"{request['request_id']}:{word}:{notification.get('action_id', '')}:{moment}"
        self.publish(word, {"notifications": notification, "requests": request}, fact)
