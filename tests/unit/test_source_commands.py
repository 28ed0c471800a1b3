"""`zohook source`: what it writes and what it leaves alone, what it says, and that a secret shows where it must be typed and nowhere else."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from typing import TYPE_CHECKING, Protocol

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from receiver import cli
from receiver.cli import project
from receiver.errors import SettingsError
from receiver.intake.keyring import Keyring
from receiver.settings import Settings
from receiver.sources import PRODUCTS
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

TOML = """\
# Our house.
public_url = "https://hooks.acme.eu"   # the tunnel

[connections.acme]
dc = "eu"
desk = "700"

# What comes in.
[sources]
crm = "crm_channel"  # notifications

# And who looks.
[web]
port = 8099
"""
GENERATED = re.compile(r"\b[A-Za-z0-9]{43}\b")


class Run(Protocol):
    """What the fixture `source` is."""

    def __call__(self, *arguments: str, status: int = 0, stdin: str = "") -> str:
        """Run `zohook source ...`; what it printed, on stderr where another status than 0 is expected."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with comments in its zohook.toml."""
    (tmp_path / "zohook.toml").write_text(TOML)
    return tmp_path


@pytest.fixture
def source(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command as a process of its own would: without what .env of the one before left in the environment."""

    def run(*arguments: str, status: int = 0, stdin: str = "") -> str:
        for name in [name for name in os.environ if name.startswith("ZOHOOK_SECRET") and name not in kept]:
            monkeypatch.delenv(name)
        file = folder / "stdin"
        file.write_text(stdin)
        monkeypatch.setattr(sys, "argv", ["zohook", "source", *arguments, "-C", str(folder)])
        with file.open() as given:
            monkeypatch.setattr(sys, "stdin", given)
            with pytest.raises(SystemExit) as ended:
                cli.main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == status, err
        assert "Traceback" not in err
        return err if status else out

    kept = {name for name in os.environ if name.startswith("ZOHOOK_SECRET")}
    return run


def env(folder: Path, name: str) -> str:
    """A secret as .env says it."""
    return project.env_of(folder)[f"ZOHOOK_SECRET_{name.upper()}"]


def test_a_source_is_added_between_the_lines_that_are_there(source: Run, folder: Path) -> None:
    """Comments and order are kept; the secret is of 256 bits, in a file of the owner's alone; the project then stands."""
    said = source(
        "add",
        "books",
        "books",
        "--event",
        "invoice.paid",
        "--event",
        "invoice.made",
        "--set",
        "dedupe_for=30",
    )
    text = (folder / "zohook.toml").read_text()
    line = 'books = { product = "books", events = ["invoice.paid", "invoice.made"], dedupe_for = 30 }\n'
    assert text == TOML.replace("# notifications\n", f"# notifications\n{line}")
    secret = env(folder, "books")
    assert GENERATED.fullmatch(secret)
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    assert said.count(secret) == 1
    for url in (
        "https://hooks.acme.eu/in/books?event=invoice.paid",
        "https://hooks.acme.eu/in/books?event=invoice.made",
    ):
        assert url in said
    assert "1. " in said
    assert "zohook send books/" in said
    settings = Settings.load(folder)
    assert Keyring(settings, Vault.open_or_make(settings)).locks["books"].way.dedupe_for == 30


def test_two_secrets_are_never_alike(source: Run, folder: Path) -> None:
    """Each source has its own."""
    source("add", "one", "sign")
    source("add", "two", "sign")
    assert env(folder, "one") != env(folder, "two")


def test_a_workflow_gets_a_body_with_id_and_modified_time(source: Run, folder: Path) -> None:
    """Of the module that the event is about; zohook.toml knows where they stand."""
    said = source("add", "rules", "crm_workflow", "--event", "Leads.qualified")
    assert '"record_id": "${Leads.Lead Id}"' in said
    assert '"modified_time": "${Leads.Modified Time}"' in said
    assert "the header X-Webhook-Token" in said
    table = tomllib.loads((folder / "zohook.toml").read_text())["sources"]["rules"]
    assert (table["id"], table["time"]) == ("/record_id", "/modified_time")
    said = source(
        "add",
        "other",
        "crm_workflow",
        "--event",
        "Deals.won",
        "--id",
        "/deal",
        "--set",
        "secret_header=x-acme",
    )
    assert "the header X-Acme" in said
    assert tomllib.loads((folder / "zohook.toml").read_text())["sources"]["other"]["id"] == "/deal"


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_product_can_be_added(source: Run, folder: Path, product: str) -> None:
    """With what it needs, and then the door opens with it."""
    more = ["--event", "Deals.won"] if PRODUCTS[product].guide.by_event else []
    if PRODUCTS[product].needs == "public":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
        (folder / "key.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        more += ["--public-key", str(folder / "key.pem")]
    said = source("add", "mine", product, *more)
    settings = Settings.load(folder)
    assert Keyring(settings, Vault.open_or_make(settings)).locks["mine"].way.product == product
    assert "1. " in said
    needs = PRODUCTS[product].needs == "secret"
    assert ("ZOHOOK_SECRET_MINE" in project.env_of(folder)) == needs
    typed = PRODUCTS[product].guide.whose == "ours"
    assert len(GENERATED.findall(said)) == typed
    shown = source("show", "mine", "--steps")
    assert "https://hooks.acme.eu/in/mine" in shown
    assert not (needs and env(folder, "mine") in shown)
    assert (
        source("show", "mine", "--steps", "--secret").count(env(folder, "mine") if typed else "\0") == typed
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("books", "bokks"), "did you mean 'books'"),
        (("crm", "books"), "there is a source 'crm' already"),
        (("Books", "books"), "small letters"),
        (("acme", "books"), "share one namespace"),
        (("books", "books", "--set", "evnts=1"), "did you mean 'events'"),
        (("books", "books", "--set", "events"), "key=value"),
        (("rules", "crm_workflow"), "list what the rules tell"),
        (("desk", "desk", "--connection", "acm"), "did you mean 'acme'"),
        (("chat", "cliq"), "--public-key"),
        (("chat", "cliq", "--public-key", "/nowhere"), "cannot be read"),
        (("mail", "mail", "--secret", "-"), "takes no secret of yours"),
        (("books", "books", "--secret", "in-clear-12345"), "can be read by others"),
        (("books",), "say it on the command line"),
        ((), "say it on the command line"),
    ],
)
def test_what_would_not_stand_is_not_written(
    source: Run, folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    """Each mistake is named with its cure, and no file is touched."""
    assert words in source("add", *arguments, status=2, stdin="a-secret-of-mine\n")
    assert (folder / "zohook.toml").read_text() == TOML
    assert not (folder / ".env").exists()


@pytest.mark.parametrize("given", ["short", "with a blank in it", "with,a,comma,in,it", "quote's-in-it-12", "dollar$in-it-12", "töö-unplain-12345"])  # fmt: skip
def test_a_secret_that_cannot_be_kept_is_refused(source: Run, folder: Path, given: str) -> None:
    """It is told why, and not told again."""
    said = source("add", "books", "books", "--secret", "-", status=2, stdin=f"{given}\n")
    assert given not in said
    assert not (folder / ".env").exists()


def test_a_secret_of_ones_own_is_taken_from_standard_input(source: Run, folder: Path) -> None:
    """For a webhook that is there already."""
    source("add", "books", "books", "--secret", "-", stdin="the-one-in-zoho=#1\n")
    assert env(folder, "books") == "the-one-in-zoho=#1"
    assert Settings.load(folder).secrets("books") == ("the-one-in-zoho=#1",)


def test_a_secret_that_is_set_is_kept(source: Run, folder: Path) -> None:
    """In .env or in the environment: it is the one to type."""
    (folder / ".env").write_text("# mine\nZOHOOK_SECRET_BOOKS=a-secret-from-before\n")
    assert "a-secret-from-before" in source("add", "books", "books")
    assert (folder / ".env").read_text() == "# mine\nZOHOOK_SECRET_BOOKS=a-secret-from-before\n"


def test_a_secret_of_zohos_may_come_later(source: Run, folder: Path) -> None:
    """One that nobody knows holds its place, for Zoho tries the URL before it shows the key; what to do then is told."""
    said = source("add", "pay", "payments")
    first = env(folder, "pay")
    assert first not in said
    assert "zohook source rotate pay" in said
    assert "zohook reverify --source pay" in said
    said = source("rotate", "pay", "--secret", "-", stdin="the-signing-key-of-zoho\n")
    assert "the-signing-key-of-zoho" not in said
    assert env(folder, "pay") == f"the-signing-key-of-zoho,{first}"
    assert "--secret -" in source("rotate", "pay", status=2)


def test_a_rotation_keeps_both_until_it_is_finished(source: Run, folder: Path) -> None:
    """The new one in front, printed once, the old one valid; a third pushes the oldest out; the end needs a sign or a word."""
    source("add", "books", "books")
    first = env(folder, "books")
    said = source("rotate", "books")
    second, old = env(folder, "books").split(",")
    assert old == first
    assert GENERATED.fullmatch(second)
    assert said.count(second) == 1
    assert first not in said
    source("rotate", "books")
    third, old = env(folder, "books").split(",")
    assert old == second
    assert "--yes" in source("rotate", "books", "--finish", status=2)
    assert env(folder, "books") == f"{third},{second}"
    source("rotate", "books", "--finish", "--yes")
    assert env(folder, "books") == third
    assert "one secret only" in source("rotate", "books", "--finish", status=2)
    assert "already" in source("rotate", "books", "--secret", "-", status=2, stdin=f"{third}\n")


@pytest.mark.parametrize(
    ("product", "words"),
    [("crm_channel", "ZOHOOK_KEY"), ("desk", "public_keys"), ("mail", "zohook source arm mine")],
)
def test_what_has_no_secret_of_ours_says_how_it_changes(source: Run, product: str, words: str) -> None:
    """Each in its own way."""
    source("add", "mine", product)
    assert words in source("rotate", "mine", status=2)


def test_a_secret_that_is_set_elsewhere_is_changed_there(
    source: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing .env would change nothing, for the environment wins; so does a file that is named."""
    source("add", "books", "books")
    monkeypatch.setenv("ZOHOOK_SECRET_BOOKS_FILE", str(folder / "secret"))
    (folder / "secret").write_text("a-secret-in-a-file")
    from receiver.cli.sources import Place

    with pytest.raises(SettingsError, match="is in the file"):
        Place.of(folder).writable("books")
    monkeypatch.delenv("ZOHOOK_SECRET_BOOKS_FILE")
    monkeypatch.setenv("ZOHOOK_SECRET_BOOKS", "another-one-here")
    with pytest.raises(SettingsError, match="wins over"):
        Place.of(folder).writable("books")


def test_a_source_is_taken_out_without_a_trace(source: Run, folder: Path) -> None:
    """After a word, and only if nothing needs it."""
    source("add", "books", "books", "--event", "invoice.paid")
    assert "would be taken out" in source("remove", "books")
    assert "books" in tomllib.loads((folder / "zohook.toml").read_text())["sources"]
    source("remove", "books", "--yes")
    assert (folder / "zohook.toml").read_text() == TOML
    assert (folder / ".env").read_text() == ""
    assert "did you mean 'crm'" in source("remove", "crn", "--yes", status=2)
    (folder / "zohook.toml").write_text(TOML + '[channels]\ndeals = { events = ["Deals.all"] }\n')
    assert "channels.deals.source" in source("remove", "crm", "--yes", status=2)


def test_the_list_names_each_address(source: Run, folder: Path) -> None:
    """One line for each, so that it can be copied; without any it says how to begin."""
    source("add", "books", "books", "--event", "invoice.paid", "--event", "a*b")
    lines = source("list").splitlines()
    assert [line.split() for line in lines] == [
        ["crm", "crm_channel", "https://hooks.acme.eu/in/crm"],
        ["books", "books", "https://hooks.acme.eu/in/books?event=invoice.paid"],
        ["books", "books", "https://hooks.acme.eu/in/books?event=a*b"],
    ]
    (folder / "zohook.toml").write_text("")
    assert "zohook source add" in source("list", status=2)


def test_showing_needs_no_running_receiver(source: Run, folder: Path) -> None:
    """What is configured is shown; no Redis is started for it."""
    said = source("show")
    assert "https://hooks.acme.eu/in/crm" in said
    assert not (folder / ".zohook" / "redis").exists()
    assert "did you mean 'crm'" in source("show", "cmr", status=2)


def test_only_what_tells_its_secret_is_armed(source: Run) -> None:
    """And only while the receiver runs, for the webhook is tried when it is saved."""
    source("add", "mail", "mail")
    assert "needs no arming" in source("arm", "crm", status=2)
    assert "start `zohook up` first" in source("arm", "mail", status=2)


@pytest.mark.parametrize(
    "text",
    [
        "", '[sources]\n# crm = "crm_channel"\n\n# about channels\n[channels]\n', '[sources.books]\nproduct="books"\n\n[web]\nport=1\n',
        "[web]\nport=1", 'sources.crm = "crm_channel"\n[web]\nport=1\n', 'sources = {crm = "crm_channel"}\n', '[sources]\r\ncrm = "crm_channel"\r\n',
        '[sources]\ncrm="crm_channel"\n[sources.books]\nproduct="books"\n[web]\nport=1\n',
    ],
)  # fmt: skip
def test_whatever_the_form_of_the_file_the_source_is_in_it(text: str) -> None:
    """And nothing that was there is lost."""
    before = tomllib.loads(text)
    new = project.with_source(
        text, "new", {"product": "books", "events": ["a.b", 'q"x'], "secure": True, "body_limit": 5}
    )
    after = tomllib.loads(project.with_source(new, "plain", {"product": "desk"}))
    assert after["sources"].pop("new") == {
        "product": "books",
        "events": ["a.b", 'q"x'],
        "secure": True,
        "body_limit": 5,
    }
    assert after["sources"].pop("plain") == "desk"
    assert after == {"sources": {}, **before}
    assert all(line.strip() in new for line in text.splitlines() if not line.startswith("sources ="))
    assert tomllib.loads(project.without_source(new, "new")) == {"sources": {}, **before}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "ZOHOOK_SECRET_X=new\n"),
        ("# c\nA=1", "# c\nA=1\nZOHOOK_SECRET_X=new\n"),
        ("A=1\nZOHOOK_SECRET_X=old\nB=2\n", "A=1\nZOHOOK_SECRET_X=new\nB=2\n"),
        ("export ZOHOOK_SECRET_X = 'old'\n", "ZOHOOK_SECRET_X=new\n"),
        ("# ZOHOOK_SECRET_X=example\n", "# ZOHOOK_SECRET_X=example\nZOHOOK_SECRET_X=new\n"),
        ("ZOHOOK_SECRET_X2=y\n", "ZOHOOK_SECRET_X2=y\nZOHOOK_SECRET_X=new\n"),
    ],
)
def test_one_line_of_env_is_changed(tmp_path: Path, before: str, after: str) -> None:
    """In its place, or at the end; nobody else may read it afterwards, whoever could before."""
    file = tmp_path / ".env"
    file.write_text(before)
    file.chmod(0o644)
    project.write_env(tmp_path, "ZOHOOK_SECRET_X", "new")
    assert file.read_text() == after
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """Where .env is kept elsewhere, it is written there; zohook.toml keeps its mode."""
    (tmp_path / "real").write_text("A=1\n")
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / ".env").symlink_to(tmp_path / "real")
    project.write_env(tmp_path / "place", "B", "2")
    assert (tmp_path / "place" / ".env").is_symlink()
    assert (tmp_path / "real").read_text() == "A=1\nB=2\n"
    toml = tmp_path / "zohook.toml"
    toml.write_text("")
    toml.chmod(0o640)
    project.write_toml(tmp_path, "x = 1\n")
    assert toml.stat().st_mode & 0o777 == 0o640


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """With what the system says."""
    (tmp_path / "zohook.toml").write_text("[sources\n")
    with pytest.raises(SettingsError, match="not readable as TOML"):
        project.with_source(project.toml_of(tmp_path), "a", {"product": "desk"})
    (tmp_path / "zohook.toml").unlink()
    (tmp_path / "zohook.toml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        project.toml_of(tmp_path)
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="cannot be read"):
        project.write_env(tmp_path, "A", "1")
    with pytest.raises(SettingsError, match="cannot be written"):
        project.write_toml(tmp_path / "nowhere", "")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            'hmac={ header = "X-Signature" }',
            ["the signature into the header X-Signature", "Let it sign as [sources.shop] says"],
        ),
        ('secret_user="zoho"', ["basic authentication with the user zoho"]),
        ('secret_prefix="Bearer "', ["       Bearer "]),
    ],
)
def test_the_steps_of_a_custom_source_are_those_of_its_proof(
    setting: str, words: list[str], source: Run
) -> None:
    """A recipe, a password and a prefix are each told as they are set."""
    said = source("add", "shop", "custom", "--event", "order.paid", "--set", setting)
    for word in words:
        assert word in said
