"""The scopes that a connection's consent must ask for: the least that the clients in use need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from receiver.ledger import read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from redis import Redis

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
BULK = ("ZohoCRM.bulk.ALL",)
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
    if "crm_bulk" in products:
        wanted += BULK
    if known.books or "books" in products:
        wanted += BOOKS
    if known.desk or "desk" in products:
        wanted += DESK
    if "desk" in products:
        wanted += DESK_WEBHOOKS
    return wanted


def covers(granted: Iterable[str], needed: str) -> bool:
    """Whether one of the granted scopes is the needed one, or a wider one of the same service.

    The case does not count: Zoho's own pages print both `ALL` and `all`.
    """
    *path, operation = needed.lower().split(".")
    for scope in granted:
        *had, allowed = scope.lower().split(".")
        if had[1:] == ["fullaccess"] and had[:1] == path[:1]:
            return True
        if had == path[: len(had)] and (
            allowed in {"all", operation} or (allowed == "write" and operation in {"create", "update"})
        ):
            return True
    return False


def missing(granted: Iterable[str], needed: Iterable[str]) -> tuple[str, ...]:
    """The needed scopes that a consent does not cover: a call with one of them would fail until there is a new consent."""
    had = tuple(granted)
    return tuple(scope for scope in needed if not covers(had, scope))


def wanted_scopes(redis: Redis, settings: Settings, connection: str) -> tuple[str, ...]:
    """The scopes to ask for: the least for the products, the channels, and the handlers of the living workers."""
    declared = [
        scope
        for options in (handler.get("options", {}) for handler in read.catalogue(redis))
        if options.get("connection", connection) == connection
        for scope in options.get("scopes", ())
    ]
    return needed_scopes(settings, connection, declared)


def drift(redis: Redis, settings: Settings, connection: str, granted: Iterable[str]) -> tuple[str, ...]:
    """The scopes that are needed now and that the consent does not cover; a new consent asks for them."""
    had = tuple(granted)
    return missing(had, wanted_scopes(redis, settings, connection)) if had else ()
