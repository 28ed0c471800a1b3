"""CRM's composite calls: several in one, each answered as if it had come alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from receiver.simulator.crm_write import fault
from receiver.simulator.wire import Answer, Call, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 5


def composite(call: Call, handle: Callable[[Call], Answer]) -> Answer:
    """Each part is a call of its own, with the same token; five at most."""
    body = call.json()
    parts = body.get("__composite_requests") if isinstance(body, dict) else None
    if not isinstance(parts, list) or not 0 < len(parts) <= MOST:
        raise fault("LIMIT_EXCEEDED", "1 to 5 requests", {"api_name": "__composite_requests"})
    told = []
    for part in parts:
        query = [(str(name), str(value)) for name, value in (part.get("params") or {}).items()]
        content = orjson.dumps(part["body"]) if "body" in part else b""
        inner = Call(part["method"], part["uri"], query, call.headers, content, token=call.token)
        try:
            answer = handle(inner)
        except Refused as refused:
            answer = refused.answer
        details = {"statusCode": answer.status, "response": {"body": answer.body, "headers": {}}}
        told.append(
            {
                "sub_request_id": part["sub_request_id"],
                "details": details,
                "status": "success",
                "code": "SUCCESS",
            }
        )
    return Answer(200, {"__composite_requests": told})
