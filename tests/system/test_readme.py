"""The README is held to the code: its examples run, its settings and commands are all there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from receiver.cli.commands import app
from receiver.settings import Settings
from receiver.sources import PRODUCTS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
INNER = {"connections": "NAME", "sources": "NAME", "channels": "NAME", "values": None}


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_example_handler_passes_its_example_test(tmp_path: Path) -> None:
    """Copied into a new project as they stand, the handler and its test of the README pass."""
    handler = next(block for block in blocks("python") if "note_won_deal" in block and "@on" in block)
    test = next(block for block in blocks("python") if "def test_a_won_deal" in block)
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "__init__.py").write_text("")
    (tmp_path / "handlers" / "won_note.py").write_text(handler)
    (tmp_path / "test_won_note.py").write_text(test)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    assert "1 passed" in run.stdout


def test_every_setting_is_in_the_table() -> None:
    """A setting that is not in the README does not exist for its reader."""
    table = README[README.index("## Settings") : README.index("## Adding a source")]
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for inner in kind.model_fields:
                assert f"`{name}.{inner}`" in table, f"{name}.{inner}"
        elif name in INNER:
            assert f"`{name}." in table, name
        else:
            assert f"`{name}`" in table, name
    for name in ("connections", "sources", "channels"):
        line = next(line for line in table.splitlines() if line.startswith(f"| `{name}.NAME.*`"))
        model = Settings.model_fields[name].annotation.__args__[1]  # type: ignore[union-attr]
        for inner in model.model_fields:
            assert f"`{inner}`" in line, f"{name}.NAME.{inner}"


def test_every_command_and_product_is_named() -> None:
    """All commands of the program and all products that it takes are in the text."""
    for name in get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"zohook {name}\b|`{name}`", README), name
    for product in PRODUCTS:
        assert f"`{product}`" in README, product


@pytest.mark.parametrize("line", re.findall(r"^python3 -m venv .*$", README, re.MULTILINE))
def test_the_two_lines_are_there(line: str) -> None:
    """Each sets up everything and does one thing."""
    assert line.endswith((".venv/bin/zohook demo", ".venv/bin/pytest"))


def test_the_pictures_exist() -> None:
    """No link of the README to a file of ours is broken."""
    for path in re.findall(r'(?:src|srcset)="([^"]+)"', README) + re.findall(
        r"\]\(((?!http)[^)#]+)\)", README
    ):
        assert (ROOT / path).exists(), path
