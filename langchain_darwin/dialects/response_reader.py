"""A model's text taken apart: reasoning, answer, tool calls. Nothing that a model writes raises here."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, InvalidToolCall, ToolCall
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.utils.json import parse_partial_json

from langchain_darwin.dialects.reading.argument_types import fix_types
from langchain_darwin.dialects.reading.call_words import as_object, called, lenient
from langchain_darwin.dialects.thinking import marks
from langchain_darwin.errors import first_line
from langchain_darwin.runtime.text.thinking import Thought

_REASONING = ("reasoning_content", "reasoning", "thinking")


@dataclass(frozen=True)
class Reading:
    """What a response says. Of a response still being written, only what more text cannot change."""

    text: str
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    invalid_tool_calls: tuple[InvalidToolCall, ...] = ()

    def message(self) -> AIMessage:
        """The message that holds this; reasoning is in `additional_kwargs["reasoning_content"]`."""
        return AIMessage(
            content=self.text,
            additional_kwargs={"reasoning_content": self.reasoning} if self.reasoning else {},
            tool_calls=list(self.tool_calls),
            invalid_tool_calls=list(self.invalid_tool_calls),
        )


Read = Callable[[str, bool], Reading]
"""`read(text, done)`: a response's text taken apart; `done` is False while it is still being written."""


def plain(text: str, _done: bool) -> Reading:
    """The reading of a model that has no tools and does not reason."""
    return Reading(text)


