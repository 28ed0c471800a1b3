"""Zoho Mail: new mail and changed tasks, proven by an HMAC whose secret Mail itself tells when the webhook is saved.

https://www.zoho.com/mail/help/dev-platform/webhook.html. The secret comes in `X-Hook-Secret`, from nobody who has proved anything, so it
is taken only while an operator has armed the source, and never in the place of one that we have. It comes again when the URL is changed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from receiver.errors import Malformed, Unauthenticated
from receiver.sources import reading, signing, strict_json
from receiver.sources.fingerprints import carries
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK
from receiver.sources.reading import (  # noqa: TC001 - pydantic reads them
    Identifier,
    MaybeIdentifier,
    Milliseconds,
)
from receiver.sources.signed_body import HmacBody
from receiver.sources.source import Offer, Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery, Event
    from receiver.sources.source import Keys, Need, Verified, Way

SECRET = "x-hook-secret"  # noqa: S105 - a header's name

TASK_VERBS = {
    "taskAdded": "created",
    "taskCreated": "created",
    "taskUpdated": "updated",
    "taskDeleted": "deleted",
}
"""The words of a task's `action` are printed nowhere, and only "taskUpdated" was ever seen; others stand as they are."""

_TOLD = re.compile(r"[!-~]{12,512}")


GUIDE = Guide(
    title="Zoho Mail",
    proof="HMAC-SHA256 of the body, in X-Hook-Signature; Mail tells the secret when the webhook is saved",
    whose="sent",
    screen="""\
1. Let Zohook run and be reached at its public address. For ten minutes the first secret that comes is taken:

       zohook source arm {name}

2. In Zoho Mail open Settings > Integrations > Developer Space > Outgoing Webhooks, and add a webhook for Mail or for Task.
3. Give it this URL and save it, which sends the secret:

       {url}

4. Whenever you change the URL there, Mail tells a new secret: arm the source before.
""",
    ids=("/messageIdString", "/messageId", "/entityId"),
    times=("/receivedTime", "/sentDateInGMT"),
)


class MailMessage(BaseModel):
    """A new mail, which is also the `data` of its event.

    `sentDateInGMT` has a zone's offset mixed in, despite its name; `receivedTime` is right. `hasAttachment` is a text ("No").
    """

    model_config = ConfigDict(extra="allow")

    messageId: MaybeIdentifier = ""  # noqa: N815 - Mail's names
    messageIdString: MaybeIdentifier = ""  # noqa: N815
    zuid: MaybeIdentifier = ""
    folderId: MaybeIdentifier = ""  # noqa: N815
    receivedTime: Milliseconds = None  # noqa: N815
    subject: str | None = None
    summary: str | None = None
    sender: str | None = None
    fromAddress: str | None = None  # noqa: N815
    toAddress: str | None = None  # noqa: N815
    ccAddress: str | None = None  # noqa: N815
    html: str | None = None


class MailTask(BaseModel):
    """A task, which is also the `data` of its event."""

    model_config = ConfigDict(extra="allow")

    entityId: Identifier  # noqa: N815
    entityType: int | str  # noqa: N815
    action: str
    title: str | None = None
    summary: str | None = None
    assignee: MaybeIdentifier = ""
    dueDate: Milliseconds = None  # noqa: N815
    nameSpaceId: MaybeIdentifier = ""  # noqa: N815
    statusName: str | None = None  # noqa: N815


class Mail(HmacBody):
    """One event for each delivery."""

    life = WEEK
    needs: Need = "told"
    guide = GUIDE
    header = "x-hook-signature"
    cure = "Zoho Mail sends it with all but the first request"

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A bare request. The one with the secret is no probe: it has an effect, and the door sees to it."""
        return super().handshake(delivery, way) and not carries(delivery, SECRET)

    def offered(self, delivery: Delivery, keys: Keys) -> Offer | None:
        """The secret of `X-Hook-Secret`; None where a signature beside it fits neither that one nor one that we know."""
        told = delivery.header(SECRET) if delivery.method in self.methods else None
        if not told or not _TOLD.fullmatch(told):
            return None
        given = delivery.header(self.header)
        if given and self._which(given, delivery, (told, *keys.secrets)) is None:
            return None
        return Offer(told, bool(given))

    def lacks(self, delivery: Delivery, keys: Keys) -> bool:
        """Whether a signature fits none of these: another process may have been told a newer secret."""
        given = delivery.header(self.header)
        return bool(given) and self._which(given or "", delivery, keys.secrets) is None

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The header is the digest of these very bytes under a secret that Mail told us while we were armed."""
        if not delivery.header(self.header) and carries(delivery, SECRET):
            raise Unauthenticated(
                f"{SECRET} came, and the source is not armed: run   zohook source arm {way.name}   and save the webhook in Zoho Mail "
                "again within ten minutes"
            )
        if delivery.header(self.header) and not any(keys.secrets):
            raise Unauthenticated(
                f"Zoho Mail has told no secret yet: run   zohook source arm {way.name}   and save the webhook in Zoho Mail again"
            )
        return super().verify(delivery, way, keys)

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The one event: a message where there is an id of one, a task where there is an entity."""
        document = strict_json.document(delivery)
        if not isinstance(document, dict):
            raise Malformed("the body is no JSON object")
        if "entityId" in document and "entityType" in document:
            return Parsed([self._task(document, delivery, way, verified)])
        return Parsed([self._message(document, delivery, way, verified)])

    def types(self) -> Sequence[str]:
        """What Mail is known to send."""
        return [
            "mail.message.received",
            *dict.fromkeys(f"mail.task.{verb}" for verb in TASK_VERBS.values()),
        ]

    def _which(self, given: str, delivery: Delivery, secrets: Sequence[str]) -> int | None:
        return signing.which_hmac(signing.from_base64(given), secrets, (delivery.body,))

    def _message(self, document: dict[str, Any], delivery: Delivery, way: Way, verified: Verified) -> Event:
        told = reading.checked(MailMessage, document)
        message = told.messageIdString or told.messageId
        if not message:
            raise Malformed("neither a message's id nor a task's is in the body")
        return self._event(
            delivery,
            way,
            verified,
            (told.zuid, message),
            type="mail.message.received",
            data=document,
            organisation=way.organisation,
            record_id=message,
            occurred=told.receivedTime,
        )

    def _task(self, document: dict[str, Any], delivery: Delivery, way: Way, verified: Verified) -> Event:
        """No time and no id of the fact is in it: equal bytes are a redelivery for a minute only."""
        told = reading.checked(MailTask, document)
        if not reading.is_name(told.action):
            raise Malformed("action is no name")
        return self._event(
            delivery,
            way,
            verified,
            type=f"mail.task.{TASK_VERBS.get(told.action, told.action)}",
            native=told.action,
            data=document,
            organisation=way.organisation,
            record_id=told.entityId,
        )
