"""Control tokens that are written in text, and must stay text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_WORD_JOINER = "\u2060"  # invisible, no line break: splits a control token without changing how it reads


class ControlTokens:
    """The added tokens of a tokenizer, in values of JSON; those of white space alone are ordinary text."""

    def __init__(self, tokens: Iterable[str]) -> None:
        longest_first = sorted({token for token in tokens if token.strip()}, key=len, reverse=True)
        self._pattern = _any_of(longest_first)
        self._splittable = _any_of([token for token in longest_first if len(token) > 1])

    def within(self, value: Any) -> bool:
        """Return True if any string of a value, a key included, holds a control token."""
        if isinstance(value, str):
            return self._pattern.search(value) is not None
        if isinstance(value, Mapping):
            return any(self.within(key) or self.within(item) for key, item in value.items())
        return isinstance(value, list | tuple) and any(map(self.within, value))

    def split(self, value: Any) -> Any:
        """Return a value with a word joiner inside each control token, so that none is encoded as one."""
        return _mapped(value, self._joined, self._joined)

    def split_keys(self, value: Any) -> Any:
        """As `split`, in the keys of mappings only."""
        return _mapped(value, self._joined, lambda text: text)

    def _joined(self, text: str) -> str:
        while self._splittable.search(text):  # a token may hold another one
            text = self._splittable.sub(lambda match: match[0][0] + _WORD_JOINER + match[0][1:], text)
        return text


def _any_of(tokens: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tokens)) or "(?!)")  # (?!) matches nothing


def _mapped(value: Any, of_keys: Callable[[str], str], of_texts: Callable[[str], str]) -> Any:
    """A value of JSON with its strings changed."""
    if isinstance(value, str):
        return of_texts(value)
    if isinstance(value, Mapping):
        keys = ((of_keys(key) if isinstance(key, str) else key, item) for key, item in value.items())
        return {key: _mapped(item, of_keys, of_texts) for key, item in keys}
    if isinstance(value, list | tuple):
        return [_mapped(item, of_keys, of_texts) for item in value]
    return value
