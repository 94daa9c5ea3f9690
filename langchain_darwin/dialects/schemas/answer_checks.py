"""Finished answers held against the whole schemas, also against the words that no grammar enforces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from langchain_core.messages import AIMessage


@dataclass(frozen=True)
class AnswerChecks:
    """Says which answers follow their schemas.

    Attributes:
        output: The schema of an answer without calls, or None.
        tools: The schema of the arguments, by the name of the tool.
        must_call: True if an answer without calls is invalid.
    """

    output: Mapping[str, Any] | None = None
    tools: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    must_call: bool = False

    def __call__(self, message: AIMessage) -> bool:
        """Return True if an answer follows its schema. Without jsonschema, JSON of any kind does."""
        if message.invalid_tool_calls or (self.must_call and not message.tool_calls):
            return False
        if message.tool_calls or self.output is None:
            return all(_follows(self._of_tools.get(call["name"]), call["args"]) for call in message.tool_calls)
        try:
            return _follows(self._of_output, json.loads(message.text))
        except (ValueError, RecursionError):
            return False

    @cached_property
    def _of_output(self) -> Any:
        return _validator(self.output)

    @cached_property
    def _of_tools(self) -> dict[str, Any]:
        return {name: _validator(schema) for name, schema in self.tools.items()}


def _validator(schema: Any) -> Any:
    """Return a validator of a schema, of the draft that it names; None without jsonschema."""
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.validators import validator_for
    except ImportError:
        return None
    return validator_for(schema, default=Draft202012Validator)(schema)


def _follows(validator: Any, value: Any) -> bool:
    """Return True unless it is certain that a value breaks the schema; a schema that cannot be read breaks nothing."""
    if validator is None:
        return True
    try:
        return bool(validator.is_valid(value))
    except Exception:  # noqa: BLE001 - patterns that Python cannot read, references to other documents, bad schemas
        return True
