"""A schema of something else than objects put into one of objects: the arguments of a call are one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WRAPPED = "value"
"""Name of the one property of the object around a schema of something else, where only objects will do."""

_DEFINITIONS = ("$defs", "definitions")


def is_object(schema: Mapping[str, Any]) -> bool:
    """Return True for a schema of objects alone."""
    return schema.get("type") == "object" or ("type" not in schema and "properties" in schema)


def wrapped(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of objects whose property `WRAPPED` follows a schema."""
    shared = {word: schema[word] for word in ("$defs", "definitions") if word in schema}
    inner = {word: value for word, value in schema.items() if word not in shared}
    return {"type": "object", "properties": {WRAPPED: _moved(inner)}, "required": [WRAPPED], **_moved(shared)}


def _moved(value: Any) -> Any:
    """Return a part of a schema whose references to the whole follow it into the property `WRAPPED`."""
    if isinstance(value, list):
        return [_moved(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    made = {name: _moved(each) for name, each in value.items()}
    ref = made.get("$ref")
    if isinstance(ref, str) and (ref == "#" or (ref.startswith("#/") and ref.split("/")[1] not in _DEFINITIONS)):
        made["$ref"] = f"#/properties/{WRAPPED}{ref[1:]}"
    return made
