"""The shared security cases, run over a product or a way of proving it that is in no table."""

from __future__ import annotations

import inspect
import itertools
from typing import TYPE_CHECKING, Any

from test_sources_guide import TestEveryProduct
from test_sources_security import TestProof

if TYPE_CHECKING:
    from collections.abc import Iterator

SUITES = (TestProof, TestEveryProduct)


def cases(product: str) -> Iterator[tuple[str, Any]]:
    """(name, function without arguments) of every shared case, over each of its own parameters."""
    for suite in SUITES:
        for name, case in inspect.getmembers(suite, inspect.isfunction):
            if name.startswith("test_"):
                yield from _over(name, getattr(suite(), name), case, product)


def _over(name: str, bound: Any, case: Any, product: str) -> Iterator[tuple[str, Any]]:
    marks = [mark for mark in getattr(case, "pytestmark", ()) if mark.name == "parametrize"]
    names, lists = [mark.args[0] for mark in marks], [list(mark.args[1]) for mark in marks]
    for values in itertools.product(*lists):
        given = dict(zip(names, values, strict=True))
        yield f"{name}{list(given.values())}", lambda given=given: bound(product=product, **given)
