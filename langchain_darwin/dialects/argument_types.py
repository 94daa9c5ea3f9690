"""Arguments of calls that models write as another type than the tool's schema wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
    "string": (str,),
}


def fix_types(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with values that a schema wants as another type, changed where nothing is lost: "7" to 7, 3.0 to 3."""
    properties = schema.get("properties") or {}
    return {key: _fixed(value, _types(properties.get(key))) for key, value in arguments.items()}


def _fixed(value: Any, types: tuple[str, ...]) -> Any:
    if not types or any(_has_type(value, name) for name in types):
        return value
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return int(value)
    if isinstance(value, str):
        meant = _meant(value)
        return meant if any(_has_type(meant, name) for name in types) else value
    return value


def _meant(text: str) -> Any:
    """The JSON value that a text spells, also with Python's True, False and None."""
    spelt = {"True": "true", "False": "false", "None": "null"}.get(text.strip(), text)
    try:
        return json.loads(spelt)
    except ValueError:
        return text


def _has_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _PYTHON_TYPES.get(name, (object,)))


def _types(schema: Any) -> tuple[str, ...]:
    """Types that a schema allows; empty if it does not say."""
    if not isinstance(schema, Mapping):
        return ()
    declared = schema.get("type")
    own = (declared,) if isinstance(declared, str) else tuple(declared or ())
    choices = [*(schema.get("anyOf") or ()), *(schema.get("oneOf") or ())]
    return own + tuple(name for choice in choices for name in _types(choice))
