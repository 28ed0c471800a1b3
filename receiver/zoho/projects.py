"""Projects, version 3: projects and their tasks. https://projects.zoho.com/api-docs

Every call but `portals` names its portal in the path: `projects = "ID"` in the connection's settings, `zoho.projects("name")` for another
one. Updates are PATCH. 100 calls in two minutes are taken, more are refused with a 400 for some minutes. Zoho's page shows the list of
projects as a bare list and other lists under their name with a `page_info`; both are read.
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
BASE = "/api/v3"
PAGE = 100


class Projects:
    """Projects of one portal."""

    def __init__(self, zoho: Zoho, portal: str = "") -> None:
        self._zoho = zoho
        self._portal = portal

    def __call__(self, portal: str) -> Projects:
        """Projects of the portal that the connection's settings name so."""
        return Projects(self._zoho, portal)

    def portals(self) -> Sequence[Record]:
        """The portals that this consent reaches, with their ids; the one call that needs no portal."""
        return _rows(self._zoho.send(Ask("projects", "GET", f"{BASE}/portals")).data, "portals")

    def list(self, **params: Any) -> Iterator[Record]:
        """The projects one by one; `params` are Projects' own. Pages of 100 are read as they are needed."""
        return self._pages("/projects", "projects", texts(params))

    def get(self, project: str) -> Record:
        """One project. Raises NotFound."""
        return self._record("GET", f"/projects/{part(project)}")

    def create(self, values: Mapping[str, Any]) -> Record:
        """Makes a project (`name` is needed). Never sent again once it may have arrived."""
        return self._made("/projects", "projects", values)

    def update(self, project: str, values: Mapping[str, Any]) -> Record:
        """Changes a project, and returns it as it is then."""
        return self._changed(f"/projects/{part(project)}", "projects", project, values)

    def tasks(self, project: str, **params: Any) -> Iterator[Record]:
        """The tasks of a project one by one."""
        return self._pages(f"/projects/{part(project)}/tasks", "tasks", texts(params))

    def task(self, project: str, task: str) -> Record:
        """One task. Raises NotFound."""
        return self._record("GET", f"/projects/{part(project)}/tasks/{part(task)}")

    def create_task(self, project: str, values: Mapping[str, Any]) -> Record:
        """Makes a task (`name` is needed). Never sent again once it may have arrived."""
        return self._made(f"/projects/{part(project)}/tasks", "tasks", values)

    def update_task(self, project: str, task: str, values: Mapping[str, Any]) -> Record:
        """Changes a task, and returns it as it is then."""
        return self._changed(f"/projects/{part(project)}/tasks/{part(task)}", "tasks", task, values)

    def _made(self, path: str, kind: str, values: Mapping[str, Any]) -> Record:
        record = self._record("POST", path, dict(values), kind=kind, pretend={**values, "id": "shadow"})
        self._zoho.made("projects", kind, record.get("id"), dict(values))
        return record

    def _changed(self, path: str, kind: str, ident: str, values: Mapping[str, Any]) -> Record:
        return self._record(
            "PATCH", path, dict(values), kind=kind, touch=ident, pretend={**values, "id": ident}
        )

    def _record(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        kind: str = "",
        touch: str = "",
        pretend: Any = None,
    ) -> Record:
        ask = Ask(
            "projects", method, self._base() + path, json=json, safe=None if method == "GET" else method == "PATCH",
            pretend=pretend, touches=((kind, touch, json),) if kind else (),
        )  # fmt: skip
        data = self._zoho.send(ask).data
        if not isinstance(data, dict):
            raise Unavailable(f"projects: {method} {path} gave no record", code="misfit")
        return data

    def _base(self) -> str:
        return f"{BASE}/portal/{part(self._zoho.organisation('projects', self._portal))}"

    def _pages(self, path: str, key: str, params: Mapping[str, str]) -> Iterator[Record]:
        size = int(params.get("per_page") or PAGE)
        for page in range(int(params.get("page") or 1), 10_000):
            asked = {**params, "page": str(page), "per_page": str(size)}
            data = self._zoho.send(Ask("projects", "GET", self._base() + path, asked)).data
            rows = _rows(data, key)
            yield from rows
            info = data.get("page_info") if isinstance(data, dict) else None
            more = (
                str(info.get("has_next_page")).lower() == "true"
                if isinstance(info, dict)
                else len(rows) == size
            )
            if not more:
                return


def _rows(data: Any, key: str) -> Sequence[Record]:
    if data is None:
        return []
    rows = data.get(key) if isinstance(data, dict) else data
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable(f"projects: the answer has no list of {key}", code="misfit")
    return rows
