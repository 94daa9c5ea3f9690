"""Text in content blocks, in the forms of LangChain and of providers whose histories are carried over."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_darwin.errors import InvalidRequestError

Block = str | Mapping[str, Any]

_SAID = {"text", "input_text", "output_text", "text-plain", "refusal"}
_FILES = {"text-plain", "file", "document"}
_CALLS = {"tool_use", "tool_call", "input_json_delta", "function_call", "invalid_tool_call"}
_REASONING = {"reasoning", "thinking", "reasoning_content"}
_TEXT_TYPES = ("text/", "application/json", "application/xml")


def text_of(content: str | Sequence[Block], place: str, *, own: bool) -> str:
    """Return the text of a message's content.

    Args:
        content: Text, or blocks.
        place: Of the message, for errors.
        own: Whether an assistant wrote it. What is no text is left out then, as reasoning, calls and their results
            of another provider's server are. In other messages, what is no text cannot be understood without it.

    Raises:
        InvalidRequestError: A block that is not an assistant's holds no text, or a file cannot be decoded.
    """
    if isinstance(content, str):
        return content
    return "".join(_text(block, place, own=own) for block in content)


def reasoning_of(content: str | Sequence[Block]) -> str:
    """Return the reasoning in a message's content; what is redacted is not there."""
    if isinstance(content, str):
        return ""
    blocks = [block for block in content if isinstance(block, Mapping) and block.get("type") in _REASONING]
    return "".join(_reasoning(block) for block in blocks)


def _text(block: Block, place: str, *, own: bool) -> str:
    if isinstance(block, str):
        return block
    kind = block.get("type")
    found = _spoken(block, place)
    if found is not None:
        return found
    if own or kind in _CALLS or kind in _REASONING or "cachePoint" in block:
        return ""
    msg = f"{place} holds content of type {kind!r}, but this model reads text only; remove it or describe it"
    raise InvalidRequestError(msg)


def _spoken(block: Mapping[str, Any], place: str) -> str | None:
    """Return what a block says in text; None if it says nothing that way."""
    kind = block.get("type")
    said = block.get("refusal" if kind == "refusal" else "text")
    if isinstance(said, Mapping):
        said = said.get("value")  # of OpenAI's assistants
    if isinstance(said, str) and (kind is None or kind in _SAID or block.get("source_type") == "text"):
        return said
    if kind in _FILES:
        return _file(block, place)
    if kind == "json" and "json" in block:
        return json.dumps(block["json"], ensure_ascii=False)
    if kind == "search_result" and isinstance(block.get("content"), list):
        return text_of(block["content"], place, own=False)
    return None


def _file(block: Mapping[str, Any], place: str) -> str | None:
    """The text of a file that holds text, given in the block itself; None of any other file."""
    source = block.get("source")
    held: Mapping[str, Any] = source if isinstance(source, Mapping) else block
    if held.get("type") == "text" and isinstance(held.get("data"), str):
        return str(held["data"])
    media = str(held.get("mime_type") or held.get("media_type") or ("text/" if block["type"] == "text-plain" else ""))
    data = held.get("base64") or held.get("data")
    if not media.startswith(_TEXT_TYPES) or not isinstance(data, str):
        return None
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        msg = f"{place} holds a {block['type']!r} block that is no base64 of UTF-8 text: {error}; pass its text"
        raise InvalidRequestError(msg) from error


def _reasoning(block: Mapping[str, Any]) -> str:
    said = block.get("reasoning") or block.get("thinking") or block.get("reasoning_content") or block.get("summary")
    if isinstance(said, Mapping):  # of Bedrock
        said = said.get("text")
    if isinstance(said, list):  # of OpenAI's responses
        return "\n\n".join(str(part.get("text", "")) for part in said if isinstance(part, Mapping))
    return said if isinstance(said, str) else ""
