"""What all sources share: how an event is made of a fact, and how a redelivery of it is recognised."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from receiver.errors import Malformed, Unauthenticated
from receiver.event import BYTES_ONLY, MINUTE, Event, new_id
from receiver.sources import body, fingerprints, pointer, reading
from receiver.sources.guide import Guide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Need, Offer, Parsed, Verified, Way

WEEK = 7 * 86_400.0


class Product:
    """The part of a source that is the same for all; a product's own class verifies, reads and names."""

    methods: frozenset[str] = frozenset({"POST"})
    proof_members: frozenset[str] = frozenset()
    needs: Need = "secret"
    header: str = ""
    """The header that bears the proof, where one does; small letters."""
    knows: frozenset[str] = frozenset()
    """Those of the settings for some products only that mean something to this one."""
    life = MINUTE
    """How long a mark lives: a week where facts have an identity, a minute where there are only bytes."""
    guide = Guide()

    def __init__(self, product: str, prefix: str = "") -> None:
        self.product = product
        self.prefix = prefix or product
        """The first part of its events' types."""

    def fingerprint(self, delivery: Delivery) -> bool:
        """Whether the delivery bears the marks of this product."""
        return fingerprints.looks_like(delivery) == fingerprints.family(self.product)

    def handshake(self, delivery: Delivery, way: Way) -> bool:  # noqa: ARG002 - part of the interface
        """A browser or a probe that brings nothing: a GET or HEAD, or a POST without a body, and no proof."""
        bare = delivery.method in ("GET", "HEAD") or (
            delivery.method == "POST" and body.kind(delivery) == "empty"
        )
        return bare and not fingerprints.carries(delivery, self.header)

    def window(self, way: Way) -> float:
        """For how many seconds a redelivery of a fact is recognised; 0 where the check is off."""
        if way.dedupe is False:
            return 0.0
        if way.dedupe_for is not None:
            return way.dedupe_for
        return WEEK if way.dedupe else self.life

    def lacks(self, delivery: Delivery, keys: Keys) -> bool:  # noqa: ARG002
        """False: all keys there are come from the settings."""
        return False

    def offered(self, delivery: Delivery, keys: Keys) -> Offer | None:  # noqa: ARG002
        """None: nobody but the operator says which secret is ours."""
        return None

    def native(self, word: str) -> str | None:  # noqa: ARG002
        """None: the product has no words of its own for its events."""
        return None

    def guided(self, way: Way) -> Guide:  # noqa: ARG002
        """The product's one guide."""
        return self.guide

    def settled(self, way: Way) -> Way:
        """As zohook.toml says."""
        return way

    def problems(self, way: Way) -> Sequence[str]:
        """Pointers that are none."""
        marks = way.dedupe.split(",") if isinstance(way.dedupe, str) and way.dedupe else []
        pointers = [
            ("id", way.id),
            ("time", way.time),
            ("type", way.type),
            *(("dedupe", each.strip()) for each in marks),
        ]
        return [
            f"sources.{way.name}.{key}: {text!r} is no JSON pointer; did you mean {'/' + text.strip('/')!r}?"
            for key, text in pointers
            if not pointer.well_formed(text)
        ]

    def expected(self, way: Way) -> Sequence[str]:
        """What is listed."""
        return [self.named(word, way) for word in way.events]

    def instant(self, value: object, way: Way) -> int | None:
        """A time of the body in ms UTC, or None; one without an offset is in the zone of the source."""
        return reading.instant(value, way.zone, way.time_format)

    def named(self, word: str, way: Way | None = None) -> str:  # noqa: ARG002
        """The type for a word of `events`: a type already, a native word, or the part after the product."""
        if word.lower().startswith(f"{self.prefix}.") and word.count(".") > 1:
            return word
        native = self.native(word)
        return native if native and "*" not in native else f"{self.prefix}.{word}"

    def dotted(self, word: str) -> str:
        """The type for a word with dots of the product's own: its first part is the resource, all others are the verb.

        "conversation.operator.replied" is `salesiq.conversation.operator_replied`, so that what happens to one conversation is about
        one record. Raises Malformed where a part is no name.
        """
        resource, *verb = word.split(".")
        if not all(reading.is_name(part) for part in (resource, *verb)):
            raise Malformed("the name of the event is none")
        return ".".join([self.prefix, resource, *(["_".join(verb)] if verb else [])])

    def _event(
        self,
        delivery: Delivery,
        way: Way,
        verified: Verified,
        fact: Sequence[object] | None = None,
        **fields: Any,
    ) -> Event:
        """An event of this delivery. `fact` identifies it natively, None where there are only bytes."""
        event = Event(
            id=new_id(delivery.received),
            source=way.name,
            received=delivery.received,
            delivery=delivery.id,
            connection=way.connection,
            verified_by=verified.by,
            **fields,
        )
        event.identity = self._identity(event, delivery, way, fact)
        return event

    def _event_in_url(self, delivery: Delivery, way: Way) -> str:
        """The word that `?event=` names, or the only one listed; empty where none is listed and none named.

        For bodies that do not say what happened. A word not listed is refused: who sends may not choose.
        """
        return _event_in_url(self, delivery.query, way.name, way.events)

    def _identity(self, event: Event, delivery: Delivery, way: Way, fact: Sequence[object] | None) -> str:
        window = self.window(way)
        if not window:
            return ""
        if isinstance(way.dedupe, str) and way.dedupe:
            own = [pointer.find(event.data, part.strip()) for part in way.dedupe.split(",")]
            fact = None if None in own else own
        if fact is not None:
            return orjson.dumps([event.type, *fact]).decode()
        kind = BYTES_ONLY if window > MINUTE and way.dedupe_for is None else "sha256:"
        return f"{kind}{delivery.digest()}:{event.type}" + (f":{event.record_id}" if event.record_id else "")


def unlisted(way: Way, example: str) -> str:
    """The problem of a source whose bodies do not say what happened, while no events are listed."""
    return f'sources.{way.name}.events: list what the rules tell, for example events = ["{example}"]'


@lru_cache(256)
def _event_in_url(product: Product, query: bytes, source: str, events: tuple[str, ...]) -> str:
    """Remembered, since a URL in Zoho is typed once and called for years."""
    said = body.fields(query).get("event", "")
    if isinstance(said, list):
        raise Malformed("the URL says ?event= more than once")
    if not said:
        if len(events) > 1:
            raise Malformed(f"which of {', '.join(events)}? Let the URL in Zoho end with ?event=...")
        return events[0] if events else ""
    for word in events:
        if product.named(word).lower() == product.named(said).lower():
            return word
    raise Malformed(f"the URL says ?event={said[:60]}, which [sources.{source}] does not list in its events")


def need_secret(way: Way, keys: Keys) -> None:
    """Raises Unauthenticated where no secret is set, or only an empty one: that would let everybody in."""
    if not any(keys.secrets):
        raise Unauthenticated(f"no secret is set for {way.name}: ZOHOOK_SECRET_{way.name.upper()}")


def taken(parsed: Parsed) -> Parsed:
    """What was read of an array; raises Malformed where every one of its elements was bad."""
    if parsed.bad and not parsed.events:
        raise Malformed("; ".join(parsed.bad[:5]))
    return parsed
