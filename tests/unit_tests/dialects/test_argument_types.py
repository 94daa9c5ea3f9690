"""Arguments of calls as the tool's schema wants them."""

import pytest

from langchain_darwin.dialects.argument_types import fix_types


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
