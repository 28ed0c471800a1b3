"""Keys that rotate while everything runs: what is sealed stays readable, and nothing needs the old key in the end."""

from __future__ import annotations

import threading

import orjson
import pytest
from cryptography.fernet import Fernet
from typer.testing import CliRunner

from receiver import keys, logs, metrics
from receiver.cli import keys as commands
from receiver.cli.commands import app
from receiver.errors import SettingsError
from receiver.event import Delivery
from receiver.intake.drain import Drain
from receiver.intake.keyring import Keyring
from receiver.intake.seals import Seals
from receiver.intake.spool import Spool
from receiver.ledger import read
from receiver.ledger.accept import Record, accept
from receiver.ledger.connect import connect
from receiver.ledger.witness import Witness
from receiver.settings import Settings
from receiver.sources import signing
from receiver.zoho import probe, sealed
from receiver.zoho.clients import Clients
from receiver.zoho.vault import Vault

SECRET = "a-secret-that-came"


@pytest.fixture
def folder(tmp_path, redis_server, simulator, monkeypatch):
    """A project whose key is in its folder's file, with a connection to the simulator and a source of channels."""
    monkeypatch.delenv("ZOHOOK_KEY", raising=False)
    monkeypatch.setenv("ZOHOOK_SECRET_ACME", simulator.client_secret)
    (tmp_path / "zohook.toml").write_text(
        f'[redis]\nurl = "{redis_server.url}"\n[simulator]\nurl = "{simulator.base}"\n[sources]\ncrm = "crm_channel"\n'
        f'[connections.acme]\ndc = "simulator"\nclient = "server"\nclient_id = "{simulator.client_id}"\n'
    )
    return tmp_path


@pytest.fixture
def zohook(folder):
    """Runs one command in the project."""

    def run(*words):
        return CliRunner().invoke(app, [*words, "-C", str(folder)], catch_exceptions=False)

    return run


def filled(folder, redis, simulator, wire):
    """A connection's tokens and the proof of a refused delivery, sealed with the folder's key."""
    settings = Settings.load(folder)
    clients = Clients(redis, settings, Vault.open_or_make(settings), wire)
    seal = clients.tokens.vault.seal
    fields = {
        "access": seal("acme access", "1000.dead"),
        "refresh": seal("acme refresh", simulator.refresh_token),
    }
    clients.tokens.rows.install("acme", {}, 0, 0, {**fields, "life": "3600", "dc": "simulator"})
    refused = Delivery.arrive("crm", b"{}", headers={"x-webhook-token": SECRET})
    record = Seals(clients.tokens.vault, (SECRET,)).close(Record(refused, "rejected", "no"), None)
    accept(redis, [record])
    redis.lpush(keys.source_secret("mail"), seal("mail told", "a-secret-that-mail-told"))
    return clients, refused


def test_a_rotation_reseals_everything_and_old_processes_go_on(folder, redis, simulator, wire, zohook):
    """rotate, then drop: a process that knew the old key only reads and writes all the while, and no blob needs the old key."""
    clients, refused = filled(folder, redis, simulator, wire)
    old = clients.tokens.vault.keys[0]
    said = zohook("keys", "rotate")
    assert "4 secrets were sealed anew" in said.output, said.output
    assert old not in said.output
    fresh = Vault.open_or_make(Settings.load(folder))
    assert fresh.keys[1] == old
    assert sealed.needed(redis, fresh) == {fresh.keys[0]: 4}
    assert clients.for_job(
        "acme"
    ).crm.user()  # its vault had the old key only, and what it renews it seals with the new one
    assert sealed.needed(redis, fresh)[old] == 0
    assert (folder / ".zohook" / "key").stat().st_mode & 0o777 == 0o600
    listed = zohook("keys", "list").output
    assert listed.count("opens") == 1
    name = listed.splitlines()[-1].split()[0]
    assert "is dropped" in zohook("keys", "drop", name).output
    alone = Vault.open_or_make(Settings.load(folder))
    assert alone.keys == fresh.keys[:1]
    row = read.delivery(redis, refused.id)
    assert row is not None
    assert dict(Seals(alone, ()).whole(row).headers)["x-webhook-token"] == SECRET
    assert clients.for_job("acme").crm.user()
    assert (
        alone.open("mail told", redis.lindex(keys.source_secret("mail"), 0).decode())
        == "a-secret-that-mail-told"
    )


