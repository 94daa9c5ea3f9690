"""What texts have in common at their beginning, and beginnings of texts to come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Text = TypeVar("Text", bound=str | list[int] | tuple[int, ...])


def shared_length(*texts: Text) -> int:
    """Return how many first elements all `texts`, characters or token ids, have in common; 0 if there are no texts.

    The first and the last in sorted order decide: what these two share is shared by all in between.
    """
    if not texts:
        return 0
    first, last = min(texts), max(texts)
    if last[: len(first)] == first:
        return len(first)
    return next(i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)


def settled(text: str, marks: Sequence[str]) -> str:
    """Return `text` less an ending that more text may turn into one of `marks`."""
    longest = max(map(len, marks), default=1)
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(mark.startswith(text[-length:]) for mark in marks):
            return text[:-length]
    return text
