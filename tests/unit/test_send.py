"""What `zohook send` sends: made new, changed as asked, byte for byte where nothing is asked, and signed so that the source takes it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from receiver.cli import parcel, project, send
from receiver.cli.send import Wish
from receiver.errors import SettingsError, Unauthenticated
from receiver.intake.judge import judge
from receiver.intake.keyring import Keyring, Lock
from receiver.sources import PRODUCTS, samples
from receiver.sources.fresh import values
from receiver.sources.source import Keys
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

    from receiver.settings import Settings
    from tests.conftest import MakeSettings

TOML = """
[connections.acme]
dc = "eu"
desk = "700123"
[sources]
crm = "crm_channel"
rules = { product = "crm_workflow", id = "/record_id", time = "/modified_time", events = ["Deals.won"] }
books = { product = "books", events = ["salesorder.made", "invoice.paid"] }
desk = "desk"
mail = "mail"
"""
SECRETS = {"rules": "a-static-secret-of-ours", "books": "throwawaybookskey01,theoldbookskey99"}


@pytest.fixture
def known(settings: MakeSettings) -> Settings:
    """Settings with five sources."""
    return settings(TOML, secrets=SECRETS)


@pytest.fixture
def locks(known: Settings) -> dict[str, Lock]:
    """Their locks."""
    return Keyring(known, Vault.open_or_make(known)).locks


def packed(locks: dict[str, Lock], what: str, **wish: Any) -> Any:
    """The delivery of a wish, before it is signed."""
    name, _, case = what.partition("/")
    return parcel.packed(locks[name], case, Wish(what, **wish), "zohook-send test")


@pytest.mark.parametrize(
    ("what", "types"),
    [
        ("crm/update-live", ["crm.Leads.updated"]),
        ("crm/batch-two-ids", ["crm.Deals.created"] * 2),
        ("rules/deal-won", ["crm.Deals.won"]),
        ("books/invoice-minimal", ["books.invoice.paid"]),
        ("books/salesorder-wrapper", ["books.salesorder.made"]),
    ],
)
def test_a_case_is_taken_as_the_products_own(known, locks, what, types) -> None:
    """Signed with the newest secret, and with the event in the URL that fits the body."""
    delivery = parcel.signed(packed(locks, what), locks[what.partition("/")[0]], known)
    judged = judge(delivery, locks[what.partition("/")[0]])
    assert [event.type for event in judged.record.events] == types
    assert (judged.record.verdict, judged.verified.secret, judged.bad) == ("accepted", 0, 0)


def test_each_sending_is_another_fact(locks) -> None:
    """New ids and times, so that it is no duplicate; as captured it is the very bytes."""
    first, second = (packed(locks, "books/invoice-minimal") for _ in range(2))
    assert first.body != second.body
    kept = packed(locks, "books/invoice-minimal", as_captured=True)
    assert kept.body == samples.body("books", "invoice-minimal")


def test_the_sources_own_pointers_are_made_new_too(locks, known) -> None:
    """Where zohook.toml says where id and time stand, they are new there."""
    event = judge(
        parcel.signed(packed(locks, "rules/deal-won"), locks["rules"], known), locks["rules"]
    ).record.events[0]
    assert event.record_id not in {"", "5725767000000612001"}
    assert abs(event.occurred - event.received) < 5_000


@pytest.mark.parametrize(
    ("change", "place", "value"),
    [
        ("invoice.total=99.5", ("invoice", "total"), 99.5),
        ("/invoice/status=void", ("invoice", "status"), "void"),
        ('invoice.customer={"name": "Ada"}', ("invoice", "customer"), {"name": "Ada"}),
        ("invoice.lines.deep=1", ("invoice", "lines"), {"deep": 1}),
        ("/invoice/a~1b=x=y", ("invoice", "a/b"), "x=y"),
        ("invoice.status=", ("invoice", "status"), ""),
    ],
)
def test_set_changes_a_place(locks, change, place, value) -> None:
    """By a pointer or by dots; the value is JSON, or else text; what is not there is made."""
    document: Any = json.loads(packed(locks, "books/invoice-minimal", changes=(change,)).body)
    for part in place:
        document = document[part]
    assert document == value


def test_set_reaches_into_lists(locks) -> None:
    """An element by its number, and one more at the end."""
    delivery = packed(locks, "crm/insert", changes=("ids.0=7", "ids.1=8"))
    assert json.loads(delivery.body)["ids"] == [7, 8]


@pytest.mark.parametrize("change", ["ids.x=1", "ids.9=1", "ids.0.deep=1", "noequals", "=1"])
def test_set_says_what_is_wrong(locks, change) -> None:
    """A place that cannot be is named."""
    with pytest.raises(SettingsError, match="--set"):
        packed(locks, "crm/insert", changes=(change,))


def test_a_file_is_sent_byte_for_byte(locks, known, tmp_path: Path) -> None:
    """Whatever it holds, and signed as it is; a form's fields can be set."""
    file = tmp_path / "body"
    for body in (b'{"invoice":  {"invoice_id": 1}}', b"\xff\xfe\x00", b"", b'{"broken": '):
        file.write_bytes(body)
        delivery = parcel.signed(packed(locks, "books", file=file), locks["books"], known)
        assert delivery.body == body
        locks["books"].source.verify(delivery, locks["books"].way, locks["books"].keys)
    file.write_bytes(b"record_id=5&name=Ada+L")
    delivery = packed(locks, "rules", file=file, changes=("record_id=17",))
    assert parse_qs(delivery.body.decode()) == {"record_id": ["17"], "name": ["Ada L"]}
    assert (
        judge(parcel.signed(delivery, locks["rules"], known), locks["rules"]).record.events[0].record_id
        == "17"
    )
    file.write_bytes(b"\x00\x01")
    with pytest.raises(SettingsError, match="neither JSON nor a form"):
        packed(locks, "rules", file=file, headers=("Content-Type: text/plain",), changes=("a=1",))