def test_nobody_fails_while_the_key_is_rotated(folder, redis, simulator, wire, zohook):
    """Calls, renewals and consents under way see no error through five rotations."""
    clients, _ = filled(folder, redis, simulator, wire)
    simulator.limits.access_per_window = 10_000
    stop, errors = threading.Event(), []

    def work():
        while not stop.is_set():
            try:
                clients.tokens._slot("acme").checked = float("-inf")
                clients.tokens._slot("acme").token = None
                clients.tokens.get("acme")
                clients.tokens.vault.open("x", clients.tokens.vault.seal("x", "y"))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is asserted
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for each in threads:
        each.start()
    for _ in range(5):
        zohook("keys", "rotate")
    stop.set()
    for each in threads:
        each.join()
    assert errors == []


def test_a_lost_key_has_a_clear_message(folder, redis, simulator, wire, zohook):
    """Without the key the list says how much is lost and what to do; nothing is changed by trying to rotate."""
    filled(folder, redis, simulator, wire)
    (folder / ".zohook" / "key").unlink()
    before = redis.hgetall(keys.token("acme"))
    for command in (("keys", "list"), ("keys", "rotate")):
        with pytest.raises(SettingsError, match="put back the key"):
            zohook(*command)
    assert redis.hgetall(keys.token("acme")) == before


def started(folder, redis):
    """The vault of a process that starts."""
    return probe.vault(Settings.load(folder), redis)


def test_a_process_starts_with_the_key_of_its_ledger_only(folder, redis):
    """The first one makes the key and leaves a probe; a lost key is not made anew, another one is refused, that one put back is good."""
    first = started(folder, redis)
    file = folder / ".zohook" / "key"
    assert started(folder, redis).keys == first.keys
    file.unlink()
    with pytest.raises(SettingsError, match=r"put back the key that sealed it .* `zohook keys anew`"):
        started(folder, redis)
    assert not file.exists()
    file.write_text(Fernet.generate_key().decode())
    with pytest.raises(SettingsError, match="does not open with this key"):
        started(folder, redis)
    file.write_text(f"{Fernet.generate_key().decode()},{first.keys[0]}")
    assert started(folder, redis).keys[1:] == first.keys


def test_a_ledger_that_is_older_than_its_probe_is_held_against_what_it_has_sealed(
    folder, redis, simulator, wire
):
    """An upgrade with a lost key is found out, too; one with the right key leaves the probe."""
    filled(folder, redis, simulator, wire)
    file = folder / ".zohook" / "key"
    right = file.read_text()
    file.write_text(Fernet.generate_key().decode())
    with pytest.raises(SettingsError, match="put back the key"):
        started(folder, redis)
    assert not redis.exists(keys.probe())
    file.write_text(right)
    started(folder, redis)
    assert redis.exists(keys.probe())


def test_a_rotation_keeps_the_probe_right(folder, redis, zohook):
    """Old and new keys start in between, and the new one alone when the old one is dropped."""
    old = started(folder, redis)
    zohook("keys", "rotate")
    assert started(folder, redis).keys[1:] == old.keys
    name = commands._name(old.keys[0])
    assert "is dropped" in zohook("keys", "drop", name).output
    alone = started(folder, redis)
    assert len(alone.keys) == 1
    assert alone.keys != old.keys


def test_to_begin_anew_is_said_on_purpose(folder, redis, simulator, wire, zohook):
    """After a key was lost for good, the command takes the one that is there, and says how much is lost."""
    filled(folder, redis, simulator, wire)
    started(folder, redis)
    (folder / ".zohook" / "key").unlink()
    said = zohook("keys", "anew").output
    assert "4 secrets open with no key and are lost" in said
    assert len(started(folder, redis).keys) == 1


