"""The thinking that some models do before they answer, and its place before an answer that a grammar enforces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_darwin.runtime.text.thinking import Thought as Thought  # noqa: PLC0414 - of this page, too

_SHARE = 0.5  # of the tokens of an answer that thinking may take, so that what must be written has room
_CHARACTERS = 3  # of a token of prose, on the low side; what is left over is free for the answer
_AFTER = {"type": "regex", "pattern": "\\n{0,2}"}


def after_thinking(thought: Thought, answer: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """Return an xgrammar form: the thinking, then `answer`.

    A model that begins its thinking itself may leave it out. It is as long as the model likes, but at most
    about half of `max_tokens`.
    """
    text = {"type": "any_text", "max_chars": int(_SHARE * _CHARACTERS * max_tokens)}
    tag = {"type": "tag", "begin": thought.begin, "content": text, "end": thought.end}
    thinking = {"type": "sequence", "elements": [tag, _AFTER]}
    first = {"type": "optional", "content": thinking} if thought.begin else thinking
    return {"type": "sequence", "elements": [first, answer]}


def marks(response_template: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what thinking begins and ends with in a response template; None without literal marks."""
    field = response_template["fields"].get("reasoning_content") or {}
    begin, end = field.get("open"), field.get("close")
    return (begin, end) if isinstance(begin, str) and isinstance(end, str) else None


def thought_of(response_template: Mapping[str, Any], chat_template: str, prompt: str) -> Thought | None:
    """Return how a model thinks; None if it does not, or if it is not known, or if its prompt has ended it already.

    Args:
        response_template: How its responses are read, in transformers' format.
        chat_template: Only a template that knows of thinking is one of a model that does it.
        prompt: A prompt as the template writes it.
    """
    begin, end = marks(response_template) or ("", "")
    if not begin or begin not in chat_template:
        return None
    written = prompt.rstrip()
    if written.endswith(end):
        return None
    return Thought("" if written.endswith(begin) else begin, end)
