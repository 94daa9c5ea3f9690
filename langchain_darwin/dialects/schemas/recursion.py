"""Schemas that refer to themselves, and pydantic's schemas in a plainer form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_DEFINITIONS = ("$defs", "definitions")
_NAMES = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")


def is_recursive(schema: Mapping[str, Any]) -> bool:
    """Return True if a schema refers to itself, directly or through its definitions."""
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    links = {name: set(_named(each)) for name, each in definitions.items()}
    links[""] = set(_named({word: each for word, each in schema.items() if word not in _DEFINITIONS}))
    reached = {name: set(found) for name, found in links.items()}
    for _ in links:
        reached = {name: found.union(*(links.get(each, set()) for each in found)) for name, found in reached.items()}
    return any(name in found for name, found in reached.items())


def _named(value: Any) -> Iterator[str]:
    """Yield the definitions that a part of a schema refers to; an empty name for the whole."""
    if isinstance(value, list):
        for each in value:
            yield from _named(each)
    elif isinstance(value, Mapping):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2].removeprefix("#")
        for each in value.values():
            yield from _named(each)


def whole(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return pydantic's schema less the titles of its parts, with the definition that it refers to in its place."""
    plain: dict[str, Any] = _untitled(own)
    ref = plain.get("$ref", "")
    if ref.startswith("#/$defs/"):
        plain = {**plain["$defs"][ref.removeprefix("#/$defs/")], **plain}
        del plain["$ref"]
    title = own.get("title") or own.get("$defs", {}).get(ref.rpartition("/")[2], {}).get("title")
    return {**({"title": title} if title else {}), **plain}


def _untitled(value: Any, *, names: bool = False) -> Any:
    if isinstance(value, list):
        return [_untitled(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {
        name: _untitled(each, names=not names and name in _NAMES)
        for name, each in value.items()
        if names or name != "title" or not isinstance(each, str)
    }
