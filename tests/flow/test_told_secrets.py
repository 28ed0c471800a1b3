"""The secret that Zoho Mail tells at its first request: taken once, while an operator has armed the source, and never otherwise."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography.fernet import Fernet

from receiver import keys
from receiver.app import build
from receiver.intake import keyring, told
from receiver.ledger import read
from tests.flow.test_door import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from tests.conftest import MakeSettings

ONE, TWO, THREE = (f"told-by-mail-number-{number}" for number in ("one", "two", "three"))
TOML = '[sources]\nmail = "mail"\nother = "mail"\n'


def message(number: int = 1) -> bytes:
    """A mail, as Mail tells it."""
    return json.dumps({"zuid": 1, "messageIdString": str(number), "subject": "Hello"}).encode()


def signed(body: bytes, secret: str, **headers: str) -> dict[str, Any]:
    """The arguments of a post of this body, signed with that secret."""
    digest = base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()
    return {"content": body, "headers": {"X-Hook-Signature": digest, **headers}}


def everything(redis: Redis) -> Iterator[str]:
    """All that Redis holds, as text."""
    for key in redis.scan_iter("*"):
        kind = redis.type(key)
        read_it = {
            b"string": redis.get,
            b"hash": redis.hgetall,
            b"set": redis.smembers,
            b"list": lambda name: redis.lrange(name, 0, -1),
            b"zset": lambda name: redis.zrange(name, 0, -1),
        }[kind]
        yield f"{key} {read_it(key)}"


@pytest.fixture
def known(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> Any:
    """Settings with two sources of Mail and no secret."""
    redis.config_set("appendonly", "yes")
    return settings(TOML, redis={"url": redis_server.url})


@pytest.fixture
def mail(known: Any) -> Iterator[httpx.Client]:
    """A client of a web process."""
    with served(build(known)) as url, httpx.Client(base_url=f"{url}/in/", timeout=10) as client:
        yield client


def tell(client: httpx.Client, secret: str, source: str = "mail") -> httpx.Response:
    """The first request of a webhook."""
    return client.post(source, headers={"X-Hook-Secret": secret})


def test_arming_lasts_ten_minutes_and_ends_by_forgetting(redis: Redis) -> None:
    """Each source by itself; what was told can be dropped."""
    assert told.armed_for(redis, "mail") == 0
    told.arm(redis, "mail")
    assert 598 <= told.armed_for(redis, "mail") <= 600
    assert told.armed_for(redis, "other") == 0
    told.forget(redis, "mail")
    assert told.armed_for(redis, "mail") == 0


def test_an_unarmed_source_takes_no_secret(mail: httpx.Client, redis: Redis) -> None:
    """401 with the cure, nothing is stored, and what that secret signs is refused."""
    answer = tell(mail, ONE)
    assert answer.status_code == 401
    assert "zohook source arm mail" in answer.json()["message"]
    assert ONE not in answer.text
    assert mail.post("mail", **signed(message(), ONE)).status_code == 401
    assert redis.exists(keys.source_secret("mail")) == 0


def test_an_armed_source_takes_one_secret(mail: httpx.Client, redis: Redis) -> None:
    """It is answered 200, kept sealed, and proves deliveries from then on; the next one that comes is not taken."""
    told.arm(redis, "mail")
    assert tell(mail, ONE).json() == {"verdict": "handshake"}
    assert told.armed_for(redis, "mail") == 0
    assert tell(mail, TWO).status_code == 401
    kept = redis.lrange(keys.source_secret("mail"), 0, -1)
    assert len(kept) == 1
    assert ONE.encode() not in kept[0]
    answer = mail.post("mail", **signed(message(), ONE))
    assert answer.json()["verdict"] == "accepted"
    row = read.event(redis, answer.json()["events"][0])
    assert (row.event.type, row.event.verified_by) == ("mail.message.received", "hmac")
    assert mail.post("mail", **signed(message(2), TWO)).status_code == 401
    assert read.totals(redis)["accepted"] == 1


def test_another_source_is_not_armed_by_it(mail: httpx.Client, redis: Redis) -> None:
    """Neither takes the other's secret."""
    told.arm(redis, "other")
    assert tell(mail, ONE).status_code == 401
    assert tell(mail, ONE, "other").status_code == 200
    assert mail.post("mail", **signed(message(), ONE)).status_code == 401


