"""Tools, calls and results written as plain text, for chat templates that have no place for them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_darwin.dialects.formats import HERMES, ToolFormat
from langchain_darwin.policies.base import Conversation

_HOW_TO_CALL = """\
You may call one or more of the functions described within <tools></tools>:
<tools>
{tools}
</tools>

To call a function, write a JSON object with its name and arguments within <tool_call></tool_call>:
<tool_call>
{{"name": <function-name>, "arguments": <arguments-as-JSON-object>}}
</tool_call>

The results are then given to you within <tool_response></tool_response>."""


def as_text(conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()) -> list[Mapping[str, Any]]:
    """A conversation with tools, calls and results in plain turns of system, user and assistant."""
    turns: list[Mapping[str, Any]] = []
    for turn in conversation:
        results = turn["role"] == "tool" and turns and turns[-1].get("results")
        new = _plain_turn(turn)
        if results:
            turns[-1] = {**turns[-1], "content": f"{turns[-1]['content']}\n{new['content']}"}
        else:
            turns.append(new)
    plain: list[Mapping[str, Any]] = [_without(turn, "results") for turn in turns]
    if not tools:
        return plain
    listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    return with_system_text(plain, _HOW_TO_CALL.format(tools=listed))


def _plain_turn(turn: Mapping[str, Any]) -> Mapping[str, Any]:
    if turn["role"] == "tool":
        return {"role": "user", "content": f"<tool_response>\n{turn['content']}\n</tool_response>", "results": True}
    if not turn.get("tool_calls"):
        return turn
    functions = (call["function"] for call in turn["tool_calls"])
    calls = [HERMES.write(function["name"], function["arguments"]) for function in functions]
    said = [turn["content"]] if turn["content"] else []
    return _without(turn, "tool_calls") | {"content": "\n".join([*said, *calls])}


def with_invalid_calls(turn: Mapping[str, Any], written: ToolFormat) -> Mapping[str, Any]:
    """Return a turn with calls that could not be read at the end of its text, as they were written."""
    if not turn.get("invalid_tool_calls"):
        return turn
    calls = (written.write_invalid(call.get("name"), call.get("args") or "") for call in turn["invalid_tool_calls"])
    said = [turn["content"]] if turn["content"] else []
    return _without(turn, "invalid_tool_calls") | {"content": "\n".join([*said, *calls])}


def _without(turn: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in turn.items() if name != key}


def with_system_text(conversation: Conversation, text: str) -> list[Mapping[str, Any]]:
    """A conversation whose first system turn ends with `text`; one is put first if there is none."""
    turns = list(conversation)
    at = next((i for i, turn in enumerate(turns) if turn["role"] == "system"), None)
    if at is None:
        return [{"role": "system", "content": text}, *turns]
    turns[at] = {**turns[at], "content": f"{turns[at]['content']}\n\n{text}"}
    return turns
