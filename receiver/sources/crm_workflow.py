"""Webhooks from Zoho CRM's automation: a body of the admin's making, and a static secret as all the proof.

https://github.com/zoho/crm-oas, v8.0/webhooks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from receiver.errors import Malformed
from receiver.sources import body, crm_words, pointer, reading, static_secret, strict_json
from receiver.sources.fingerprints import carries
from receiver.sources.guide import Guide
from receiver.sources.product import WEEK, Product
from receiver.sources.source import Parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from receiver.event import Delivery
    from receiver.sources.source import Keys, Verified, Way


GUIDE = Guide(
    title="Zoho CRM, webhooks of workflow rules",
    proof="a secret of yours, in {header}",
    by_event=True,
    screen="""\
1. In Zoho CRM open Setup > Automation > Actions > Webhooks, and configure a webhook.
2. Method POST, and as URL to notify:

       {url}

3. Add {header} with this value:

       {secret}

4. As body choose raw, JSON, and paste this. Choose the merge fields again by typing # there, for each module calls its own
   differently. Id and modified time let Zohook tell a redelivery from another change.

       {
         "record_id": "${{module}.{record} Id}",
         "modified_time": "${{module}.Modified Time}",
         "name": "${{module}.{record} Name}"
       }

5. Make it an action of the workflow rule that means {event}.
""",
    defaults=(("id", "/record_id"), ("time", "/modified_time")),
    ids=("/record_id", "/lead_id"),
    times=("/modified_time",),
)


class CrmWorkflow(Product):
    """One event for each request: rules send one record at a time."""

    methods = frozenset({"POST", "PUT", "GET", "DELETE"})
    guide = GUIDE

    def handshake(self, delivery: Delivery, way: Way) -> bool:
        """A request that brings nothing at all: a rule's own brings its secret at least."""
        bare = not delivery.query and body.kind(delivery) == "empty"
        return delivery.method == "HEAD" or (bare and not carries(delivery, way.secret_header.lower()))

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
        word = self._event_in_url(delivery, way)
        if not word:
            raise Malformed(
                f'nothing says what happened: list it in [sources.{way.name}], events = ["Deals.won"], '
                "and let the URL in Zoho end with ?event=Deals.won"
            )
        data = reading.present(_document(delivery, way))
        when = reading.instant(pointer.find(data, way.time)) if way.time else None
        record_id = reading.identifier(pointer.find(data, way.id)) if way.id else ""
        event = self._event(
            delivery,
            way,
            verified,
            None if when is None else (delivery.digest(), record_id, when),
            type=self.named(word),
            native=word,
            data=data,
            organisation=way.organisation,
            record_id=record_id,
            occurred=when,
        )
        return Parsed([event])

    def native(self, word: str) -> str | None:
        """`crm.Deals.updated` for "Deals.edit"."""
        return crm_words.native(word)

    def types(self) -> Sequence[str]:
        """None: the admin names the events, in zohook.toml."""
        return ()


def _document(delivery: Delivery, way: Way) -> Any:
    """What the request says: its body, or its query where it has none. The secret is taken out."""
    what = body.kind(delivery)
    if what == "json":
        try:
            return strict_json.loads(delivery.body)
        except Malformed as error:
            raise Malformed(f"{error}; does a merged field hold a quote or a line break?") from None
    if what == "other":
        raise Malformed("the body is neither JSON nor a form")
    said = body.fields(delivery.query) if what == "empty" else body.form(delivery)
    return {name: value for name, value in said.items() if name not in (way.secret_parameter, "event")}
