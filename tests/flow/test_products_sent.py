"""Every product that signs, from the simulated Zoho through the real door into the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from receiver.app import build
from receiver.cli import send
from receiver.cli.send import Wish
from receiver.intake import told
from receiver.ledger import read
from receiver.simulator import Simulator
from receiver.sources import samples
from tests.flow.test_door import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.settings import Settings
    from tests.conftest import MakeSettings

KEY = "a-key-of-sixteen-letters"
TOML = """
[simulator]
url = "{base}"
[sources]
sign = "sign"
mail = "mail"
payments = "payments"
projects = {{ product = "projects", events = ["task.created", "task.updated"], id = "/id", time = "/modified_time" }}
salesiq = {{ product = "salesiq", public_keys = {salesiq} }}
cliq = {{ product = "cliq", public_keys = "{cliq}" }}
shop = {{ product = "commerce", secret_parameter = "key", secret_header = "" }}
till = {{ product = "commerce", secure = true }}
"""


class House:
    """A receiver with a source for each of the products, and their webhooks at the simulator."""

    def __init__(self, simulator: Simulator, redis: Redis, url: str, settings: Settings) -> None:
        self.simulator, self.redis, self.url, self.settings = simulator, redis, url, settings
        told.arm(redis, "mail")
        simulator.sign.add_webhook(f"{url}/in/sign", secret=KEY)
        simulator.mail.add_webhook(f"{url}/in/mail")
        simulator.projects.add_webhook(f"{url}/in/projects?event=task.updated", ["task.updated"], secret=KEY)
        simulator.salesiq.add_webhook(f"{url}/in/salesiq")
        simulator.cliq.add_webhook(f"{url}/in/cliq")
        simulator.commerce.add_webhook(f"{url}/in/shop?key={KEY}")
        simulator.commerce.add_webhook(f"{url}/in/till", secret=KEY)

    def happened(self) -> list[Any]:
        """The events that came of what happened, oldest first; every delivery was answered 200."""
        assert self.simulator.drain()
        assert self.simulator.sender.tally.failed == 0, self.simulator.journal.dump("deliveries", 5)
        page = read.page(self.redis, count=100)
        return sorted((row.event for row in page.rows), key=lambda event: event.seq)


@pytest.fixture
def house(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> Iterator[House]:
    """A running receiver and a running Zoho. Payments' key is made by Zoho, so its webhook comes before the receiver."""
    redis.config_set("appendonly", "yes")
    simulator = Simulator(planted=False)
    base = simulator.start()
    text = TOML.format(
        base=base, salesiq=simulator.salesiq.public_keys(), cliq=simulator.cliq.public_keys()[0]
    )
    secrets = dict.fromkeys(("sign", "projects", "shop", "till", "payments"), KEY)
    known = settings(text.replace("'", '"'), secrets=secrets, redis={"url": redis_server.url})
    with served(build(known)) as url:
        payments = simulator.payments.add_webhook(f"{url}/in/payments")
        payments.secret = KEY
        yield House(simulator, redis, url, known)
        simulator.stop()


def test_each_product_is_verified_and_named(house: House) -> None:
    """One thing happens in each of them, and each becomes the event that it should, proven as that product proves."""
    zoho = house.simulator
    request = zoho.sign.request(signers=1)["request_id"]
    zoho.sign.sign(request)
    mail = zoho.mail.receive()["messageIdString"]
    zoho.mail.task()
    zoho.payments.pay()
    zoho.projects.change()
    conversation = zoho.salesiq.converse()["entity_id"]
    zoho.cliq.say()
    zoho.commerce.order()
    found = {(event.source, event.type): event for event in house.happened()}
    assert {key: event.verified_by for key, event in found.items()} == {
        ("sign", "sign.Request.submitted"): "hmac",
        ("sign", "sign.Request.signed"): "hmac",
        ("sign", "sign.Request.completed"): "hmac",
        ("mail", "mail.message.received"): "hmac",
        ("mail", "mail.task.updated"): "hmac",
        ("payments", "payments.payment.succeeded"): "hmac",
        ("projects", "projects.task.updated"): "hmac",
        ("salesiq", "salesiq.conversation.created"): "rsa",
        ("cliq", "cliq.bot.message"): "rsa",
        ("shop", "commerce.salesorder.delivered"): "static",
        ("till", "commerce.salesorder.delivered"): "hmac",
    }
    records = {key: event.record_id for key, event in found.items()}
    assert records["sign", "sign.Request.completed"] == request
    assert records["mail", "mail.message.received"] == mail
    assert records["salesiq", "salesiq.conversation.created"] == conversation
    assert all(records.values())
    times = [event.occurred for event in found.values() if event.source not in ("mail", "shop", "till")]
    assert all(abs(event - found["cliq", "cliq.bot.message"].received) < 60_000 for event in times)


