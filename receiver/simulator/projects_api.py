"""Projects' API, version 3: portals, projects, tasks. https://projects.zoho.com/api-docs"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from receiver.simulator.limits import Window
from receiver.simulator.thin_api import ThinApi, body_of
from receiver.simulator.wire import Answer, Refused, whole

if TYPE_CHECKING:
    from receiver.simulator.oauth import Accounts
    from receiver.simulator.wire import Call, Json
    from receiver.simulator.world import World

PORTAL = "768294615"
MOST = 100
"""Calls of one pattern in two minutes; the next are refused with 400."""


class ProjectsApi(ThinApi):
    """One portal."""

    service: ClassVar[str] = "ZohoProjects"

    def __init__(self, world: World, accounts: Accounts) -> None:
        super().__init__(world, accounts)
        self.projects: dict[str, Json] = {}
        self.tasks: dict[str, dict[str, Json]] = {}
        self._used: dict[str, Window] = {}

    def dead(self, *, given: bool) -> Refused:
        del given
        return _wrong(401, "INVALID_OAUTHTOKEN", "Invalid OAuthToken")

    def unscoped(self) -> Refused:
        return _wrong(403, "INVALID_OAUTHSCOPE", "Invalid OAuth scope")

    def handle(self, call: Call) -> Answer:
        parts = call.parts[2:]
        pattern = f"{call.method} {' '.join('*' if part.isdecimal() else part for part in parts)}"
        window = self._used.setdefault(pattern, Window(120.0))
        if window.used(self.world.now()) >= MOST:
            raise _wrong(400, "URL_ROLLING_THROTTLES_LIMIT_EXCEEDED", "More than 100 in two minutes")
        window.add(self.world.now())
        if parts == ["portals"] and call.method == "GET":
            self.need(call, "portals")
            return Answer(200, {"portals": [{"id": PORTAL, "name": self.world.company}]})
        if parts[:2] != ["portal", PORTAL] or call.path.endswith("/"):
            raise _wrong(400, "URL_RULE_NOT_CONFIGURED", "Given URL is wrong")
        match parts[2:]:
            case ["projects", *rest] if len(rest) < 2:
                self.need(call, "projects")
                return self._rows(call, self.projects, rest, "projects")
            case ["projects", project, "tasks", *rest] if project in self.projects and len(rest) < 2:
                self.need(call, "tasks")
                return self._rows(call, self.tasks.setdefault(project, {}), rest, "tasks")
            case _:
                raise _wrong(404, "RESOURCE_NOT_FOUND", "No such resource")

    def _rows(self, call: Call, rows: dict[str, Json], rest: list[str], kind: str) -> Answer:
        if rest and rest[0] not in rows:
            raise _wrong(404, "RESOURCE_NOT_FOUND", "No such resource")
        match call.method, rest:
            case "GET", []:
                return self._listed(call, list(rows.values()), kind)
            case "GET", [ident]:
                return Answer(200, dict(rows[ident]))
            case "POST", []:
                values = self._values(call)
                if not values.get("name"):
                    raise _wrong(400, "MANDATORY_FIELD_MISSING", "name is needed")
                ident = self.world.next_id("projects")
                rows[ident] = {**values, "id": ident, "created_time": self.world.stamp()}
                return Answer(201, dict(rows[ident]))
            case "PATCH", [ident]:
                rows[ident] |= self._values(call)
                return Answer(200, dict(rows[ident]))
            case _:
                raise _wrong(405, "METHOD_NOT_ALLOWED", "The method is not supported")

    def _values(self, call: Call) -> Json:
        body = body_of(call)
        if not body or "id" in body:
            raise _wrong(400, "INVALID_PARAMETER", "the body is no object that may be written")
        return body

    def _listed(self, call: Call, rows: list[Json], kind: str) -> Answer:
        page, size = whole(call.param("page"), 1), whole(call.param("per_page"), 20)
        if not page or size is None or not 1 <= size <= 200:
            raise _wrong(400, "INVALID_PARAMETER", "page or per_page is out of range")
        shown = [dict(row) for row in rows[(page - 1) * size : page * size]]
        info = {"page": page, "per_page": size, "has_next_page": len(rows) > page * size}
        return Answer(200, {kind: shown, "page_info": info})


def _wrong(status: int, title: str, message: str) -> Refused:
    error = {"status_code": str(status), "title": title, "details": [{"message": message}]}
    return Refused(Answer(status, {"error": error}))
