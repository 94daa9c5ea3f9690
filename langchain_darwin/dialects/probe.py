"""A chat template is asked to write a question, a call, and the call's result, to learn what it can do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_darwin.inference.prompts.chat_forms import in_parts

ASKED, NAME, RESULT = "hello", "probe_tool", "probe_result"
ARGUMENTS = {"probe_key": "value"}
_ABOUT, _ABOUT_KEY = "probe_about", "probe_key_about"
_IDS = ("call_0123456789abcdef01234567", "abcdef012")  # ours, and the only ones that Mistral's templates take
_KEY = {"type": "string", "description": _ABOUT_KEY}
TOOL = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": _ABOUT,
        "parameters": {"type": "object", "properties": dict.fromkeys(ARGUMENTS, _KEY)},
    },
}
_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "</s>", "<|endoftext|>", "<end_of_turn>", "<eos>")

Render = Callable[..., str | None]
"""`render(turns, prompt=..., tools=...)`: the text of a chat template, or None if it fails."""


@dataclass(frozen=True)
class Probe:
    """What a chat template makes of a question, of a call in answer to it, and of the call's result.

    Attributes:
        asked: The prompt of the question.
        answered: Question and call, without the beginning of another answer; "" if it cannot write these.
        tools: Whether a tool's name, parameters and descriptions are in the prompt.
        results: Whether the call's result is.
        short_ids: Whether it takes only ids of nine letters and digits.
    """

    asked: str
    answered: str = ""
    tools: bool = False
    results: bool = False
    short_ids: bool = False

    @property
    def call(self) -> str:
        """The text of the call, up to the end of its turn."""
        if self.answered.startswith(self.asked):
            return to_turn_end(self.answered[len(self.asked) :])
        return to_turn_end(self.answered[self.answered.rfind(ASKED) + len(ASKED) :])

    def around_call(self) -> tuple[str, str] | None:
        """Return the text before and after the arguments of a call, `NAME` for its name; None if not JSON."""
        before, named, rest = self.call.partition(NAME)
        spelt = next((form for form in _spellings() if form in rest), "")
        if not (named and spelt):
            return None
        between, _, after = rest.partition(spelt)
        return before + "NAME" + between, after.rstrip("\n")


def probe(tokenizer: Any, variables: Mapping[str, Any]) -> Probe | None:
    """Return what a tokenizer's chat template makes of a call; None if it cannot even write a question."""
    for shape in (list, in_parts):

        def render(turns: list[Any], shape: Any = shape, **options: Any) -> str | None:
            return _render(tokenizer, variables, shape(turns), **options)

        asked = render(_question(), prompt=True)
        if asked and ASKED in asked:
            return _probe(render, asked)
    return None


def to_turn_end(text: str) -> str:
    """Return a text up to the first special token that ends a turn."""
    return text[: min((at for end in _ENDS if (at := text.find(end)) >= 0), default=len(text))]


def _question() -> list[dict[str, Any]]:
    return [{"role": "user", "content": ASKED}]


def _probe(render: Render, asked: str) -> Probe:
    described = render(_question(), prompt=True, tools=[TOOL])
    tools = described is not None and all(said in described for said in (NAME, _ABOUT, _ABOUT_KEY, *ARGUMENTS))
    for ident in _IDS:
        call = {"type": "function", "id": ident, "function": {"name": NAME, "arguments": ARGUMENTS}}
        turns: list[dict[str, Any]] = [*_question(), {"role": "assistant", "content": "", "tool_calls": [call]}]
        result = {"role": "tool", "name": NAME, "tool_call_id": ident, "content": RESULT}
        answered = render(turns, tools=[TOOL])
        told = render([*turns, result], prompt=True, tools=[TOOL])
        if answered and told and described:
            return Probe(described, answered, tools, RESULT in told, ident == _IDS[1])
    return Probe(asked)


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


def _spellings() -> Iterator[str]:
    yield json.dumps(ARGUMENTS)
    yield json.dumps(ARGUMENTS, separators=(",", ":"))
