"""Sign's API over the requests whose webhooks `sign` plays. https://www.zoho.com/sign/api/; the numbers of its errors are not all known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from receiver.simulator.thin_api import ThinApi
from receiver.simulator.wire import Answer, Refused

if TYPE_CHECKING:
    from receiver.simulator.oauth import Accounts
    from receiver.simulator.sign import Sign
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import World

ACTIONS = frozenset({"SIGN", "VIEW", "INPERSONSIGN", "APPROVER"})


class SignApi(ThinApi):
    """Drafts with a file, sent and signed; a file is read with the mark of each who signed it."""

    service: ClassVar[str] = "ZohoSign"

    def __init__(self, world: World, accounts: Accounts, sign: Sign) -> None:
        super().__init__(world, accounts)
        self.sign = sign
        self.files: dict[str, bytes] = {}

    def dead(self, *, given: bool) -> Refused:
        del given
        return _wrong(401, 9041, "Invalid Oauth token")

    def unscoped(self) -> Refused:
        return _wrong(401, 9040, "Invalid Oauth scope", error="INVALID_OAUTHSCOPE")

    def handle(self, call: Call) -> Answer:
        self.need(call, "documents")
        match call.method, call.parts[3:]:
            case "GET", []:
                return self._listed(call)
            case "POST", []:
                return self._create(call)
            case "GET", [ident]:
                return _good(self._request(ident))
            case "POST", [ident, ("submit" | "remind" | "recall") as act]:
                return self._act(act, self._request(ident), call)
            case "PUT", [ident, "delete"]:
                return self._delete(self._request(ident), _data(call))
            case "GET", [ident, "pdf"]:
                request = self._request(ident)
                return self._file(request, request["document_ids"][0]["document_id"])
            case "GET", [ident, "documents", document, "pdf"]:
                return self._file(self._request(ident), document)
            case "GET", [ident, "completioncertificate"]:
                if self._request(ident)["request_status"] != "completed":
                    raise _wrong(400, 4066, "The document is not completed")
                return Answer(200, b"%PDF-1.7 certificate of " + ident.encode())
            case _:
                raise _wrong(404, 9043, "Invalid URL")

    def _listed(self, call: Call) -> Answer:
        given = orjson.loads(call.param("data") or "{}").get("page_context", {})
        start, count = given.get("start_index", 1), given.get("row_count", 20)
        if not isinstance(start, int) or not isinstance(count, int) or not 1 <= count <= 100:
            raise _wrong(400, 9015, "Invalid page_context")
        found = list(self.sign.requests.values())[::-1]
        context = {"row_count": count, "start_index": start, "has_more_rows": len(found) >= start + count}
        return _good(found[start - 1 : start - 1 + count], page_context=context)

    def _create(self, call: Call) -> Answer:
        given = _data(call).get("requests")
        name, content = call.files.get("file", ("", b""))
        if not isinstance(given, dict) or not given.get("request_name") or not name:
            raise _wrong(400, 9015, "request_name and file are needed")
        actions = given.get("actions") or []
        if any(one.get("action_type") not in ACTIONS or not one.get("recipient_email") for one in actions):
            raise _wrong(400, 9015, "Invalid actions")
        document = self.world.next_id("sign")
        self.files[document] = content
        request = {
            **given,
            "request_id": self.world.next_id("sign"),
            "request_status": "draft",
            "owner_email": self.world.admin.email,
            "document_ids": [{"document_name": name, "document_id": document, "document_size": len(content)}],
            "actions": [
                {**one, "action_id": self.world.next_id("sign"), "action_status": "NOACTION"}
                for one in actions
            ],
        }
        self.sign.requests[request["request_id"]] = request
        return _good(request)

    def _act(self, act: str, request: Json, call: Call) -> Answer:
        wanted = "draft" if act == "submit" else "inprogress"
        if request["request_status"] != wanted:
            raise _wrong(400, 4021, f"The document is {request['request_status']}")
        if act == "submit":
            request |= _data(call).get("requests") or {}
            if not request["actions"]:
                raise _wrong(400, 4009, "Nobody is to sign")
            self.sign.submitted(request)
        elif act == "recall":
            self.sign.recalled(request)
        return _good(request)

    def _delete(self, request: Json, data: Json) -> Answer:
        if request["request_status"] == "inprogress" and data.get("recall_inprogress") is not True:
            raise _wrong(400, 4021, "The document is inprogress")
        del self.sign.requests[request["request_id"]]
        return _good(None)

    def _request(self, ident: str) -> Json:
        if ident not in self.sign.requests:
            raise _wrong(404, 20405, "No match found")
        return self.sign.requests[ident]

    def _file(self, request: Json, document: str) -> Answer:
        known = {one["document_id"]: one["document_name"] for one in request["document_ids"]}
        if document not in known:
            raise _wrong(404, 20405, "No match found")
        signed = sum(one["action_status"] == "SIGNED" for one in request["actions"])
        content = self.files.get(document, b"%PDF-1.7 ") + b"%%signed" * signed
        return Answer(200, content, {"content-disposition": f'attachment; filename="{known[document]}"'})


def _data(call: Call) -> Json:
    try:
        found = orjson.loads(dict(call.form).get("data", ""))
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise _wrong(400, 9015, "data is no JSON")
    return found


def _good(requests: Any, **more: Any) -> Answer:
    told = {} if requests is None else {"requests": requests}
    return Answer(200, {"code": 0, "message": "done", "status": "success", **told, **more})


def _wrong(status: int, code: int, message: str, **more: str) -> Refused:
    return Refused(Answer(status, {"code": code, "message": message, "status": "failure", **more}))
