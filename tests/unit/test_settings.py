"""Settings: what a good zohook.toml means, and what each bad one is answered with."""

from __future__ import annotations

import os
import string
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from receiver.errors import SettingsError
from receiver.settings import FILE, Settings
from receiver.settings_tables import octets, seconds

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import MakeSettings

FULL = """
public_url = "https://hooks.acme.eu/"

[connections.acme]
dc = "eu"
client_id = "1000.ABCDEF"
books = "20061234567"
desk = { main = "20069876543", second = "20069876544" }

[sources]
crm = "crm_channel"
rules = { product = "crm_workflow", id = "/record_id", events = ["Deals.won"] }
books = { product = "books", events = ["invoice.created", "invoice.paid"] }

[channels]
deals = { events = ["Deals.all"], values = true }

[worker]
lease = "1m 30s"

[retention]
days = 7
size = "4GB"

[values]
greeting = { text = "Hello" }
"""


def test_the_file_of_the_design_loads(settings: MakeSettings) -> None:
    """A zohook.toml of every table is read, with its short forms written out."""
    found = settings(FULL)
    assert found.public_url == "https://hooks.acme.eu"
    assert found.sources["crm"].product == "crm_channel"
    assert found.connections["acme"].organisation("books") == "20061234567"
    assert found.connections["acme"].organisation("desk", "second") == "20069876544"
    assert found.worker.lease == 90
    assert found.retention.size == 4 * 10**9
    assert found.values == {"greeting": {"text": "Hello"}}
    assert found.data_centre("acme").accounts == "https://accounts.zoho.eu"


def test_nothing_has_to_be_set(tmp_path: Path) -> None:
    """A folder without zohook.toml has the settings' defaults."""
    found = Settings.load(tmp_path)
    assert found.folder == tmp_path.resolve()
    assert (found.web.port, found.sources, found.redis.url) == (8080, {}, "")


def test_a_body_has_room_among_all_of_them(settings: MakeSettings) -> None:
    """A source that takes larger bodies than the process holds would answer them with "send it again" for ever."""
    source = '[sources]\nbooks = { product = "books", body_limit = "100MiB" }\n'
    with pytest.raises(SettingsError, match=r"sources\.books\.body_limit is over web\.bodies"):
        settings(source)
    assert settings(f'{source}[web]\nbodies = "400MiB"').web.bodies == 400 * 2**20


