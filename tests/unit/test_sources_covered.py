"""Every branch of the pure room is run by tests that leave nothing to chance."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BY_CHANCE = {
    "test_sources_corpus.py",
    "test_sources_garbage.py",
    "test_sources_security.py",
    "test_secrecy.py",
}
"""What these, and what else hypothesis makes, reach by chance today they may miss tomorrow; and they take longest."""


@pytest.mark.timeout(400)
def test_every_branch_of_the_sources_is_run(tmp_path: Path) -> None:
    """Whoever adds a branch to a source adds the test that needs it."""
    files = sorted((ROOT / "tests" / "unit" / "sources").glob("test_*.py"))
    quiet = [str(file.relative_to(ROOT)) for file in files if file.name not in BY_CHANCE]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("COV_", "PYTEST_"))
    }
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "-m", "not hypothesis",
         "--cov=receiver/sources", "--cov-branch",
         "--cov-report=term-missing:skip-covered", "--cov-fail-under=100", *quiet],
        cwd=ROOT, env={**environment, "COVERAGE_FILE": str(tmp_path / "coverage")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout[-3000:] + said.stderr[-2000:]
