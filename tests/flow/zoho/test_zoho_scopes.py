"""What is asked for at a consent, and what is said when it is no longer enough."""

from __future__ import annotations

import orjson

from receiver import keys
from receiver.event import now_ms
from receiver.zoho.scopes import drift, wanted_scopes


def publish(redis, *handlers):
    """What a living worker publishes of its handlers."""
    redis.set(keys.catalogue("d"), orjson.dumps(handlers))
    redis.zadd(keys.catalogues(), {"d": now_ms()})


def test_handlers_ask_for_their_scopes(house):
    """The scopes of handlers of this connection are asked for, once each, and those of another connection's are not."""
    publish(
        house.redis,
        {"id": "a.b", "options": {"scopes": ["ZohoCRM.modules.Quotes.READ"]}},
        {"id": "a.c", "options": {"scopes": ["ZohoCRM.bulk.READ"], "connection": "other"}},
    )
    wanted = wanted_scopes(house.redis, house.settings, "acme")
    assert wanted.count("ZohoCRM.modules.Quotes.READ") == 1
    assert "ZohoCRM.bulk.READ" not in wanted


def test_a_later_handler_is_missed_before_it_fails(house):
    """A consent that covered everything lacks what a new handler declares; one of another spelling or wider scope does not."""
    granted = tuple(wanted_scopes(house.redis, house.settings, "acme"))
    assert drift(house.redis, house.settings, "acme", granted) == ()
    publish(house.redis, {"id": "a.b", "options": {"scopes": ["ZohoCRM.modules.Quotes.READ"]}})
    assert drift(house.redis, house.settings, "acme", granted) == ("ZohoCRM.modules.Quotes.READ",)
    assert drift(house.redis, house.settings, "acme", (*granted, "zohocrm.modules.all")) == ()
    assert drift(house.redis, house.settings, "acme", ()) == ()
