"""The table of Zoho's hosts, by data centre and product; no host is ever derived from a suffix.

Source: the fact sheet's section 1.1, read from Zoho's accounts, CRM, Books, Desk and Mail pages. Hosts that only community
code knows are marked.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

SIMULATOR = "simulator"


@dataclass(frozen=True, slots=True)
class DataCentre:
    """One of Zoho's data centres: the base URL of each product, without a slash at the end."""

    name: str
    accounts: str
    api: str
    desk: str
    mail: str
    projects: str
    recruit: str
    sign: str
    content: str
    sandbox: str
    developer: str
    console: str

    @property
    def simulated(self) -> bool:
        """Whether it is a simulator of ours, and none of Zoho's."""
        return self.name.partition("-")[0] == SIMULATOR

    @property
    def location(self) -> str:
        """Zoho's word for it, as callbacks and device answers name it."""
        return self.name.partition("-")[2] or self.name

    def base(self, product: str, environment: str = "production") -> str:
        """The base URL of a product: CRM, Books and their kin share `api`, the others have hosts of their own.

        CRM's sandboxes and developer editions have hosts of their own too
        (https://www.zoho.com/crm/developer/docs/api/v8/multi-dc.html and the hosts in Zoho's own SDK).
        """
        if product == "crm" and environment in {"sandbox", "developer"}:
            return str(getattr(self, environment))
        if product in {"desk", "mail", "projects", "recruit", "sign", "accounts", "content"}:
            return str(getattr(self, product))
        return self.api


def _zoho(name: str, suffix: str, *, api: str = "", accounts: str = "", content: str = "") -> DataCentre:
    host = accounts.removeprefix("accounts.") or f"zoho.{suffix}"
    tail = api.removeprefix("www.zohoapis.") or suffix
    return DataCentre(
        name=name,
        accounts=f"https://accounts.{host}",
        api=f"https://www.zohoapis.{tail}",
        desk=f"https://desk.{host}",
        mail=f"https://mail.{host}",
        projects=f"https://projectsapi.{host}",
        recruit=f"https://recruit.{host}",
        sign=f"https://sign.{host}",
        content=content or f"https://content.zohoapis.{tail}",
        sandbox=f"https://sandbox.zohoapis.{tail}",
        developer=f"https://developer.zohoapis.{tail}",
        console=f"https://api-console.{host}",
    )


DATA_CENTRES = {
    centre.name: centre
    for centre in (
        _zoho("us", "com"),
        _zoho("eu", "eu"),
        _zoho("in", "in"),
        _zoho("au", "com.au"),
        _zoho("jp", "jp"),
        # Canada breaks every rule: zohocloud.ca for accounts, Desk and Mail, zohoapis.ca for the REST API.
        _zoho(
            "ca",
            "ca",
            accounts="accounts.zohocloud.ca",
            api="www.zohoapis.ca",
            content="https://upload.zohocloud.ca",
        ),
        _zoho("sa", "sa", content="https://files.zoho.sa"),
        _zoho("cn", "com.cn"),
        _zoho("uk", "uk"),  # zohoapis.uk, .ae and .sg are known from community code only
        _zoho("ae", "ae"),
        _zoho("sg", "sg"),
    )
}


def simulated(url: str, location: str = "") -> DataCentre:
    """A data centre that is a simulator, all products on one address, which must be this machine's own."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if parts.scheme != "http" or not loopback:
        raise SettingsError(
            f"the simulator's url must be http:// on this machine, for example http://127.0.0.1:8100, not {url}"
        )
    base = f"http://{parts.netloc}"
    return DataCentre(f"{SIMULATOR}-{location}" if location else SIMULATOR, *([base] * 11))


class DataCentres:
    """The data centres that there are: Zoho's, and simulators by the location that they play ("" is the first one's).

    What an answer or a callback names is taken only if the table has it, for a client secret posted to another host is lost.
    """

    def __init__(self, simulators: Mapping[str, str] | None = None) -> None:
        """Raises SettingsError where a simulator is not on this machine."""
        self._known = dict(DATA_CENTRES)
        for location, url in (simulators or {}).items():
            centre = simulated(url, location)
            self._known[centre.name] = centre

    def find(self, name: str) -> DataCentre:
        """The data centre of that name; raises SettingsError with the names that there are."""
        found = self._known.get(name.lower())
        if found is not None:
            return found
        if name == SIMULATOR:
            raise SettingsError(
                'dc = "simulator" needs [simulator] url = "http://127.0.0.1:PORT" in zohook.toml'
            )
        raise SettingsError(
            f"there is no data centre {name!r}; it is one of {', '.join(sorted(DATA_CENTRES))}"
        )

    def by_url(self, field: str, url: str, *, simulated: bool) -> DataCentre | None:
        """The data centre of that house whose `field` (accounts, api) is exactly that URL, or None."""
        wanted = url.rstrip("/")
        return next((each for each in self._of(simulated) if getattr(each, field) == wanted), None)

    def by_location(self, location: str, *, simulated: bool) -> DataCentre | None:
        """The data centre of that house that Zoho calls by that word ("eu"), or None."""
        wanted = location.lower()
        return next((each for each in self._of(simulated) if each.location == wanted), None)

    def _of(self, simulated: bool) -> list[DataCentre]:
        return [each for each in self._known.values() if each.simulated == simulated]
