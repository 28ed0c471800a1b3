"""Zoho's own API descriptions as a judge of requests. They carry no licence, so they are read from a folder beside the repository."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import orjson
import regex
import yaml
from jsonschema import Draft4Validator, Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4, DRAFT202012

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(os.environ.get("ZOHOOK_OAS") or Path(__file__).parents[4] / "shared" / "oas")
ROOT = "https://oas.example/"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What stands before the paths of a document; CRM's bulk documents say theirs in `servers`.
_BASES = {"books": "/books/v3", "desk": ""}
_CLOSING = ("additionalProperties", "required", "unevaluatedProperties")
_PLAIN_HEADERS = re.compile(r"if-|x-|feature$|orgid$")


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    """Patterns are Java's, which Python's own `re` cannot read."""
    if isinstance(instance, str) and not regex.search(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


@dataclass(frozen=True)
class Spot:
    """A place in a document, references followed."""

    library: Library
    address: str

    @property
    def value(self) -> Any:
        """What stands there."""
        return self.library.registry.resolver().lookup(self.address).contents

    def at(self, *keys: str | int) -> Spot | None:
        """The place under these keys, or None where there is nothing."""
        spot = self
        for key in keys:
            value = spot.value
            if (isinstance(value, dict) and key not in value) or not isinstance(value, dict | list):
                return None
            pointer = str(key).replace("~", "~0").replace("/", "~1").replace("%", "%25")
            pointer = pointer.replace("{", "%7B").replace("}", "%7D")
            spot = Spot(self.library, f"{spot.address}/{pointer}").followed()
        return spot

    def followed(self) -> Spot:
        """The place itself, or the one that it refers to."""
        value = self.value
        if isinstance(value, dict) and "$ref" in value:
            return Spot(self.library, urljoin(self.address, value["$ref"])).followed()
        return self

    def each(self, key: str) -> list[Spot]:
        """The places of a list under that key."""
        spot = self.at(key)
        return [] if spot is None else [one for at in range(len(spot.value)) if (one := spot.at(at))]

    def errors(self, data: Any) -> Iterator[str]:
        """What is wrong with the data by the schema that stands here."""
        validator = self.library.validator({"$ref": self.address}, registry=self.library.registry)
        for error in validator.iter_errors(data):
            for leaf in error.context or [error]:
                yield f"{'/'.join(map(str, leaf.absolute_path)) or 'body'}: {leaf.message[:200]}"


@dataclass(frozen=True)
class Operation:
    """One operation of a document, and where its parameters and its body are described."""

    name: str
    """Its method and the template of its path."""
    spot: Spot
    path: Spot

    def faults(self, call: Any) -> Iterator[str]:
        """What is wrong with a call by this description."""
        declared = [*self.spot.each("parameters"), *self.path.each("parameters")]
        yield from self._named("query", declared, dict(call.query))
        yield from self._named(
            "header", declared, {n: v for n, v in call.headers.items() if _PLAIN_HEADERS.match(n)}
        )
        yield from self._body(call)

    def _named(self, where: str, declared: list[Spot], sent: dict[str, str]) -> Iterator[str]:
        known = {}
        for spot in declared:
            if spot.value["in"] == where:
                name = spot.value["name"]
                known[name if where == "query" else name.lower()] = spot
        for name, text in sent.items():
            if name not in known:
                yield f"{where} {name}: not declared"
            elif (schema := known[name].at("schema")) is not None:
                tried = [list(schema.errors(reading)) for reading in _readings(text)]
                if all(tried):
                    yield f"{where} {name}: {min(tried, key=len)[0]}"
        for name, spot in known.items():
            if spot.value.get("required") and name not in sent:
                yield f"{where} {name}: missing"

    def _body(self, call: Any) -> Iterator[str]:
        described = self.spot.at("requestBody")
        kind = call.headers.get("content-type", "").partition(";")[0]
        if described is None:
            if call.body:
                yield "body: none is described"
            return
        if not call.body:
            if described.value.get("required"):
                yield "body: missing"
            return
        content = described.at("content", kind)
        if content is None:
            yield f"body: {kind} is none of {', '.join(described.value['content'])}"
        elif kind == "application/json" and (schema := content.at("schema")) is not None:
            yield from schema.errors(orjson.loads(call.body))


class Library:
    """The documents of one product."""

    def __init__(self, product: str, folder: str) -> None:
        old = product == "books"
        self.validator: Any = extend(Draft4Validator if old else Draft202012Validator, {"pattern": _pattern})
        documents = {f"{ROOT}{path.name}": _read(path) for path in sorted((FOLDER / folder).iterdir())}
        if product == "desk":
            documents = {uri: _mended(contents) for uri, contents in documents.items()}
        spec = DRAFT4 if old else DRAFT202012
        self.registry: Any = Registry().with_resources(
            [(uri, Resource(contents=contents, specification=spec)) for uri, contents in documents.items()]
        )
        self._paths = sorted(
            (
                (_base(product, contents), template, Spot(self, f"{uri}#"))
                for uri, contents in documents.items()
                for template in contents.get("paths") or {}
            ),
            key=lambda found: found[1].count("{"),
        )

    def find(self, method: str, path: str) -> Operation | None:
        """The operation that a call is, the one with the fewest placeholders first."""
        for base, template, root in self._paths:
            if re.fullmatch(base + re.sub(r"\{[^/]+?\}", "[^/]+", template), path):
                found = root.at("paths", template)
                spot = found.at(method.lower()) if found else None
                if found and spot:
                    return Operation(f"{method} {base}{template}", spot, found)
        return None


def _base(product: str, contents: dict[str, Any]) -> str:
    if product != "crm":
        return _BASES[product]
    return "/crm/bulk/v8" if "/bulk/" in contents["servers"][0]["url"] else "/crm/v8"


def _read(path: Path) -> Any:
    if path.suffix == ".json":
        return orjson.loads(path.read_bytes())
    return yaml.load(path.read_bytes(), Loader=_LOADER)  # noqa: S506 - the C one of the safe loaders


def _mended(contents: Any) -> Any:
    """Desk's documents close each half of an `allOf` against the other and say that all its properties are required, so that no body
    fits. Here the whole is closed instead, and what a whole says of its own is required.
    """

    def mend(part: Any) -> Any:
        if isinstance(part, list):
            return [mend(one) for one in part]
        if not isinstance(part, dict):
            return part
        whole = {key: mend(value) for key, value in part.items()}
        if "allOf" in whole and whole.pop("additionalProperties", True) is False:
            whole["unevaluatedProperties"] = False
        return whole

    def loosen(half: dict[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in half.items() if key not in _CLOSING}
        return {**kept, "allOf": [loosen(one) for one in half["allOf"]]} if "allOf" in half else kept

    halves = set(
        re.findall(
            r'"allOf":\[\{"\$ref":"[^"#]*#/components/schemas/([^"]+)"', orjson.dumps(contents).decode()
        )
    )
    schemas = contents.get("components", {}).get("schemas", {})
    named = {name: loosen(schema) if name in halves else schema for name, schema in schemas.items()}
    return mend({**contents, "components": {**contents.get("components", {}), "schemas": named}})


def _readings(text: str) -> list[Any]:
    """What a text in a query may mean: itself, a number, a truth, a list."""
    found: list[Any] = [text]
    if re.fullmatch(r"-?\d+", text):
        found.append(int(text))
    if text in {"true", "false"}:
        found.append(text == "true")
    items = text.split(",")
    return [*found, items, [int(one) for one in items]] if all(map(str.isdecimal, items)) else [*found, items]
