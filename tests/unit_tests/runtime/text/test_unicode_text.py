"""Text as UTF-8 can hold it."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_darwin.runtime.text.unicode_text import well_formed, well_formed_messages


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("bad \ud83d end", "bad \ufffd end"),
        ("\ude00", "\ufffd"),
        ("\ud83d\ude00 joined", "😀 joined"),
        ("\ude00\ud83d turned round", "\ufffd\ufffd turned round"),
        ("\ud83d\ud83d\ude00", "\ufffd😀"),
        ("é 你 😀", "é 你 😀"),
        ("", ""),
    ],
)
def test_pairs_are_joined_and_lone_halves_replaced(text, mended):
    assert well_formed(text) == mended


def test_in_all_of_a_value():
    value = {"a\ud83d": ["x", ("\ude00", 5)], "b": None, "c": 1.5}
    assert well_formed(value) == {"a\ufffd": ["x", ("\ufffd", 5)], "b": None, "c": 1.5}


@pytest.mark.parametrize("value", ["text", ["é", {"a": ("b",)}], {"a": []}, ()])
def test_what_is_well_formed_is_the_same_object(value):
    assert well_formed(value) is value


BAD, GOOD = "bad \ud83d \ud83d\ude00", "bad \ufffd 😀"


def test_in_messages():
    call = {"name": "f", "args": {BAD: [BAD]}, "id": "1", "type": "tool_call"}
    messages = [
        SystemMessage(BAD, id="a"),
        HumanMessage([{"type": "text", "text": BAD}], name=BAD),
        AIMessage(BAD, tool_calls=[call], additional_kwargs={"reasoning_content": BAD}),
        ToolMessage(BAD, tool_call_id="1"),
    ]
    first, second, third, fourth = well_formed_messages(messages)
    assert [message.text for message in (first, second, third, fourth)] == [GOOD] * 4
    assert (first.id, second.name, third.additional_kwargs["reasoning_content"]) == ("a", GOOD, GOOD)
    assert third.tool_calls[0]["args"] == {GOOD: [GOOD]}
    assert messages[0].text == BAD


def test_messages_that_are_well_formed_are_the_same_objects():
    messages = [HumanMessage("é"), AIMessage([{"type": "text", "text": "😀"}]), ToolMessage("x", tool_call_id="1")]
    assert all(one is other for one, other in zip(messages, well_formed_messages(messages), strict=True))
