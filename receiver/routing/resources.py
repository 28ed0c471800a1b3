"""Resources: what a worker process makes once and its handlers ask for by name, a pool, a client, a setting."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from receiver.errors import HandlerError

if TYPE_CHECKING:
    from receiver.settings import Settings

Function = TypeVar("Function", bound=Callable[..., Any])


def resource(function: Function) -> Function:
    """Declare something made once per worker process: a pool, a client, a setting. Handlers ask for it by parameter name.

    The function may take `settings` and other resources by name, and may yield instead of returning, to clean up at the end.
    """
    function.__zohook_resource__ = True  # type: ignore[attr-defined]
    return function


class Resources:
    """The resources of one process: each is made once, when first asked for, and closed at the end."""

    def __init__(self, makers: Mapping[str, Callable[..., Any]], settings: Settings) -> None:
        self._makers = makers
        self._made: dict[str, Any] = {"settings": settings}
        self._lock = threading.RLock()
        self._exit = ExitStack()

    def get(self, name: str, _asking: tuple[str, ...] = ()) -> Any:
        """The resource of that name. Raises HandlerError where resources need each other in a ring."""
        with self._lock:
            if name in self._made:
                return self._made[name]
            if name in _asking:
                raise HandlerError("resources need each other in a ring: " + " -> ".join([*_asking, name]))
            maker = self._makers[name]
            given = {each: self.get(each, (*_asking, name)) for each in inspect.signature(maker).parameters}
            if inspect.isgeneratorfunction(maker):
                made = self._exit.enter_context(contextmanager(maker)(**given))
            else:
                made = maker(**given)
            self._made[name] = made
            return made

    def close(self) -> None:
        """Close what was made, last first."""
        self._exit.close()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)
