"""Where we may call on a setting's word: public addresses over https, and anything else only where it is allowed by name."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether this is an address of the open internet; one that stands for an IPv4 address is what that one is."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved


@dataclass(frozen=True, slots=True)
class Allowed:
    """What is allowed beside public addresses: hosts by name, and addresses and networks."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """From the words of a setting: what is no address or network is the name of a host."""
        hosts, networks = set(), list[IPv4Network | IPv6Network]()
        for entry in entries:
            try:
                networks.append(ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                hosts.add(entry.lower().rstrip("."))
        return cls(frozenset(hosts), tuple(networks))

    def host(self, name: str) -> bool:
        """Whether this host is allowed by name, or is itself an address that is."""
        found = _address(name)
        if found is not None and self._within(found):
            return True
        return name.lower().rstrip(".") in self.hosts

    def address(self, text: str) -> bool:
        """Whether a connection to this address may be made."""
        found = _address(text)
        return found is not None and (is_public(found) or self._within(found))

    def _within(self, address: IPv4Address | IPv6Address) -> bool:
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return any(each in network for network in self.networks for each in (address, mapped) if each)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None


def check(url: str, allow: Iterable[str], key: str) -> None:
    """Raises ValueError where a URL of the settings leads nowhere, or where it may not lead; empty is nowhere on purpose."""
    if not url:
        return
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port = parts.port
    except ValueError:
        port = -1
    if (
        parts.scheme not in {"http", "https"}
        or not host
        or port == -1
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        raise ValueError(f"{key}: {url[:80]!r} is no URL; write one such as https://old.example/hook")
    if parts.username or parts.password or parts.fragment:
        raise ValueError(f"{key}: leave user, password and #fragment out of the URL")
    allowed = Allowed.of(allow)
    if allowed.host(host):
        return
    if parts.scheme != "https":
        raise ValueError(f"{key}: use https, or allow the host by name:   {key}_allow = [{host!r}]")
    if _address(host) is not None and not allowed.address(host):
        raise ValueError(f"{key}: {host} is no public address; allow it by name:   {key}_allow = [{host!r}]")
