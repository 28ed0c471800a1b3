"""Handlers and resources: how they are declared, found and refused, each refusal with its cure."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from receiver import Event, on, resource
from receiver.errors import DuplicateHandler, HandlerError, HandlerImportFailed, UnknownOption
from receiver.routing import plugins
from receiver.routing.plugins import collect, load


def room(name="rooms", **functions):
    """A module that defines these functions under these names."""
    module = ModuleType(name)
    for each, function in functions.items():
        function.__module__ = name
        setattr(module, each, function)
    return module


def fine(event):
    """A handler.

    Of two paragraphs.
    """


@pytest.fixture
def project(tmp_path, monkeypatch, settings):
    """Writes packages of handlers, and loads them as a worker does."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(files, **handlers):
        before = set(sys.modules)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        try:
            return load(settings(handlers={"packages": ["mine"], **handlers}))
        finally:
            for name in set(sys.modules) - before:
                if name.split(".")[0] in {"mine", "theirs"}:
                    del sys.modules[name]

    return make


HANDLER = """\
from receiver import on
@on("app.hello")
def {name}(event):
    pass
"""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retrys": 3}, "no option retrys=; did you mean retries=?"),
        ({"wehn": {}}, "did you mean when=?"),
        ({"qqq": 1}, "there are "),
        ({"where": {"a": 1}}, "needs record=True"),
        ({"retries": -1}, "0 or more"),
        ({"timeout": "soon"}, "timeout=: 'soon' is no length of time"),
        ({"max_age": "1 year"}, "max_age=:"),
        ({"origins": "lve"}, "origins= takes live, catchup, poll, handler, backfill, not 'lve'"),
        ({"changed": [1]}, "changed= takes a name or several"),
        ({"when": len}, "when= takes a table of fields"),
        ({"where": "Stage", "record": True}, "where= takes a table of fields"),
        (
            {"was": "old"},
            "was= takes the ids that the handler had, \"module.function\", oldest first, not 'old'",
        ),
        ({"was": ["m.f", 3]}, "not 3"),
        ({"was": "m.f()"}, "not 'm.f()'"),
        ({"batch": 0}, "1 to 500"),
        ({"batch": 501}, "1 to 500"),
        ({"batch": True}, "1 to 500"),
        ({"batch_for": 3}, "batch_for= is the longest wait of batch=, which is missing"),
        ({"batch": 2, "batch_for": "soon"}, "batch_for=: 'soon' is no length of time"),
        ({"rate": "3/0m"}, "write how many in what time"),
        ({"timeout": 0}, "more than 0"),
        ({"queue": "a/b"}, "queue= takes letters, digits, - and _"),
        ({"queue": "a\n"}, "queue= takes letters"),
        ({"queue": "replay"}, "not the name of a lane (recovered, replay), not 'replay'"),
        ({"queue": "slow_recovered"}, "not the name of a lane"),
        ({"record": True}, "reads records of crm, books and desk, and 'app.hello' is of none of them"),
    ],
)
def test_an_option_that_is_wrong_is_refused_where_it_is_written(options, words):
    """With the nearest name, or what it takes."""
    with pytest.raises(HandlerError) as refused:
        on("app.hello", **options)
    assert words in str(refused.value)
    assert isinstance(refused.value, UnknownOption) == ("no option" in str(refused.value))


@pytest.mark.parametrize("types", [(), ("",), (None,), (fine,)])
def test_a_handler_without_types_is_refused(types):
    """`@on` needs parentheses with a type in them."""
    with pytest.raises(HandlerError, match="takes event types"):
        on(*types)


def test_times_are_words_or_seconds_and_names_one_or_several():
    """As in zohook.toml; what is left out has its default."""
    declare = on("a", "b", retry_for="1h 30m", timeout=5, max_age="2d", changed="Stage", source=["x", "y"])
    [handler] = collect([("m", room(f=declare(fine)))]).handlers.values()
    options = handler.options
    assert (options.retry_for, options.timeout, options.max_age) == (5400, 5, 172_800)
    assert (options.changed, options.source) == ({"Stage"}, {"x", "y"})
    assert (options.retries, options.origins, options.record) == (None, frozenset(), False)
    assert (handler.id, handler.patterns, handler.doc) == ("m.f", ("a", "b"), "A handler.")


