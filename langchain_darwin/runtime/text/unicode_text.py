"""Text as UTF-8 can hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
M = TypeVar("M")

_FIELDS = ("content", "additional_kwargs", "name", "tool_calls", "invalid_tool_calls", "tool_call_id")
"""Of messages: what holds text that a model or a reward reads."""


def well_formed(value: T) -> T:
    """Return a value of JSON with split surrogate pairs joined in all its strings, and U+FFFD for lone surrogates.

    What is well-formed already is returned as it is, the same object.
    """
    made = _well_formed(value)
    return value if made is value or made == value else made


def well_formed_messages(messages: Sequence[M]) -> list[M]:
    """Return LangChain messages with ill-formed Unicode mended; what is well-formed already is the same object."""
    return [_message(message) for message in messages]


def _message(message: Any) -> Any:
    fields = {name: value for name in _FIELDS if (value := getattr(message, name, None))}
    mended = {name: well_formed(value) for name, value in fields.items()}
    changed = {name: value for name, value in mended.items() if value is not fields[name]}
    return message.model_copy(update=changed) if changed else message


def _well_formed(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return {_well_formed(key): _well_formed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_well_formed, value)) if type(value) in (list, tuple) else list(map(_well_formed, value))
    return value


def _text(text: str) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
