"""References within a JSON Schema: pointers, anchors, and names that xgrammar can follow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


class References:
    """The parts of one schema that references name.

    xgrammar follows `#` and plain pointers, but neither escapes (`~1`, `%20`) nor anchors. Each target therefore
    gets a plain name in `$defs`.

    Args:
        root: The whole schema.
    """

    def __init__(self, root: Any) -> None:
        self._root = root
        self._anchors = dict(_anchors(root))
        self._names: dict[str, str] = {}

    def target(self, ref: str) -> Any:
        """Return the schema that a reference names; None if it is not within this schema."""
        place = unquote(ref.removeprefix("#"))
        if not ref.startswith("#"):
            return None
        if place and not place.startswith("/"):
            return self._anchors.get(place)
        found: Any = self._root
        for part in place.split("/")[1:]:
            found = _step(found, part.replace("~1", "/").replace("~0", "~"))
        return found

    def name(self, ref: str) -> str:
        """Return the plain name of a reference's target; no two targets have the same."""
        if ref not in self._names:
            wanted = _UNSAFE.sub("_", unquote(ref).rpartition("/")[2]) or "root"
            taken = set(self._names.values())
            names = (wanted if not number else f"{wanted}_{number}" for number in range(len(taken) + 1))
            self._names[ref] = next(name for name in names if name not in taken)
        return self._names[ref]


def _step(found: Any, part: str) -> Any:
    if isinstance(found, Mapping):
        return found.get(part)
    if isinstance(found, list) and part.isdigit() and int(part) < len(found):
        return found[int(part)]
    return None


def _anchors(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((value[word], value) for word in ("$anchor", "$dynamicAnchor") if isinstance(value.get(word), str))
        for each in value.values():
            yield from _anchors(each)
    elif isinstance(value, list):
        for each in value:
            yield from _anchors(each)


def has_finite_values(root: Any, definitions: Mapping[str, Any]) -> bool:
    """Return True if some value that follows a rewritten schema has an end, in spite of references to itself."""
    finite: set[str] = set()
    places = {"#": root, **{f"#/$defs/{name}": each for name, each in definitions.items()}}
    while found := {ref for ref, each in places.items() if ref not in finite and _ends(each, finite)}:
        finite |= found
    return "#" in finite


def _ends(schema: Any, finite: set[str]) -> bool:
    """Return True if a value needs no other references than those in `finite`."""
    if not isinstance(schema, Mapping):
        return schema is not False
    if "$ref" in schema:
        return schema["$ref"] in finite
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return any(_ends(option, finite) for option in schema[word])
    needed: list[Any] = []
    if schema.get("type") == "object":
        needed = [schema.get("properties", {}).get(name, {}) for name in schema.get("required", ())]
    if schema.get("type") == "array":
        first = list(schema.get("prefixItems", ()))
        rest = schema.get("minItems", 0) - len(first)
        needed = [*first[: schema.get("minItems", 0)], *([schema.get("items", {})] if rest > 0 else [])]
    return all(_ends(each, finite) for each in needed)
