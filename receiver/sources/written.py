"""Webhooks whose body an admin has written: a rule's, a form's, a script's. The URL says what happened, a secret proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import Malformed
from receiver.sources import body, pointer, reading, static_secret, strict_json
from receiver.sources.fingerprints import carries
from receiver.sources.product import WEEK, Product, unlisted
from receiver.sources.source import Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Verified, Way


class Written(Product):
    """One event for each request. JSON, urlencoded and multipart bodies are read, and parameters where there is no body."""

    methods = frozenset({"POST", "PUT", "GET", "DELETE"})
    knows = frozenset({"type", "secret_user", "secret_prefix"})
    unnamed = ""
    """The event where neither URL nor settings name one; empty where that says too little."""

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A HEAD, or a GET or POST that brings nothing at all: a rule's own brings its secret at least."""
        bare = delivery.method in ("GET", "POST") and not delivery.query and body.kind(delivery) == "empty"
        return delivery.method == "HEAD" or (bare and not carries(delivery, static_secret.header(way)))

    def window(self, way: Way) -> float:
        """A week where the body says when the record was modified, so that no two facts read alike."""
        stamped = way.time and way.dedupe == "" and way.dedupe_for is None
        return WEEK if stamped else super().window(way)

    def verify(self, delivery: Delivery, way: Way, keys: Keys) -> Verified:
        """The secret stands in the configured header or in the configured parameter of query or form."""
        return static_secret.verify(delivery, way, keys)

    def sign(self, delivery: Delivery, way: Way, secret: str) -> Delivery:
        """The secret in the configured header, or else in the configured parameter of the query."""
        return static_secret.sign(delivery, way, secret)

    def parse(self, delivery: Delivery, way: Way, verified: Verified) -> Parsed:
        """The one event, named by the URL. Its data leaves out empty texts and merge fields not filled."""
        data = reading.present(_document(delivery, way))
        word = self._word(delivery, way, data)
        when = self.instant(pointer.find(data, way.time), way) if way.time else None
        record_id = reading.identifier(pointer.find(data, way.id)) if way.id else ""
        event = self._event(
            delivery,
            way,
            verified,
            None if when is None else (delivery.digest(), record_id, when),
            type=self.named(word, way),
            native=word,
            data=data,
            organisation=way.organisation,
            record_id=record_id,
            occurred=when,
        )
        return Parsed([event])

    def problems(self, way: Way) -> Sequence[str]:
        """Where nothing can say what happened, or nothing proves who says it."""
        found = [*super().problems(way), *static_secret.problems(way)]
        if not (way.events or way.type or self.unnamed):
            found.append(unlisted(way, "Deals.won"))
        return found

    def types(self) -> Sequence[str]:
        """What it is called by itself; all else the admin names, in zohook.toml."""
        return [self.named(self.unnamed)] if self.unnamed else ()

    def _word(self, delivery: Delivery, way: Way, data: Any) -> str:
        """What happened: as the body says at `type`, else as the URL says."""
        if way.type:
            return self._listed(reading.event_word(pointer.find(data, way.type)), way)
        word = self._event_in_url(delivery, way) or self.unnamed
        if not word:
            raise Malformed(
                f'nothing says what happened: list it in [sources.{way.name}], events = ["Deals.won"], '
                "and let the URL in Zoho end with ?event=Deals.won"
            )
        return word

    def _listed(self, word: str, way: Way) -> str:
        if not word:
            raise Malformed(f"nothing at {way.type} of the body says what happened")
        if way.events and self.named(word, way).lower() not in (each.lower() for each in self.expected(way)):
            raise Malformed(
                f"the body says {word[:60]}, which [sources.{way.name}] does not list in its events"
            )
        return word


def _document(delivery: Delivery, way: Way) -> Any:
    """What the request says: its body, or its query where it has none. The secret is taken out."""
    what = body.kind(delivery)
    if what == "json":
        try:
            return strict_json.document(delivery)
        except Malformed as error:
            raise Malformed(f"{error}; does a merged field hold a quote or a line break?") from None
    if what == "other":
        raise Malformed("the body is neither JSON nor a form")
    said = body.fields(delivery.query) if what == "empty" else body.form(delivery)
    return {name: value for name, value in said.items() if name not in (way.secret_parameter, "event")}
