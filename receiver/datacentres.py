"""The table of Zoho's hosts, by data centre and product; no host is ever derived from a suffix.

Source: the fact sheet's section 1.1, read from Zoho's accounts, CRM, Books, Desk and Mail pages. Hosts that only community
code knows are marked.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from receiver.errors import SettingsError


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

    def base(self, product: str) -> str:
        """The base URL of a product: CRM, Books and their kin share `api`, the others have hosts of their own."""
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


def simulated(url: str) -> DataCentre:
    """A data centre that is the simulator, all products on one address, which must be this machine's own."""
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
    return DataCentre("simulator", *([base] * 11))


def find(name: str, simulator: str | None = None) -> DataCentre:
    """The data centre of that name; `simulator` names the one whose URL is given."""
    if name == "simulator":
        if not simulator:
            raise SettingsError(
                'dc = "simulator" needs [simulator] url = "http://127.0.0.1:PORT" in zohook.toml'
            )
        return simulated(simulator)
    try:
        return DATA_CENTRES[name.lower()]
    except KeyError:
        known = ", ".join(sorted(DATA_CENTRES))
        raise SettingsError(f"there is no data centre {name!r}; it is one of {known}") from None


def by_url(field: str, url: str, simulator: str | None = None) -> DataCentre | None:
    """The data centre whose `field` (accounts, api) is exactly that URL, or None: what an answer or a callback names is
    taken only if the table has it, for a client secret posted to another host is lost.
    """
    known = list(DATA_CENTRES.values()) + ([simulated(simulator)] if simulator else [])
    wanted = url.rstrip("/")
    return next((centre for centre in known if getattr(centre, field) == wanted), None)
