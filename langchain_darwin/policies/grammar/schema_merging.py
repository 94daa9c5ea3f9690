"""Two JSON Schemas made one that says both, word by word."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Schema = Mapping[str, Any]

_LARGER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_SMALLER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")
_SILENT = frozenset({"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"})


class ContradictionError(ValueError):
    """No value follows both schemas."""


def merged(one: Schema, other: Schema) -> dict[str, Any]:
    """Return a schema that says what both say, where neither has references or choices at its top.

    Subschemas of one property, or of all items, become an `allOf`, to be merged in turn. Words that cannot be merged
    (two patterns, say) are kept as an `allOf` as well.

    Raises:
        ContradictionError: No value follows both.
    """
    both: dict[str, Any] = {**_properties(one, other), **_items(one, other)}
    rest: list[dict[str, Any]] = []
    for word in dict.fromkeys((*one, *other)):
        if word in both or word in _STRUCTURAL:
            continue
        if word not in one or word not in other or one[word] == other[word] or word in _SILENT:
            both[word] = one.get(word, other.get(word))
        elif word in _MERGES:
            both[word] = _MERGES[word](one[word], other[word])
        else:
            both[word] = one[word]
            rest.append({word: other[word]})
    return {**both, "allOf": rest} if rest else both


def types_of(schema: Schema) -> list[str] | None:
    """Return the types that a schema names, or None if it names none."""
    kind = schema.get("type")
    return None if kind is None else [kind] if isinstance(kind, str) else list(kind)


def _types(one: Any, other: Any) -> list[str] | str:
    first, second = types_of({"type": one}) or [], types_of({"type": other}) or []
    kept = [kind for kind in first if kind in second or (kind == "integer" and "number" in second)]
    kept += [kind for kind in second if kind == "integer" and "number" in first and kind not in kept]
    if not kept:
        raise ContradictionError(f"no value is of the types {one!r} and {other!r} at the same time")
    return kept[0] if len(kept) == 1 else kept


def _common(one: list[Any], other: list[Any]) -> list[Any]:
    kept = [value for value in one if value in other]
    if not kept:
        raise ContradictionError(f"no value is among {one!r} and among {other!r}")
    return kept


def _multiple(one: Any, other: Any) -> Any:
    if isinstance(one, int) and isinstance(other, int):
        return math.lcm(one, other)
    raise ContradictionError(f"multiples of {one!r} and of {other!r} are not merged")


_STRUCTURAL = frozenset({"properties", "patternProperties", "additionalProperties", "prefixItems", "items"})


def both_of(one: Any, other: Any) -> Any:
    """Return a schema that says what both say, as simple as it can be without merging."""
    if one == other or other is True or other == {}:
        return one
    if one is True or one == {}:
        return other
    return False if one is False or other is False else {"allOf": [one, other]}


_MERGES: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(_LARGER, max),
    **dict.fromkeys(_SMALLER, min),
    "type": _types,
    "enum": _common,
    "multipleOf": _multiple,
    "required": lambda one, other: list(dict.fromkeys((*one, *other))),
    "uniqueItems": lambda one, other: one or other,
    "propertyNames": both_of,
    "$defs": lambda one, other: {**one, **other},
}


def _properties(one: Schema, other: Schema) -> dict[str, Any]:
    """Return the words about properties, each property under what both schemas say of it."""
    names = list(dict.fromkeys((*one.get("properties", {}), *other.get("properties", {}))))
    found: dict[str, Any] = {}
    if names:
        found["properties"] = {name: both_of(_named(one, name), _named(other, name)) for name in names}
    patterns = dict.fromkeys((*one.get("patternProperties", {}), *other.get("patternProperties", {})))
    if patterns:
        pairs = [(each.get("patternProperties", {}), each.get("additionalProperties", True)) for each in (one, other)]
        found["patternProperties"] = {
            pattern: both_of(*(known.get(pattern, rest) for known, rest in pairs)) for pattern in patterns
        }
    if "additionalProperties" in one or "additionalProperties" in other:
        found["additionalProperties"] = both_of(*(each.get("additionalProperties", True) for each in (one, other)))
    return found


def _named(schema: Schema, name: str) -> Any:
    """Return what a schema says of a property."""
    return schema.get("properties", {}).get(name, schema.get("additionalProperties", True))


def _items(one: Schema, other: Schema) -> dict[str, Any]:
    """Return the words about items, each place under what both schemas say of it."""
    length = max(len(each.get("prefixItems", ())) for each in (one, other))
    found: dict[str, Any] = {}
    if length:
        found["prefixItems"] = [both_of(_placed(one, place), _placed(other, place)) for place in range(length)]
    if "items" in one or "items" in other:
        found["items"] = both_of(*(each.get("items", True) for each in (one, other)))
    return found


def _placed(schema: Schema, place: int) -> Any:
    first = schema.get("prefixItems", ())
    return first[place] if place < len(first) else schema.get("items", True)


def without(schema: Schema, words: Iterable[str]) -> dict[str, Any]:
    """Return a schema less some of its words."""
    left_out = frozenset(words)
    return {word: value for word, value in schema.items() if word not in left_out}