def test_a_secret_that_is_known_is_no_news(mail: httpx.Client, redis: Redis) -> None:
    """Mail may ask again: it is answered, changes nothing, and does not use up the arming."""
    told.arm(redis, "mail")
    tell(mail, ONE)
    assert tell(mail, ONE).json() == {"verdict": "handshake"}
    told.arm(redis, "mail")
    assert tell(mail, ONE).json() == {"verdict": "handshake"}
    assert told.armed_for(redis, "mail") > 0
    assert redis.llen(keys.source_secret("mail")) == 1


def test_the_two_newest_secrets_are_valid(mail: httpx.Client, redis: Redis) -> None:
    """A changed URL brings a new secret; what is on its way is signed with the old one, and the answer says which it was."""
    for secret in (ONE, TWO, THREE):
        told.arm(redis, "mail")
        assert tell(mail, secret).status_code == 200
    answers = [
        mail.post("mail", **signed(message(number), secret))
        for number, secret in enumerate((THREE, TWO, ONE))
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 401]
    assert [answer.json().get("secret_number", 1) for answer in answers[:2]] == [1, 2]


def test_the_first_request_may_bring_a_mail(mail: httpx.Client, redis: Redis) -> None:
    """Signed with the secret beside it the mail is taken; unsigned it has no effect; signed with another, nothing of it is taken."""
    told.arm(redis, "mail")
    bad = mail.post("mail", **signed(message(), TWO, **{"X-Hook-Secret": ONE}))
    assert bad.status_code == 401
    assert told.armed_for(redis, "mail") > 0
    good = mail.post("mail", **signed(message(), ONE, **{"X-Hook-Secret": ONE}))
    assert good.json()["verdict"] == "accepted"
    told.arm(redis, "mail")
    unsigned = mail.post("mail", content=message(2), headers={"X-Hook-Secret": TWO})
    assert unsigned.json() == {"verdict": "handshake"}
    assert read.totals(redis)["accepted"] == 1


def test_a_known_secret_beside_a_foreign_one_keeps_what_we_have(mail: httpx.Client, redis: Redis) -> None:
    """A mail that is proven is taken while we are not armed, and the secret that comes along is not."""
    told.arm(redis, "mail")
    tell(mail, ONE)
    answer = mail.post("mail", **signed(message(), ONE, **{"X-Hook-Secret": TWO}))
    assert answer.json()["verdict"] == "accepted"
    assert mail.post("mail", **signed(message(2), TWO)).status_code == 401


def test_another_process_learns_it(known: Any, mail: httpx.Client, redis: Redis) -> None:
    """The secret that one web process was told proves deliveries at the others, those that run and those that start."""
    with served(build(known)) as url, httpx.Client(base_url=f"{url}/in/", timeout=10) as second:
        assert second.post("mail", **signed(message(), ONE)).status_code == 401
        told.arm(redis, "mail")
        tell(mail, ONE)
        limit = time.monotonic() + 20
        while (answer := second.post("mail", **signed(message(), ONE))).status_code == 401:
            assert time.monotonic() < limit
            time.sleep(0.1)
        assert answer.json()["verdict"] == "accepted"
        told.arm(redis, "mail")
        assert tell(second, TWO).status_code == 200
        assert tell(mail, TWO).json() == {"verdict": "handshake"}
    with served(build(known)) as url:
        assert httpx.post(f"{url}/in/mail", **signed(message(2), TWO)).status_code == 200


