"""What a model's chat template can do by itself with tools and reasoning, and text that does the rest.

A template that writes tool definitions, calls and results itself is left to it. For any other one, tools are
described in the system turn, and calls and results are written as text, in the Hermes format.
"""

from __future__ import annotations

import json
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import blake2b
from typing import Any

from langchain_darwin.dialects.formats import FORMATS, HERMES, ToolFormat
from langchain_darwin.dialects.plain_text import as_text
from langchain_darwin.dialects.response_reader import ResponseReader
from langchain_darwin.dialects.thinking import Thought, marks, thought_of
from langchain_darwin.errors import ConfigurationError
from langchain_darwin.inference.chat_codec import check_template_kwargs
from langchain_darwin.policies.base import Codec, Conversation
from langchain_darwin.runtime.thinking import THINK

_NAME, _RESULT = "probe_tool", "probe_result"
_ARGUMENTS = {"key": "value"}
_IDS = ("call_0123456789abcdef01234567", "abcdef012")  # ours, and the only ones that Mistral's templates take
_ASKED = [{"role": "user", "content": "hello"}]
_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "A tool.",
        "parameters": {"type": "object", "properties": {"key": {"type": "string", "description": "A key."}}},
    },
}


@dataclass(frozen=True)
class Dialect:
    """How one model writes answers, calls and results.

    Attributes:
        format: How its calls are read and written.
        native: Whether its chat template writes tools, calls and results itself.
        opening: What its template writes of the answer itself, such as "<think>".
        thought: How it thinks before it answers, or None if it does not.
        reasons: Whether answers may hold reasoning to be told from the text.
        short_ids: Whether its template takes only ids of nine letters and digits.
        marked: Whether calls or reasoning are set off by special tokens, which other text is read without.
        template_kwargs: Variables of the chat template that all of this holds for.
    """

    format: ToolFormat = HERMES
    native: bool = False
    opening: str = ""
    thought: Thought | None = None
    reasons: bool = False
    short_ids: bool = False
    marked: bool = False
    template_kwargs: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def codec(self, inner: Codec, *, marked: bool) -> Codec:
        """The codec that speaks this dialect; `marked` says whether responses go through a reader."""
        own = replace(self, marked=self.marked and marked)
        plain = own.native and not (own.short_ids or own.marked or own.template_kwargs)
        return inner if plain else DialectCodec(inner, own)

    def reader(self, tools: Sequence[Mapping[str, Any]], salt: bytes) -> ResponseReader:
        """A reader of responses to a call with these tools; ids of calls follow from `salt`."""
        marker = self.format.trigger.partition("{")[0]
        return ResponseReader(self.format.template, tuple(tools), self.opening, salt, marker)


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
        """Token ids of a conversation with tool calls, results and definitions."""
        variables = {**self.dialect.template_kwargs, **(template_kwargs or {})}
        if not self.dialect.native:
            conversation, tools = as_text(conversation, tools), ()
        elif self.dialect.short_ids:
            conversation = [_with_short_ids(turn) for turn in conversation]
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


@dataclass(frozen=True)
class _Probe:
    """What a chat template makes of a question, of a call in answer to it, and of the call's result."""

    asked: str
    answered: str = field(default="")
    tools: bool = False
    results: bool = False
    short_ids: bool = False

    @property
    def call(self) -> str:
        """The text of the call and what follows it."""
        if self.answered.startswith(self.asked):
            return self.answered[len(self.asked) :]
        return self.answered[self.answered.rfind("hello") + len("hello") :]