def test_the_environment_wins_over_the_file(settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """ZOHOOK_ and its nested names replace single values of the file and leave the others of the table alone."""
    monkeypatch.setenv("ZOHOOK_WEB__PORT", "9000")
    monkeypatch.setenv("ZOHOOK_PUBLIC_URL", "https://other.example")
    found = settings('public_url = "https://file.example"\n[web]\nport = 1\nhost = "::1"')
    assert (found.public_url, found.web.port, found.web.host) == ("https://other.example", 9000, "::1")


def test_the_dotenv_file_gives_way_to_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`.env` is read, and what the environment says already is not replaced by it."""
    (tmp_path / ".env").write_text("ZOHOOK_SECRET_BOOKS=from-the-dotenv-file\nZOHOOK_MODE=shadow\n")
    monkeypatch.setenv("ZOHOOK_MODE", "live")
    found = Settings.load(tmp_path)
    assert found.secrets("books") == ("from-the-dotenv-file",)
    assert found.mode == "live"


def test_secrets_may_be_several_and_come_from_a_file(tmp_path: Path, settings: MakeSettings) -> None:
    """A secret variable holds several with commas, or with _FILE names a file that does."""
    file = tmp_path / "books.secret"
    file.write_text("the-newer-secret, the-older-secret\n")
    found = settings(
        '[sources]\ncrm = "crm_channel"',
        secrets={"crm": "one-secret-here,two-secrets-here", "books_file": str(file)},
    )
    assert found.secrets("crm") == ("one-secret-here", "two-secrets-here")
    assert found.secrets("books") == ("the-newer-secret", "the-older-secret")
    assert {"one-secret-here", "the-older-secret"} <= set(found.all_secrets())


# (zohook.toml, words that the message must have: the key, and what helps)
BAD = [
    ("public_url = ", ["TOML"]),
    ("publik_url = 'https://x.example'", ["publik_url", "did you mean 'public_url'"]),
    ("[web]\nprot = 1", ["web.prot", "did you mean 'port'"]),
    ("[web]\nport = 'http'", ["web.port", "integer"]),
    ("[web]\nport = 70000", ["web.port", "65535"]),
    ("[wep]\nport = 1", ["wep", "did you mean 'web'"]),
    ("public_url = 'hooks.acme.eu'", ["public_url", "URL"]),
    ("mode = 'dry'", ["mode", "'live' or 'shadow'"]),
    ("[worker]\nlease = 'soon'", ["worker.lease", "no length of time", '"90s"']),
    ("[worker]\nlease = -5", ["worker.lease", "greater than or equal to 0"]),
    ("[worker]\ntick = inf", ["worker.tick", "finite"]),
    ("[worker]\nthreads = 0", ["worker.threads", "greater than or equal to 1"]),
    (
        "[sources.crm]\nproduct = 'crm_channel'\nbody_limit = 'much'",
        ["sources.crm.body_limit", "no size", '"512MB"'],
    ),
    ("[retention]\nsize = '4 GX'", ["retention.size", "no size"]),
    ("[sources]\n'Crm' = 'crm_channel'", ["sources", "Crm", "small letters"]),
    ("[sources]\ncrm = { events = ['Deals.all'] }", ["sources.crm.product", "required"]),
    ("[sources]\ncrm = 5", ["sources.crm"]),
    (
        "[sources.x]\nproduct = 'custom'\ntimezone = 'Europe/Berlim'",
        ["sources.x.timezone", '"Europe/Berlin"'],
    ),
    ("[sources.x]\nproduct = 'custom'\ntimezone = '../etc/passwd'", ["sources.x.timezone", "no time zone"]),
    ("[sources.x]\nproduct = 'custom'\ntime_format = '%Q'", ["sources.x.time_format", "%d/%m/%Y"]),
    ("[sources.x]\nproduct = 'custom'\nhmac = {}", ["sources.x.hmac.header", "required"]),
    ("[sources.x]\nproduct = 'custom'\nhmac = { header = '' }", ["sources.x.hmac.header", "at least 1"]),
    (
        "[sources.x]\nproduct = 'custom'\nhmac = { header = 'X', hash = 'md5' }",
        ["sources.x.hmac.hash", "sha256"],
    ),
    (
        "[sources.x]\nproduct = 'custom'\nhmac = { header = 'X', enconding = 'hex' }",
        ["did you mean 'encoding'"],
    ),
    ("[sources.crm]\nproduct = 'crm_channel'\ndedup = '/id'", ["sources.crm.dedup", "did you mean 'dedupe'"]),
    ("[connections.acme]\ndc = 'mars'", ["mars", "eu", "us"]),
    ("[connections.acme]\ndc = 'simulator'", ["[simulator] url"]),
    ("[connections.acme]\ndc = 'simulator'\n[simulator]\nurl = 'http://10.0.0.1:1'", ["this machine"]),
    (
        "[connections.crm]\n[sources]\ncrm = 'crm_channel'",
        ["'crm'", "both a source and a connection", "rename"],
    ),
    (
        "[connections.acme]\n[sources]\ncrm = {product = 'crm_channel', connection = 'acne'}",
        ["sources.crm.connection", "did you mean 'acme'"],
    ),
    ("[channels]\ndeals = { events = ['Deals.all'] }", ["channels.deals.source", 'crm = "crm_channel"']),
    ("[channels]\ndeals = { }", ["channels.deals.events", "required"]),
    ("sources = 3", ["sources"]),
]


@pytest.mark.parametrize(("toml", "words"), BAD)
def test_a_bad_file_is_answered_with_file_key_and_cure(
    settings: MakeSettings, tmp_path: Path, toml: str, words: list[str]
) -> None:
    """The message names zohook.toml, the key as it is written there, and what would be right."""
    with pytest.raises(SettingsError) as caught:
        settings(toml)
    said = str(caught.value)
    for word in [str(tmp_path / FILE), *words]:
        assert word in said


def test_every_mistake_is_told_at_once(settings: MakeSettings) -> None:
    """Two wrong keys are two lines of one message."""
    with pytest.raises(SettingsError) as caught:
        settings("[web]\nport = 'a'\nprot = 1")
    assert "web.port" in str(caught.value)
    assert "web.prot" in str(caught.value)


def test_a_bad_value_of_the_environment_is_told_as_such(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came from the environment is not blamed on the file."""
    monkeypatch.setenv("ZOHOOK_WEB__PORT", "eighty")
    with pytest.raises(SettingsError) as caught:
        settings("mode = 'live'")
    assert "environment" in str(caught.value)
    assert "web.port" in str(caught.value)


def test_a_bad_value_of_the_environment_is_told_even_with_a_table_in_the_file(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is named where the value came from it, though the file has that table too."""
    monkeypatch.setenv("ZOHOOK_WEB__PORT", "eighty")
    with pytest.raises(SettingsError) as caught:
        settings("[web]\nhost = '127.0.0.1'")
    assert "environment" in str(caught.value)


def test_a_short_secret_is_refused_without_being_shown(settings: MakeSettings) -> None:
    """The message names the variable and the length wanted, and not the secret."""
    with pytest.raises(SettingsError) as caught:
        settings('[sources]\ncrm = "crm_channel"', secrets={"crm": "hunter2"})
    assert "ZOHOOK_SECRET_CRM" in str(caught.value)
    assert "12 or more" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_secret_file_that_is_not_there_is_named(settings: MakeSettings) -> None:
    """The message names the variable and the file."""
    with pytest.raises(SettingsError) as caught:
        settings("", secrets={"books_file": "/nowhere/books.secret"})
    assert "ZOHOOK_SECRET_BOOKS_FILE" in str(caught.value)
    assert "/nowhere/books.secret" in str(caught.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are a message, not a traceback."""
    (tmp_path / FILE).write_bytes(b"\xff\xfe\x00m")
    with pytest.raises(SettingsError) as caught:
        Settings.load(tmp_path)
    assert str(tmp_path / FILE) in str(caught.value)


def test_a_dotenv_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 in .env are a message, not a traceback."""
    (tmp_path / ".env").write_bytes(b"ZOHOOK_KEY=\xff\xfe\x00\n")
    with pytest.raises(SettingsError) as caught:
        Settings.load(tmp_path)
    assert ".env" in str(caught.value)


def test_a_value_that_looks_like_a_secret_is_not_repeated(
    settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No message about settings has the value of a wrong setting in it, for it may be a secret in the wrong place."""
    canary = "1000.canary.canary.canary"
    for toml in (
        f"[web]\nport = '{canary}'",
        f"[sources.crm]\nproduct = ['{canary}']",
        f"client_secret = '{canary}'",
    ):
        with pytest.raises(SettingsError) as caught:
            settings(toml)
        assert canary not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (5, 5.0),
        (0.5, 0.5),
        ("90s", 90.0),
        ("1h 30m", 5400.0),
        ("3d", 259_200.0),
        ("1.5h", 5400.0),
        ("2w", 1_209_600.0),
    ],
)
def test_lengths_of_time(said: object, meant: float) -> None:
    """Numbers are seconds, and words are added up."""
    assert seconds(said) == meant


