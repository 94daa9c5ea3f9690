"""Rewritings of an instruction, read from what a model wrote."""

from __future__ import annotations

import re
from typing import NamedTuple

_ITEM = re.compile(r"^[ \t]*(?:[*_#>-]+[ \t]*)*\(?(\d{1,2})[.):](?:[*_]+)?(?:[ \t]+|$)", re.MULTILINE)
_LABEL = re.compile(
    r"^(?:(?:sure|certainly|of course|here (?:is|are)|here's)\b[^\n]*?[:!.]\s+)?"
    r"(?:[*_]*(?:(?:the )?(?:(?:new|rewritten|mutated|improved) )?instruction|rewritten)[*_]*:[*_]*\s*)?",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "“": "”", "«": "»", "'": "'", "\u2018": "\u2019", "`": "`"}


class Rewriting(NamedTuple):
    """A rewriting as it was written, or why there is none."""

    text: str = ""
    fault: str | None = None


def parse_list(text: str) -> list[str]:
    """Items of a numbered list: `1.`, `1)`, `**1.**`, over several lines, among other text."""
    marks = list(_ITEM.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    bodies = [text[mark.end() : end] for mark, end in zip(marks, ends, strict=False)]
    # A blank line ends an item: what follows is a remark on the list.
    items = [unwrap(" ".join(re.split(r"\n\s*\n", body)[0].split())) for body in bodies]
    return [item for item in items if item]


def read_one(text: str, wording: str, *, ended: bool = True) -> Rewriting:
    """The one rewriting in a text. If `wording` has but one line, further lines are remarks."""
    text, rest = unwrap(text), ""
    if "\n" not in wording:
        text, rest, _ = text.partition("\n")
    whole = ended or rest
    return Rewriting(unwrap(text)) if whole else Rewriting(fault="it did not come to an end")


def unwrap(text: str) -> str:
    """A rewriting without introduction, label, bold type and surrounding quotes."""
    text = _LABEL.sub("", text.strip(), count=1).strip()
    for mark in ("**", "__", "*", "_"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            text = text[len(mark) : -len(mark)].strip()
    if text.count("**") == 1:  # the other one stood before the number of a list
        text = text.removesuffix("**")
    if text.startswith("<<") and text.endswith(">>"):  # as it was shown
        text = text[2:-2].strip()
    closing = _QUOTES.get(text[:1])
    if closing and len(text) > 2 and text.endswith(closing) and closing not in text[1:-1]:
        text = text[1:-1].strip()
    return text