def test_an_async_handler_is_refused_with_the_reason():
    """Handlers run in threads; a coroutine that nobody awaits would be done without having run."""

    async def handler(event):
        """Would never run."""

    async def generator(event):
        yield

    for function in (handler, generator):
        with pytest.raises(HandlerError, match="is an async function; handlers run in threads"):
            on("app.hello")(function)


def test_a_declared_function_is_still_itself():
    """It can be called and imported as if it were not declared."""
    assert on("app.hello")(fine) is fine
    assert resource(fine) is fine


def test_parameters_are_event_zoho_and_resources():
    """Those with a default are the handler's own business."""

    def handler(zoho, event, pool, limit=3, *more, **named):
        """Asks for a pool."""

    def pool():
        """Makes it."""

    found = collect([("m", room(handler=on("a")(handler), pool=resource(pool)))])
    assert found.handlers["m.handler"].needs == ("pool",)
    assert found.handlers["m.handler"].takes_zoho
    assert list(found.resources) == ["pool"]
    assert not collect([("m", room(f=on("a")(fine)))]).handlers["m.f"].takes_zoho


def test_a_handler_must_take_the_event():
    """And is told how it should look."""

    def handler(evnt):
        """Misspelt."""

    with pytest.raises(HandlerError, match=r"must take a parameter called event: def handler\(event, zoho\)"):
        collect([("m", room(handler=on("a")(handler)))])


def test_a_resource_that_is_not_there_is_told_with_a_guess():
    """At the start of the worker, not at the first event."""

    def handler(event, databse):
        """Asks for what is not there."""

    def database():
        """Is there."""

    with pytest.raises(HandlerError, match=r"m.handler asks for 'databse'.*did you mean 'database'\?"):
        collect([("m", room(handler=on("a")(handler), database=resource(database)))])


def test_one_name_twice_is_refused():
    """Two packages with a module of one name and a handler of one name, or two resources: both places are named."""

    def other(event):
        """Another function."""

    with pytest.raises(DuplicateHandler, match=r"called m.f: in one.m and in two.m"):
        collect([("m", room("one.m", f=on("a")(fine))), ("m", room("two.m", f=on("a")(other)))])
    first, second = resource(lambda: 1), resource(lambda: 2)
    with pytest.raises(DuplicateHandler, match=r"two resources are called 'pool'.*two"):
        collect([("m", room("one", pool=first)), ("n", room("two", pool=second))])


def test_what_is_only_imported_is_not_declared_twice():
    """A handler belongs to the module that defines it."""
    home = room("one", f=on("a")(fine))
    guest = ModuleType("two")
    guest.f = home.f
    assert list(collect([("one", home), ("two", guest)]).handlers) == ["one.f"]


def test_handlers_can_be_switched_on_and_off_by_their_ids():
    """`only` and `off` in zohook.toml."""
    a, b = (lambda event: None), (lambda event: None)
    module = room(a=on("x")(a), b=on("x")(b))
    assert list(collect([("m", module)], only=("m.a",)).handlers) == ["m.a"]
    assert list(collect([("m", module)], off=("m.a",)).handlers) == ["m.b"]


def test_an_id_that_two_claim_is_refused():
    """A former id that is still in use, or that two handlers say was theirs: whose the old jobs are would be chance."""
    a, b = (lambda event: None), (lambda event: None)
    with pytest.raises(DuplicateHandler, match=r"m.a says was='m.b', and that handler is still there"):
        collect([("m", room(a=on("x", was="m.b")(a), b=on("x")(b)))])
    with pytest.raises(DuplicateHandler, match=r"m.b says was='m.c', and so does m.a"):
        collect([("m", room(a=on("x", was="m.c")(a), b=on("x", was=("m.d", "m.c"))(b)))])


def test_a_renamed_handler_is_found_by_every_name_that_it_had():
    """In the ledger, and in `only` and `off`: what was switched off stays off."""
    a = lambda event: None  # noqa: E731 - made anew for each module
    module = room(a=on("x", was=("m.older", "m.old"))(a), b=on("y")(lambda event: None))
    found = collect([("m", module)])
    assert {found.find(name).id for name in ("m.a", "m.old", "m.older")} == {"m.a"}
    assert found.find("m.c") is None
    assert (found.handlers["m.a"].place, found.handlers["m.b"].place) == ("m.older", "m.b")
    assert found.handlers["m.a"].about()["options"]["was"] == ["m.older", "m.old"]
    assert "was" not in found.handlers["m.b"].about()["options"]
    assert list(collect([("m", module)], off=("m.old",)).handlers) == ["m.b"]
    assert list(collect([("m", module)], only=("m.older",)).handlers) == ["m.a"]


