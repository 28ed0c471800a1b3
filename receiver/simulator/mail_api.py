"""Mail's API: accounts, folders, messages. https://www.zoho.com/mail/help/api/overview.html; its refusals are those that others recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from receiver.simulator.thin_api import ThinApi, body_of
from receiver.simulator.wire import Answer, Refused, whole

if TYPE_CHECKING:
    from receiver.simulator.oauth import Accounts
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import World

ACCOUNT = "6710000000008002"
FOLDERS = {"Inbox": "6710000000008014", "Sent": "6710000000008018"}
NEEDED = ("fromAddress", "toAddress")
KNOWN = frozenset(
    {*NEEDED, "ccAddress", "bccAddress", "subject", "content", "mailFormat", "encoding", "askReceipt"}
)


@dataclass(slots=True)
class Message:
    """One mail in a folder."""

    id: str
    folder: str
    sender: str
    to: str
    subject: str
    content: str
    at: int

    def shown(self) -> Json:
        return {
            "messageId": self.id, "folderId": self.folder, "fromAddress": self.sender, "toAddress": self.to,
            "subject": self.subject, "summary": self.content[:40], "receivedTime": str(self.at), "status": "0",
        }  # fmt: skip


class MailApi(ThinApi):
    """One account, with what it received and sent."""

    service: ClassVar[str] = "ZohoMail"

    def __init__(self, world: World, accounts: Accounts) -> None:
        super().__init__(world, accounts)
        self.messages: list[Message] = []

    def receive(self, subject: str, content: str = "", sender: str = "priya@pomelocafes.example") -> Message:
        """A mail comes into the inbox."""
        return self._keep("Inbox", sender, self.world.admin.email, subject, content)

    def dead(self, *, given: bool) -> Refused:
        return _wrong(401, "INVALID_OAUTHTOKEN") if given else _wrong(400, "INVALID_TICKET")

    def unscoped(self) -> Refused:
        return _wrong(401, "INVALID_OAUTHSCOPE")

    def handle(self, call: Call) -> Answer:
        parts = call.parts[2:]
        if not parts and call.method == "GET":
            self.need(call, "accounts")
            return _good([{"accountId": ACCOUNT, "primaryEmailAddress": self.world.admin.email}])
        if parts[:1] != [ACCOUNT]:
            raise _wrong(404, "ACCOUNT_NOT_FOUND")
        match call.method, parts[1:]:
            case "GET", ["folders"]:
                self.need(call, "folders")
                return _good([{"folderId": ident, "folderName": name} for name, ident in FOLDERS.items()])
            case "GET", ["messages", "view"]:
                self.need(call, "messages")
                return self._page(
                    call, [each for each in self.messages if each.folder == call.param("folderId")]
                )
            case "GET", ["messages", "search"]:
                self.need(call, "messages")
                return self._searched(call)
            case "GET", ["folders", folder, "messages", ident, "content"]:
                self.need(call, "messages")
                found = next((one for one in self.messages if (one.folder, one.id) == (folder, ident)), None)
                if found is None:
                    raise _wrong(404, "MESSAGE_NOT_FOUND")
                return _good({"messageId": ident, "content": found.content})
            case "POST", ["messages"]:
                self.need(call, "messages")
                return self._send(call)
            case _:
                raise _wrong(404, "URL_RULE_NOT_CONFIGURED")

    def _send(self, call: Call) -> Answer:
        body = body_of(call)
        if body is None or not all(body.get(name) for name in NEEDED) or set(body) - KNOWN:
            raise _wrong(400, "INVALID_INPUT")
        if body["fromAddress"] != self.world.admin.email:
            raise _wrong(400, "INVALID_FROM_ADDRESS")
        sent = self._keep(
            "Sent", body["fromAddress"], body["toAddress"], body.get("subject", ""), body.get("content", "")
        )
        return _good({**body, "messageId": sent.id})

    def _searched(self, call: Call) -> Answer:
        field, _, wanted = call.param("searchKey").partition(":")
        if field not in ("subject", "sender", "content") or not wanted:
            raise _wrong(400, "INVALID_SEARCH_KEY")
        return self._page(
            call, [one for one in self.messages if wanted.lower() in getattr(one, field).lower()]
        )

    def _page(self, call: Call, found: list[Message]) -> Answer:
        start, limit = whole(call.param("start"), 1), whole(call.param("limit"), 10)
        if not start or limit is None or not 1 <= limit <= 200:
            raise _wrong(400, "INVALID_LIMIT")
        return _good([each.shown() for each in found[::-1][start - 1 : start - 1 + limit]])

    def _keep(self, folder: str, sender: str, to: str, subject: str, content: str) -> Message:
        at = self.world.tick()
        self.messages.append(Message(str(at * 1_000_000), FOLDERS[folder], sender, to, subject, content, at))
        return self.messages[-1]


def _good(data: object) -> Answer:
    return Answer(200, {"status": {"code": 200, "description": "success"}, "data": data})


def _wrong(status: int, code: str) -> Refused:
    return Refused(
        Answer(status, {"status": {"code": status, "description": code}, "data": {"errorCode": code}})
    )
