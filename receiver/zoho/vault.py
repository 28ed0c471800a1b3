"""The vault: seals tokens and client secrets at rest, and derives further secrets from the same key."""

from __future__ import annotations

import base64
import contextlib
import os
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from dotenv import dotenv_values

from receiver.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from receiver.settings import Settings

PUT_BACK = (
    "put back the key that sealed it (ZOHOOK_KEY, or .zohook/key in the project's folder; "
    "an old key may follow the new one after a comma)"
)
CURE = f"{PUT_BACK}, or connect the connection again"


class Vault:
    """Fernet keys with commas between them: the first seals, each of them opens.

    A context (the connection and the field) is sealed in with the text, so that the blobs of two rows cannot
    be swapped by somebody who can write to Redis.
    """

    def __init__(self, keys: str, source: Path | None = None) -> None:
        """`source`: the file that the keys are in, read again when it changes. Raises SettingsError where a key is no
        Fernet key.
        """
        self._source = source
        self._seen = _state(source)
        self._take(keys)

    @classmethod
    def open_or_make(cls, settings: Settings) -> Vault:
        """The vault of a project: with ZOHOOK_KEY, else with `.zohook/key` in its folder, made on the first
        run.
        """
        return cls.of(settings, make=True)

    @classmethod
    def of(cls, settings: Settings, *, make: bool = False) -> Vault:
        """The same; without `make` a project that never ran has a vault of a key that is forgotten at once."""
        file = settings.folder / ".zohook" / "key"
        if settings.key:
            dotenv = settings.folder / ".env"
            return cls(settings.key, dotenv if _in_dotenv(dotenv) == settings.key else None)
        if make or file.exists():
            return cls(_key_of(file), file)
        return cls(Fernet.generate_key().decode())

    @property
    def source(self) -> Path | None:
        """The file that the keys are in; None where the environment has them."""
        return self._source

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys, the one that seals first."""
        return self._keys

    def renewed(self) -> bool:
        """Whether the keys were changed since they were last asked for; they are read anew then."""
        state = _state(self._source)
        if self._source is None or state in {self._seen, None}:
            return False
        text = _in_dotenv(self._source) if self._source.name == ".env" else self._source.read_text()
        self._seen = state
        if not text:
            return False
        before = self._keys
        self._take(text)
        return self._keys != before

    def _take(self, keys: str) -> None:
        found = tuple(part.strip() for part in keys.split(",") if part.strip())
        if not found:
            raise SettingsError("ZOHOOK_KEY is empty; leave it out to have a key made in .zohook/key")
        try:
            self._fernet, self._keys = MultiFernet([Fernet(key) for key in found]), found
        except ValueError:
            raise SettingsError(
                "ZOHOOK_KEY holds a key that is no Fernet key (32 bytes in URL-safe base64); make one with "
                "  python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
            ) from None

    def seal(self, context: str, text: str) -> str:
        """The text as a blob that only the same context opens."""
        self.renewed()
        return self._fernet.encrypt(f"{context}\0{text}".encode()).decode()

    def open(self, context: str, blob: str, cure: str = CURE) -> str:
        """The text of a blob; raises SettingsError with the cure where the key or the context is another
        one.
        """
        try:
            sealed_for, _, text = self._decrypted(blob).partition("\0")
        except (InvalidToken, UnicodeError):
            raise SettingsError(f"what is stored for {context} does not open with this key; {cure}") from None
        if sealed_for != context:
            raise SettingsError(f"what is stored for {context} was sealed for something else; {cure}")
        return text

    def _decrypted(self, blob: str) -> str:
        try:
            return self._fernet.decrypt(blob.encode()).decode()
        except InvalidToken:
            if not self.renewed():
                raise
            return self._fernet.decrypt(blob.encode()).decode()

    def rotate(self, blob: str) -> str:
        """The same text, sealed with the first key."""
        self.renewed()
        try:
            return self._fernet.rotate(blob.encode()).decode()
        except InvalidToken:
            raise SettingsError(f"a stored blob does not open with this key; {CURE}") from None

    def derive(self, purpose: str) -> str:
        """A secret for that purpose, from the first key: 43 letters, digits, `-` and `_`; the same on every
        host.
        """
        return self.derive_all(purpose)[0]

    def derive_all(self, purpose: str) -> tuple[str, ...]:
        """The secret that each key gives for that purpose, newest first, for verifying while keys are
        rotated.
        """
        self.renewed()
        return tuple(_derive(key, purpose) for key in self._keys)


def _derive(key: str, purpose: str) -> str:
    material = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"zohook {purpose}".encode()).derive(
        base64.urlsafe_b64decode(key)
    )
    return base64.urlsafe_b64encode(material).decode().rstrip("=")


def _state(file: Path | None) -> tuple[int, int, int] | None:
    """What tells one version of a file from the next; None where there is none."""
    try:
        found = file.stat() if file else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None


def _in_dotenv(file: Path) -> str:
    try:
        return dotenv_values(file).get("ZOHOOK_KEY") or ""
    except (OSError, UnicodeDecodeError):
        return ""


def _key_of(file: Path) -> str:
    try:
        if not file.exists():
            _make(file)
        return file.read_text()
    except OSError as error:
        raise SettingsError(f"{file} cannot be read or made ({error}); set ZOHOOK_KEY instead") from error


def _make(file: Path) -> None:
    """Written beside and linked into place, so that two processes that start at once end up with one key."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = file.with_name(f"key.{os.getpid()}.{os.urandom(4).hex()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(Fernet.generate_key() + b"\n")
            out.flush()
            os.fsync(out.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(beside, file)
    finally:
        beside.unlink()
