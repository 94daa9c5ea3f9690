"""What a model's chat template can do by itself with tools and reasoning, and text that does the rest.

A template that writes tool definitions, calls and results itself is left to it. For any other one, tools are
described in the system turn, and calls and results are written as text, in the Hermes format.
"""

from __future__ import annotations

import json
import warnings
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any

from langchain_darwin.dialects.formats import FORMATS, HERMES, ToolFormat
from langchain_darwin.dialects.plain_text import as_text, with_invalid_calls
from langchain_darwin.dialects.probe import ARGUMENTS, NAME, TOOL, Probe, probe
from langchain_darwin.dialects.response_reader import ResponseReader
from langchain_darwin.dialects.thinking import Thought, marks, thought_of
from langchain_darwin.errors import ConfigurationError, InvalidRequestError
from langchain_darwin.inference.chat_codec import check_template_kwargs, continues
from langchain_darwin.policies.base import Codec, Conversation
from langchain_darwin.runtime.text.thinking import THINK


@dataclass(frozen=True)
class Dialect:
    """How one model writes answers, calls and results.

    Attributes:
        format: How its calls are read and written.
        native: Whether its chat template writes tools, calls and results itself.
        opening: What its template writes of the answer itself, such as "<think>".
        thought: How it thinks before it answers, or None if it does not.
        reasons: Whether answers may hold reasoning to be separated from the text.
        short_ids: Whether its template takes only ids of nine letters and digits.
        marked: Whether calls or reasoning are set off by special tokens, which other text is read without.
        template_kwargs: Variables of the chat template that all of this holds for.
        templated: Whether there is a chat template; a codec without one takes conversations as they are.
    """

    format: ToolFormat = HERMES
    native: bool = False
    opening: str = ""
    thought: Thought | None = None
    reasons: bool = False
    short_ids: bool = False
    marked: bool = False
    template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)
    templated: bool = True

    def codec(self, inner: Codec, *, marked: bool) -> Codec:
        """The codec that speaks this dialect; `marked` says whether responses go through a reader."""
        own = replace(self, marked=self.marked and marked)
        return DialectCodec(inner, own) if self.templated else inner

    def reader(self, tools: Sequence[Mapping[str, Any]], salt: bytes) -> ResponseReader:
        """A reader of responses to a call with these tools; ids of calls follow from `salt`."""
        return ResponseReader(self.format.template, tuple(tools), self.opening, salt, self.format.marker)

    def answering(self, conversation: Conversation) -> Dialect:
        """The dialect of an answer to a conversation: one that goes on with the assistant's text thinks no more."""
        if conversation[-1]["role"] != "assistant" or not continues(conversation):
            return self
        return replace(self, opening="", thought=None)


