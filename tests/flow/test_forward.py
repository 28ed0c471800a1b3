"""Deliveries relayed to an old receiver: as they came, beside our own work, until they are taken or given up."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from receiver import keys
from receiver.app import build
from receiver.event import Delivery
from receiver.intake.judge import judge
from receiver.intake.keyring import Keyring
from receiver.intake.packing import pack_record, unpack_record
from receiver.intake.reverify import Reverifier, Wanted, choose
from receiver.intake.seals import Seals
from receiver.ledger import forwards, read
from receiver.ledger.accept import Record, accept
from receiver.upkeep import forward
from receiver.upkeep.forward import Forwarder
from receiver.upkeep.relay import Answer, Relay
from receiver.zoho.vault import Vault
from tests.flow.old_receiver import Old, old_receiver
from tests.flow.test_door import books_signature, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from redis import Redis

    from receiver.ledger.embedded import Embedded
    from receiver.settings import Settings
    from tests.conftest import MakeSettings

KEY = Fernet.generate_key().decode()
SECRET, BOOKS = "a-static-secret-of-ours", "throwawaybookskey01"
TOML = """
[sources]
rules = {{ product = "crm_workflow", id = "/id", events = ["Deals.won"], secret_parameter = "key", forward = "{url}", forward_allow = "127.0.0.1" }}
books = {{ product = "books", events = ["invoice.paid"], forward = "{url}?from=zohook", forward_allow = ["127.0.0.0/8"], forward_for = "{long}" }}
plain = {{ product = "crm_workflow", events = ["Deals.won"] }}
"""  # fmt: skip
Make = Any


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries come soon."""
    monkeypatch.setattr(forward, "TICK", 0.02)
    monkeypatch.setattr(forward, "FIRST", 0.1)
    monkeypatch.setattr(forward, "LONGEST", 0.2)


@pytest.fixture
def known(settings: MakeSettings, redis_server: Embedded, redis: Redis) -> Callable[..., Settings]:
    """Makes settings that forward to this address."""
    redis.config_set("appendonly", "yes")

    def make(url: str, *, secret: str = SECRET, long: str = "1d", key: str = KEY) -> Settings:
        return settings(
            TOML.format(url=url, long=long),
            secrets={"rules": secret, "books": BOOKS, "plain": SECRET},
            redis={"url": redis_server.url},
            key=key,
        )

    return make


@contextmanager
def forwarding(redis: Redis, settings: Settings) -> Iterator[Forwarder]:
    """A running forwarder."""
    forwarder = Forwarder(redis, settings)
    forwarder.start()
    try:
        yield forwarder
    finally:
        forwarder.stop()


def deliver(
    redis: Redis, settings: Settings, source: str = "rules", body: bytes = b'{"id": "7"}', **also: Any
) -> str:
    """Take a delivery in as the door does; its id."""
    headers = {"x-webhook-token": SECRET, **also.pop("headers", {})}
    if source == "books":
        headers = books_signature(body)
        also["query"] = b"event=invoice.paid"
    vault = Vault.open_or_make(settings)
    lock = Keyring(settings, vault).locks[source]
    delivery = Delivery.arrive(source, body, headers=headers, **also)
    accept(redis, [Seals(vault, settings.all_secrets()).close(judge(delivery, lock).record, lock)])
    return delivery.id


def sent(url: str, allow: Any, delivery: Delivery, **more: Any) -> Answer:
    """What an old receiver says to one delivery."""
    with closing(Relay(url, allow, connections=1, **more)) as one:
        return one.send(delivery)


def until(true: Callable[[], Any], seconds: float = 30) -> Any:
    """What it gives once that is true."""
    limit = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < limit, "not in time"
        time.sleep(0.02)
    return found


