"""The thinking at the beginning of a response, set off by marks."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_darwin.runtime.prefixes import settled

THINK = ("<think>", "</think>")
MISTRAL_THINK = ("[THINK]", "[/THINK]")
MARKS = (THINK, MISTRAL_THINK)
"""What families of models begin and end their thinking with."""


@dataclass(frozen=True, slots=True)
class Thought:
    """How a model sets off its thinking.

    A response thinks first: a mark after the beginning of the answer is text of the answer.

    Attributes:
        begin: What it begins with; "" if the prompt ends with that already.
        end: What it ends with.
    """

    begin: str
    end: str

    def read(self, text: str, *, done: bool = False) -> tuple[str, int | None]:
        """Return the thinking of a response, and the index at which its answer begins.

        Of a response that is not `done`, only certain thinking is returned, and the index is None while it thinks or
        may turn out to. Thoughts that follow one another, and the white space behind them, are not of the answer.
        """
        thinking, at = ("", 0) if self.begin else self._to_end(text, 0, done=done)
        while at is not None and self.begin and self.begun(text[at:]):
            more, at = self._to_end(text, text.index(self.begin, at) + len(self.begin), done=done)
            thinking += more
        if at is None:
            return thinking, None
        answer = text[at:].lstrip() if at else text
        may_think = self.begin.startswith(answer.lstrip()) if self.begin else not answer
        return thinking, None if may_think and not done else len(text) - len(answer)

    def begun(self, text: str) -> bool:
        """Return True if a response begins with thinking."""
        return text.lstrip().startswith(self.begin)

    def _to_end(self, text: str, start: int, *, done: bool) -> tuple[str, int | None]:
        """The thought that begins at `start`, and the index behind its end mark; None if it goes on."""
        end = text.find(self.end, start)
        if end >= 0:
            return text[start:end], end + len(self.end)
        return (text[start:], len(text)) if done else (settled(text[start:], (self.end,)), None)


def thought_end(text: str) -> int:
    """Return the index behind the last mark that ends a thought; 0 if there is none."""
    return max((text.rfind(end) + len(end) for _, end in MARKS if end in text), default=0)
