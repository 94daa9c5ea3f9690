"""JSON Schemas rewritten in the words that xgrammar enforces, and the words that are named because it does not."""

from __future__ import annotations

import re

import pytest

from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.policies.grammar.enforceable import Enforceable, enforceable


def record(required=None, **properties):
    """An object of these properties, all of them required unless stated."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
    }


INT, TEXT, TRUTH = {"type": "integer"}, {"type": "string"}, {"type": "boolean"}
CAT = record(kind={"enum": ["cat"]}, lives=INT)
DOG = record(kind={"enum": ["dog"]}, tricks={"type": "array", "items": TEXT})
NODE = record(value=INT, kids={"type": "array", "items": {"$ref": "#/$defs/Node"}})


@pytest.mark.parametrize(
    ("schema", "rewritten"),
    [
        ({"allOf": [record(a=INT), record(b=TEXT)]}, record(a=INT, b=TEXT)),
        ({**record(a=INT), "allOf": [{"required": ["b"], "properties": {"b": TEXT}}]}, record(a=INT, b=TEXT)),
        (
            {"allOf": [record(a={"minimum": 2, **INT}), record(a={"maximum": 5, **INT})]},
            record(a={"minimum": 2, "maximum": 5, **INT}),
        ),
        ({"allOf": [{"type": ["integer", "null"]}, {"type": ["number", "string"]}]}, INT),
        (
            {"allOf": [record(a=INT, b=TEXT, required=["a"]), {**record(a=INT), "additionalProperties": False}]},
            {**record(a=INT), "additionalProperties": False},
        ),
        (
            {"allOf": [{"type": "array", "prefixItems": [INT]}, {"items": {"minimum": 3}, "maxItems": 2}]},
            {"type": "array", "prefixItems": [{"minimum": 3, **INT}], "items": {"type": "number", "minimum": 3},
             "maxItems": 2},
        ),
        ({"anyOf": [{"required": ["b"]}, {"required": ["c"]}], **record(a=INT)}, {
            "anyOf": [record(a=INT, b={}), record(a=INT, c={})]
        }),
        ({"type": "string", "anyOf": [{"maxLength": 2}, {"const": "abc"}]}, {
            "anyOf": [{"type": "string", "maxLength": 2}, {"enum": ["abc"]}]
        }),
        ({"type": "string", "enum": ["a", 1]}, {"enum": ["a"]}),
        ({"enum": [1, 2, 3, 4], "not": {"multipleOf": 2}}, {"enum": [1, 3]}),
        (record(a=INT, required=["a", "z"]), record(a=INT, z={})),
        (record(a=INT, b=False, required=["a"]), record(a=INT)),
        ({"type": "array", "items": [INT, TEXT], "additionalItems": False}, {
            "type": "array", "prefixItems": [INT, TEXT], "items": False
        }),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, {"type": "integer", "exclusiveMinimum": 3}),
        ({"type": "integer", "minimum": 1.5, "maximum": 3.5}, {"type": "integer", "minimum": 2, "maximum": 3}),
        ({"pattern": "^a$"}, {"type": "string", "pattern": "^a$"}),
        ({"type": "string", "pattern": '^"\\n\\\\$'}, {
            "type": "string", "pattern": '^(?:\\\\")(?:\\\\n)(?:\\\\\\\\)$'
        }),
    ],
)  # fmt: skip
def test_what_can_be_said_otherwise_is_rewritten(schema, rewritten):
    assert enforceable(schema) == Enforceable(rewritten)


@pytest.mark.parametrize(
    ("ref", "place"),
    [
        ("#/$defs/A~1b%20c", {"$defs": {"A/b c": INT}}),
        ("#number", {"$defs": {"A": {"$anchor": "number", **INT}}}),
        ("#/definitions/A", {"definitions": {"A": INT}}),
        ("#/x-shared/0", {"x-shared": [INT]}),
    ],
)
def test_references_get_plain_names(ref, place):
    found = enforceable({**place, "type": "array", "items": {"$ref": ref}}).schema
    [name] = found["$defs"]
    assert (found["items"], found["$defs"][name]["type"]) == ({"$ref": f"#/$defs/{name}"}, "integer")
    assert re.fullmatch(r"\w+", name)


def test_recursion_stays():
    schema = {"$ref": "#/$defs/Node", "$defs": {"Node": NODE}}
    assert enforceable(schema) == Enforceable(schema)
    assert enforceable(
        {"allOf": [{"$ref": "#/$defs/Node"}, record(name=TEXT)], "$defs": {"Node": NODE}}
    ) == Enforceable({**record(**NODE["properties"], name=TEXT), "$defs": {"Node": NODE}})


def test_a_discriminator_is_required():
    """Pydantic leaves it out of `required` where it has a default, and cannot read values without it."""
    kinds = {"Cat": record(kind={"const": "cat"}, required=[]), "Dog": record(kind={"const": "dog"}, required=[])}
    schema = {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds], "discriminator": {"propertyName": "kind"}}
    found = enforceable({**schema, "$defs": kinds})
    assert found == Enforceable({"anyOf": [record(kind={"enum": [name.lower()]}) for name in kinds]})


@pytest.mark.parametrize(
    "schema", [{"oneOf": [CAT, DOG]}, {"oneOf": [INT, TEXT]}, {"oneOf": [record(a=INT), record(a=TEXT)]}]
)
def test_choices_that_exclude_each_other_are_enforced(schema):
    assert enforceable(schema) == Enforceable({"anyOf": schema["oneOf"]})


@pytest.mark.parametrize(
    ("words", "schema"),
    [
        (("uniqueItems",), {"type": "array", "items": INT, "uniqueItems": True}),
        (("contains", "minContains"), {"type": "array", "contains": INT, "minContains": 2}),
        (("not",), {"type": "integer", "not": {"const": 3}}),
        (
            ("if", "then", "else"),
            {**record(a=INT), "if": TEXT, "then": TEXT, "else": INT},
        ),
        (("dependentRequired",), {**record(a=INT, b=INT, required=[]), "dependentRequired": {"a": ["b"]}}),
        (("dependentSchemas",), {**record(a=INT), "dependentSchemas": {"a": {"required": ["b"]}}}),
        (("multipleOf",), {"type": "number", "multipleOf": 0.5}),
        (("minLength",), {"type": "string", "pattern": "^a*$", "minLength": 3}),
        (("maxLength",), {"type": "string", "format": "date", "maxLength": 3}),
        (("pattern",), {"type": "string", "pattern": "^(?!a)b*$"}),
        (("pattern",), {"allOf": [{"type": "string", "pattern": "^a"}, {"pattern": "b$"}]}),
        (("oneOf",), {"oneOf": [INT, {"type": "number"}]}),
        (("minProperties",), {"type": "object", "additionalProperties": INT, "minProperties": 3}),
        (("$ref to https://example.com/a",), {"$ref": "https://example.com/a"}),
    ],
)
def test_what_cannot_be_enforced_is_named(words, schema):
    assert enforceable(schema).dropped == words
    assert enforceable(record(deep={"type": "array", "items": schema})).dropped == words


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": INT, "uniqueItems": False},
        {"type": "string", "minLength": 2, "maxLength": 4},
        {"type": "object", "additionalProperties": INT, "minProperties": 1},
        {"type": "string", "description": "if not, then", "default": "uniqueItems"},
        record(**{"not": INT, "uniqueItems": TEXT, "$ref": TEXT}),
    ],
)
def test_nothing_is_named_where_all_is_enforced(schema):
    assert enforceable(schema).dropped == ()


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"allOf": [INT, TEXT]}, "types 'integer' and 'string'"),
        ({"allOf": [{"enum": [1]}, {"enum": [2]}]}, r"among \[1\] and among \[2\]"),
        (record(a=False), "'a' is required"),
        ({"type": "string", "enum": [1]}, "none of the values"),
        ({"$ref": "#/$defs/A", "$defs": {"A": record(a={"$ref": "#/$defs/A"})}}, "without an end"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "without an end"),
        (False, "contradict"),
    ],
)
def test_what_no_value_follows_is_refused(schema, why):
    with pytest.raises(InvalidRequestError, match=f"no JSON value follows the schema .*{why}"):
        enforceable(schema)


def test_a_reference_to_nothing_is_refused():
    with pytest.raises(InvalidRequestError, match="'#/\\$defs/B' names nothing in it"):
        enforceable({"$ref": "#/$defs/B", "$defs": {"A": INT}})
