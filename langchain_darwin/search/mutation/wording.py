"""The wording of an instruction, cut from the material that it is about."""

from __future__ import annotations

import re

from langchain_darwin.search.mutation.drift import words_of

_ATTACHED = re.compile(r"\s*(?:[-*+•>|#]|\d+[.)]|```|\t| {4})")
_POINTS_BACK = re.compile(r"\b(?:above|preceding|previous|foregoing)\b", re.IGNORECASE)


def split(instruction: str) -> tuple[str, str, str]:
    """The instruction as (text before, wording, text after); their concatenation is the instruction.

    The wording is the first paragraph, or the last where that speaks of what is above or where the first is
    no short prose. It ends at a line that closes with a colon, and before a list, a quotation or code.
    """
    spans = _paragraphs(instruction)
    if spans and _POINTS_BACK.search(instruction[slice(*spans[-1])]):
        spans.reverse()
    elif len(spans) > 1:
        spans = [spans[0], spans[-1]]
    for begin, end in spans[:2]:
        wording = _leading_prose(instruction[begin:end])
        if 0 < len(words_of(wording)) <= 120:  # a longer paragraph is a text to work on
            return instruction[:begin], wording, instruction[begin + len(wording) :]
    return instruction, "", ""


def _paragraphs(text: str) -> list[tuple[int, int]]:
    """Return the begin and end of each block between blank lines; fenced code is a block."""
    blocks = re.finditer(r"```.*?(?:```|\Z)|(?:(?!```)\S(?:(?!\n[ \t]*\n|```).)*)", text, re.DOTALL)
    return [(block.start(), block.start() + len(block.group().rstrip())) for block in blocks]


def _leading_prose(paragraph: str) -> str:
    lines: list[str] = []
    for line in paragraph.split("\n"):
        if _ATTACHED.match(line):
            break
        lines.append(line)
        if line.rstrip().endswith(":"):
            break
    return "\n".join(lines).rstrip()