def test_each_verified_delivery_is_relayed_as_it_came(known: Make, redis: Redis) -> None:
    """Method, query, bytes and headers, the secret among them; what is of the connection stays behind, what is refused too."""
    with old_receiver() as old:
        settings = known(old.url)
        with served(build(settings)) as url, httpx.Client(base_url=url) as client:
            raw = b'{"invoice": {"invoice_id": 987,  "note": "\xc3\xa9"}}'
            sent = {
                **books_signature(raw),
                "X-Twice": "a",
                "Connection": "keep-alive, X-Hop",
                "X-Hop": "1",
                "TE": "trailers",
            }
            for _ in range(2):  # the second is a duplicate
                assert (
                    client.post("/in/books?event=invoice.paid", content=raw, headers=sent).status_code == 200
                )
            broken = client.post("/in/books?event=invoice.paid", content=b"{", headers=books_signature(b"{"))
            assert broken.json()["verdict"] == "quarantined"
            assert client.get("/in/books").json()["verdict"] == "handshake"
            assert client.post("/in/books?event=invoice.paid", content=raw).status_code == 401
            answer = client.put("/in/rules?key=" + SECRET + "&a=%20b+c", content=b"id=5", headers={"content-type": "application/x-www-form-urlencoded"})  # fmt: skip
            assert answer.json()["verdict"] == "accepted"
            plain = client.post("/in/plain", json={"id": "1"}, headers={"X-Webhook-Token": SECRET})
            assert plain.json()["verdict"] == "accepted"
        with forwarding(redis, settings):
            old.wait(4)
            until(lambda: not redis.zcard(keys.forwards("books")) and not redis.zcard(keys.forwards("rules")))
            time.sleep(0.1)
        assert len(old.got) == 4
        put = next(each for each in old.got if each.method == "PUT")
        assert put.target == f"/hook?key={SECRET}&a=%20b+c"
        assert put.body == b"id=5"
        posts = [each for each in old.got if each.method == "POST"]
        assert {each.target for each in posts} == {"/hook?from=zohook&event=invoice.paid"}
        assert sorted(each.body for each in posts) == sorted([raw, raw, b"{"])
        first = next(each for each in posts if each.body == raw)
        assert first.header("x-zoho-webhook-signature") == sent["X-Zoho-Webhook-Signature"]
        assert first.header("x-twice") == "a"
        assert first.header("host") == f"127.0.0.1:{old.port}"
        assert first.header("via") == "1.1 zohook"
        assert {name.lower() for name, _ in first.headers} & {"x-hop", "te", "connection"} == set()
        with served(build(settings)) as url:
            told = httpx.get(f"{url}/metrics").text
        assert 'zohook_forwards_total{outcome="done",source="books"} 3.0' in told
        assert 'zohook_forwards_waiting{source="books"} 0.0' in told
        row = forwards.rows(redis, ["books", "plain"])
        assert (row["books"].waiting, dict(row["books"].counts)["done"]) == (0, 3)
        assert (row["plain"].waiting, dict(row["plain"].counts)["done"]) == (0, 0)
    assert not redis.exists(keys.forwards("plain"))
    for event in read.page(redis).rows:
        kept = read.delivery(redis, event.event.delivery)
        assert kept.sealed == ""
        assert kept.forward.get("outcome") == (None if event.event.source == "plain" else "done")
    assert SECRET.encode() not in repr([redis.get(key) for key in redis.keys(keys.delivery("*"))]).encode()


def test_until_it_is_relayed_the_secret_is_kept_encrypted(known: Make, redis: Redis) -> None:
    """Nobody who reads Redis can use it, and the old receiver gets it in the end."""
    with old_receiver() as old:
        settings = known(old.url)
        kept = deliver(redis, settings)
        assert SECRET.encode() not in redis.get(keys.delivery(kept))
        assert SECRET.encode() not in repr(redis.hgetall(keys.verdict(kept))).encode()
        assert read.delivery(redis, kept).sealed
        with forwarding(redis, settings):
            assert old.wait(1)[0].header("x-webhook-token") == SECRET
            until(lambda: not read.delivery(redis, kept).sealed)