def test_headers_and_event_can_be_chosen(locks) -> None:
    """A header of one's own wins over the sample's, and --event over the guess."""
    delivery = packed(locks, "books/invoice-minimal", headers=("X-Mine: a: b",), event="salesorder.made")
    assert delivery.header("x-mine") == "a: b"
    assert delivery.query == b"event=salesorder.made"
    for wrong in ("no colon", ": nothing", "X-A: b\r\nX-C: d"):
        with pytest.raises(SettingsError, match="--header"):
            packed(locks, "books/invoice-minimal", headers=(wrong,))


def test_what_only_zoho_can_sign_is_not_pretended(locks, known) -> None:
    """Desk's key is Zoho's: the message says so, and names the simulator."""
    with pytest.raises(SettingsError, match="simulator"):
        parcel.signed(packed(locks, "desk/ticket-update-excerpt"), locks["desk"], known)


def test_a_secret_that_was_not_told_signs_nothing(locks, known) -> None:
    """The message says how it is had."""
    with pytest.raises(SettingsError, match=r"told mail no secret yet.*zohook source arm mail"):
        parcel.signed(packed(locks, "mail/new-mail"), locks["mail"], known)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("boks/invoice-minimal", "did you mean 'books'"),
        ("books/invoice", "did you mean 'invoice-minimal'"),
        ("books", "which case"),
    ],
)
def test_a_wrong_name_is_told(known, what, words) -> None:
    """A source or a case that is not there is told with what there is."""
    with pytest.raises(SettingsError, match=words):
        send.run(known, Wish(what, to="http://127.0.0.1:9"))


def test_case_and_file_exclude_each_other(known, tmp_path: Path) -> None:
    """Which of both would be meant?"""
    with pytest.raises(SettingsError, match="either a case or --file"):
        send.run(known, Wish("books/invoice-minimal", file=tmp_path / "x"))
    with pytest.raises(SettingsError, match="cannot be read"):
        send.run(known, Wish("books", file=tmp_path / "x"))