@dataclass(frozen=True)
class DialectCodec:
    """A codec that writes tools, calls and results as text where the chat template would not, or not rightly."""

    inner: Codec
    dialect: Dialect

    @property
    def end_ids(self) -> frozenset[int]:
        """Those of the codec within."""
        return self.inner.end_ids

    def encode_chat(
        self,
        conversation: Conversation,
        tools: Sequence[Mapping[str, Any]] = (),
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        """Token ids of a conversation with tool calls, results and definitions.

        Calls and results that a template cannot take as such, or not in their order, are written as text.
        """
        variables = {**self.dialect.template_kwargs, **(template_kwargs or {})}
        encode = partial(self._encode, variables)
        turns = [with_invalid_calls(turn, self.dialect.format) for turn in conversation]
        if not self.dialect.native:
            return encode(as_text(turns, tools))
        if self.dialect.short_ids:
            turns = [_with_short_ids(turn) for turn in turns]
        try:
            return encode(turns, tools)
        except InvalidRequestError:
            plain = as_text(turns)
            if plain == turns:
                raise
            with suppress(InvalidRequestError):
                return encode(plain, tools)
            raise

    def _encode(
        self, variables: dict[str, Any], conversation: Conversation, tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[int, ...]:
        return self.inner.encode_chat(conversation, tools, *([variables] if variables else []))

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Token ids of bare text."""
        return self.inner.encode_text(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids, with special tokens where calls or reasoning are set off by them."""
        if self.dialect.marked:
            text: str = self.inner.decode_marked(tokens)  # type: ignore[attr-defined]
            return text
        return self.inner.decode(tokens)


_known: weakref.WeakKeyDictionary[Any, dict[str, Dialect]] = weakref.WeakKeyDictionary()


def dialect_of(
    codec: Codec,
    template: str | Mapping[str, Any] | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
) -> Dialect:
    """Return the dialect of a codec's model, found by having its chat template write a call.

    Args:
        codec: The policy's codec.
        template: A `response_template` to read by, or the name of one of `FORMATS`; None to find it out.
        template_kwargs: Variables of the chat template, which the dialect's codec passes to it. They may change
            what the model writes: with `enable_thinking=False`, it may not think.
    """
    variables = dict(template_kwargs or {})
    key = json.dumps(variables, sort_keys=True, default=repr)
    known = _known.setdefault(codec, {})
    if key not in known:
        known[key] = _find(codec, variables)
    found = known[key]
    if template is None:
        return found
    chosen = named_format(template) if isinstance(template, str) else _shipped(template, None)
    return replace(found, format=chosen, reasons="reasoning_content" in chosen.template["fields"])


def named_format(name: str) -> ToolFormat:
    """One of `FORMATS`.

    Raises:
        ConfigurationError: There is none of that name.
    """
    for known in FORMATS:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in FORMATS)
    msg = f"response_template={name!r} must be one of {names}, or a response_template of transformers as a dict"
    raise ConfigurationError(msg)


def _find(codec: Codec, variables: Mapping[str, Any]) -> Dialect:
    tokenizer: Any = getattr(codec, "tokenizer", None)
    if tokenizer is None:
        if variables:
            msg = f"chat_template_kwargs={dict(variables)!r} have no effect: the model has no chat template"
            warnings.warn(msg, stacklevel=2)
        return Dialect(native=True, templated=False)
    check_template_kwargs(tokenizer, variables)
    with codec.lock:  # type: ignore[attr-defined]
        found = probe(tokenizer, variables)
    shipped = getattr(tokenizer, "response_template", None)
    template = json.dumps(tokenizer.chat_template)
    if found is None:
        return Dialect(template_kwargs=variables)
    formats = [known for known in FORMATS if found.answered and _reads(known, found)]
    chosen = formats[0] if formats else HERMES
    if shipped:
        chosen = replace(_shipped(shipped, found), name="shipped") if not formats else replace(chosen, template=shipped)
    native = found.tools and found.results and bool(formats or (shipped and _reads(chosen, found)))
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    delimiters = json.dumps(dict(chosen.template["fields"]))
    begin, _ = marks(chosen.template) or THINK
    return Dialect(
        format=chosen if native or shipped else HERMES,
        native=native,
        opening=_opening(found.asked, begin),
        thought=thought_of(chosen.template, template, found.asked),
        reasons=begin in template or bool(shipped and "reasoning_content" in shipped["fields"]),
        short_ids=found.short_ids,
        marked=any(token in delimiters.replace("\\\\", "") for token in special),
        template_kwargs=variables,
    )


def _reads(written: ToolFormat, found: Probe) -> bool:
    """Return True if a format reads the probe's call."""
    reading = ResponseReader(written.template, [TOOL])(found.call, True)
    return [(call["name"], call["args"]) for call in reading.tool_calls] == [(NAME, ARGUMENTS)]


def _shipped(template: Mapping[str, Any], found: Probe | None) -> ToolFormat:
    """A format read by `template`, written as the chat template writes a call with JSON arguments, if it does."""
    around = found and found.around_call()
    return ToolFormat("own", template, *around) if around else ToolFormat("own", template)


def _opening(asked: str, begin: str) -> str:
    """Return what the prompt writes of the answer itself: an opened thought."""
    at = asked.rfind(begin)
    return asked[at:] if at >= 0 and not asked[at + len(begin) :].strip() else ""


def _with_short_ids(turn: Mapping[str, Any]) -> dict[str, Any]:
    short = dict(turn)
    if "tool_call_id" in turn:
        short["tool_call_id"] = _short(turn["tool_call_id"])
    if turn.get("tool_calls"):
        short["tool_calls"] = [{**call, "id": _short(call["id"])} for call in turn["tool_calls"]]
    return short


def _short(ident: str | None) -> str:
    return blake2b(str(ident).encode(), digest_size=5).hexdigest()[:9]
