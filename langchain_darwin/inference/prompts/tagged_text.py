"""Finds text that a chat template leaves out.

Every text of a conversation is put between two tags, words that no template changes, and the tagged conversation is
rendered beside the real one. A tag that is missing then says which text is. Looking for the texts themselves would
not do: templates strip, escape and indent them, and a short text may occur elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_darwin.runtime.text.thinking import thought_end

_TAG = re.compile(r"zq\d+[be]z")
_SHOWN = 60  # characters of a text in a message
_LONG_ENOUGH = 24  # characters; a text as long occurs nowhere else in a prompt


class Tagged:
    """A conversation and its tools, each text between tags.

    Text that templates leave out with good reason is not tagged. That is reasoning of earlier turns, names of
    speakers, ids of calls, and all of a tool's schema but names and descriptions.

    Attributes:
        turns: The conversation.
        tools: The tools.
    """

    def __init__(self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> None:
        self._texts: list[tuple[str, str]] = []
        self.tools = [self._tool(f"tools[{at}]", tool) for at, tool in enumerate(tools)]
        self.turns = [self._turn(f"turn {at} ({turn.get('role')})", turn) for at, turn in enumerate(turns)]

    def lost(self, rendered: str, prompt: str) -> str | None:
        """Return the first text that is not whole in a prompt, and its place; None if all are there.

        Args:
            rendered: What the template makes of `turns` and `tools`.
            prompt: What it makes of them without tags. A longer text that is in there as it is has only lost a tag.
        """
        found = set(_TAG.findall(rendered.lower()))
        for at, (place, text) in enumerate(self._texts):
            if not {f"zq{at}bz", f"zq{at}ez"} <= found and not self._is_in(prompt, text.strip()):
                return f"{place}: {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'!r}"
        return None

    def _is_in(self, prompt: str, text: str) -> bool:
        """True if a text too long to occur elsewhere is in a prompt as often as it was said."""
        return len(text) >= _LONG_ENOUGH and prompt.count(text) >= sum(text in other for _, other in self._texts)

    def _turn(self, place: str, turn: Mapping[str, Any]) -> dict[str, Any]:
        skip = thought_end if turn.get("role") == "assistant" else _nothing
        tagged = dict(turn)
        if "content" in turn:
            tagged["content"] = self._content(place, turn["content"], skip)
        if turn.get("tool_calls"):
            tagged["tool_calls"] = [self._call(place, call) for call in turn["tool_calls"]]
        return tagged

    def _content(self, place: str, content: Any, skip: Callable[[str], int]) -> Any:
        if isinstance(content, str):
            at = skip(content)
            return content[:at] + self._tag(place, content[at:])
        return [{**part, "text": self._tag(place, part["text"])} if "text" in part else part for part in content]

    def _call(self, place: str, call: Mapping[str, Any]) -> dict[str, Any]:
        function = call["function"]
        name, arguments = (f"a call's {kind} of {place}" for kind in ("name", "arguments"))
        tagged = {"name": self._tag(name, function["name"]), "arguments": self._all(arguments, function["arguments"])}
        return {**call, "function": {**function, **tagged}}

    def _tool(self, place: str, tool: Mapping[str, Any]) -> dict[str, Any]:
        function = tool.get("function")
        if not isinstance(function, Mapping):
            return dict(tool)
        tagged = {key: self._tag(f"{place}, {key}", function[key]) for key in _SAID if key in function}
        parameters = function.get("parameters")
        if isinstance(parameters, Mapping) and isinstance(parameters.get("properties"), Mapping):
            properties = self._properties(place, parameters["properties"])
            tagged["parameters"] = {**parameters, "properties": properties}
        return {**tool, "function": {**function, **tagged}}

    def _properties(self, place: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        return {self._tag(f"{place}, parameter", name): self._property(place, it) for name, it in properties.items()}

    def _property(self, place: str, schema: Any) -> Any:
        if not isinstance(schema, Mapping) or not isinstance(schema.get("description"), str):
            return schema
        return {**schema, "description": self._tag(f"{place}, description of a parameter", schema["description"])}

    def _all(self, place: str, value: Any) -> Any:
        """Tags around all strings of a JSON value, keys included."""
        if isinstance(value, str):
            return self._tag(place, value)
        if isinstance(value, Mapping):
            return {self._tag(place, key): self._all(place, item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._all(place, item) for item in value]
        return value

    def _tag(self, place: str, text: Any) -> Any:
        if not isinstance(text, str) or not text.strip():
            return text
        at = len(self._texts)
        self._texts.append((place, text))
        return f"zq{at}bz{text}zq{at}ez"


_SAID = ("name", "description")


def _nothing(_text: str) -> int:
    return 0
