"""Finished answers held against the whole schemas."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage

from langchain_darwin.dialects.schemas.answer_checks import AnswerChecks
from langchain_darwin.dialects.tool_use import tool_use

UNIQUE = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
ARGUMENTS = {"type": "object", "properties": {"days": UNIQUE}, "required": ["days"]}
TOOL = {"type": "function", "function": {"name": "plan", "parameters": ARGUMENTS}}


def calling(*days, name="plan"):
    return AIMessage("", tool_calls=[{"name": name, "args": {"days": list(days)}, "id": "1", "type": "tool_call"}])


def bad_call():
    return AIMessage(
        "", invalid_tool_calls=[{"name": "plan", "args": "{", "id": "1", "error": "", "type": "invalid_tool_call"}]
    )


@pytest.mark.parametrize(
    ("text", "valid"), [("[1, 2]", True), ("[1, 1]", False), ("[1, 2", False), ("Sorry.", False), ("[" * 9999, False)]
)
def test_text(text, valid):
    assert AnswerChecks(UNIQUE)(AIMessage(text)) is valid


@pytest.mark.parametrize(
    ("settings", "message", "valid"),
    [
        ({"tool_choice": "plan"}, calling(1, 2), True),
        ({"tool_choice": "plan"}, calling(1, 1), False),
        ({"tool_choice": "plan"}, AIMessage("No."), False),
        ({"tool_choice": "plan"}, bad_call(), False),
        ({"strict": True}, AIMessage("No."), True),
        ({"strict": True}, calling(1, 1), False),
        ({"response_format": UNIQUE}, calling(1, 2), True),
        ({"response_format": UNIQUE}, AIMessage("[1]"), True),
        ({"response_format": UNIQUE}, AIMessage("[1, 1]"), False),
    ],
)
def test_calls(settings, message, valid):
    assert tool_use({"tools": [TOOL], **settings}).checks()(message) is valid  # type: ignore[misc]


def test_nothing_is_checked_where_nothing_is_enforced():
    assert tool_use({"tools": [TOOL]}).checks() is None


@pytest.mark.parametrize("schema", [{"$ref": "https://example.com/a"}, {"pattern": "\\p{L}"}])
def test_a_schema_that_cannot_be_read_breaks_no_answer(schema):
    assert AnswerChecks(schema)(AIMessage('"a"'))


def test_an_older_draft_is_read_as_such():
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "integer"}]}
    assert [AnswerChecks(schema)(AIMessage(text)) for text in ("[1]", '["a"]')] == [True, False]