@dataclass(frozen=True)
class ResponseReader:
    """Reads responses by a `response_template` of transformers.

    Attributes:
        template: The template.
        tools: Tools in OpenAI's form. Without any, a call in the text is text.
        opening: What the prompt has written of the response already, such as "<think>".
        salt: Tells this conversation and seed from others. The ids of calls follow from it, so the same search
            gives the same ids, and another turn of the conversation gives others.
        trigger: What calls begin with; it is put before the text of a call that cannot be read.
    """

    template: Mapping[str, Any]
    tools: Sequence[Mapping[str, Any]] = ()
    opening: str = ""
    salt: bytes = b""
    trigger: str = ""

    def __call__(self, text: str, done: bool) -> Reading:
        """Take a response apart; see `Read`."""
        reasoning, start = self.thought.read(text, done=done) if self.thought else ("", 0)
        regions = [] if start is None else self._regions(text[start:], done=done)
        reasoning += "".join(str(region.body) for region in regions if region.field in _REASONING)
        content = "".join(str(region.body) for region in regions if region.field == "content")
        calls: list[ToolCall] = []
        invalid: list[InvalidToolCall] = []
        for region in regions:
            if region.field == "tool_calls" and (region.closed or done):
                self._read_calls(region, calls, invalid)
        return Reading(content.strip(), reasoning.strip(), tuple(calls), tuple(invalid))

    def _regions(self, text: str, *, done: bool) -> list[_Region]:
        from transformers.utils.chat_parsing import ResponseParser

        parser = ResponseParser(self._spec, prefix="" if self.thought else self.opening)
        events = parser.initial_events + parser.feed(text)
        seen = len(events)
        if done:
            events = events + parser.finalize()[1]
        return _gather(events, seen, text)

    @functools.cached_property
    def thought(self) -> Thought | None:
        """Return how the response sets off its thinking; None if the template gives patterns or nothing for it."""
        begin, end = marks(self.template) or ("", "")
        return Thought("" if self.opening else begin, end) if end else None

    @functools.cached_property
    def _spec(self) -> Any:
        """The template with every field as bare text, so that no content can raise."""
        spec = self._full
        fields = {
            name: replace(
                field,
                content="text",
                content_args={"strip": False},
                transform=_bare(field),
                transform_each=False,
                join=None,
                repeats=True,
            )
            for name, field in spec.fields.items()
            if (self.tools if name == "tool_calls" else not (self.thought and name in _REASONING))
        }
        return replace(spec, fields=fields, defaults={})

    @functools.cached_property
    def _full(self) -> Any:
        from transformers.utils.chat_parsing.response_templates import load_response_template

        return load_response_template(dict(self.template))

    @functools.cached_property
    def _parameters(self) -> dict[str, Mapping[str, Any]]:
        functions = (tool["function"] for tool in self.tools)
        return {function["name"]: function.get("parameters") or {} for function in functions}

    def _read_calls(self, region: _Region, calls: list[ToolCall], invalid: list[InvalidToolCall]) -> None:
        """Enter the calls of a region among the good or the bad ones."""
        field = self._full.fields["tool_calls"]
        ident = self._ident(len(calls) + len(invalid), region)
        try:
            value = _parse(region, field)
            read = [self._read_call(found) for found in (value if isinstance(value, list) else [value])]
            calls += [tool_call(name=name, args=args, id=f"{ident}{at or ''}") for at, (name, args) in enumerate(read)]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            name, why = region.captures.get("name"), first_line(error)
            invalid.append(invalid_tool_call(name=name, args=self._unreadable(region), id=ident, error=why))

    def _read_call(self, found: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """Name and arguments of a call; what it has in place of arguments is read only if the tool takes none."""
        name, arguments = called(found)
        parameters = self._parameters.get(name, {})
        if arguments in (None, "") and name in self._parameters and not parameters.get("properties"):
            arguments = {}
        return name, fix_types(as_object(arguments), parameters)

    def _unreadable(self, region: _Region) -> str:
        """The text of a bad call, written so that no lenient JSON parser mends it into another call."""
        try:
            mended = isinstance(parse_partial_json(region.body), dict)
        except (ValueError, RecursionError):
            mended = False
        return f"{self.trigger or 'call: '}{region.body}" if mended else region.body

    def _ident(self, index: int, region: _Region) -> str:
        facts = json.dumps([index, region.captures, region.body]).encode()
        return f"call_{hashlib.blake2b(facts, digest_size=12, key=self.salt).hexdigest()}"


class _Region(NamedTuple):
    """A stretch of a response: its field, text without delimiters, named parts of its delimiter."""

    field: str
    body: str
    captures: dict[str, str]
    closed: bool


def _parse(region: _Region, field: Any) -> Any:
    """The value of a region, by the content parser and transform of its field."""
    from transformers.utils.chat_parsing.content_parsers import process_field

    # JSON that lacks its closing mark either parses or does not; other contents may look whole when they are cut.
    if not region.closed and field.close_re is not None and field.content != "json":
        raise ValueError("it was cut off")
    plain_json = field.content == "json" and not field.content_args
    body = json.dumps(lenient(region.body)) if plain_json else region.body
    value = process_field(body, field, region.captures)
    if field.content.startswith("xml") and not called(value)[1] and region.body.strip():
        raise ValueError("its arguments are not set off by tags")
    return value


def _bare(field: Any) -> dict[str, str] | None:
    """A transform that keeps a region's text and the named parts of its delimiters."""
    names = [
        *(field.open_re.groupindex if field.open_re else ()),
        *(field.close_re.groupindex if field.close_re else ()),
    ]
    return {"body": "{content}", **{name: f"{{{name}}}" for name in names}} if names else None


def _gather(events: Sequence[Mapping[str, Any]], seen: int, text: str) -> list[_Region]:
    """Regions in order. An open one at the end is given with what is certain of it; its captures are not known."""
    regions: list[_Region] = []
    body = ""
    for at, event in enumerate(events):
        if event["type"] == "region_open":
            body = ""
        elif event["type"] == "region_chunk":
            body += event["text"]
        else:
            value = event["value"]
            captures = {k: v for k, v in value.items() if k != "body"} if isinstance(value, dict) else {}
            closed = at < seen or not (body and text.endswith(body))
            regions.append(_Region(event["field"], body, captures, closed))
            body = ""
    if body:
        regions.append(_Region(events[-1]["field"], body, {}, closed=False))
    return regions
