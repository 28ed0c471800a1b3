"""Mail: folders, messages, sending. https://www.zoho.com/mail/help/api/overview.html

Every call but `accounts` names its account in the path: `mail = "ID"` in the connection's settings, `zoho.mail("name")` for another one.
Mail's limits are written nowhere, so few calls a minute are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import Unavailable
from receiver.zoho import part, texts
from receiver.zoho.ask import Ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from receiver.zoho import Zoho

Record = dict[str, Any]
BASE = "/api/accounts"
PAGE = 200


class Mail:
    """Mail of one account."""

    def __init__(self, zoho: Zoho, account: str = "") -> None:
        self._zoho = zoho
        self._account = account

    def __call__(self, account: str) -> Mail:
        """Mail of the account that the connection's settings name so."""
        return Mail(self._zoho, account)

    def accounts(self) -> Sequence[Record]:
        """The accounts that this consent reaches, each with its `accountId`; the one call that needs no account."""
        return _rows(self._zoho.send(Ask("mail", "GET", BASE)).data)

    def folders(self) -> Sequence[Record]:
        """The folders, with folderId and folderName. https://www.zoho.com/mail/help/api/get-all-folder-details.html"""
        return _rows(self._get("/folders"))

    def list(self, folder: str, **params: Any) -> Iterator[Record]:
        """The messages of a folder one by one, newest first: messageId, subject, fromAddress, ...; `params` are Mail's own (status, sortBy).
        https://www.zoho.com/mail/help/api/get-emails-list.html
        """
        return self._pages("/messages/view", {"folderId": folder, **texts(params)})

    def search(self, key: str, **params: Any) -> Iterator[Record]:
        """The messages that fit, one by one; `key` is in Mail's own words (`subject:offer`, `sender:a@b.example`). Mail leaves out
        what came in the last two minutes, unless `receivedTime` is given. https://www.zoho.com/mail/help/api/get-search-emails.html
        """
        return self._pages("/messages/search", {"searchKey": key, **texts(params)})

    def content(self, folder: str, message: str) -> str:
        """The body of a message, as HTML. Raises NotFound. https://www.zoho.com/mail/help/api/get-email-content.html"""
        return str(
            _one(self._get(f"/folders/{part(folder)}/messages/{part(message)}/content")).get("content", "")
        )

    def send(
        self,
        sender: str,
        to: str | Sequence[str],
        subject: str,
        content: str,
        *,
        html: bool = True,
        **more: Any,
    ) -> Record:
        """Sends a mail; what Mail says of it, with its `messageId`. `sender` is an address of the account; `more` are Mail's own words
        (ccAddress, bccAddress, askReceipt).

        Never sent again once it may have arrived: run it in `event.step`. https://www.zoho.com/mail/help/api/post-send-an-email.html
        """
        values = {
            "fromAddress": sender,
            "toAddress": to if isinstance(to, str) else ",".join(to),
            "subject": subject,
            "content": content,
            "mailFormat": "html" if html else "plaintext",
            **more,
        }
        path = f"{self._base()}/messages"
        pretend = {
            "status": {"code": 200, "description": "not sent"},
            "data": {**values, "messageId": "shadow"},
        }
        ask = Ask("mail", "POST", path, json=values, pretend=pretend, touches=(("messages", "", values),))
        return _one(self._zoho.send(ask).data)

    def _base(self) -> str:
        return f"{BASE}/{part(self._zoho.organisation('mail', self._account))}"

    def _get(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        return self._zoho.send(Ask("mail", "GET", self._base() + path, params or {})).data

    def _pages(self, path: str, params: Mapping[str, str]) -> Iterator[Record]:
        size, start = int(params.get("limit") or PAGE), int(params.get("start") or 1)
        while True:
            rows = _rows(self._get(path, {**params, "start": str(start), "limit": str(size)}))
            yield from rows
            if len(rows) < size:
                return
            start += size


def _one(data: Any) -> Record:
    found = data.get("data") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise Unavailable("mail: the answer has no data", code="misfit")
    return found


def _rows(data: Any) -> Sequence[Record]:
    if data is None:
        return []
    rows = data.get("data") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable("mail: the answer has no list", code="misfit")
    return rows
