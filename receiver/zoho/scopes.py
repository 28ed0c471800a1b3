"""The scopes that a connection's consent must ask for: the least that the clients in use need."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from receiver.settings import Settings

# https://www.zoho.com/crm/developer/docs/api/v8/scopes.html, https://www.zoho.com/books/api/v3/oauth/,
# https://desk.zoho.com/DeskAPIDocument#OauthTokens. Scopes are frozen in the refresh token: more need a new
# consent.
CRM = (
    "ZohoCRM.modules.ALL",
    "ZohoCRM.coql.READ",
    "ZohoCRM.settings.fields.READ",
    "ZohoCRM.users.READ",
    "ZohoCRM.org.READ",
    "ZohoSearch.securesearch.READ",
)
CHANNELS = ("ZohoCRM.notifications.ALL",)
BOOKS = ("ZohoBooks.invoices.ALL", "ZohoBooks.contacts.ALL", "ZohoBooks.settings.READ")
DESK = ("Desk.tickets.ALL", "Desk.contacts.READ", "Desk.search.READ", "Desk.basic.READ")
DESK_WEBHOOKS = ("Desk.webhooks.ALL", "Desk.events.ALL", "Desk.settings.ALL")


def needed_scopes(settings: Settings, connection: str, extra: Iterable[str] = ()) -> tuple[str, ...]:
    """The scopes to ask for, each once: those that the connection's settings list, or else the least for its
    products and its channels; and `extra`, what handlers declare.
    """
    known = settings.connections[connection]
    wanted = list(known.scopes) or _least(settings, connection)
    return tuple(dict.fromkeys([*wanted, *extra]))


def _least(settings: Settings, connection: str) -> list[str]:
    known = settings.connections[connection]
    sources = {
        name: source.product
        for name, source in settings.sources.items()
        if settings.connection_of(name) == connection
    }
    products = set(sources.values())
    crm = bool(known.crm) or any(product.startswith("crm") for product in products)
    wanted: list[str] = []
    if crm or not (known.books or known.desk or products & {"books", "desk"}):
        wanted += CRM
    if any(
        channel.source in sources or channel.connection == connection
        for channel in settings.channels.values()
    ):
        wanted += CHANNELS
    if known.books or "books" in products:
        wanted += BOOKS
    if known.desk or "desk" in products:
        wanted += DESK
    if "desk" in products:
        wanted += DESK_WEBHOOKS
    return wanted
