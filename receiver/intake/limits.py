"""Who asks, and how often somebody may ask without proof of who he is."""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from ipaddress import IPv4Network, IPv6Network

MOST = 20_000
"""How many addresses are remembered; beyond it the one that was silent longest is forgotten."""
PROVED_FOR = 3600.0
LATELY = 60.0
"""How long an address that failed shares the bucket of the source, in seconds: its own fills up within one."""
LONGEST = 8
"""How many of the addresses of an X-Forwarded-For are looked at, from the right."""


@lru_cache(4096)
def subject(host: str) -> str:
    """Who an address stands for: itself, or with IPv6 its /64, of which anybody has as many addresses as he likes."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network((address, 64), strict=False))
    return str(address)


class Proxies:
    """The proxies whose word is taken for whom they speak for."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)
        self.trusts: Callable[[str], bool] = lru_cache(4096)(self._trusts)

    def _trusts(self, host: str) -> bool:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            return any(address.ipv4_mapped in network for network in self._networks)
        return any(address in network for network in self._networks)

    def client(self, host: str, forwarded: Iterable[bytes]) -> str:
        """Who is behind a trusted proxy: the right-most address that is no trusted proxy's. What stands left of it may be made up."""
        words = [word.strip() for value in forwarded for word in value.decode("latin-1").split(",")]
        for word in reversed(words[-LONGEST:]):
            try:
                found = str(ip_address(_without_port(word)))
            except ValueError:
                return host
            host = found
            if not self.trusts(found):
                break
        return host


def _without_port(word: str) -> str:
    if word.startswith("["):
        return word[1:].partition("]")[0]
    return word.partition(":")[0] if word.count(":") == 1 else word


class Buckets:
    """Unauthenticated requests per client address and per source: so many a second, and a burst.

    Only what fails is counted. An address that proved itself at a source within the hour is let through there whatever others do;
    one that has not failed within a minute is, too, since nobody can prove himself who is not heard. So a flood from elsewhere shuts out
    only those addresses that take part in it.
    """

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, float(burst), clock
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()
        self._proved: OrderedDict[tuple[str, str], float] = OrderedDict()

    def admits(self, address: str, source: str) -> bool:
        """Whether a request may be read at all."""
        if not self._levels or self.has_proved(address, source):
            return True
        if self._level(address) < 1:
            return False
        return not self._failed_lately(address) or self._level((source,)) >= 1

    def quiet(self, address: str) -> bool:
        """Whether so little failed from there that each failure is worth keeping."""
        return self._level(address) >= 1

    def proved(self, address: str, source: str) -> None:
        """A delivery of this address was authenticated."""
        key = (address, source)
        self._proved[key] = self._clock()
        self._proved.move_to_end(key)
        if len(self._proved) > MOST:
            self._proved.popitem(last=False)

    def failed(self, address: str, source: str) -> None:
        """A request of this address proved nothing."""
        self._take(address)
        if not self.has_proved(address, source):
            self._take((source,))

    def has_proved(self, address: str, source: str) -> bool:
        """Whether a delivery of this address was authenticated within the hour."""
        at = self._proved.get((address, source))
        return at is not None and self._clock() - at < PROVED_FOR

    def _failed_lately(self, address: str) -> bool:
        found = self._levels.get(address)
        return found is not None and self._clock() - found[1] < LATELY

    def _level(self, key: Hashable) -> float:
        found = self._levels.get(key)
        if found is None:
            return self._burst
        level, at = found
        return min(self._burst, level + (self._clock() - at) * self._rate)

    def _take(self, key: Hashable) -> None:
        self._levels[key] = (max(0.0, self._level(key) - 1), self._clock())
        self._levels.move_to_end(key)
        if len(self._levels) > MOST:
            self._levels.popitem(last=False)
