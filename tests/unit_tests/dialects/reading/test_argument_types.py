"""Arguments of calls as the tool's schema wants them."""

import pytest

from langchain_darwin.dialects.reading.argument_types import fix_types


def test_types_are_fixed_where_nothing_is_lost():
    schema = {
        "properties": {
            "n": {"type": "integer"},
            "x": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "b": {"type": "boolean"},
            "s": {"type": "string"},
            "l": {"type": "array"},
        }
    }
    given = {"n": "7", "x": "None", "b": "True", "s": "7", "l": "[1]", "other": "7"}
    assert fix_types(given, schema) == {"n": 7, "x": None, "b": True, "s": "7", "l": [1], "other": "7"}
    assert fix_types({"n": 3.0, "b": "maybe", "l": "7"}, schema) == {"n": 3, "b": "maybe", "l": "7"}
    assert fix_types({"n": 3.5, "s": 7}, schema) == {"n": 3.5, "s": "7"}


@pytest.mark.parametrize(
    ("schema", "given", "wanted"),
    [
        ({"type": "string"}, 5, "5"),
        ({"type": "string"}, 2.5, "2.5"),
        ({"type": "string"}, True, "true"),
        ({"type": "string"}, {"a": 1}, '{"a": 1}'),
        ({"type": "string"}, None, None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 7, "7"),
        ({"type": ["string", "integer"]}, 7, 7),
        ({"enum": ["1", "2"]}, 1, "1"),
        ({"enum": [1, 2]}, "2", 2),
        ({"const": "on"}, True, "true"),
        ({"type": "array", "items": {"type": "string"}}, [1, "b"], ["1", "b"]),
        ({"type": "array", "items": {"type": "integer"}}, '["1", 2.0]', [1, 2]),
        ({"type": "object", "properties": {"zip": {"type": "string"}}}, {"zip": 1234, "n": 1}, {"zip": "1234", "n": 1}),
        ({}, 5, 5),
        (True, 5, 5),
    ],
)
def test_types_are_fixed_both_ways_and_within(schema, given, wanted):
    assert fix_types({"x": given}, {"properties": {"x": schema}}) == {"x": wanted}


TREE = {
    "$defs": {"T": {"type": "object", "properties": {"n": {"type": "integer"}, "t": {"$ref": "#/$defs/T"}}}},
    "properties": {
        "tree": {"$ref": "#/$defs/T", "description": "a tree"},
        "both": {"allOf": [{"properties": {"n": {"type": "integer"}}}, {"properties": {"s": {"type": "string"}}}]},
        "any": {"anyOf": [{"$ref": "#/$defs/T"}, {"type": "null"}]},
        "one": {"enum": [{"x": "y"}, "c"]},
    },
}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"tree": {"n": "1", "t": {"n": "2"}}}, {"tree": {"n": 1, "t": {"n": 2}}}),
        ({"tree": ' {"n": "1"}\n'}, {"tree": {"n": 1}}),
        ({"both": {"n": "1", "s": 2}}, {"both": {"n": 1, "s": "2"}}),
        ({"any": "null"}, {"any": None}),
        ({"one": ' {"x": "y"} '}, {"one": {"x": "y"}}),
        ({"one": "c"}, {"one": "c"}),
        ({"tree": '{"s": "a\tb\nc"}'}, {"tree": {"s": "a\tb\nc"}}),
    ],
)
def test_references_and_parts_are_followed(given, wanted):
    assert fix_types(given, TREE) == wanted


def test_references_without_an_end_are_left():
    assert fix_types({"x": "1"}, {"$defs": {"A": {"$ref": "#/$defs/A"}}, "properties": {"x": {"$ref": "#/$defs/A"}}})
