"""Tools and output format of one call, and the grammar that enforces them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_darwin.dialects.formats import ToolFormat
from langchain_darwin.dialects.schemas.answer_checks import AnswerChecks
from langchain_darwin.dialects.schemas.conversion import NOT_A_TOOL, definition
from langchain_darwin.dialects.structural_tags import Tool, call_form, calls_form, enclosed
from langchain_darwin.dialects.structured_output import OutputFormat, output_format
from langchain_darwin.dialects.thinking import Thought, after_thinking
from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.policies.base import Constraint, Conversation
from langchain_darwin.runtime.text.unicode_text import well_formed

ARGUMENTS = frozenset({"tools", "tool_choice", "strict", "parallel_tool_calls", "response_format"})
"""Arguments of a call that `tool_use` reads."""


@dataclass(frozen=True)
class ToolUse:
    """Tools and output format of one call.

    Attributes:
        tools: Definitions in OpenAI's form, JSON Schema within; empty if tools must not be called.
        forced: Names of the tools of which one must be called; empty if none must.
        strict: True if arguments must follow their schema also in calls that are not forced.
        parallel: True if several calls in one answer are wanted. None leaves it to the model; a forced call is one.
        output: Format of an answer without calls, or None.
    """

    tools: tuple[Tool, ...] = ()
    forced: tuple[str, ...] = ()
    strict: bool = False
    parallel: bool | None = None
    output: OutputFormat | None = None

    @property
    def constrained(self) -> bool:
        """True if a grammar is needed."""
        return bool(self.forced or self.output or (self.tools and (self.strict or self.parallel is False)))

    def instruct(self, conversation: Conversation) -> Conversation:
        """Return the conversation, with the output format told in its system turn unless a tool must be called."""
        if self.output is None or self.forced:
            return conversation
        return self.output.instruct(conversation)

    def constraint(
        self, written: ToolFormat, thought: Thought | None = None, max_tokens: int = 512
    ) -> Constraint | None:
        """Return the grammar of the answer, or None if it needs none.

        Args:
            written: How the model writes calls.
            thought: How it thinks before it answers, if it does.
            max_tokens: Most tokens of the answer, the thinking included.

        Raises:
            InvalidRequestError: A grammar is needed and it is not known how the model writes calls.
        """
        if not self.constrained:
            return None
        if self.output is not None and not (self.tools or thought):
            return Constraint("json_schema", self.output.text)
        if self.tools and not written.writable:
            msg = (
                "tool calls cannot be enforced for this model: its chat template does not write their arguments as "
                "JSON; leave out tool_choice, strict and parallel_tool_calls, or pass response_template='hermes'"
            )
            raise InvalidRequestError(msg)
        form = self._form(written)
        if thought and (self.forced or self.output):  # any other answer may begin with any text
            form = after_thinking(thought, form, max_tokens)
        return Constraint("structural_tag", json.dumps({"type": "structural_tag", "format": form}))

    def checks(self) -> AnswerChecks | None:
        """Return the checks of finished answers against the whole schemas, or None if nothing is enforced."""
        if not self.constrained:
            return None
        tools = {tool["function"]["name"]: tool["function"].get("parameters") or {} for tool in self.tools}
        return AnswerChecks(None if self.output is None else self.output.schema, tools, must_call=bool(self.forced))

    def _form(self, written: ToolFormat) -> dict[str, Any]:
        """Return the answer as an xgrammar structural tag."""
        answer = {"type": "json_schema", "json_schema": self.output.schema} if self.output else {}
        if not self.tools:
            return answer
        calls = calls_form(self._callable(), written, several=self._several)
        if self.forced:
            return enclosed(calls, written)
        if self.output is not None:
            return {"type": "or", "elements": [enclosed(calls, written), answer]}
        tags = [call_form(tool["function"], written) for tool in self.tools]
        if written.prefix:
            tags = [{"type": "tag", "begin": written.prefix, "content": calls, "end": written.suffix}]
        once = self.parallel is False
        return {"type": "triggered_tags", "triggers": [written.trigger], "tags": tags, "stop_after_first": once}

    @property
    def _several(self) -> bool:
        return bool(self.parallel or (self.parallel is None and not self.forced))

    def _callable(self) -> list[Tool]:
        return [tool for tool in self.tools if not self.forced or tool["function"]["name"] in self.forced]


def tool_use(settings: Mapping[str, Any]) -> ToolUse:
    """Read the arguments `tools, tool_choice, strict, parallel_tool_calls, response_format` of a call.

    Raises:
        InvalidRequestError: One of them is not understood, or they contradict one another.
    """
    strict = settings.get("strict")
    tools = definitions(settings.get("tools") or (), strict=strict)
    forced = forced_names(settings.get("tool_choice"), [tool["function"]["name"] for tool in tools])
    return ToolUse(
        tools=() if _kind(settings.get("tool_choice")) == "none" else tuple(tools),
        forced=forced,
        strict=bool(strict) or any(tool["function"].get("strict") for tool in tools),
        parallel=settings.get("parallel_tool_calls"),
        output=output_format(settings.get("response_format")),
    )


def definitions(tools: Sequence[Any], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Return tools, functions, classes or schemas as definitions in OpenAI's form; of several with one name, the last.

    Raises:
        InvalidRequestError: One is not a tool.
    """
    made = [well_formed(_definition(tool, strict=strict)) for tool in tools]
    return list({each["function"]["name"]: each for each in made}.values())


def _definition(tool: Any, *, strict: bool | None) -> dict[str, Any]:
    try:
        made = definition(tool, strict=strict)
    except NOT_A_TOOL as error:
        msg = f"tools holds {tool!r}, which is not a tool: {error}; pass a tool, function, class or JSON Schema"
        raise InvalidRequestError(msg) from error
    if made.get("type") != "function":
        msg = f"tools holds a built-in tool {made.get('type')!r} of another provider; pass a function instead"
        raise InvalidRequestError(msg)
    return made


def forced_names(choice: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the tools of which a `tool_choice` demands one; empty if it demands none.

    Args:
        choice: None, False, "auto" and "none" force nothing; "any", "required" and True force one of all tools;
            a name, `{"type": "function", "function": {"name": ...}}` or `{"type": "tool", "name": ...}` that one.
        names: Names of the tools there are.

    Raises:
        InvalidRequestError: It is something else, or names a tool that is not there.
    """
    kind = _kind(choice)
    if kind in ("free", "none"):
        return ()
    if not names:
        msg = f"tool_choice={choice!r} asks for a tool call, but there are no tools; pass tools or leave it out"
        raise InvalidRequestError(msg)
    if kind == "any":
        return tuple(names)
    name = choice if isinstance(choice, str) else _named(choice)
    if name is None or name not in names:
        msg = (
            f"tool_choice={choice!r} must be 'auto', 'none', 'any', 'required', True, False, None or a tool: "
            f"{', '.join(names)}"
        )
        raise InvalidRequestError(msg)
    return (name,)


def _kind(choice: Any) -> str:
    """Return "free", "none", "any" or "named"."""
    if choice is None or isinstance(choice, bool):
        return "any" if choice else "free"
    word = choice.get("type") if isinstance(choice, Mapping) and not _named(choice) else choice
    kinds = {"auto": "free", "none": "none", "any": "any", "required": "any"}
    return kinds.get(word, "named") if isinstance(word, str) else "named"


def _named(choice: Any) -> str | None:
    if not isinstance(choice, Mapping):
        return None
    function = choice.get("function")
    name = function.get("name") if isinstance(function, Mapping) else choice.get("name")
    return str(name) if name else None
