"""Calls in the words of any family."""

import pytest

from langchain_darwin.dialects.reading.call_words import as_object, called, lenient


@pytest.mark.parametrize(
    ("found", "name", "arguments"),
    [
        ({"name": "f", "arguments": {"a": 1}}, "f", {"a": 1}),
        ({"tool_name": "f", "tool_input": "{}"}, "f", "{}"),
        ({"action": "f", "action_input": {"a": 1}}, "f", {"a": 1}),
        ({"type": "function", "function": {"name": "f", "parameters": {"a": 1}}}, "f", {"a": 1}),
        ({"function": {"function": {"name": "f", "args": None}}}, "f", None),
        ({"name": "f"}, "f", None),
    ],
)
def test_name_and_arguments(found, name, arguments):
    assert called(found) == (name, arguments)


@pytest.mark.parametrize("found", [{}, {"name": ""}, {"name": 5, "arguments": {}}, {"arguments": {}}])
def test_a_call_of_no_tool(found):
    with pytest.raises(KeyError, match="no name of a tool"):
        called(found)


def test_arguments_are_an_object_with_well_formed_text():
    assert as_object('{"a": "x\ny"}') == {"a": "x\ny"}
    assert as_object({"\ud83d": "\ud83d\ude00"}) == {"\ufffd": "😀"}
    for wrong in (None, "[1]", [1], 5, "null"):
        with pytest.raises(TypeError, match=r"no arguments|not an object"):
            as_object(wrong)
    with pytest.raises(ValueError, match="Expecting"):
        as_object("Oslo")


def test_line_breaks_in_strings_need_no_escapes():
    assert lenient('{"a": "x\n\ty"}') == {"a": "x\n\ty"}
