"""The vault without Redis: what it seals, refuses, rotates, makes and derives."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from cryptography.fernet import Fernet

from receiver.errors import SettingsError
from receiver.zoho.vault import Vault

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_a_blob_opens_in_its_own_context_only():
    """A blob of one connection moved into another one's row is refused."""
    vault = Vault(NEW)
    blob = vault.seal("acme access", "1000.secret")
    assert "secret" not in blob
    assert vault.open("acme access", blob) == "1000.secret"
    for other in ("globex access", "acme refresh", "acme access\0x", ""):
        with pytest.raises(SettingsError, match="sealed for something else"):
            vault.open(other, blob)


def test_rotation_keeps_old_blobs_readable_until_the_old_key_goes():
    """With `new,old` both open; rotate() seals with the new one; without the old key its blobs say what to do."""
    blob = Vault(OLD).seal("c", "text")
    both = Vault(f"{NEW}, {OLD}")
    assert both.open("c", blob) == "text"
    assert Vault(NEW).open("c", both.rotate(blob)) == "text"
    with pytest.raises(SettingsError, match="ZOHOOK_KEY"):
        Vault(NEW).open("c", blob)
    with pytest.raises(SettingsError, match="ZOHOOK_KEY"):
        Vault(NEW).rotate(blob)


@pytest.mark.parametrize("keys", ["", " , ", "short", "nonsense", "é" * 44])
def test_a_bad_key_is_refused_with_the_cure(keys):
    """A key that is no Fernet key stops the start with a sentence that says how to make one."""
    with pytest.raises(SettingsError, match="ZOHOOK_KEY"):
        Vault(keys)


@pytest.mark.parametrize("blob", ["", "x", "gAAAAA==", "é"])
def test_damage_is_a_settings_error(blob):
    """A damaged blob raises the same error as a wrong key, never another one."""
    with pytest.raises(SettingsError):
        Vault(NEW).open("c", blob)


def test_the_key_file_is_made_once_and_private(tmp_path):
    """The first run makes .zohook/key with mode 0600, and every later one reads it."""
    settings = SimpleNamespace(key="", folder=tmp_path)
    blob = Vault.open_or_make(settings).seal("c", "text")
    file = tmp_path / ".zohook" / "key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert Vault.open_or_make(settings).open("c", blob) == "text"
    assert [entry.name for entry in file.parent.iterdir()] == ["key"]
    file.unlink()
    with pytest.raises(SettingsError, match="put back the key"):
        Vault.open_or_make(settings).open("c", blob)


def test_two_first_runs_agree_on_one_key(tmp_path):
    """Processes that start at the same moment end up with the same key."""
    settings = SimpleNamespace(key="", folder=tmp_path)
    start, derived = threading.Barrier(8), []

    def run():
        start.wait()
        derived.append(Vault.open_or_make(settings).derive("x"))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(derived) == 8
    assert len(set(derived)) == 1


def test_a_folder_that_takes_no_key_says_so(tmp_path):
    """Where the key can be neither read nor made, the error names ZOHOOK_KEY as the way out."""
    (tmp_path / ".zohook").write_text("in the way")
    with pytest.raises(SettingsError, match="set ZOHOOK_KEY instead"):
        Vault.open_or_make(SimpleNamespace(key="", folder=tmp_path))


def test_derived_secrets_are_stable_apart_and_short_enough_for_a_channel():
    """The same key and purpose give the same secret, another purpose another one, of under 50 characters."""
    vault = Vault(f"{NEW},{OLD}")
    assert vault.derive("channel crm") == Vault(NEW).derive("channel crm")
    assert vault.derive("channel crm") != vault.derive("channel rules")
    assert vault.derive_all("x") == (Vault(NEW).derive("x"), Vault(OLD).derive("x"))
    assert 40 <= len(vault.derive("x")) <= 50