def test_what_fails_is_tried_again_with_longer_and_longer_pauses(known: Make, redis: Redis) -> None:
    """Whatever it answered but 2xx; each try is told with the delivery, and counted."""
    with old_receiver(lambda _, number: [500, 404, 302, 204][number]) as old:
        settings = known(old.url)
        kept = deliver(redis, settings, "books")
        with forwarding(redis, settings):
            old.wait(1)
            failing = until(lambda: read.delivery(redis, kept).forward)
            assert failing["outcome"] in {"again", "done"}
            until(lambda: not redis.zcard(keys.forwards("books")))
        told = read.delivery(redis, kept).forward
        assert (told["outcome"], told["tries"], told["status"], told["error"]) == ("done", 4, 204, "")
        assert told["first"] <= told["last"]
        assert dict(forwards.rows(redis, ["books"])["books"].counts)["retried"] == 3
        assert {each.body for each in old.got} == {b'{"id": "7"}'}


def test_what_is_never_taken_is_given_up_and_can_be_relayed_again(known: Make, redis: Redis) -> None:
    """After its time it is counted as failed, with the last error; an operator's word brings it back."""
    answers = {"status": 503}
    with old_receiver(lambda *_: answers["status"]) as old:
        settings = known(old.url, long="0.3s")
        kept = deliver(redis, settings, "books")
        with forwarding(redis, settings):
            until(lambda: forwards.rows(redis, ["books"])["books"].failed == 1)
            told = read.delivery(redis, kept).forward
            assert (told["outcome"], told["error"]) == ("failed", "it answered 503")
            assert told["tries"] > 1
            assert not redis.zcard(keys.forwards("books"))
            answers["status"] = 200
            assert forwards.again(redis, "books") == 1
            assert forwards.again(redis, "books") == 0
            until(lambda: read.delivery(redis, kept).forward.get("outcome") == "done")
        row = forwards.rows(redis, ["books"])["books"]
        assert (row.failed, dict(row.counts)["failed"], dict(row.counts)["done"]) == (0, 1, 1)


