"""The command line: what each command writes and says, above all when something is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

import receiver
from receiver import cli
from receiver.cli import starter
from receiver.cli.commands import app
from receiver.cli.processes import listen
from receiver.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(receiver.__file__).resolve().parent.parent
HANDLER = '''
from receiver import on

@on("crm.Deals.created")
def celebrate(event):
    """Ring the bell."""
'''


class Run(Protocol):
    """What the fixture `zohook` is."""

    def __call__(self, *arguments: str, status: int = 0) -> str:
        """Run the command; what it printed, after checking its status."""


@pytest.fixture
def zohook(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process; with another status than 0 it must have said why on stderr, without a traceback."""

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["zohook", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert (ended.value.code or 0) == status, err
        assert "Traceback" not in err or "does not import" in err
        return err if status else out

    return run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with one source and one handler, the import of which is undone afterwards."""
    folder = tmp_path / "project"
    (folder / "handlers").mkdir(parents=True)
    (folder / "zohook.toml").write_text('[sources]\ncrm = "crm_channel"\n')
    (folder / "handlers" / "__init__.py").write_text("")
    (folder / "handlers" / "deals.py").write_text(HANDLER)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if re.match(r"handlers(\.|$)", name)}
    yield folder
    for name in [name for name in sys.modules if re.match(r"handlers(\.|$)", name)]:
        del sys.modules[name]
    sys.modules.update(kept)


def test_every_command_has_help(zohook: Run) -> None:
    """`zohook --help` lists every command with a sentence, and so does each command's own help."""
    overview = zohook("--help")
    names = [
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    ]
    assert set(names) == {
        "demo",
        "up",
        "web",
        "worker",
        "clock",
        "simulator",
        "retry",
        "rerun",
        "run",
        "cancel",
        "pause",
        "resume",
        "check",
        "init",
        "connect",
        "send",
        "reverify",
        "spool",
        "version",
    }
    for name in [*names, "source"]:
        assert re.search(rf"\b{name}\b +[A-Z]", overview)
        assert "sage" in zohook(name, "--help")
    for name in ("add", "list", "show", "arm", "rotate", "remove"):
        assert "sage" in zohook("source", name, "--help")


def test_the_help_is_quick() -> None:
    """Neither Redis nor the web server nor any handler is imported for the help."""
    code = (
        "import sys; sys.argv = ['zohook', '--help']\n"
        "from receiver.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('redis', 'uvicorn', 'starlette', 'httpx', 'pydantic', 'rq') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_version_is_told(zohook: Run) -> None:
    """`zohook version` says the package's version."""
    assert receiver.__version__ in zohook("version")


def test_a_broken_file_is_one_message(zohook: Run, tmp_path: Path) -> None:
    """A zohook.toml that is no TOML ends with status 2 and names the file and the line."""
    (tmp_path / "zohook.toml").write_text("[web\nport = 1")
    said = zohook("check", "--folder", str(tmp_path), status=2)
    assert str(tmp_path / "zohook.toml") in said
    assert "line 1" in said


@pytest.mark.parametrize("command", ["check", "web", "worker", "clock", "up", "connect"])
def test_a_wrong_key_stops_every_command(zohook: Run, tmp_path: Path, command: str) -> None:
    """An unknown key ends each command that reads settings, with the key and a suggestion, before anything is started."""
    (tmp_path / "zohook.toml").write_text("[web]\nprot = 1")
    said = zohook(command, "--folder", str(tmp_path), status=2)
    assert "web.prot" in said
    assert "did you mean 'port'" in said
    assert not (tmp_path / ".zohook").exists()


def test_a_missing_secret_is_told_with_its_variable(zohook: Run, project: Path) -> None:
    """A source that needs a secret and has none is named with the variable to set."""
    (project / "zohook.toml").write_text('[sources]\nbooks = "books"\n')
    said = zohook("check", "-C", str(project), status=2)
    assert "sources.books" in said
    assert "ZOHOOK_SECRET_BOOKS" in said


def test_check_lists_the_handlers(zohook: Run, project: Path) -> None:
    """A project in order is shown: its ways in with their addresses, its handlers with what they do."""
    said = zohook("check", "-C", str(project))
    for word in ("/in/crm", "deals.celebrate", "crm.Deals.created", "Ring the bell.", "nothing is wrong"):
        assert word in said


def test_check_shows_an_address_for_each_event(
    zohook: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the URL names it, as it is to be pasted."""
    (project / "zohook.toml").write_text(
        '[sources]\nrules = { product = "crm_workflow", events = ["Deals.won", "Deals.lost"] }\n'
    )
    (project / ".env").write_text("ZOHOOK_SECRET_RULES=a-static-secret-of-ours\n")
    monkeypatch.setenv("COLUMNS", "200")
    said = zohook("check", "-C", str(project))
    assert "/in/rules?event=Deals.won" in said
    assert "/in/rules?event=Deals.lost" in said


def test_check_hints_at_a_type_that_nothing_sends(zohook: Run, project: Path) -> None:
    """A handler whose type matches nothing known is told what was probably meant."""
    (project / "handlers" / "deals.py").write_text(HANDLER.replace("crm.Deals.created", "crm.Deals.creatd"))
    assert "crm.deals.created" in zohook("check", "-C", str(project)).lower()


@pytest.mark.parametrize("command", ["check", "worker"])
def test_a_handler_that_does_not_import_is_told_with_its_traceback(
    zohook: Run, project: Path, command: str
) -> None:
    """The module and the reason are named, with status 2."""
    (project / "handlers" / "deals.py").write_text("import not_installed_anywhere\n")
    said = zohook(command, "-C", str(project), status=2)
    assert "handlers.deals" in said
    assert "not_installed_anywhere" in said


def test_a_name_twice_is_told_with_both_places(zohook: Run, project: Path) -> None:
    """Two handlers of one name end with status 2 and say what to do."""
    (project / "more").mkdir()
    (project / "more" / "__init__.py").write_text("")
    (project / "more" / "deals.py").write_text(HANDLER)
    (project / "zohook.toml").write_text('[handlers]\npackages = ["handlers", "more"]\n')
    said = zohook("check", "-C", str(project), status=2)
    assert "deals.celebrate" in said
    assert "rename" in said


def test_up_needs_a_project(zohook: Run, tmp_path: Path) -> None:
    """Without zohook.toml `up` says which commands help."""
    said = zohook("up", "-C", str(tmp_path), status=2)
    assert "zohook init" in said
    assert "zohook demo" in said


def test_a_taken_port_is_told(zohook: Run, project: Path) -> None:
    """A port that somebody listens on is named, with the key that changes it."""
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        (project / "zohook.toml").write_text(f"[web]\nport = {port}\n")
        said = zohook("up", "-C", str(project), status=2)
    assert f"127.0.0.1:{port}" in said
    assert "ZOHOOK_WEB__PORT" in said


def test_a_free_port_is_taken_where_any_will_do() -> None:
    """The demo takes another port where its favourite is in use."""
    with listen("127.0.0.1", 0) as taken, listen("127.0.0.1", taken.getsockname()[1], or_any=True) as other:
        assert other.getsockname()[1] not in {0, taken.getsockname()[1]}


def test_connect_says_which_setting_is_missing(
    zohook: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No connection, no such connection, no client id and no secret are each told with their cure."""
    monkeypatch.setenv("ZOHOOK_REDIS__URL", "redis://127.0.0.1:1")  # nothing is to be connected to
    file = tmp_path / "zohook.toml"
    for toml, words in [
        ("", ["there is no connection", "[connections.acme]"]),
        ("[connections.a]\n[connections.b]", ["a | b"]),
        ('[connections.acme]\ndc = "eu"', ["connections.acme.client_id", "https://api-console.zoho.eu"]),
        ('[connections.acme]\nclient_id = "1000.A"', ["ZOHOOK_SECRET_ACME", ".env"]),
    ]:
        file.write_text(toml)
        said = zohook("connect", "-C", str(tmp_path), status=2)
        for word in words:
            assert word in said


def test_init_makes_a_project_that_checks(
    zohook: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new project has all its files, .env for its owner only, and `zohook check` finds nothing wrong with it."""
    folder = tmp_path / "new"
    said = zohook("init", str(folder))
    assert said.count("wrote") == 5
    assert (folder / ".env").stat().st_mode & 0o077 == 0
    assert ".env" in (folder / ".gitignore").read_text()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "receiver.cli", "check"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 handler" in done.stdout
    key = Settings.load(folder).key
    assert len(key) == 44


def test_init_touches_nothing_that_exists(zohook: Run, project: Path) -> None:
    """Files that are there are kept as they are, and no example is put among the user's handlers."""
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    said = zohook("init", str(project))
    assert "kept" in said
    assert all(path.read_bytes() == text for path, text in before.items())
    assert len(list((project / "handlers").glob("*.py"))) == 2


def test_the_file_that_init_writes_is_right_when_uncommented(settings: object) -> None:
    """Every line of the new zohook.toml that is commented out may be switched on."""
    from receiver.cli.scaffold import TOML

    toml = "\n".join(
        line.removeprefix("# ") if re.match(r"# (\[|\w+ +?=)", line) else line for line in TOML.splitlines()
    )
    found = settings(toml)  # type: ignore[operator]
    assert set(found.sources) == {"crm", "rules", "books", "desk"}
    assert set(found.channels) == {"deals"}
    assert found.redis.url


def test_the_shipped_handlers_are_found() -> None:
    """In a checkout they are beside the package, under the name that they are imported by."""
    assert starter.package() in {"handlers", "receiver.starter"}
    if starter.checkout() is not None:
        assert starter.folder() == ROOT / "handlers"
