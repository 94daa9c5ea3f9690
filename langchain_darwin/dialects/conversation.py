"""LangChain messages to a chat template's conversation, and a beam's text to a LangChain message."""

from __future__ import annotations

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

from langchain_darwin.errors import InvalidRequestError

_TEXT_BLOCKS = {"text", "text-plain"}
_SILENT_BLOCKS = {"tool_use", "tool_call", "input_json_delta", "function_call", "invalid_tool_call"}
_REASONING_BLOCKS = {"reasoning", "thinking"}


def to_conversation(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """Chat-template turns of LangChain messages, one each, in order.

    Tool calls keep their arguments as dicts, a tool's error status is said in its text, reasoning goes where
    templates look for it.

    Raises:
        InvalidRequestError: There is no message, or one holds what a text model cannot read.
    """
    if not messages:
        msg = "messages=[] is empty; pass at least one message, such as HumanMessage('...')"
        raise InvalidRequestError(msg)
    return [_turn(message, at) for at, message in enumerate(messages)]


def _turn(message: BaseMessage, at: int) -> dict[str, Any]:
    text = _text(message, at)
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
    reasoning = message.additional_kwargs.get("reasoning_content") or _reasoning(message)
    if reasoning:
        turn["reasoning_content"] = reasoning
    if message.tool_calls:
        turn["tool_calls"] = [
            {
                "type": "function",
                "id": call["id"],
                "function": {"name": call["name"], "arguments": call["args"]},
            }
            for call in message.tool_calls
        ]
    return turn


def _tool_text(message: ToolMessage, text: str) -> str:
    failed = message.status == "error" and not text.lower().startswith("error")
    return f"Error: {text}" if failed else text


def _text(message: BaseMessage, at: int) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(_block_text(block, at) for block in message.content)


def _block_text(block: str | Mapping[str, Any], at: int) -> str:
    if isinstance(block, str):
        return block
    kind = block.get("type")
    if kind in _TEXT_BLOCKS:
        return str(block.get("text", ""))
    if kind in _SILENT_BLOCKS or kind in _REASONING_BLOCKS:
        return ""
    msg = f"messages[{at}] holds content of type {kind!r}, but this model reads text only; remove it or describe it"
    raise InvalidRequestError(msg)


def _reasoning(message: AIMessage) -> str:
    if isinstance(message.content, str):
        return ""
    blocks = [b for b in message.content if isinstance(b, dict) and b.get("type") in _REASONING_BLOCKS]
    return "".join(str(block.get("reasoning") or block.get("thinking") or "") for block in blocks)