def test_the_list_names_every_case(known, capsys) -> None:
    """Each line can be sent as it stands."""
    assert send.listing(known) == 0
    lines = capsys.readouterr().out.split()
    assert lines == [
        f"{name}/{case}" for name, source in known.sources.items() for case in samples.cases(source.product)
    ]
    assert all(source.product in PRODUCTS for source in known.sources.values())


def test_a_key_of_ones_own_signs_where_public_keys_prove(settings, tmp_path: Path) -> None:
    """For SalesIQ and Cliq, whose private keys only Zoho has; anything else is told as what it is."""
    private, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    shown = base64.b64encode(
        private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()
    known = settings(
        f'[sources]\nchat = {{ product = "cliq", public_keys = ["{shown}"] }}\ncrm = "crm_channel"\n'
    )
    locks = Keyring(known, Vault.open_or_make(known)).locks
    file = tmp_path / "key.pem"
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    delivery = packed(locks, "chat/bot-message")
    signed = parcel.signed(delivery, locks["chat"], known, file)
    assert locks["chat"].source.verify(signed, locks["chat"].way, locks["chat"].keys).by == "rsa"
    file.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    wrong = parcel.signed(delivery, locks["chat"], known, file)
    with pytest.raises(Unauthenticated):
        locks["chat"].source.verify(wrong, locks["chat"].way, locks["chat"].keys)
    with pytest.raises(SettingsError, match="--key"):
        parcel.signed(delivery, locks["chat"], known)
    with pytest.raises(SettingsError, match="of no use"):
        parcel.signed(packed(locks, "crm/insert"), locks["crm"], known, file)
    file.write_text("no key")
    with pytest.raises(SettingsError, match="is no private key"):
        parcel.signed(delivery, locks["chat"], known, file)
    ed = ed25519.Ed25519PrivateKey.generate()
    file.write_bytes(ed.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(SettingsError, match="is no RSA key"):
        parcel.signed(delivery, locks["chat"], known, file)


TOKEN = "the-secret-that-mail-told"
NOT_EVENTS = {
    "billing/signing-example",
    "sign/test-url",
    "salesiq/zobot-failure",
    "salesiq/zobot-message",
    "salesiq/zobot-trigger",
}
"""An example of a signature, a probe, and what waits for an answer that a queue does not have."""


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_is_sent_of_every_product_is_taken(product: str, settings: MakeSettings, tmp_path: Path) -> None:
    """Each of its cases, made new and signed, becomes events, and twice it becomes two facts where its guide knows its ids."""
    source = PRODUCTS[product]
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    table: dict[str, Any] = {"product": product, **dict(source.guide.defaults)}
    table |= {"events": ["Thing.happened"]} if source.guide.by_event else {}
    if source.needs == "public":
        shown = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        table["public_keys"] = [base64.b64encode(shown).decode()]
        (tmp_path / "key.pem").write_bytes(
            private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
    toml = project.with_source('[connections.acme]\ndc = "eu"\ndesk = "700123"\n', "mine", table)
    known = settings(toml, secrets={"mine": "a-secret-of-the-source"} if source.needs == "secret" else {})
    locks = Keyring(known, Vault.open_or_make(known)).locks
    lock = locks["mine"]
    if source.needs == "told":
        lock.keys = Keys((TOKEN,))
    for case in samples.cases(product):
        if f"{product}/{case}" in NOT_EVENTS:
            continue
        facts = []
        for _ in range(2):
            delivery = packed(locks, f"mine/{case}")
            if source.needs == "jwks":  # only the simulator could sign it
                assert not source.handshake(source.sign(delivery, lock.way, "a.b.c"), lock.way)
                continue
            delivery = parcel.signed(
                delivery, lock, known, tmp_path / "key.pem" if source.needs == "public" else None
            )
            assert not source.handshake(delivery, lock.way)
            judged = judge(delivery, lock)
            assert (judged.record.verdict, judged.record.reason) == ("accepted", ""), case
            facts.append({event.dedupe_key() for event in judged.record.events})
        known_ids = any(list(values(json.loads(samples.body(product, case)), at)) for at in source.guide.ids)
        assert not (facts and known_ids and facts[0] & facts[1]), case
