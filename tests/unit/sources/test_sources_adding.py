"""Adding a product is one file, one table line and one folder of samples: the guide's own example is added here and used."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import kits_signed
import pytest
import signed_deliveries
from cryptography.fernet import Fernet
from kits import KITS
from shared_cases import cases

import receiver.sources
from receiver.errors import Malformed, SettingsError, Unauthenticated
from receiver.event import Delivery
from receiver.intake.judge import judge
from receiver.intake.keyring import Keyring
from receiver.sources import PRODUCTS, problems, samples
from receiver.sources.source import Verified, Way
from receiver.zoho.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeSettings

GUIDE = (Path(receiver.sources.__file__).parent / "README.md").read_text()
MODULE, LINE, KIT = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
(SAMPLE,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture
def lamps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The product of the guide, made of its three blocks of code and its sample."""
    module = ModuleType("receiver.sources.lamps")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(MODULE, "<lamps>", "exec"), vars(module))  # noqa: S102 - it is our own page
    (name, source), *more = eval("{" + LINE + "}", vars(module)).items()  # noqa: S307
    assert not more
    folder = tmp_path / name
    folder.mkdir()
    (folder / "switched-on.json").write_text(SAMPLE)
    monkeypatch.setattr(samples, "FOLDER", tmp_path)
    samples._bodies.cache_clear()
    monkeypatch.setitem(PRODUCTS, name, source)
    known = {**vars(signed_deliveries), **vars(kits_signed)}
    monkeypatch.setitem(KITS, name, eval(KIT, known))  # noqa: S307
    yield name
    samples._bodies.cache_clear()


def test_the_example_passes_the_shared_cases(lamps: str) -> None:
    """Each case that every product has to stand, over each of its parameters, holds for it."""
    ran = 0
    for name, case in cases(lamps):
        if (
            "[" in name
            and any(other in name for other in PRODUCTS if other != lamps)
            and "another_products" in name
        ):
            continue  # their kits' samples are elsewhere
        case()
        ran += 1
    assert ran > 25


def test_the_example_tells_its_event(lamps: str) -> None:
    """Type, record, time and identity are as the page says, and a wrong type is malformed."""
    way = Way(lamps, lamps)
    source = PRODUCTS[lamps]
    (event,) = source.parse(Delivery.arrive(lamps, SAMPLE.encode()), way, Verified("hmac")).events
    assert (event.type, event.record_id, event.occurred) == (
        "lamps.lamp.switched_on",
        "4711",
        1_782_893_730_000,
    )
    assert event.identity == '["lamps.lamp.switched_on","n-90211"]'
    assert (problems(way), source.window(way)) == ((), 7 * 86_400)
    with pytest.raises(Malformed):
        source.parse(
            Delivery.arrive(lamps, SAMPLE.replace("4711", '"x"').replace("{", '{"lamp": 1, ', 1).encode()),
            way,
            Verified("hmac"),
        )


def test_the_example_is_configured_like_any_other(lamps: str, settings: MakeSettings) -> None:
    """zohook.toml names it, its secret is asked for, and the keyring opens what is proven and nothing else."""
    toml = f'[sources]\nhall = "{lamps}"\n'
    with pytest.raises(SettingsError, match="ZOHOOK_SECRET_HALL"):
        Keyring(settings(toml), Vault(Fernet.generate_key().decode()))
    known = settings(toml, secrets={"hall": signed_deliveries.SECRETS["new"]})
    lock = Keyring(known, Vault(known.key)).locks["hall"]
    proven = KITS[lamps].proven()
    (event,) = judge(proven, lock).record.events
    assert (event.type, event.source) == ("lamps.lamp.switched_on", "hall")
    with pytest.raises(Unauthenticated):
        judge(KITS[lamps].proven("wrong"), lock)
    assert "lamps.lamp.*" in receiver.sources.known_types()


def test_the_guide_is_one_page() -> None:
    """What takes longer to read than to do is not read; and each step that it names is there."""
    assert len(GUIDE.splitlines()) < 120
    assert [int(step) for step in re.findall(r"^\*\*Step (\d)", GUIDE, re.MULTILINE)] == [0, 1, 2, 3, 4]
    for name in re.findall(r"`(\w+\.py)`", GUIDE):
        assert name == "lamps.py" or (Path(receiver.sources.__file__).parent / name).exists(), name