def _find(codec: Codec, variables: Mapping[str, Any]) -> Dialect:
    tokenizer: Any = getattr(codec, "tokenizer", None)
    if tokenizer is None:
        if variables:
            msg = f"chat_template_kwargs={dict(variables)!r} have no effect: the model has no chat template"
            warnings.warn(msg, stacklevel=2)
        return Dialect(native=True)  # the codec takes tools and calls as they are
    check_template_kwargs(tokenizer, variables)
    with codec.lock:  # type: ignore[attr-defined]
        probe = _probe(partial(_render, tokenizer, variables))
    shipped = getattr(tokenizer, "response_template", None)
    template = json.dumps(tokenizer.chat_template)
    if probe is None:
        return Dialect(template_kwargs=variables)
    formats = [known for known in FORMATS if probe.answered and _reads(known, probe.call)]
    chosen = formats[0] if formats else HERMES
    if shipped:
        chosen = replace(_shipped(shipped, probe), name="shipped") if not formats else replace(chosen, template=shipped)
    native = probe.tools and probe.results and bool(formats or (shipped and _reads(chosen, probe.call)))
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    delimiters = json.dumps(dict(chosen.template["fields"]))
    begin, _ = marks(chosen.template) or THINK
    return Dialect(
        format=chosen if native or shipped else HERMES,
        native=native,
        opening=_opening(probe.asked, begin),
        thought=thought_of(chosen.template, template, probe.asked),
        reasons=begin in template or bool(shipped and "reasoning_content" in shipped["fields"]),
        short_ids=probe.short_ids,
        marked=any(token in delimiters.replace("\\\\", "") for token in special),
        template_kwargs=variables,
    )


def _probe(render: Callable[..., str | None]) -> _Probe | None:
    """Have the chat template write a call and its result; None if it cannot even write a question."""
    asked = render(_ASKED, prompt=True)
    if asked is None:
        return None
    described = render(_ASKED, prompt=True, tools=[_TOOL])
    tools = described is not None and _NAME in described
    for ident in _IDS:
        call = {"type": "function", "id": ident, "function": {"name": _NAME, "arguments": _ARGUMENTS}}
        turns: list[dict[str, Any]] = [*_ASKED, {"role": "assistant", "content": "", "tool_calls": [call]}]
        result = {"role": "tool", "name": _NAME, "tool_call_id": ident, "content": _RESULT}
        answered = render(turns, tools=[_TOOL])
        told = render([*turns, result], prompt=True, tools=[_TOOL])
        if answered and told and described:
            return _Probe(described, answered, tools, _RESULT in told, ident == _IDS[1])
    return _Probe(asked)


def _render(
    tokenizer: Any,
    variables: Mapping[str, Any],
    turns: list[Any],
    *,
    prompt: bool = False,
    tools: list[Any] | None = None,
) -> str | None:
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": prompt, **variables}
    try:
        return str(tokenizer.apply_chat_template(turns, tools=tools, **options))
    except Exception:  # noqa: BLE001 - a template may fail in any way on what it does not know
        return None


def _reads(written: ToolFormat, text: str) -> bool:
    """Whether a format reads the probe's call in a text."""
    reading = ResponseReader(written.template, [_TOOL])(_to_turn_end(text), True)
    return [(call["name"], call["args"]) for call in reading.tool_calls] == [(_NAME, _ARGUMENTS)]


def _to_turn_end(text: str) -> str:
    """A text up to its last special token, which ends the turn."""
    ends = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "</s>", "<|endoftext|>", "<end_of_turn>", "<eos>")
    return text[: min((at for end in ends if (at := text.find(end)) >= 0), default=len(text))]


def _shipped(template: Mapping[str, Any], probe: _Probe | None) -> ToolFormat:
    """A format read by `template`, written as the chat template writes a call with JSON arguments, if it does."""
    text = _to_turn_end(probe.call) if probe else ""
    before, named, rest = text.partition(_NAME)
    spelt = next((form for form in _spellings() if form in rest), "")
    between, _, after = rest.partition(spelt) if spelt else ("", "", "")
    if not (named and spelt):
        return ToolFormat("own", template)
    return ToolFormat("own", template, before + "NAME" + between, after.rstrip("\n"))


def _spellings() -> Iterator[str]:
    yield json.dumps(_ARGUMENTS)
    yield json.dumps(_ARGUMENTS, separators=(",", ":"))


def _opening(asked: str, begin: str) -> str:
    """What the prompt writes of the answer itself: an opened thought."""
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
