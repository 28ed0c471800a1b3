"""Sign: documents that people sign, in requests. https://www.zoho.com/sign/api/

Sign takes JSON as the field `data` of a form; Zoho's examples show multipart forms for some calls and others for the rest, here all are
multipart. Paths and methods stand in Zoho's pages and in its own connector for Microsoft's Power Platform; of `delete` and `recall` only
the pages speak.
"""

from __future__ import annotations

from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

import orjson

from receiver.errors import Unavailable
from receiver.zoho import part
from receiver.zoho.ask import Ask
from receiver.zoho.files import upload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from receiver.zoho import Zoho
    from receiver.zoho.files import Download

Record = dict[str, Any]
BASE = "/api/v1/requests"
PAGE = 100
DEADLINE = 300.0
"""Seconds for one file."""


class Sign:
    """The requests of the account whose consent this is."""

    def __init__(self, zoho: Zoho) -> None:
        self._zoho = zoho

    def list(self, **context: Any) -> Iterator[Record]:
        """The requests one by one, newest first; `context` is Sign's own (search_columns, sort_column, sort_order). Pages of 100.
        https://www.zoho.com/sign/api/document-managment/get-document-list.html
        """
        start = 1
        asked = {"sort_column": "created_time", "sort_order": "DESC", **context}
        while True:
            page = {"page_context": {"row_count": PAGE, "start_index": start, **asked}}
            data = self._zoho.send(Ask("sign", "GET", BASE, {"data": _text(page)})).data
            rows = data.get("requests") if isinstance(data, dict) else None
            if not isinstance(rows, list):
                raise Unavailable("sign: the answer has no list of requests", code="misfit")
            yield from rows
            if not (data.get("page_context") or {}).get("has_more_rows"):
                return
            start += PAGE

    def get(self, request: str) -> Record:
        """One request: request_status, actions (who signs), document_ids, ... Raises InvalidRequest or NotFound where there is none.
        https://www.zoho.com/sign/api/document-managment/get-details-of-a-particular-document.html
        """
        return _one(self._zoho.send(Ask("sign", "GET", _path(request))).data)

    def create(
        self,
        values: Mapping[str, Any],
        what: Download | Path | bytes | IO[bytes] | Iterable[bytes],
        name: str = "",
    ) -> Record:
        """Makes a draft of a file and `values` (request_name, is_sequential, actions); the request with its `request_id`. Nobody is
        told before `submit`. Never sent again by itself. https://www.zoho.com/sign/api/document-managment/create-document.html
        """
        file = replace(upload(what, name), more={"data": _text({"requests": dict(values)})})
        ask = Ask(
            "sign", "POST", BASE, file=file, deadline=DEADLINE,
            pretend={"requests": {**values, "request_id": "shadow"}}, touches=(("requests", "", dict(values)),),
        )  # fmt: skip
        record = _one(self._zoho.send(ask).data)
        self._zoho.made("sign", "requests", record.get("request_id"), dict(values))
        return record

    def submit(self, request: str, values: Mapping[str, Any] | None = None) -> Record:
        """Sends a draft to those who sign; `values` change it on the way (actions with their fields). The request as it is then.
        https://www.zoho.com/sign/api/document-managment/send-document-for-signature.html
        """
        return _one(self._act("POST", request, "submit", {"requests": dict(values or {})}))

    def remind(self, request: str) -> None:
        """Reminds those who have not signed; each call sends mails."""
        self._act("POST", request, "remind")

    def recall(self, request: str) -> None:
        """Takes a request back from those who sign; what it means twice is refused by Sign."""
        self._act("POST", request, "recall")

    def delete(self, request: str, *, recall: bool = False, reason: str = "") -> None:
        """Moves a request to the trash; one in progress is refused, unless it is to be recalled."""
        self._act("PUT", request, "delete", {"recall_inprogress": recall, "reason": reason})

    def pdf(self, request: str, document: str = "") -> AbstractContextManager[Download]:
        """The document, signed as far as it is, to be read within a `with` block; one of several by its id, else Sign makes a zip of
        them: `with zoho.sign.pdf(id) as file: zoho.crm.attachments.upload("Deals", deal, file)`.
        """
        within = f"/documents/{part(document)}" if document else ""
        return self._zoho.open(
            Ask("sign", "GET", f"{_path(request)}{within}/pdf", deadline=DEADLINE), f"{request}.pdf"
        )

    def certificate(self, request: str) -> AbstractContextManager[Download]:
        """The certificate of completion, as `pdf`. Raises InvalidRequest where not all have signed."""
        path = f"{_path(request)}/completioncertificate"
        return self._zoho.open(Ask("sign", "GET", path, deadline=DEADLINE), f"{request}-certificate.pdf")

    def _act(self, method: str, request: str, act: str, data: Mapping[str, Any] | None = None) -> Any:
        said = {"requests": {"request_id": request}}
        ask = Ask(
            "sign", method, f"{_path(request)}/{act}", form={"data": _text(data or {})}, safe=act == "delete",
            pretend=said, touches=(("requests", request, {"action": act}),),
        )  # fmt: skip
        return self._zoho.send(ask).data


def _path(request: str) -> str:
    return f"{BASE}/{part(request)}"


def _text(data: Any) -> str:
    return orjson.dumps(data).decode()


def _one(data: Any) -> Record:
    found = data.get("requests") if isinstance(data, dict) else None
    if not isinstance(found, dict):
        raise Unavailable("sign: the answer has no request", code="misfit")
    return found
