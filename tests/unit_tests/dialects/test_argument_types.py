"""Arguments of calls as the tool's schema wants them."""

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
    assert fix_types({"n": 3.5, "s": 7}, schema) == {"n": 3.5, "s": 7}
