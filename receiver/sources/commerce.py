"""Zoho Commerce: the finance family's records with the event in a header, and JSON under a form's Content-Type.

https://www.zoho.com/commerce/api/webhooks.html mentions no signature. So the proof is a secret of the operator's own, in a header or in
a parameter of the URL; where an account is seen to send the finance family's signature, `secure = true` demands that, and takes no
other proof. Neither covers the header that names the event, so where `events` are listed only those are taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import Malformed
from receiver.sources import static_secret
from receiver.sources.finance import Finance
from receiver.sources.fingerprints import COMMERCE, carries
from receiver.sources.guide import Guide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Verified, Way


GUIDE = Guide(
    title="Zoho Commerce",
    proof="a secret of yours, in {header}",
    screen="""\
1. In Zoho Commerce open Settings > Developer Space > Webhooks, and make a webhook for the events that you want; each names itself.
2. Give it this URL:

       {url}

3. Add {header} with this value; a parameter stands behind the URL, as in ?key=...:

       {secret}
""",
    # Whether its page has headers is not known; a URL it has.
    defaults=(("secret_header", ""), ("secret_parameter", "key")),
    ids=("/salesorder/salesorder_id", "/invoice/invoice_id"),
    times=("/salesorder/last_modified_time", "/salesorder/created_time"),
)


class Commerce(Finance):
    """One event for each delivery."""

    methods = frozenset({"POST"})
    guide = GUIDE
    knows = Finance.knows | {"secure", "secret_user", "secret_prefix"}

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A bare request that brings no event."""
        return super().handshake(delivery, way) and not carries(delivery, COMMERCE)

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """By the operator's own secret, or by the family's signature where the source says `secure`."""
        if way.secure:
            return super().verify(delivery, way, keys)
        return static_secret.verify(delivery, way, keys)

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:
        """What `verify` takes of this source."""
        return (
            super().sign(delivery, way, secret) if way.secure else static_secret.sign(delivery, way, secret)
        )

    def problems(self, way: Way) -> Sequence[str]:
        """Where nothing could prove a delivery."""
        return [*super().problems(way), *(() if way.secure else static_secret.problems(way))]

    def types(self) -> Sequence[str]:
        """The records of a store; the verbs are Commerce's own."""
        return [
            f"commerce.{resource}.*" for resource in ("salesorder", "invoice", "contact", "item", "category")
        ]

    def _word(self, delivery: Delivery, way: Way, document: dict[str, Any]) -> str:  # noqa: ARG002
        said = delivery.header(COMMERCE)
        if said is None:
            return self._event_in_url(delivery, way)
        kind = self.dotted(said.strip())
        if way.events and kind.lower() not in (each.lower() for each in self.expected(way)):
            raise Malformed(
                f"{COMMERCE} says {said[:60]}, which [sources.{way.name}] does not list in its events"
            )
        return kind.removeprefix(f"{self.prefix}.")
