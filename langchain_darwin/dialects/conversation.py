"""LangChain messages to a chat template's conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langchain_darwin.dialects.reading.content_blocks import reasoning_of, text_of
from langchain_darwin.errors import InvalidRequestError


def to_conversation(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Return chat-template turns of LangChain messages, one each, in order.

    Tool calls keep their arguments as dicts. Those that could not be read are in `invalid_tool_calls`, which a
    dialect writes out. A tool's error status is said in its text, reasoning goes where templates look for it.

    Raises:
        InvalidRequestError: There is no message, or one holds what a text model cannot read.
    """
    if not messages:
        msg = "messages=[] is empty; pass at least one message, such as HumanMessage('...')"
        raise InvalidRequestError(msg)
    return [_turn(message, at) for at, message in enumerate(messages)]


def _turn(message: BaseMessage, at: int) -> dict[str, Any]:
    text = text_of(message.content, f"messages[{at}]", own=isinstance(message, AIMessage))
    match message:
        case SystemMessage():
            turn = {"role": "system", "content": text}
        case HumanMessage():
            turn = {"role": "user", "content": text}
        case AIMessage():
            turn = _assistant_turn(message, text)
        case ToolMessage():
            turn = {"role": "tool", "content": _tool_text(message, text), "tool_call_id": message.tool_call_id}
        case FunctionMessage():
            turn = {"role": "tool", "content": text}
        case ChatMessage():
            turn = {"role": message.role, "content": text}
        case _:
            msg = f"messages[{at}] is a {type(message).__name__}, which a chat template has no role for; drop it"
            raise InvalidRequestError(msg)
    if message.name:
        turn["name"] = message.name
    return turn


def _assistant_turn(message: AIMessage, text: str) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": "assistant", "content": text}
    reasoning = message.additional_kwargs.get("reasoning_content") or reasoning_of(message.content)
    if reasoning:
        turn["reasoning_content"] = reasoning
    if calls := [_call(call["name"], call["args"], call["id"]) for call in message.tool_calls]:
        turn["tool_calls"] = calls
    if message.invalid_tool_calls:
        turn["invalid_tool_calls"] = [{"name": bad["name"], "args": bad["args"]} for bad in message.invalid_tool_calls]
    if "function_call" in message.additional_kwargs and not (calls or message.invalid_tool_calls):
        turn |= _legacy_call(message.additional_kwargs["function_call"])
    return turn


def _call(name: str, arguments: Any, ident: str | None) -> dict[str, Any]:
    return {"type": "function", "id": ident, "function": {"name": name, "arguments": arguments}}


def _legacy_call(function: Mapping[str, Any]) -> dict[str, Any]:
    """The call of OpenAI's `function_call`, which has no id; LangChain leaves it unread."""
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        arguments = None
    if isinstance(arguments, dict):
        return {"tool_calls": [_call(function["name"], arguments, None)]}
    return {"invalid_tool_calls": [{"name": function["name"], "args": function["arguments"]}]}


def _tool_text(message: ToolMessage, text: str) -> str:
    failed = message.status == "error" and not text.lower().startswith("error")
    return f"Error: {text}" if failed else text
