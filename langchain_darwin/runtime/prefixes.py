"""What several texts, as characters or as token ids, have in common at their beginning."""

from __future__ import annotations

from typing import TypeVar

Text = TypeVar("Text", bound=str | list[int] | tuple[int, ...])


def shared_length(*texts: Text) -> int:
    """How many first elements all `texts` have in common; 0 if there are no texts.

    The first and the last in sorted order decide: what these two share is shared by all in between.
    """
    if not texts:
        return 0
    first, last = min(texts), max(texts)
    if last[: len(first)] == first:
        return len(first)
    return next(i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