def test_a_process_that_died_holds_nothing_for_ever(
    known: Make, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had taken comes again when its lease is over; meanwhile nobody else takes it."""
    with old_receiver() as old:
        settings = known(old.url)
        deliver(redis, settings)
        (taken,) = forwards.take(redis, "rules", 10, 60)
        assert taken.known == {}
        assert forwards.take(redis, "rules", 10, 60) == []
        with forwarding(redis, settings):
            time.sleep(0.2)
            assert old.got == []
            redis.zadd(keys.forwards("rules"), {taken.row.id: 0})  # its lease is over
            old.wait(1)


def test_a_delivery_that_is_gone_is_counted_and_forgotten(known: Make, redis: Redis) -> None:
    """Retention may have been here before."""
    kept = deliver(redis, known("http://127.0.0.1:9/hook"))
    redis.delete(keys.delivery(kept))
    assert forwards.take(redis, "rules", 10, 1) == []
    row = forwards.rows(redis, ["rules"])["rules"]
    assert (row.waiting, dict(row.counts)["lost"]) == (0, 1)


def test_a_receiver_that_hangs_holds_up_nobody_else(known: Make, redis: Redis) -> None:
    """Another source's lane goes on, and what hung is taken when it hangs no more."""
    stop = threading.Event()

    def hang(handler: Any, _number: int) -> int | None:
        if "from=zohook" in handler.path:
            stop.wait(60)
        return 200

    with old_receiver(hang) as old:
        settings = known(old.url)
        for number in range(8):
            deliver(redis, settings, "books", b'{"invoice": {"invoice_id": %d}}' % number)
        with forwarding(redis, settings):
            old.wait(8)
            deliver(redis, settings, "rules")
            until(lambda: not redis.zcard(keys.forwards("rules")), 20)
            assert redis.zcard(keys.forwards("books")) == 8
            stop.set()
            until(lambda: not redis.zcard(keys.forwards("books")))


def test_what_the_other_side_does_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dripping, flooding, hanging up, talking nonsense, not being there: each ends in time and is told."""

    def drip(handler: Any, _: int) -> None:
        for _ in range(50):
            handler.wfile.write(b"H")
            handler.wfile.flush()
            time.sleep(0.1)

    def flood(handler: Any, _: int) -> None:
        handler.send_response(200)
        handler.send_header("content-length", str(2**40))
        handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b"x" * 65_536)

    def cut(handler: Any, _: int) -> None:
        handler.close_connection = True

    def nonsense(handler: Any, _: int) -> None:
        handler.wfile.write(b"nonsense\r\n\r\n")
        handler.close_connection = True

    delivery = Delivery.arrive("rules", b"{}", query=b"a=\xff \x01")
    for act, ok, words in (
        (drip, False, "within 0.5 s"),
        (flood, True, ""),
        (cut, False, ""),
        (nonsense, False, ""),
    ):
        with old_receiver(act) as old:
            began = time.monotonic()
            answer = sent(old.url, ["127.0.0.1"], delivery, deadline=0.5)
            assert time.monotonic() - began < 4
            assert answer.ok is ok, answer
            assert words in answer.error
            assert ok or answer.error
            assert old.got[0].target == "/hook?a=%FF%20%01"
    answer = sent("http://127.0.0.1:9/hook", ["127.0.0.1"], delivery)
    assert (answer.status, "refused" in answer.error) == (0, True)


def test_no_redirect_is_followed() -> None:
    """It might lead inside; the message says what to do."""

    def away(handler: Any, _: int) -> None:
        handler.send_response(307)
        handler.send_header("location", other.url)
        handler.send_header("content-length", "0")
        handler.end_headers()

    with old_receiver() as other, old_receiver(away) as old:
        answer = sent(old.url, ["127.0.0.1"], Delivery.arrive("rules", b"{}"))
        assert (answer.status, other.got) == (307, [])
        assert "enter the address that it leads to" in answer.error


@pytest.mark.parametrize("allow", [(), ("10.0.0.0/8", "other.example")])
def test_a_name_that_leads_inside_is_not_followed(allow: tuple[str, ...]) -> None:
    """It is looked at after it was resolved, and no connection is made."""
    with old_receiver() as old:
        url = f"https://localhost:{old.port}/hook"
        answer = sent(url, allow, Delivery.arrive("rules", b"{}"))
        assert answer.status == 0
        assert "no public address" in answer.error
        assert "forward_allow" in answer.error
        assert old.got == []
        assert sent(f"http://localhost:{old.port}/hook", ["localhost"], Delivery.arrive("rules", b"{}")).ok


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ssl.SSLContext]:
    """An authority that this process trusts: makes what a server of that name shows."""
    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ours")]),
    )

    def signed(subject: x509.Name, public: Any, extension: x509.ExtensionType) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            name, subject, public, x509.random_serial_number(), now - timedelta(1), now + timedelta(1)
        )
        return builder.add_extension(extension, critical=True).sign(key, hashes.SHA256())

    root = signed(name, key.public_key(), x509.BasicConstraints(ca=True, path_length=None))
    (tmp_path / "ca.pem").write_bytes(root.public_bytes(Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    def serving(host: str) -> ssl.SSLContext:
        own = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        shown = signed(subject, own.public_key(), x509.SubjectAlternativeName([x509.DNSName(host)]))
        file = tmp_path / f"{host}.pem"
        file.write_bytes(
            own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + shown.public_bytes(Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    return serving


def test_the_address_that_was_looked_at_is_the_one_that_is_called(
    authority: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that changes its mind leads nowhere else: the name is asked once, and TLS and Host still speak of the name."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        if host != "old.test":
            return real(host, port, *rest, **more)
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with old_receiver(tls=authority("old.test")) as old:
        send = Relay(f"https://old.test:{old.port}/hook", ["127.0.0.1"], connections=1)
        assert send.send(Delivery.arrive("rules", b"{}")).ok
        assert old.got[0].header("host") == f"old.test:{old.port}"
        assert asked == ["old.test"]
        send.close()  # its connection; the next one asks for the name again
        answer = send.send(Delivery.arrive("rules", b"{}"))
        assert "old.test is at 127.0.0.2, which is no public address" in answer.error
    asked.clear()
    with old_receiver(tls=authority("evil.test")) as old:
        answer = sent(f"https://old.test:{old.port}/hook", ["127.0.0.1"], Delivery.arrive("rules", b"{}"))
        assert (answer.status, old.got) == (0, [])
        assert "certificate" in answer.error.lower()


def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those that may be: one that takes no connection is passed over, and one inside is never called."""
    with old_receiver() as old:
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, old.port))
            for each in ("127.0.0.9", "10.0.0.1", "127.0.0.1")
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: found)
        answer = sent(f"http://old.test:{old.port}/", ["127.0.0.0/8", "old.test"], Delivery.arrive("rules"))
        assert answer.ok

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert "cannot be resolved" in sent("https://old.test/", [], Delivery.arrive("rules")).error


