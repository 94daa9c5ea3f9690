"""Regular expressions of JSON Schemas, as xgrammar must see them within a JSON string."""

from __future__ import annotations

import json
import re

_TOKEN = re.compile(r"\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|\[\^?(?:\\.|[^\]\\])+\]|.", re.DOTALL)
_ASSERTION = re.compile(r"(?<!\\)\(\?<?[=!]")
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_ESCAPED = frozenset({'"', "\\", *map(chr, range(32))})  # JSON writes these letters otherwise than they are
_SAMPLE = [letter for letter in (*map(chr, range(32, 127)), "é", "ж", "一") if letter not in _ESCAPED]


def as_written(pattern: str) -> str | None:
    """Return a pattern of the text that JSON has for texts that follow `pattern`; None if there is none.

    xgrammar writes the letters of a pattern into the string as they are, so quotes, backslashes and control
    characters are replaced by their escapes. There is no such pattern for assertions, which xgrammar ignores, and for
    sets of nothing but such letters.
    """
    if _ASSERTION.search(pattern):
        return None
    parts = [_written(token) for token in _TOKEN.findall(pattern)]
    return "".join(part for part in parts if part is not None) if None not in parts else None


def _written(token: str) -> str | None:
    if len(token) > 1 and token[0] == "[":
        return token if _has_plain_letters(token) else None
    letter = _letter(token)
    return f"(?:{re.escape(json.dumps(letter)[1:-1])})" if letter in _ESCAPED else token


def _letter(token: str) -> str:
    """Return the letter that a token of a pattern is; other tokens as they are."""
    if token[0] != "\\" or len(token) == 1:
        return token
    if token[1] in "xu" and len(token) > 2:
        return chr(int(f"0{token[1:].replace('u', 'x')}", 0))
    return _LETTERS.get(token[1], token[1] if token[1] in '"\\' else token)


def _has_plain_letters(letters: str) -> bool:
    try:
        allowed = re.compile(letters).fullmatch
    except re.error:
        return True  # xgrammar's own verdict counts
    return any(map(allowed, _SAMPLE))
