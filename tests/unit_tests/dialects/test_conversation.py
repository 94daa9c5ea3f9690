"""LangChain messages as chat-template turns."""

from __future__ import annotations

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_darwin.dialects.conversation import to_conversation
from langchain_darwin.errors import InvalidRequestError


def test_every_kind_of_message_has_its_turn():
    call = {"name": "add", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
    assert to_conversation(
        [
            SystemMessage("Be brief."),
            HumanMessage("1 + 1?", name="ada"),
            AIMessage("", tool_calls=[call]),
            ToolMessage("2", tool_call_id="call_1", name="add"),
            FunctionMessage(content="3", name="old"),
            ChatMessage(content="noted", role="critic"),
            AIMessage("Two."),
        ]
    ) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1 + 1?", "name": "ada"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"type": "function", "id": "call_1", "function": {"name": "add", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "2", "tool_call_id": "call_1", "name": "add"},
        {"role": "tool", "content": "3", "name": "old"},
        {"role": "critic", "content": "noted"},
        {"role": "assistant", "content": "Two."},
    ]


@pytest.mark.parametrize(
    ("said", "read"), [("no such city", "Error: no such city"), ("Error: timeout", "Error: timeout")]
)
def test_a_failed_tool_says_so_once(said, read):
    message = ToolMessage(said, tool_call_id="call_1", status="error")
    assert to_conversation([message])[0]["content"] == read


def test_text_blocks_are_joined_and_tool_use_blocks_left_to_tool_calls():
    blocks = [{"type": "text", "text": "one "}, "two", {"type": "tool_use", "id": "1", "name": "f", "input": {}}]
    assert to_conversation([AIMessage(blocks)]) == [{"role": "assistant", "content": "one two"}]


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("4", additional_kwargs={"reasoning_content": "2 + 2"}),
        AIMessage([{"type": "reasoning", "reasoning": "2 + 2"}, {"type": "text", "text": "4"}]),
    ],
)
def test_reasoning_goes_where_templates_look_for_it(message):
    assert to_conversation([message]) == [{"role": "assistant", "content": "4", "reasoning_content": "2 + 2"}]


@pytest.mark.parametrize("kind", ["image_url", "image", "audio", "file", "video"])
def test_what_a_text_model_cannot_read_is_refused_by_place_and_type(kind):
    messages = [HumanMessage("hi"), HumanMessage([{"type": kind}])]
    with pytest.raises(InvalidRequestError, match=rf"messages\[1\] holds content of type '{kind}'"):
        to_conversation(messages)


def test_no_messages_are_refused():
    with pytest.raises(InvalidRequestError, match=r"messages=\[\] is empty"):
        to_conversation([])


def test_a_message_without_a_role_is_refused():
    with pytest.raises(InvalidRequestError, match=r"messages\[0\] is a RemoveMessage"):
        to_conversation([RemoveMessage(id="1")])


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "A"}], "A"),
        ([{"type": "output_text", "text": "A"}], "A"),
        ([{"type": "image", "base64": "AAAA", "mime_type": "image/png"}, {"type": "text", "text": "A"}], "A"),
        ([{"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}}], ""),
    ],
)
def test_histories_of_other_providers_are_read(blocks, text):
    assert to_conversation([AIMessage(blocks)]) == [{"role": "assistant", "content": text}]


def test_calls_that_could_not_be_read_are_kept():
    bad = {"name": "f", "args": '{"a": ', "id": "1", "error": "cut", "type": "invalid_tool_call"}
    [turn] = to_conversation([AIMessage("Hm.", invalid_tool_calls=[bad])])
    assert turn == {"role": "assistant", "content": "Hm.", "invalid_tool_calls": [{"name": "f", "args": '{"a": '}]}


def test_calls_of_openais_first_form():
    message = AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": '{"a": 1}'}})
    function = {"name": "f", "arguments": {"a": 1}}
    assert to_conversation([message])[0]["tool_calls"] == [{"type": "function", "id": None, "function": function}]
    message.additional_kwargs["function_call"]["arguments"] = '{"a": '
    assert to_conversation([message])[0]["invalid_tool_calls"] == [{"name": "f", "args": '{"a": '}]
