"""Calling back: what a handler gets to talk to Zoho with. Nothing of the network is loaded until the first
call.
"""

from __future__ import annotations

from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

from receiver.zoho.sending import OnWrite, Sender, part, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from receiver.zoho.clients import Clients
    from receiver.zoho.crm import CRM
    from receiver.zoho.crm_kin import Bigin, Recruit
    from receiver.zoho.desk import Desk
    from receiver.zoho.files import Download
    from receiver.zoho.finance import Books, Finance
    from receiver.zoho.mail import Mail
    from receiver.zoho.projects import Projects
    from receiver.zoho.sign import Sign
    from receiver.zoho.tokens import Tokens
    from receiver.zoho.vault import Vault
    from receiver.zoho.workdrive import WorkDrive

__all__ = ["Clients", "OnWrite", "Tokens", "Vault", "Zoho", "part", "texts"]

_ROOMS = {
    "Clients": "receiver.zoho.clients",
    "Tokens": "receiver.zoho.tokens",
    "Vault": "receiver.zoho.vault",
}


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        from importlib import import_module  # noqa: PLC0415 - loaded when it is used

        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Zoho(Sender):
    """Zoho's APIs under one connection, for one job.

    `calls` lists every call made, one dict per try: at (ms), product, method, path, params, status, code, ms,
    credits, write, repeated. In shadow mode reads are real, and writes are listed there (with their `json`)
    instead of being sent.
    """

    @cached_property
    def crm(self) -> CRM:
        """CRM, version 8."""
        from receiver.zoho.crm import CRM  # noqa: PLC0415 - loaded when it is used

        return CRM(self)

    @cached_property
    def books(self) -> Books:
        """Books, version 3; `zoho.books("name")` is another of the connection's organisations, and so with its kin."""
        from receiver.zoho.finance import Books  # noqa: PLC0415 - loaded when it is used

        return Books(self, "books")

    @cached_property
    def inventory(self) -> Finance:
        """Inventory, version 1."""
        return self._finance("inventory")

    @cached_property
    def invoice(self) -> Finance:
        """Invoice, version 3."""
        return self._finance("invoice")

    @cached_property
    def billing(self) -> Finance:
        """Billing, which was Subscriptions, version 1."""
        return self._finance("billing")

    @cached_property
    def expense(self) -> Finance:
        """Expense, version 1."""
        return self._finance("expense")

    def _finance(self, product: str) -> Finance:
        from receiver.zoho.finance import Finance  # noqa: PLC0415 - loaded when it is used

        return Finance(self, product)

    @cached_property
    def desk(self) -> Desk:
        """Desk, version 1; `zoho.desk("name")` is another of the connection's portals."""
        from receiver.zoho.desk import Desk  # noqa: PLC0415 - loaded when it is used

        return Desk(self)

    @cached_property
    def mail(self) -> Mail:
        """Mail; `zoho.mail("name")` is another of the connection's accounts."""
        from receiver.zoho.mail import Mail  # noqa: PLC0415 - loaded when it is used

        return Mail(self)

    @cached_property
    def sign(self) -> Sign:
        """Sign, version 1."""
        from receiver.zoho.sign import Sign  # noqa: PLC0415 - loaded when it is used

        return Sign(self)

    @cached_property
    def workdrive(self) -> WorkDrive:
        """WorkDrive, version 1: files in folders."""
        from receiver.zoho.workdrive import WorkDrive  # noqa: PLC0415 - loaded when it is used

        return WorkDrive(self)

    @cached_property
    def projects(self) -> Projects:
        """Projects, version 3; `zoho.projects("name")` is another of the connection's portals."""
        from receiver.zoho.projects import Projects  # noqa: PLC0415 - loaded when it is used

        return Projects(self)

    @cached_property
    def bigin(self) -> Bigin:
        """Bigin, version 2: records, as CRM's."""
        from receiver.zoho.crm_kin import Bigin  # noqa: PLC0415 - loaded when it is used

        return Bigin(self)

    @cached_property
    def recruit(self) -> Recruit:
        """Recruit, version 2: records, as CRM's."""
        from receiver.zoho.crm_kin import Recruit  # noqa: PLC0415 - loaded when it is used

        return Recruit(self)

    def request(
        self,
        product: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, object] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
        write: bool | None = None,
        organisation: str = "",
    ) -> Any:
        """The data of any call that has no method here, None where Zoho has none. Raises a ZohoError.

        `path` is whole ("/crm/v8/Deals/actions/count"). `safe` says that repeating it does no harm (GET, PUT
        and DELETE are taken to be), `write` whether it changes anything (all but GET and HEAD are taken to).
        """
        from receiver.zoho.ask import Ask  # noqa: PLC0415 - loaded when it is used

        return self.send(
            Ask(product, method.upper(), path, texts(params), json, headers or {}, safe, write),
            organisation=organisation,
        ).data

    def upload(
        self,
        product: str,
        path: str,
        what: Download | Path | bytes | IO[bytes] | Iterable[bytes],
        name: str = "",
        *,
        part: str = "file",
        params: Mapping[str, object] | None = None,
        fields: Mapping[str, str] | None = None,
        organisation: str = "",
    ) -> Any:
        """The data of a call that sends a file, as the named part of a form beside other `fields`; for what has no method here.

        `what` is a path, bytes, an open file, pieces as they come, or a download of another client's: it goes in pieces, and is never
        sent again by itself. Raises a ZohoError.
        """
        from dataclasses import replace  # noqa: PLC0415 - loaded when it is used

        from receiver.zoho.ask import Ask  # noqa: PLC0415 - loaded when it is used
        from receiver.zoho.files import LONGEST, upload  # noqa: PLC0415 - loaded when it is used

        file = replace(upload(what, name, part=part), more=fields or {})
        ask = Ask(product, "POST", path, texts(params), file=file, deadline=LONGEST)
        return self.send(ask, organisation=organisation).data

    def download(
        self, product: str, path: str, *, params: Mapping[str, object] | None = None, organisation: str = ""
    ) -> AbstractContextManager[Download]:
        """A file of any call that has no method here, to be read within a `with` block, saved, or sent on. Raises a ZohoError."""
        from receiver.zoho.ask import Ask  # noqa: PLC0415 - loaded when it is used
        from receiver.zoho.files import LONGEST  # noqa: PLC0415 - loaded when it is used

        ask = Ask(product, "GET", path, texts(params), deadline=LONGEST)
        return self.open(ask, path.rpartition("/")[2], organisation=organisation)
