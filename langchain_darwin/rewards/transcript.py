"""Messages as plain turns, for rewards that show a conversation to a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}


def turns(messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
    """Role and content of each message, as chat templates take them."""
    return [{"role": _ROLES.get(message.type, message.type), "content": content(message)} for message in messages]


def content(message: BaseMessage) -> str:
    """Text of a message, then each of its tool calls as a line of JSON."""
    calls = [{"tool": call["name"], "args": call["args"]} for call in getattr(message, "tool_calls", ())]
    return "\n".join(filter(None, [message.text, *(json.dumps(call) for call in calls)]))


def transcript(messages: Sequence[BaseMessage]) -> str:
    """The conversation as text, each message under its role; a single message is alone."""
    spoken = turns(messages)
    if len(spoken) == 1:
        return spoken[0]["content"]
    return "\n\n".join(f"{turn['role'].title()}: {turn['content']}" for turn in spoken)
