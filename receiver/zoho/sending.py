"""What every client sends its calls by: addressed to the right organisation, kept back in shadow mode, remembered before it is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from receiver.errors import InvalidRequest, NotConnected, SettingsError
from receiver.event import now_ms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receiver.settings import Settings
    from receiver.settings_tables import ConnectionSettings
    from receiver.zoho.ask import Answer, Ask
    from receiver.zoho.files import Download
    from receiver.zoho.gather import Gather
    from receiver.zoho.shelf import Shelf
    from receiver.zoho.tokens import Tokens
    from receiver.zoho.transport import Transport

OnWrite = Callable[[str, str, str, Any, bool], None]
"""Called before every write with (product, module, record id or "", values, False), and with True once a new record has its id."""

# How a product is told which organisation is meant. CRM is not: its token belongs to one organisation.
_BY_PARAMETER = {"books": "organization_id", "inventory": "organization_id", "invoice": "organization_id"}
_BY_HEADER = {
    "desk": "orgId",
    "billing": "X-com-zoho-subscriptions-organizationid",
    "expense": "X-com-zoho-expense-organizationid",
}


class Sender:
    """Calls under one connection, for one job. Nothing of the network is loaded before the first of them."""

    def __init__(
        self,
        tokens: Tokens,
        transport: Transport,
        settings: Settings,
        connection: str,
        *,
        organisations: Mapping[str, str] | None = None,
        fence: Callable[[], None] | None = None,
        calls: list[dict[str, Any]] | None = None,
        shadow: bool = False,
        on_write: OnWrite | None = None,
        behind: bool = False,
        gather: Gather | None = None,
        shelf: Shelf | None = None,
        job: str = "",
        since: int = 0,
    ) -> None:
        """`organisations` names per product the organisation id that stands for the configured one; `fence`
        runs before each request and may raise Fenced. `behind`: live events go before these calls. What was read before
        `since` (ms) is too old for this job.
        """
        self.tokens = tokens
        self.settings = settings
        self.connection = connection
        self.calls: list[dict[str, Any]] = [] if calls is None else calls
        self.shadow = shadow
        self._transport = transport
        self._organisations = dict(organisations or {})
        self._fence = fence
        self._on_write = on_write
        self._behind = behind
        self._gather = gather
        self._shelf = shelf
        self._job = job
        self.since = since

    def send(self, ask: Ask, *, organisation: str = "") -> Answer:
        """The answer to a call, sent to the named organisation of its product."""
        ask, found = self._addressed(ask, organisation)
        if ask.writes and self.shadow:
            return self._pretended(ask)
        self._remember(ask)
        try:
            return self._transport.send(self.connection, ask, organisation=found, **self._about())
        finally:
            if ask.writes:  # what was read before it may be otherwise now
                self.since = now_ms()

    @contextmanager
    def open(self, ask: Ask, called: str, *, organisation: str = "") -> Iterator[Download]:
        """A file of Zoho's, read in pieces within the block; `called` is its name where Zoho does not say one."""
        from receiver.zoho.files import Download  # noqa: PLC0415 - loaded when it is used

        ask, found = self._addressed(ask, organisation)
        with self._transport.open(self.connection, ask, organisation=found, **self._about()) as opened:
            yield Download(opened, called)

    def _about(self) -> dict[str, Any]:
        """What each call is told of the job that it is for."""
        return {"behind": self._behind, "job": self._job, "fence": self._fence, "calls": self.calls}

    def _addressed(self, ask: Ask, organisation: str) -> tuple[Ask, str]:
        """The call with its organisation in the place where its product wants it, and that organisation's id."""
        from dataclasses import replace  # noqa: PLC0415 - loaded when it is used

        if not self.connection:
            raise NotConnected(
                "this job has no connection; name it with connection= on the handler or the source"
            )
        if ask.path.endswith("/organizations"):
            return ask, ""
        if ask.product in _BY_PARAMETER:
            found = self.organisation(ask.product, organisation)
            return replace(ask, params={**ask.params, _BY_PARAMETER[ask.product]: found}), found
        if ask.product in _BY_HEADER:
            found = self.organisation(ask.product, organisation)
            return replace(ask, headers={**ask.headers, _BY_HEADER[ask.product]: found}), found
        return ask, ""

    def _remember(self, ask: Ask) -> None:
        if ask.writes and self._on_write:
            for module, record_id, values in ask.touches or ((ask.path, "", ask.json),):
                self._on_write(ask.product, module, record_id, values, False)

    def made(self, product: str, module: str, record_id: object, values: Any) -> None:
        """Note a record that a write has just made, for whoever remembers our own writes: before the call it had no id."""
        if record_id and self._on_write and not self.shadow:
            self._on_write(product, module, str(record_id), values, True)

    def organisation(self, product: str, name: str = "") -> str:
        """The organisation id that calls to a product go to; raises SettingsError with the cure where none is
        set.
        """
        if not name and self._organisations.get(product):
            return self._organisations[product]
        found = self.connection_settings.organisation(product, name)
        if not found:
            which = f'{product} = {{ {name} = "..." }}' if name else f'{product} = "..."'
            raise SettingsError(
                f"connections.{self.connection}: no organisation of {product} is set; add   {which}"
            )
        return found

    @property
    def gather(self) -> Gather:
        """What reads of many jobs come together in."""
        if self._gather is None:
            from receiver.zoho.gather import Gather  # noqa: PLC0415 - loaded when it is used

            self._gather = Gather()
        return self._gather

    @property
    def shelf(self) -> Shelf:
        """Where descriptions of modules are kept for all."""
        if self._shelf is None:
            from receiver.zoho.shelf import Shelf  # noqa: PLC0415 - loaded when it is used

            self._shelf = Shelf()
        return self._shelf

    def note_shared(self, product: str, path: str) -> None:
        """Record a read that somebody else's call brought along."""
        import time  # noqa: PLC0415 - loaded when it is used

        line = {
            "at": int(time.time() * 1000),
            "product": product,
            "method": "GET",
            "path": path,
            "params": {},
        }
        self.calls.append(
            {
                **line,
                "status": 200,
                "code": "shared",
                "ms": 0,
                "credits": None,
                "write": False,
                "repeated": False,
            }
        )

    @property
    def connection_settings(self) -> ConnectionSettings:
        """The settings of this connection."""
        return self.tokens.accounts.settings_of(self.connection)

    def _pretended(self, ask: Ask) -> Answer:
        import time  # noqa: PLC0415 - loaded when it is used

        from receiver.zoho.ask import Answer, check  # noqa: PLC0415 - loaded when it is used
        from receiver.zoho.call_lines import call_of  # noqa: PLC0415 - loaded when it is used
        from receiver.zoho.outcomes import Verdict  # noqa: PLC0415 - loaded when it is used

        check(ask)
        if self._fence:
            self._fence()
        line = call_of(ask, None, Verdict(code="shadow"), time.monotonic(), repeated=False)
        self.calls.append({**line, "json": ask.json})
        return Answer(200, ask.pretend, {})


def texts(params: Mapping[str, object] | None) -> dict[str, str]:
    """Query parameters as Zoho reads them: booleans in small letters, lists with commas; those that are None
    are left out.
    """
    return {name: _text(value) for name, value in (params or {}).items() if value is not None}


def part(text: object) -> str:
    """One segment of a path, quoted: an id that came from outside cannot lead to another call."""
    from urllib.parse import quote  # noqa: PLC0415 - loaded when it is used

    written = str(text)
    if written in {"", ".", ".."}:
        raise InvalidRequest(f"{written!r} is no id and no name", code="bad_path")
    return quote(written, safe="")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(_text(one) for one in value)
    return str(value)
