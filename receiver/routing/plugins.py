"""Handlers: declared with `@on`, found with the resources that they ask for in the user's packages and in installed ones."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from receiver.errors import DuplicateHandler, HandlerError, HandlerImportFailed
from receiver.routing.options import Options, read
from receiver.sources import native_pattern

if TYPE_CHECKING:
    from types import ModuleType

    from receiver.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])
GROUP = "zohook.handlers"
RECORDS = frozenset({"crm", "books", "desk", "*", "**"})
"""Products whose records `record=True` reads, and what may be one of them."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A function of the user's and the events that it wants. `needs` are the resources that it names as parameters."""

    id: str
    function: Callable[..., Any]
    patterns: tuple[str, ...]
    options: Options
    needs: tuple[str, ...] = ()
    takes_zoho: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Its id, and those that it had."""
        return (self.id, *self.options.was)

    @property
    def place(self) -> str:
        """What its orders, limits and batches are called by: its first id, so that a new one changes nothing about what waits."""
        return self.options.was[0] if self.options.was else self.id

    @property
    def doc(self) -> str:
        """The first paragraph of its docstring."""
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    def about(self) -> dict[str, Any]:
        """What the catalogue says of it."""
        shown: dict[str, Any] = {}
        for each in fields(self.options):
            value = getattr(self.options, each.name)
            if value is not False and value not in (None, "", (), frozenset(), {}, "live"):
                shown[each.name] = _shown(value)
        return {"id": self.id, "doc": self.doc, "patterns": list(self.patterns), "options": shown}


def _shown(value: Any) -> Any:
    """A value as every process tells it: with an address in it each worker would have a catalogue of its own."""
    if isinstance(value, Mapping):
        return {str(key): _shown(each) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(str(each) for each in value)
    if isinstance(value, list | tuple):
        return [_shown(each) for each in value]
    if callable(value):
        return str(getattr(value, "__qualname__", type(value).__name__))
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


@dataclass(frozen=True, slots=True)
class _Declared:
    patterns: tuple[str, ...]
    options: Options


def on(*types: str, **options: Any) -> Callable[[Function], Function]:
    """Declare a handler of events. Types are `crm.Deals.created`, with `*` for one part and `**` for the rest, or Zoho's own
    words (`Deals.edit`, `Ticket_Add`). Raises HandlerError for what does not exist or does not combine.
    """
    if not types or not all(isinstance(each, str) and each for each in types):
        raise HandlerError('@on takes event types, for example @on("crm.Deals.created"), and was given none')
    if greedy := [each for each in types if "**" in each.split(".")[:-1]]:
        raise HandlerError(f"{greedy[0]!r}: ** is all the rest of a type, so it comes last; * is one part")
    declared = _Declared(types, read(options))
    if declared.options.record and (strange := [each for each in types if not _has_records(each)]):
        raise HandlerError(
            f"record=True reads records of crm, books and desk, and {strange[0]!r} is of none of them"
        )

    def declare(function: Function) -> Function:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise HandlerError(
                f"{function.__qualname__} is an async function; handlers run in threads, so write a plain def: "
                "waiting blocks nobody but its own thread"
            )
        function.__zohook_on__ = declared  # type: ignore[attr-defined]
        return function

    return declare


def _has_records(pattern: str) -> bool:
    """Whether events of a pattern may be about records that can be read."""
    product, dot, _ = (native_pattern(pattern) or pattern).lower().partition(".")
    return not dot or product in RECORDS


@dataclass(frozen=True, slots=True)
class Plugins:
    """Everything that was found: handlers by id and resources by name."""

    handlers: Mapping[str, Handler]
    resources: Mapping[str, Callable[..., Any]]

    def names(self, name: str) -> tuple[str, ...]:
        """Every id that the handler of this one has or had."""
        found = self.find(name)
        return found.names if found else (name,)

    def find(self, name: str) -> Handler | None:
        """The handler of that id, whether it has it or had it."""
        if (found := self.handlers.get(name)) is not None:
            return found
        return next((each for each in self.handlers.values() if name in each.options.was), None)


def load(settings: Settings) -> Plugins:
    """The handlers of the project's packages, of installed ones, and of Zohook's own where a source needs them. Raises
    HandlerError with the module and the cure.
    """
    folder = str(settings.folder)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    modules = [module for name in settings.handlers.packages for module in _modules_of(name)]
    for entry in entry_points(group=GROUP):
        modules += _modules_of(entry.value)
    found = collect(modules, only=settings.handlers.only, off=settings.handlers.off)
    if any(source.product == "crm_bulk" for source in settings.sources.values()):
        from receiver.routing import bulk_jobs  # noqa: PLC0415 - it is a handler, and so imports this

        own = collect([("zohook", bulk_jobs)])
        found = Plugins({**found.handlers, **own.handlers}, {**found.resources, **own.resources})
    return found


def collect(
    modules: list[tuple[str, ModuleType]], *, only: tuple[str, ...] = (), off: tuple[str, ...] = ()
) -> Plugins:
    """The handlers and resources that those (short name, module) pairs define; `only` and `off` know a handler by former ids too."""
    handlers: dict[str, Handler] = {}
    resources: dict[str, Callable[..., Any]] = {}
    for short, module in modules:
        for name, found in vars(module).items():
            if not callable(found) or getattr(found, "__module__", None) != module.__name__:
                continue
            if getattr(found, "__zohook_resource__", False):
                if name in resources and resources[name] is not found:
                    raise DuplicateHandler(
                        f"two resources are called {name!r}; rename the one in {module.__name__}"
                    )
                resources[name] = found
            declared = getattr(found, "__zohook_on__", None)
            if declared is not None:
                _add(handlers, _handler(f"{short}.{name}", found, declared))
    _check_former(handlers)
    kept = {
        each: handler
        for each, handler in handlers.items()
        if not set(off).intersection(handler.names) and (not only or set(only).intersection(handler.names))
    }
    _check_needs(kept, resources)
    return Plugins(kept, resources)


def _add(handlers: dict[str, Handler], handler: Handler) -> None:
    if handler.id in handlers:
        places = handlers[handler.id].function.__module__, handler.function.__module__
        raise DuplicateHandler(
            f"two handlers are called {handler.id}: in {places[0]} and in {places[1]}; rename one"
        )
    handlers[handler.id] = handler


def _check_former(handlers: Mapping[str, Handler]) -> None:
    """Jobs of a former id go to one handler: to which of two would be chance."""
    claimed: dict[str, str] = {}
    for handler in handlers.values():
        for name in handler.options.was:
            other = name if name in handlers else claimed.get(name)
            if other is not None:
                so = "that handler is still there" if name in handlers else f"so does {other}"
                raise DuplicateHandler(
                    f"{handler.id} says was={name!r}, and {so}; only one handler can take up its jobs"
                )
            claimed[name] = handler.id


def _check_needs(handlers: Mapping[str, Handler], resources: Mapping[str, Callable[..., Any]]) -> None:
    for handler in handlers.values():
        for need in handler.needs:
            if need not in resources:
                first = "events" if handler.options.batch else "event"
                close = difflib.get_close_matches(need, [*resources, first, "zoho"], n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise HandlerError(
                    f"{handler.id} asks for {need!r}, and no @resource is called so{hint} "
                    f"A handler may take {first}, zoho and resources by name"
                )


def _handler(handler_id: str, function: Callable[..., Any], declared: _Declared) -> Handler:
    parameters = [
        name
        for name, each in inspect.signature(function).parameters.items()
        if each.default is each.empty and each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}
    ]
    first = "events" if declared.options.batch else "event"
    if first not in parameters:
        hint = {
            "event": "; events is for handlers with batch=" if "events" in parameters else "",
            "events": ", for with batch= it gets a list",
        }
        raise HandlerError(
            f"{handler_id} must take a parameter called {first}: def {function.__name__}({first}, zoho){hint[first]}"
        )
    needs = tuple(name for name in parameters if name not in {first, "zoho"})
    return Handler(handler_id, function, declared.patterns, declared.options, needs, "zoho" in parameters)


def _modules_of(package: str) -> list[tuple[str, ModuleType]]:
    """(name without the package, module) of all that a package turns on: its `ON` list, or every module in it."""
    root = _import(package)
    if not hasattr(root, "__path__"):
        return [(package.rsplit(".", 1)[-1], root)]
    listed = getattr(root, "ON", None)
    found = [each.name for each in pkgutil.iter_modules(root.__path__)]
    names = sorted(name for name in found if not name.startswith("_")) if listed is None else list(listed)
    for name in names:
        if name not in found:
            close = difflib.get_close_matches(name, found, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise HandlerError(
                f"{root.__file__}: ON lists {name!r}, and there is no such module beside it{hint}"
            )
    return [(name, _import(f"{package}.{name}")) for name in names]


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except HandlerError as error:
        raise HandlerImportFailed(f"{name}: {error}") from error
    except ModuleNotFoundError as error:
        if error.name and name.split(".", maxsplit=1)[0] == error.name:
            raise HandlerImportFailed(
                f"there is no package {name!r} of handlers: make a folder {name.replace('.', '/')}/ with an __init__.py, "
                "or name another in [handlers] packages"
            ) from error
        raise HandlerImportFailed(f"the module {name} does not import:\n{traceback.format_exc()}") from error
    except Exception as error:
        raise HandlerImportFailed(f"the module {name} does not import:\n{traceback.format_exc()}") from error
