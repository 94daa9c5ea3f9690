"""Calls in the words of any family of models: "arguments" is "parameters" for some, "input" for others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from langchain_darwin.runtime.text.unicode_text import well_formed

NAMES = ("name", "function_name", "tool_name", "tool", "function", "action")
ARGUMENTS = ("arguments", "parameters", "args", "params", "input", "kwargs", "tool_input", "action_input")


def called(found: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the name of the tool that a call names, and what it has as arguments; None if it has none.

    Raises:
        TypeError, AttributeError: It is no object, or its name no text.
        KeyError: It names no tool.
    """
    function = found
    while isinstance(inner := function.get("function"), Mapping):
        function = inner
    name = next((function[key] for key in NAMES if isinstance(function.get(key), str)), None)
    if not name:
        raise KeyError(f"no name of a tool among {', '.join(map(repr, function))}")
    given = next((key for key in ARGUMENTS if key in function), None)
    return name, None if given is None else function[given]


def as_object(arguments: Any) -> dict[str, Any]:
    """Return arguments as a dict with well-formed text; some models write them as JSON in a string.

    Raises:
        ValueError: They are text that is no JSON.
        TypeError: They are no object.
    """
    if arguments is None:
        raise TypeError("it has no arguments")
    value = lenient(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(value, dict):
        raise TypeError(f"its arguments are {value!r}, not an object")
    return well_formed(value)


def lenient(text: str) -> Any:
    """Return the value of JSON whose strings may hold line breaks and tabs as they are; small models write them so."""
    return json.loads(text, strict=False)
