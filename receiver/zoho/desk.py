"""Desk, version 1: tickets, contacts, comments, webhooks. https://desk.zoho.com/DeskAPIDocument

Every call names its portal in the header orgId. Updates are PATCH, "none" is an empty 204.
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
BASE = "/api/v1"
PAGE = 50
"""The most that every list takes; some take more, but each another number."""


class Desk:
    """Desk of one portal; `desk("name")` is another one of the same connection."""

    def __init__(self, zoho: Zoho, organisation: str = "") -> None:
        self._zoho = zoho
        self._organisation = organisation

    def __call__(self, organisation: str) -> Desk:
        """Desk of the portal that the connection's settings name so."""
        return Desk(self._zoho, organisation)

    def get(self, resource: str, record_id: str, **params: Any) -> Record:
        """One record ("tickets", its id). Raises NotFound. `include="contacts"` and the like give more."""
        return self._record("GET", f"/{part(resource)}/{part(record_id)}", params=texts(params))

    def list(self, resource: str, **params: Any) -> Iterator[Record]:
        """The records of a resource one by one; `params` are Desk's own. Pages of 50 are read as they are
        needed.
        """
        return self._pages(f"/{part(resource)}", texts(params))

    def search(self, resource: str, **criteria: Any) -> Iterator[Record]:
        """The records that fit, one by one: `search("tickets", email="a@b.c")`. Desk's index lags behind its
        writes.

        https://desk.zoho.com/DeskAPIDocument#Search
        """
        return self._pages(f"/{part(resource)}/search", texts(criteria))

    def create(self, resource: str, values: Mapping[str, Any]) -> Record:
        """Makes a record. Never sent again once it may have arrived: after an Unavailable it may be there."""
        record = self._record(
            "POST", f"/{part(resource)}", json=dict(values), pretend={**values, "id": "shadow"}
        )
        self._zoho.made("desk", resource, record.get("id"), dict(values))
        return record

    def update(self, resource: str, record_id: str, values: Mapping[str, Any]) -> Record:
        """Changes the named fields of a record, and returns it as it is then."""
        path = f"/{part(resource)}/{part(record_id)}"
        return self._record(
            "PATCH", path, json=dict(values), pretend={**values, "id": record_id}, touch=record_id, safe=True
        )

    def comment(self, ticket: str, content: str, *, public: bool = False, html: bool = False) -> Record:
        """Comments on a ticket, for the agents only unless `public`."""
        values = {"content": content, "isPublic": public, "contentType": "html" if html else "plainText"}
        record = self._record(
            "POST",
            f"/tickets/{part(ticket)}/comments",
            json=values,
            pretend={**values, "id": "shadow"},
            touch=ticket,
        )
        self._zoho.made("desk", "ticket_comments", record.get("id"), values)
        return record

    def comments(self, ticket: str) -> Iterator[Record]:
        """The comments on a ticket, one by one."""
        return self._pages(f"/tickets/{part(ticket)}/comments", {})

    def contact(self, contact_id: str) -> Record:
        """One contact. Raises NotFound."""
        return self.get("contacts", contact_id)

    def contacts(self, **params: Any) -> Iterator[Record]:
        """The contacts, one by one; those with an address by `search("contacts", email=...)`."""
        return self.list("contacts", **params)

    def trash(self, resource: str, ids: Sequence[str]) -> None:
        """Moves records to the recycle bin, which is how Desk deletes."""
        key = {"tickets": "ticketIds", "contacts": "contactIds"}.get(
            resource, f"{resource.removesuffix('s')}Ids"
        )
        touches = tuple((resource, one, None) for one in ids)
        self._send(
            Ask(
                "desk",
                "POST",
                f"{BASE}/{part(resource)}/moveToTrash",
                json={key: [*ids]},
                safe=True,
                touches=touches,
            )
        )

    def webhooks(self) -> Sequence[Record]:
        """The webhooks of the portal, with url, name, subscriptions and isEnabled."""
        return _rows(self._send(Ask("desk", "GET", f"{BASE}/webhooks")))

    def create_webhook(self, values: Mapping[str, Any]) -> Record:
        """Makes a webhook: url, name, subscriptions (`{"Ticket_Add": None}`). Desk asks the URL for a 200
        first, and raises InvalidRequest (UNPROCESSABLE_ENTITY) where it gets none.
        https://desk.zoho.com/support/WebhookDocument.do
        """
        return self.create("webhooks", values)

    def update_webhook(self, webhook_id: str, values: Mapping[str, Any]) -> Record:
        """Changes a webhook. Desk wants to hear the subscriptions each time: where `values` has none, those that there are stay.
        https://desk.zoho.com/DeskAPIDocument#Webhook
        """
        if "subscriptions" not in values:
            values = {**values, "subscriptions": self.get("webhooks", webhook_id).get("subscriptions")}
        return self.update("webhooks", webhook_id, values)

    def delete_webhook(self, webhook_id: str) -> None:
        """Deletes a webhook. Raises NotFound where there is none."""
        self._send(
            Ask(
                "desk",
                "DELETE",
                f"{BASE}/webhooks/{part(webhook_id)}",
                touches=(("webhooks", webhook_id, None),),
            )
        )

    def organizations(self) -> Sequence[Record]:
        """The portals that this consent reaches, with their ids; the one call that needs no portal."""
        return _rows(self._zoho.send(Ask("desk", "GET", f"{BASE}/organizations")).data)

    def page(
        self, resource: str, start: int = 0, *, search: bool = False, **params: Any
    ) -> tuple[Sequence[Record], int | None]:
        """One page of `list`, or of `search`, from the record of that number on, and where the next one begins; None at the end."""
        path = f"/{part(resource)}/search" if search else f"/{part(resource)}"
        return self._page(path, texts(params), start)

    def _pages(self, path: str, params: Mapping[str, str]) -> Iterator[Record]:
        start: int | None = int(params.get("from") or 0)
        while start is not None:
            rows, start = self._page(path, params, start)
            yield from rows

    def _page(self, path: str, params: Mapping[str, str], start: int) -> tuple[Sequence[Record], int | None]:
        size = int(params.get("limit") or PAGE)
        asked = {**params, "from": str(start), "limit": str(size)}
        rows = _rows(self._send(Ask("desk", "GET", BASE + path, asked)))
        return rows, None if len(rows) < size else start + size

    def _record(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        pretend: Any = None,
        touch: str = "",
        safe: bool | None = None,
    ) -> Record:
        resource = path.split("/")[1]
        data = self._send(
            Ask(
                "desk",
                method,
                BASE + path,
                params or {},
                json,
                safe=safe,
                pretend=pretend,
                touches=((resource, touch, json),),
            )
        )
        if not isinstance(data, dict):
            raise Unavailable(f"desk: {method} {path} gave no record", code="misfit")
        return data

    def _send(self, ask: Ask) -> Any:
        return self._zoho.send(ask, organisation=self._organisation).data


def _rows(data: Any) -> Sequence[Record]:
    if data is None:
        return []
    rows = data.get("data") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable("desk: the answer has no list of records", code="misfit")
    return rows
