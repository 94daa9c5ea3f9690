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
    """Return arguments with values of another type than a schema wants changed where nothing is lost.

    Both ways alike: "7" to 7 where a number is wanted, 7 to "7" where a string is; also in lists and objects.
    """
    fixed: dict[str, Any] = _fixed(dict(arguments), {"type": "object", **schema})
    return fixed


def _fixed(value: Any, schema: Any) -> Any:
    types = _types(schema)
    if types and not any(_has_type(value, name) for name in types):
        value = _changed(value, types)
    if isinstance(value, dict):
        properties = _part(schema, "properties")
        return {key: _fixed(item, properties.get(key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_fixed(item, _part(schema, "items")) for item in value]
    return value


def _changed(value: Any, types: tuple[str, ...]) -> Any:
    """The value as one of the types, if it says the same; else as it is."""
    if isinstance(value, float) and "integer" in types and value.is_integer():
        return int(value)
    if isinstance(value, str):
        meant = _meant(value)
        return meant if any(_has_type(meant, name) for name in types) else value
    if "string" in types and value is not None:
        return json.dumps(value, ensure_ascii=False)
    return value


def _meant(text: str) -> Any:
    """The JSON value that a text spells, also with Python's True, False and None."""
    spelt = {"True": "true", "False": "false", "None": "null"}.get(text.strip(), text)
    try:
        return json.loads(spelt)
    except (ValueError, RecursionError):
        return text


def _has_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _PYTHON_TYPES.get(name, (object,)))


def _part(schema: Any, key: str) -> Mapping[str, Any]:
    part = schema.get(key) if isinstance(schema, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _types(schema: Any) -> tuple[str, ...]:
    """Types that a schema allows; empty if it does not say."""
    if not isinstance(schema, Mapping):
        return ()
    declared = schema.get("type")
    own = (declared,) if isinstance(declared, str) else tuple(declared or ())
    choices = [*(schema.get("anyOf") or ()), *(schema.get("oneOf") or ())]
    named = own + tuple(name for choice in choices for name in _types(choice))
    return named or tuple({_name_of(value) for value in _listed(schema)})


def _listed(schema: Mapping[str, Any]) -> list[Any]:
    """Values that a schema lists."""
    listed = schema.get("enum")
    return list(listed) if isinstance(listed, list) else [schema["const"]] if "const" in schema else []


def _name_of(value: Any) -> str:
    return next(
        name for name in ("boolean", "null", "integer", "number", "string", "array", "object") if _has_type(value, name)
    )