def test_a_web_process_that_started_without_redis_says_later_that_its_key_is_wrong(
    folder, redis, monkeypatch, capsys
):
    """When Redis is there again the drain sees it: a line and a metric, until the key is put back; it goes on meanwhile."""
    monkeypatch.setattr("receiver.intake.drain.LOOK_EVERY", 0)
    redis.config_set("appendonly", "yes")
    started(folder, redis)
    file = folder / ".zohook" / "key"
    right = file.read_text()
    file.write_text(Fernet.generate_key().decode())
    settings = Settings.load(folder)
    logs.setup(settings)
    at_the_drain = connect(settings)
    made = Drain(
        Spool.of(settings), at_the_drain, settings, Witness.of(settings), Vault.of(settings), fit=False
    )
    for _ in range(2):
        made._watch()
        assert metrics.KEY_WRONG._value.get() == 1
        assert made._answers
    file.write_text(right)
    made._watch()
    assert metrics.KEY_WRONG._value.get() == 0
    said = capsys.readouterr()
    assert (said.out + said.err).count("key.wrong") == 1
    at_the_drain.close()


def test_the_key_that_seals_is_not_dropped(folder, redis, simulator, wire, zohook):
    """The newest key stays; a name that is none is told which there are."""
    filled(folder, redis, simulator, wire)
    name = zohook("keys", "list").output.split()[0]
    with pytest.raises(SettingsError, match="rotate puts another"):
        zohook("keys", "drop", name)
    with pytest.raises(SettingsError, match="it is one of"):
        zohook("keys", "drop", "00000000")


def test_a_key_of_the_environment_is_rotated_by_whoever_has_it(folder, redis, zohook, monkeypatch):
    """With one key the four steps are told; with two, what the second sealed is sealed anew."""
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    monkeypatch.setenv("ZOHOOK_KEY", old)
    redis.hset(
        keys.token("acme"), mapping={"access": Vault(old).seal("acme access", "1000.a"), "state": "ok"}
    )
    with pytest.raises(SettingsError, match="ZOHOOK_KEY=new,old"):
        zohook("keys", "rotate")
    monkeypatch.setenv("ZOHOOK_KEY", f"{new},{old}")
    assert "1 secrets" in zohook("keys", "rotate").output
    assert Vault(new).open("acme access", redis.hget(keys.token("acme"), "access").decode()) == "1000.a"


def test_a_key_in_dotenv_stays_there_with_everything_else(folder, redis, zohook, monkeypatch):
    """`zohook init` puts the key into .env: a rotation changes that line and no other, and running processes see it."""
    old = Fernet.generate_key().decode()
    file = folder / ".env"
    file.write_text(f"# mine\nZOHOOK_KEY={old}\nOTHER='x y'\n")
    monkeypatch.setenv("ZOHOOK_KEY", old)  # as Settings.load would, and for the test to take it away again
    vault = Vault.open_or_make(Settings.load(folder))
    assert vault.source == file
    zohook("keys", "rotate")
    lines = file.read_text().splitlines()
    assert (lines[0], lines[2]) == ("# mine", "OTHER='x y'")
    assert lines[1].endswith(f",{old}")
    assert file.stat().st_mode & 0o777 == 0o600
    assert vault.renewed()
    assert vault.keys[1] == old


def test_a_running_door_takes_the_tokens_of_the_new_key(folder, redis, zohook):
    """The keyring of a web process learns the new key by itself; tokens of either key are good until the old one is dropped."""
    settings = Settings.load(folder)
    keyring = Keyring(settings, Vault.open_or_make(settings))
    lock = keyring.locks["crm"]
    before = lock.keys.secrets
    zohook("keys", "rotate")
    keyring.renew()
    assert lock.keys.secrets[1:] == before
    fresh = Vault.open_or_make(settings).derive("source:crm")
    channel = signing.channel_id(fresh, "deals")
    body = orjson.dumps({"token": signing.channel_token(fresh, channel, 20_000), "channel_id": channel})
    arrived = Delivery.arrive("crm", body, received=20_000 * 86_400_000 + 5)
    assert lock.source.verify(arrived, lock.way, lock.keys).by == "token"


def test_names_of_keys_tell_nothing_of_them():
    """What is shown of a key is eight letters of its hash."""
    key = Fernet.generate_key().decode()
    assert commands._name(key) not in key
    assert len(commands._name(key)) == 8
