"""Every key of Redis is spelled in one place, with its lifetime, alike in Python and in Lua."""

from __future__ import annotations

import inspect
import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver import keys

FUNCTIONS = keys._all()
LIFETIME = re.compile(
    r"\b(lives?|kept|days?|hours?|minutes?|seconds?|lease|retention|bounded|last \d+|RQ's|heartbeat|empty when|"
    r"dropped|until|year|carries nothing)\b",
    re.IGNORECASE,
)
SCRIPTS = sorted((Path(keys.__file__).parent / "ledger" / "scripts").glob("*.lua"))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_key_says_what_it_is_and_how_long_it_lives(name):
    """Its type comes first, and a word on its lifetime is there: what nobody ends fills Redis."""
    doc = inspect.getdoc(FUNCTIONS[name]) or ""
    assert re.match(
        r"(RQ's |A |The )?(registry|hash|string|list|set|sorted set|counter|stream)\b", doc, re.IGNORECASE
    ), doc
    assert LIFETIME.search(doc), doc


def test_keys_of_ours_have_our_prefix_and_rqs_have_rqs():
    """So that one Redis can hold other things, and RQ's tools find what is RQ's."""
    from rq import Queue

    for name, pattern in keys.patterns().items():
        assert pattern.startswith("rq:" if name.startswith("rq_") else "zh:"), name
    assert keys.rq_queue("zohook") == f"{Queue.redis_queue_namespace_prefix}zohook"
    assert keys.rq_queues() == Queue.redis_queues_keys


def test_no_two_functions_spell_one_key():
    """With other arguments, so that none is by chance the prefix of another with a colon in its id."""
    made = [
        function(*(f"<{p}>" for p in inspect.signature(function).parameters))
        for function in FUNCTIONS.values()
    ]
    assert len(set(made)) == len(made)


def test_a_glob_finds_its_own_keys():
    """`patterns` is what tests and tools look for in a used Redis."""
    for name, pattern in keys.patterns().items():
        count = len(inspect.signature(FUNCTIONS[name]).parameters)
        assert fnmatchcase(FUNCTIONS[name](*["a:b"] * count), pattern)


def test_lua_spells_every_key_as_python_does(redis):
    """Run in the real Redis, whatever bytes an id holds."""
    prelude = keys.lua_prelude()
    calls = []
    for name, function in FUNCTIONS.items():
        count = len(inspect.signature(function).parameters)
        calls.append(f"K.{name}({', '.join(f'ARGV[{at + 1}]' for at in range(count))})")
    script = redis.register_script(f"{prelude}\nreturn {{{', '.join(calls)}}}")

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=3, max_size=3))
    def alike(args):
        said = script(args=args)
        for answer, function in zip(said, FUNCTIONS.values(), strict=True):
            count = len(inspect.signature(function).parameters)
            assert answer.decode() == function(*args[:count])

    alike()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_scripts_spell_no_key_themselves(script):
    """They ask the prelude, and only for keys that there are."""
    text = re.sub(r"--.*", "", script.read_text())
    assert not re.search(r"""['"](zh|rq):""", text)
    assert set(re.findall(r"\bK\.(\w+)", text)) <= set(FUNCTIONS)


def test_python_spells_no_key_elsewhere():
    """A key written by hand would not follow when it is renamed."""
    home = Path(keys.__file__)
    guilty = [
        f"{path.relative_to(home.parent)}:{number}"
        for path in sorted(home.parent.rglob("*.py"))
        if path != home
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"""['"]zh:""", line)
    ]
    assert guilty == []
