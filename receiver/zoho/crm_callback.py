"""Where CRM calls back when a bulk job has ended: the URL of a `crm_bulk` source, with what proves that the job is ours.

https://www.zoho.com/crm/developer/docs/api/v8/bulk-read/create-job.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from receiver import logs
from receiver.errors import SettingsError

if TYPE_CHECKING:
    from receiver.zoho import Zoho

PARAMETER = "token"
"""The parameter that bears the proof; Zoho signs nothing here."""


def source(zoho: Zoho) -> str:
    """The `crm_bulk` source of this connection, or of the one whose customer it is; raises SettingsError with the cure where
    there is none.
    """
    customer = zoho.tokens.customers.get(zoho.connection)
    own = customer.of if customer else zoho.connection
    for name, each in zoho.settings.sources.items():
        if each.product == "crm_bulk" and zoho.settings.connection_of(name) == own:
            return name
    raise SettingsError(
        f'no source takes the callbacks of bulk jobs of {own!r}; add   bulk = "crm_bulk"   to [sources]'
    )


def callback(zoho: Zoho, kind: str) -> dict[str, str]:
    """What a job's `callback` says, as Zoho wants it. That of a customer's job names his organisation, for the body does not."""
    name = source(zoho)
    derived = zoho.tokens.vault.derive(f"source:{name}")
    secret = (*zoho.settings.secrets(name), derived)[0]
    logs.hide(secret)
    customer = zoho.tokens.customers.get(zoho.connection)
    whose = customer.organisations.get("crm", "") if customer else ""
    url = f"{zoho.settings.public_url}/in/{name}?job={kind}{f'&org={quote(whose)}' if whose else ''}"
    return {"url": f"{url}&{PARAMETER}={quote(secret, safe='')}", "method": "post"}