def test_a_forgotten_secret_is_refused_by_those_that_run(
    known: Any, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever told a secret before Zoho did is shut out without a restart."""
    monkeypatch.setattr(keyring, "LOOK_EVERY", 0.2)
    with served(build(known)) as url, httpx.Client(base_url=f"{url}/in/", timeout=10) as client:
        told.arm(redis, "mail")
        assert tell(client, ONE).status_code == 200
        assert client.post("mail", **signed(message(), ONE)).status_code == 200
        told.forget(redis, "mail")
        limit = time.monotonic() + 20
        while client.post("mail", **signed(message(2), ONE)).status_code == 200:
            assert time.monotonic() < limit
            time.sleep(0.2)


def test_a_vault_that_does_not_open_keeps_what_comes(
    settings: MakeSettings, known: Any, mail: httpx.Client, redis: Redis
) -> None:
    """With another ZOHOOK_KEY the secret cannot be read: deliveries are kept unverified and answered 200, and the handshake fails."""
    told.arm(redis, "mail")
    tell(mail, ONE)
    other = settings(TOML, redis={"url": known.redis.url}, key=Fernet.generate_key().decode())
    place, aside = keys.source_secret("mail"), "zh:aside"
    redis.rename(
        place, aside
    )  # it starts while it cannot see what another key has sealed, as when Redis is away
    redis.delete(keys.probe())
    web = build(other)
    redis.rename(aside, place)
    with served(web) as url, httpx.Client(base_url=f"{url}/in/", timeout=10) as strange:
        answer = strange.post("mail", **signed(message(), ONE))
        assert (answer.status_code, answer.json()["verdict"]) == (200, "unverified")
        told.arm(redis, "mail")
        assert tell(strange, TWO).status_code == 503
    (row,) = read.deliveries(redis, "unverified")
    assert read.delivery(redis, row.id).body == message()


def test_without_redis_a_mail_is_kept_and_a_secret_is_not(
    settings: MakeSettings, tmp_path_factory: Any
) -> None:
    """A known secret verifies without Redis; one that is not at hand makes the mail unverified; a handshake is refused for now."""
    from receiver.ledger.embedded import Embedded

    with Embedded(tmp_path_factory.mktemp("own"), share=False) as own:
        known = settings(TOML, redis={"url": own.url})
        with served(build(known)) as url, httpx.Client(base_url=f"{url}/in/", timeout=10) as client:
            told.arm(own.client(), "mail")
            assert tell(client, ONE).status_code == 200
            own.kill()
            assert client.post("mail", **signed(message(), ONE)).json()["verdict"] == "spooled"
            time.sleep(1.1)
            strange = client.post("mail", **signed(message(2), TWO))
            assert (strange.status_code, strange.json()["verdict"]) == (200, "unverified")
            assert tell(client, THREE).status_code == 503


def test_a_configured_secret_is_taken_too(
    settings: MakeSettings, redis_server: Embedded, redis: Redis
) -> None:
    """Whoever knows it may give it as ZOHOOK_SECRET_MAIL; what is told later comes before it."""
    redis.config_set("appendonly", "yes")
    known = settings(TOML, secrets={"mail": ONE}, redis={"url": redis_server.url})
    with served(build(known)) as url, httpx.Client(base_url=f"{url}/in/", timeout=10) as client:
        assert client.post("mail", **signed(message(), ONE)).status_code == 200
        told.arm(redis, "mail")
        assert tell(client, TWO).status_code == 200
        assert client.post("mail", **signed(message(2), ONE)).json()["secret_number"] == 2


def test_the_secret_is_nowhere_in_clear(mail: httpx.Client, redis: Redis, capfd: Any) -> None:
    """Neither in Redis, whatever became of the request, nor in the log."""
    tell(mail, TWO)
    told.arm(redis, "mail")
    tell(mail, ONE)
    mail.post("mail", **signed(message(), ONE, **{"X-Hook-Secret": ONE}))
    time.sleep(0.3)
    kept = "".join(everything(redis))
    assert "message.received" in kept
    assert ONE not in kept
    assert TWO not in kept
    said = "".join(capfd.readouterr())
    assert ONE not in said
    assert TWO not in said
