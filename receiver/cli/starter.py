"""Where the shipped handlers are: beside the package in a checkout, inside it (as `receiver.starter`) in an installed wheel."""

from __future__ import annotations

from pathlib import Path

from receiver.errors import SettingsError

PACKAGE = Path(__file__).resolve().parent.parent


def checkout() -> Path | None:
    """The folder of the checkout that this runs from, None where it is installed from a wheel."""
    root = PACKAGE.parent
    return (
        root
        if (root / "pyproject.toml").is_file() and (root / "handlers" / "__init__.py").is_file()
        else None
    )


def package() -> str:
    """The importable name of the shipped handlers."""
    return "receiver.starter" if (PACKAGE / "starter" / "__init__.py").is_file() else "handlers"


def folder() -> Path:
    """The folder that they are in."""
    inside, beside = PACKAGE / "starter", checkout()
    if inside.is_dir():
        return inside
    if beside is None:
        raise SettingsError(
            "this installation has no shipped handlers; install Zohook again, from its wheel or a checkout"
        )
    return beside / "handlers"