@pytest.mark.parametrize("said", ["", "soon", "5 apples", "-3s", "3d later", None, True, [], "s"])
def test_what_is_no_length_of_time(said: object) -> None:
    """What cannot be read is refused, not taken for nothing."""
    with pytest.raises(ValueError, match="no length of time"):
        seconds(said)


@pytest.mark.parametrize(
    ("said", "meant"), [(7, 7), ("512MB", 512_000_000), ("4GiB", 4 * 2**30), ("1.5 kB", 1500), ("9B", 9)]
)
def test_sizes(said: object, meant: int) -> None:
    """Numbers are bytes; words are decimal, or binary with an i."""
    assert octets(said) == meant


@pytest.mark.parametrize("said", ["", "GB", "4 XB", None, False, "-1MB"])
def test_what_is_no_size(said: object) -> None:
    """What cannot be read is refused."""
    with pytest.raises(ValueError, match="no size"):
        octets(said)


TABLES = {
    name: list(getattr(field.annotation, "model_fields", {})) for name, field in Settings.model_fields.items()
}
words = st.text(string.ascii_lowercase + "_", min_size=1, max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Settings with some keys right and any values."""
    found: dict[str, Any] = {}
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from([*TABLES, "whatever"]))
        inner = st.sampled_from(TABLES.get(name) or ["acme", "crm", "A B"])
        found[name] = draw(values | st.dictionaries(inner | words, values, max_size=3))
    found.pop("folder", None)
    return found


@hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(tables())
def test_whatever_is_set_only_settings_errors_come_of_it(
    tmp_path: Path, given_tables: dict[str, Any]
) -> None:
    """Any value at any key is either taken or answered with a SettingsError."""
    try:
        Settings.load(tmp_path, **given_tables)
    except SettingsError as error:
        assert str(error)  # noqa: PT017 - either way is right


toml_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=200)


@hypothesis_settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from(FULL.strip().splitlines()) | toml_text, max_size=12))
def test_whatever_is_written_only_settings_errors_come_of_it(tmp_path: Path, lines: list[str]) -> None:
    """Any text as zohook.toml is either taken or answered with a SettingsError that names the file."""
    (tmp_path / FILE).write_text("\n".join(lines), encoding="utf-8")
    try:
        Settings.load(tmp_path)
    except SettingsError as error:
        assert str(tmp_path / FILE) in str(error)  # noqa: PT017


def test_no_test_leaves_settings_in_the_environment() -> None:
    """What a .env of another test set is gone."""
    assert not [name for name in os.environ if name.startswith("ZOHOOK_") and name != "ZOHOOK_NEED_BROWSER"]
