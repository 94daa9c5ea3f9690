"""Arguments of calls that models write as another type than the tool's schema wants."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from langchain_darwin.policies.grammar.schema_references import References

_MOST_STEPS = 8  # references and parts of parts that are followed
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
    fixed: dict[str, Any] = _Fixing(schema).fixed(dict(arguments), {"type": "object", **schema})
    return fixed


class _Fixing:
    """Changes values by the parts of one schema, whose references it follows."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._references = References(root)

    def fixed(self, value: Any, part: Any) -> Any:
        schema = self._plain(part, _MOST_STEPS)
        listed = _listed(schema)
        types = self._types(schema)
        if (types and not any(_has_type(value, name) for name in types)) or (listed and value not in listed):
            value = _changed(value, types)
        if isinstance(value, dict):
            properties = _part(schema, "properties")
            return {key: self.fixed(item, properties.get(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fixed(item, _part(schema, "items")) for item in value]
        return value

    def _plain(self, schema: Any, steps: int) -> Mapping[str, Any]:
        """Return a schema with the words of what it refers to and of the parts of its `allOf`."""
        if not isinstance(schema, Mapping) or not steps:
            return {}
        ref = schema.get("$ref")
        parts = [*(schema.get("allOf") or ()), *([self._references.target(ref)] if isinstance(ref, str) else [])]
        made = dict(schema)
        for part in (self._plain(each, steps - 1) for each in parts):
            properties = {**_part(part, "properties"), **_part(made, "properties")}
            made = {**part, **made, **({"properties": properties} if properties else {})}
        return made

    def _types(self, schema: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the types that a schema allows; empty if it does not say."""
        declared = schema.get("type")
        own = (declared,) if isinstance(declared, str) else tuple(declared or ())
        choices = [*(schema.get("anyOf") or ()), *(schema.get("oneOf") or ())]
        plain = [self._plain(choice, _MOST_STEPS) for choice in choices]
        named = own + tuple(name for choice in plain for name in self._types({**choice, "anyOf": (), "oneOf": ()}))
        return named or tuple({_name_of(value) for value in _listed(schema)})


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
        return json.loads(spelt, strict=False)  # small models write line breaks as they are
    except (ValueError, RecursionError):
        return text


def _has_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _PYTHON_TYPES.get(name, (object,)))


def _part(schema: Any, key: str) -> Mapping[str, Any]:
    part = schema.get(key) if isinstance(schema, Mapping) else None
    return part if isinstance(part, Mapping) else {}


def _listed(schema: Mapping[str, Any]) -> list[Any]:
    """Values that a schema lists."""
    listed = schema.get("enum")
    return list(listed) if isinstance(listed, list) else [schema["const"]] if "const" in schema else []


def _name_of(value: Any) -> str:
    return next(
        name for name in ("boolean", "null", "integer", "number", "string", "array", "object") if _has_type(value, name)
    )
