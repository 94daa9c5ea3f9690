"""Chunks of a stream: each piece of reasoning, text and tool calls once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_darwin.dialects.response_reader import Read

_FIRST_CALL_INDEX = 1000  # of content blocks in a stream; LangChain numbers text and reasoning from 0


@dataclass
class Pieces:
    """A response in pieces for a stream: each piece of reasoning, text and calls once.

    A call is released when it is complete, in one chunk.
    """

    read: Read
    _text: str = ""
    _reasoning: str = ""
    _calls: int = 0
    _bad: int = field(default=0, repr=False)

    def feed(self, text: str) -> list[ChatGenerationChunk]:
        """Return what is new in a response of which `text` is certain."""
        reading = self.read(text, False)
        return self._new(reading.message())

    def rest(self, message: AIMessage) -> list[ChatGenerationChunk]:
        """Return what is left of the final message."""
        return self._new(message)

    def _new(self, message: AIMessage) -> list[ChatGenerationChunk]:
        reasoning, text = message.additional_kwargs.get("reasoning_content", ""), str(message.text)
        chunks: list[AIMessageChunk] = []
        if thought := reasoning[len(self._reasoning) :]:
            chunks.append(AIMessageChunk(content="", additional_kwargs={"reasoning_content": thought}))
            self._reasoning = reasoning
        if said := text[len(self._text) :]:
            chunks.append(AIMessageChunk(content=said))
            self._text = text
        chunks += [_call_chunk(call["name"], _dump(call["args"]), call["id"], i) for i, call in self._fresh(message)]
        chunks += [_call_chunk(call["name"], call["args"], call["id"], i) for i, call in self._fresh_bad(message)]
        return [ChatGenerationChunk(message=chunk) for chunk in chunks]

    def _fresh(self, message: AIMessage) -> list[tuple[int, ToolCall]]:
        fresh = list(enumerate(message.tool_calls))[self._calls :]
        self._calls = len(message.tool_calls)
        return fresh

    def _fresh_bad(self, message: AIMessage) -> list[tuple[int, InvalidToolCall]]:
        fresh = list(enumerate(message.invalid_tool_calls))[self._bad :]
        self._bad = len(message.invalid_tool_calls)
        return [(_FIRST_CALL_INDEX + index, call) for index, call in fresh]


def _dump(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, ensure_ascii=False)


def _call_chunk(name: str | None, args: str | None, ident: str | None, index: int) -> AIMessageChunk:
    chunk = tool_call_chunk(name=name, args=args, id=ident, index=_FIRST_CALL_INDEX + index)
    return AIMessageChunk(content="", tool_call_chunks=[chunk])