def test_what_was_relayed_to_here_does_not_go_round(known: Make, redis: Redis) -> None:
    """Two Zohooks that point at each other stop after one turn."""
    with old_receiver() as old:
        settings = known(old.url)
        kept = deliver(redis, settings, headers={"via": "1.1 proxy, 1.1 zohook"})
        with forwarding(redis, settings):
            until(lambda: read.delivery(redis, kept).forward)
        told = read.delivery(redis, kept)
        assert (told.forward["outcome"], old.got) == ("off", [])
        assert "round" in told.forward["error"]
        assert not told.sealed


def test_a_lost_key_is_told(known: Make, redis: Redis) -> None:
    """What cannot be opened is given up at once, and stays for who finds the key."""
    with old_receiver() as old:
        kept = deliver(redis, known(old.url))
        with forwarding(redis, known(old.url, key=Fernet.generate_key().decode())):
            until(lambda: forwards.rows(redis, ["rules"])["rules"].failed == 1)
        assert "put back the key" in read.delivery(redis, kept).forward["error"]
        assert forwards.again(redis, "rules") == 1
        with forwarding(redis, known(old.url)):
            assert old.wait(1)[0].header("x-webhook-token") == SECRET


def test_what_is_verified_again_is_relayed_too(known: Make, redis: Redis) -> None:
    """The old receiver has not had it yet."""
    with old_receiver() as old:
        wrong, right = known(old.url, secret="the-secret-mistyped"), known(old.url)
        vault = Vault.open_or_make(wrong)
        delivery = Delivery.arrive("rules", b'{"id": "7"}', headers={"x-webhook-token": SECRET})
        lock = Keyring(wrong, vault).locks["rules"]
        accept(redis, [Seals(vault, wrong.all_secrets()).close(Record(delivery, "rejected", "why"), lock)])
        assert not redis.exists(keys.forwards("rules"))
        assert [each.word for each in Reverifier.of(redis, right).run(choose(redis, Wanted()))] == [
            "accepted"
        ]
        with forwarding(redis, right):
            assert old.wait(1)[0].header("x-webhook-token") == SECRET


def test_the_spool_knows_what_is_to_be_relayed() -> None:
    """Also a record that an older version put there."""
    for wanted in (True, False):
        record = Record(Delivery.arrive("rules", b"{}"), "accepted", forward=wanted)
        assert unpack_record(*pack_record(record)).forward is wanted


def test_a_receiver_that_is_away_is_not_hammered(known: Make, redis: Redis) -> None:
    """After a row of misses one delivery at a time finds out whether it is back, and then all follow."""
    answers = {"status": 503}
    with old_receiver(lambda *_: answers["status"]) as old:
        settings = known(old.url)
        for number in range(60):
            deliver(redis, settings, "books", b'{"invoice": {"invoice_id": %d}}' % number)
        with forwarding(redis, settings):
            old.wait(8)
            time.sleep(0.5)
            few = len(old.got)
            assert few < 45
            answers["status"] = 200
            until(lambda: not redis.zcard(keys.forwards("books")), 20)
        assert dict(forwards.rows(redis, ["books"])["books"].counts)["done"] == 60


def test_the_rest_of_redis_being_away_ends_no_lane(known: Make, redis: Redis, redis_server: Embedded) -> None:
    """A lane that could not ask goes on asking."""
    with old_receiver() as old:
        settings = known(old.url)
        with redis_server.client(socket_timeout=0.2) as own, forwarding(own, settings):
            redis.client_pause(600)
            time.sleep(0.7)
            deliver(redis, settings)
            old.wait(1)


def test_an_old_one_is_no_mock(known: Make) -> None:
    """What the tests call an old receiver is a server that answers whom it does not know, too."""
    with old_receiver() as old:
        assert isinstance(old, Old)
        assert httpx.post(old.url, content=b"x").text == "ok"
        assert old.got[0].body == b"x"