def test_what_comes_again_is_the_same_fact(house: House) -> None:
    """Every delivery twice, another attempt of Payments and an execution that is retried by hand: each fact is one event."""
    zoho = house.simulator
    zoho.sender.duplicates = 1.0
    paid = zoho.payments.pay()["event_id"]
    zoho.payments.redeliver(paid)
    conversation = zoho.salesiq.converse()["entity_id"]
    zoho.salesiq.retry(conversation)
    zoho.sign.request()
    zoho.mail.receive()
    zoho.cliq.say()
    zoho.commerce.order()
    zoho.projects.change()
    assert sorted(event.source for event in house.happened()) == sorted(
        ["payments", "salesiq", "sign", "mail", "cliq", "shop", "till", "projects"]
    )
    # Two of Payments and two of SalesIQ, each twice, are three too many; of the six others one each.
    assert read.totals(house.redis)["duplicates"] == 3 + 3 + 6


def test_keys_and_secrets_rotate_without_a_loss(house: House) -> None:
    """Mail tells a new secret when its URL is changed, and what was signed with the old one is taken still."""
    zoho = house.simulator
    (hook,) = zoho.mail.hooks
    before = hook.secret
    told.arm(house.redis, "mail")
    zoho.mail.change_url(hook.id, hook.url)
    zoho.mail.receive()
    hook.secret = before
    zoho.mail.receive()
    assert len(house.happened()) == 2
    rows = [read.delivery(house.redis, event.delivery) for event in house.happened()]
    assert sorted(row.meta["secret"] for row in rows) == [0, 1]


def test_an_unarmed_source_lets_no_webhook_be_saved(house: House) -> None:
    """Mail hears 401 and does not save it, so that nobody believes it to be in place."""
    zoho = house.simulator
    (hook,) = zoho.mail.hooks
    with pytest.raises(ValueError, match="answered 401"):
        zoho.mail.change_url(hook.id, hook.url)
    zoho.mail.receive()
    assert len(house.happened()) == 1


def test_probes_have_no_effect(house: House) -> None:
    """Sign's button, Payments' ping and the HEAD of SalesIQ and Cliq were all answered 200, and nothing came of them."""
    zoho = house.simulator
    zoho.sign.test_url(zoho.sign.hooks[0].id)
    assert house.happened() == []
    assert read.totals(house.redis)["accepted"] == 0
    assert read.totals(house.redis)["quarantined"] == 0


def test_every_sample_can_be_sent_to_a_running_receiver(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`zohook send` signs with the secret that Mail told, and lets the simulator sign what only Zoho's own key can."""
    monkeypatch.setattr(send, "WAIT", 0.0)
    cases = [
        f"{name}/{case}"
        for name, source in house.settings.sources.items()
        for case in samples.cases(source.product)
    ]
    for case in cases:
        assert send.run(house.settings, Wish(case, to=house.url)) == 0, case
    assert len(house.happened()) == len(cases)


def test_a_zobots_call_is_kept_apart(house: House) -> None:
    """It is out of scope, for its visitor waits for the answer; that it came is seen."""
    house.simulator.salesiq.zobot()
    assert [event.type for event in house.happened()] == ["salesiq.zobot.message"]
