"""Words of JSON Schema that xgrammar does not know, reads otherwise or ignores, in schemas without choices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from langchain_darwin.policies.grammar.schema_merging import types_of
from langchain_darwin.policies.grammar.schema_patterns import as_written

ALL_TYPES = ("string", "number", "object", "array", "boolean", "null")
_NEVER_ENFORCED = (
    *("uniqueItems", "contains", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies"),
    *("minContains", "maxContains"),
)
NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_IMPLIED = {
    "string": frozenset({"pattern", "minLength", "maxLength", "format"}),
    "integer": frozenset({"multipleOf"}),
    "number": NUMBERS,
    "object": frozenset({"properties", "required", "additionalProperties", "patternProperties", "propertyNames"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
}


def modern(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema of an older draft in the words of 2020-12."""
    made = dict(schema)
    if isinstance(made.get("items"), list):
        made["prefixItems"] = made.pop("items")
        if "additionalItems" in made:
            made["items"] = made.pop("additionalItems")
    for word, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(made.get(word), bool):
            exclusive = made.pop(word)
            if exclusive and limit in made:
                made[word] = made.pop(limit)
    return made


def typed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema with the type that its words are about, if it names none: xgrammar would ignore them."""
    if "type" in schema:
        return dict(schema)
    kind = next((kind for kind, words in _IMPLIED.items() if words & schema.keys()), None)
    return dict(schema) if kind is None else {"type": kind, **schema}


def ignored(schema: Mapping[str, Any]) -> list[str]:
    """Return the words of a plain schema that xgrammar ignores."""
    found = [word for word in _NEVER_ENFORCED if word in schema and schema[word] not in (False, {})]
    kinds = types_of(schema) or ALL_TYPES
    if "multipleOf" in schema and "number" in kinds:
        found.append("multipleOf")
    if "pattern" in schema and as_written(schema["pattern"]) is None:
        found.append("pattern")
    if "format" in schema or ("pattern" in schema and "pattern" not in found):
        found += [word for word in ("minLength", "maxLength") if word in schema]
    open_ended = schema.get("additionalProperties") or schema.get("patternProperties") or "properties" not in schema
    if open_ended and schema.get("minProperties", 0) > max(1, len(schema.get("required", ()))):
        found.append("minProperties")
    return found


def written(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a plain schema with numbers and patterns as xgrammar takes them."""
    if "pattern" in schema:
        schema["pattern"] = as_written(schema["pattern"])
    if types_of(schema) == ["integer"]:
        rounding = {"minimum": math.ceil, "maximum": math.floor, "exclusiveMinimum": math.floor}
        for word, whole in {**rounding, "exclusiveMaximum": math.ceil}.items():
            if word in schema:
                schema[word] = whole(schema[word])
    return schema