def test_the_catalogue_tells_what_was_asked_for():
    """As data, and alike in every process: no address of a function, no order of a set."""
    when = {"n": fine, "a": {"x", "b"}, "c": [1, {"d": None}]}
    declared = on("app.hello", retries=0, when=when, changed=["b", "a"], order=fine)
    about = collect([("m", room(f=declared(fine)))]).handlers["m.f"].about()
    assert (about["id"], about["patterns"], about["doc"]) == ("m.f", ["app.hello"], "A handler.")
    shown = about["options"]
    assert shown["retries"] == 0
    assert shown["when"] == {"n": "fine", "a": ["b", "x"], "c": [1, {"d": None}]}
    assert (shown["changed"], shown["order"]) == (["a", "b"], "fine")
    assert "queue" not in shown
    assert "record" not in shown


def test_handlers_are_found_in_the_projects_package(project):
    """All modules but those with an underscore, or those that ON lists; a resource may come from another module."""
    files = {
        "mine/__init__.py": "",
        "mine/a.py": HANDLER.format(name="first"),
        "mine/b.py": "from receiver import resource\n@resource\ndef pool():\n    return 1\n",
        "mine/_c.py": "raise RuntimeError('not imported')",
    }
    found = project(files)
    assert list(found.handlers) == ["a.first"]
    assert list(found.resources) == ["pool"]
    assert project({**files, "mine/__init__.py": "ON = ('b',)"}).handlers == {}


def test_a_single_module_may_hold_the_handlers(project):
    """A package is not needed for three lines."""
    assert list(project({"mine.py": HANDLER.format(name="alone")}).handlers) == ["mine.alone"]


def test_on_may_not_list_what_is_not_there(project):
    """A name that is misspelt would otherwise switch a handler off silently."""
    files = {"mine/__init__.py": "ON = ['greting']", "mine/greeting.py": HANDLER.format(name="f")}
    with pytest.raises(
        HandlerError, match=r"mine/__init__.py: ON lists 'greting'.*did you mean 'greeting'\?"
    ):
        project(files)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("x = 1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("from receiver import on\non('a', retrys=1)", "did you mean retries=?"),
    ],
)
def test_a_module_that_does_not_import_is_named_with_its_traceback(project, text, words):
    """The message is enough to find the line."""
    with pytest.raises(HandlerImportFailed) as failed:
        project({"mine/__init__.py": "", "mine/broken.py": text})
    assert "mine.broken" in str(failed.value)
    assert words in str(failed.value)
    if "retries" not in words:
        assert 'mine/broken.py", line 1' in str(failed.value)


def test_a_package_that_is_not_there_says_what_to_make(project):
    """The folder, or the setting that names another."""
    with pytest.raises(HandlerImportFailed, match=r"no package 'mine' of handlers: make a folder mine/"):
        project({})


def test_installed_packages_bring_handlers_by_their_entry_point(project, monkeypatch):
    """The group is zohook.handlers; the package is found as the project's own."""
    entry = EntryPoint("theirs", "theirs", "zohook.handlers")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] if group == entry.group else [])
    files = {
        "mine/__init__.py": "",
        "theirs/__init__.py": "",
        "theirs/hello.py": HANDLER.format(name="greet"),
    }
    assert list(project(files).handlers) == ["hello.greet"]


def test_the_words_of_a_handlers_author_are_in_the_package():
    """`from receiver import ...` is all that a handler needs; another word is an error, as in any module."""
    import receiver

    assert {name: getattr(receiver, name).__name__ for name in receiver.__all__} == {
        name: name for name in ("Event", "RetryLater", "Skip", "Zoho", "on", "resource")
    }
    assert receiver.Event is Event
    with pytest.raises(AttributeError, match="no attribute 'every_thing'"):
        receiver.every_thing  # noqa: B018


@pytest.mark.parametrize(
    "scopes",
    ["ZohoCRM", "ZohoCRM.modules", "ZohoCRM.modules.READS", "a b.c.READ", ("Desk.tickets.READ", "x")],
)
def test_a_scope_that_is_mis_spelled_is_refused_at_the_start(scopes):
    """What Zoho would refuse at the consent is refused where it was written, with an example."""
    with pytest.raises(HandlerError, match=r"ZohoCRM\.modules\.Deals\.READ"):
        on("crm.Deals.*", scopes=scopes)(fine)
