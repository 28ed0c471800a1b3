"""Anything else that can call a URL: another product of Zoho's, a Deluge `invokeurl`, a service of your own.

Its events begin with the name of the source: `[sources] shop = { product = "custom", ... }` gives `shop.order.paid`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from receiver.sources import recipe
from receiver.sources.fingerprints import carries
from receiver.sources.guide import Guide
from receiver.sources.written import Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Verified, Way

GUIDE = Guide(
    title="any sender, for example a Deluge script",
    proof="a secret of yours, in {header}, or an HMAC of a recipe of yours",
    by_event=True,
    screen="""\
1. Let the sender call this URL with a JSON body or a form:

       {url}

2. Let it add {header} with this value:

       {secret}

3. In Deluge that is, with the value above in the variable secret:

       response = invokeurl
       [
         url: "{url}"
         type: POST
         headers: {"X-Webhook-Token": secret, "Content-Type": "application/json"}
         body: {"id": record_id, "at": zoho.currenttime}.toString()
       ];
""",
    defaults=(("id", "/id"),),
    ids=("/id",),
    times=("/at",),
)


SIGNED = """\
1. Let the sender call this URL with a JSON body or a form:

       {url}

2. Let it sign as [sources.{name}] says, with this secret as the key, and put the signature into {header}:

       {secret}
"""


class Custom(Written):
    """One event for each request."""

    guide = GUIDE
    knows = Written.knows | {"hmac"}

    def guided(self, way: Way) -> Guide:
        """How to sign, where there is a recipe."""
        return (
            replace(GUIDE, proof="an HMAC of your recipe, in {header}", screen=SIGNED) if way.hmac else GUIDE
        )

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A bare request, without the signature that the source expects."""
        return super().handshake(delivery, way) and not (
            way.hmac and carries(delivery, way.hmac.header.lower())
        )

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """By the recipe where there is one, and by nothing else then; else by the static secret."""
        if way.hmac:
            return recipe.verify(delivery, way, way.hmac, keys)
        return super().verify(delivery, way, keys)

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:
        """What `verify` takes of this source."""
        return recipe.sign(delivery, way.hmac, secret) if way.hmac else super().sign(delivery, way, secret)

    def named(self, word: str, way: Way | None = None) -> str:
        """The type that begins with the name of the source."""
        name = way.name if way else self.prefix
        return word if word.lower().startswith(f"{name}.") and word.count(".") > 1 else f"{name}.{word}"

    def expected(self, way: Way) -> Sequence[str]:
        """What is listed; where the body names the event and nothing is listed, anything."""
        return super().expected(way) or [f"{way.name}.**"]

    def problems(self, way: Way) -> Sequence[str]:
        """What is wrong with the recipe, and a URL that may name several events while nothing protects it."""
        found = [*super().problems(way)]
        if way.hmac:
            where = f"sources.{way.name}.hmac"
            found += recipe.problems(way.hmac, where)
            if len(way.events) > 1 and not way.type and "{query}" not in way.hmac.signed:
                found.append(
                    f"{where}.signed: ?event= is not part of what is signed, so whoever has seen one delivery could choose the event; "
                    "sign {query} too, let `type` find the event in the body, or give each event a source of its own"
                )
        return found
