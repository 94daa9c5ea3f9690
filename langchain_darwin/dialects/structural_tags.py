"""Tool calls as xgrammar structural tags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_darwin.dialects.formats import ToolFormat

_MOST_CALLS = 8  # in one answer that must call tools: a small model may not know when to stop

Tool = Mapping[str, Any]


def calls_form(tools: Sequence[Tool], written: ToolFormat, *, several: bool) -> dict[str, Any]:
    """Return the form of one call, or of up to `_MOST_CALLS`, without the texts that enclose all of them."""
    call = {"type": "or", "elements": [call_form(tool["function"], written) for tool in tools]}
    if not several:
        return call
    another = {"type": "sequence", "elements": [_text(written.separator), call]}
    more = {"type": "repeat", "min": 0, "max": _MOST_CALLS - 1, "content": another}
    return {"type": "sequence", "elements": [call, more]}


def enclosed(calls: dict[str, Any], written: ToolFormat) -> dict[str, Any]:
    """Return the form of calls between the texts that enclose all of them."""
    if not written.prefix:
        return calls
    return {"type": "sequence", "elements": [_text(written.prefix), calls, _text(written.suffix)]}


def call_form(function: Mapping[str, Any], written: ToolFormat) -> dict[str, Any]:
    """Return the form of one call of a function, whose arguments follow their schema."""
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    content = {"type": "json_schema", "json_schema": schema, "style": written.style}
    if written.reserved and "Length" not in json.dumps(schema):  # with it, xgrammar forgets minLength and maxLength
        content["excludes"] = list(written.reserved)
    begin = written.begin.replace("NAME", function["name"])
    return {"type": "tag", "begin": begin, "content": content, "end": written.end}


def _text(value: str) -> dict[str, Any]:
    return {"type": "const_string", "value": value}
