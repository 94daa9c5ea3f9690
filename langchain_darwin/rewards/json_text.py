"""Whether a text is JSON, or can still become JSON while it is being written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from langchain_darwin.errors import ConfigurationError, MissingDependencyError

# What may still come where the parser gave up at the end of the text: literals, and the inside of numbers.
_BEGUN = re.compile(r"t(r(u)?)?|f(a(l(s)?)?)?|n(u(l)?)?|-")
_BEGUN_NUMBER = re.compile(r"\.|[eE][+-]?")


def may_become_json(text: str) -> bool:
    """Return True if some continuation of the text is JSON, or the text is already."""
    try:
        parse_json(text)
    except json.JSONDecodeError as error:
        return _only_cut_off(error, text)
    except ValueError:  # NaN, Infinity
        return False
    return True


def _only_cut_off(error: json.JSONDecodeError, text: str) -> bool:
    """Return True if the parser stumbled over nothing but the end of the text."""
    rest = text[error.pos :]
    if error.msg.startswith("Unterminated string"):
        return True
    if error.msg.startswith("Invalid \\uXXXX"):
        return re.fullmatch(r"u?[0-9a-fA-F]{0,4}", rest) is not None
    if _BEGUN_NUMBER.fullmatch(rest):
        return text[: error.pos][-1:].isdigit()
    return not rest.strip() or _BEGUN.fullmatch(rest) is not None


def parse_json(text: str) -> Any:
    """The value of a text that is JSON and nothing else; `ValueError` for any other, NaN and infinities too."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def validator(schema: Mapping[str, Any]) -> Any:
    """Return the validator that finds violations of a JSON Schema (draft 2020-12).

    Raises:
        ConfigurationError: The schema is not one.
        MissingDependencyError: `jsonschema` is not installed.
    """
    try:
        from jsonschema import Draft202012Validator, SchemaError
    except ImportError:
        message = "ValidJson(schema) needs jsonschema: pip install 'langchain-darwin[tools]'"
        raise MissingDependencyError(message) from None
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ConfigurationError(f"schema={schema!r} is not a JSON Schema: {error.message}") from None
    return Draft202012Validator(schema)
