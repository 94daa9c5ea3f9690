"""Stop strings: where they end a response.

They count in the answer alone: with a blank line as stop string, a blank line in the thinking ends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_darwin.runtime.text.thinking import Thought


def cut(text: str, stops: Sequence[str], thought: Thought | None = None) -> str:
    """Return a response up to the first stop string of its answer."""
    start = _answer_start(text, thought)
    if start is None and thought is not None and thought.begun(text):
        return text
    found = [at for stop in stops if (at := text.find(stop, start or 0)) >= 0]
    return text[: min(found)] if found else text


def completes(before: str, text: str, stops: Sequence[str], thought: Thought | None = None) -> bool:
    """Return True if the answer of `text` holds a stop string that it did not hold yet in `before`, its beginning."""
    if not any(stop in text for stop in stops):
        return False
    answer, earlier = (part[_begin(part, thought) :] for part in (text, before))
    return any(answer.count(stop) > earlier.count(stop) for stop in stops)


def _begin(text: str, thought: Thought | None) -> int:
    start = _answer_start(text, thought)
    return len(text) if start is None else start


def _answer_start(text: str, thought: Thought | None) -> int | None:
    """Index at which the answer begins, or None while that is not known."""
    return 0 if thought is None else thought.read(text)[1]
