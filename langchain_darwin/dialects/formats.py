"""How families of models write tool calls, for those whose tokenizers do not say so themselves.

The templates for reading are in the format of transformers' `response_template`. To add a family, add an entry to
`FORMATS`: it is found by itself for every chat template whose tool calls it reads back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from langchain_darwin.dialects.reading.call_words import ARGUMENTS
from langchain_darwin.runtime.text.thinking import MISTRAL_THINK, THINK

_ASSISTANT = r"<\|im_start\|>assistant\n"
_THINKING = dict(zip(("open", "close"), THINK, strict=True)) | {"content": "text"}
_MISTRAL_THINKING = dict(zip(("open", "close"), MISTRAL_THINK, strict=True)) | {"content": "text"}
_FUNCTION = {"type": "function", "function": "{content}"}
_NAMED = {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}}


@dataclass(frozen=True)
class ToolFormat:
    """How tool calls are read and written.

    Written, calls are `prefix`, then one or more of `begin`, arguments, `end` with `separator` between, then `suffix`.

    Attributes:
        name: The family, or where the format comes from.
        template: A `response_template` of transformers.
        begin: Text before the arguments, `NAME` in place of the tool's name.
        end: Text after the arguments.
        prefix: Text before the first call.
        separator: Text between calls.
        suffix: Text after the last call.
        reserved: What strings in arguments must not hold, since the reader would take it for the end of the call.
        style: How the arguments are written: "json", or xgrammar's name of another style.
    """

    name: str
    template: Mapping[str, Any] = field(repr=False, hash=False)
    begin: str = ""
    end: str = ""
    prefix: str = ""
    separator: str = "\n"
    suffix: str = ""
    reserved: tuple[str, ...] = ()
    style: Literal["json", "qwen_xml"] = "json"

    @property
    def writable(self) -> bool:
        """Return True if it is known how to write calls, so that they can be enforced."""
        return "NAME" in self.begin

    @property
    def trigger(self) -> str:
        """Return what tells a call from prose: the beginning of all calls, as far as it has no alternative spelling."""
        return (self.prefix.rstrip("[ ") or self.begin.partition("NAME")[0]).partition("\n")[0]

    @property
    def marker(self) -> str:
        """Return what a call that cannot be read begins with in text; no JSON, which a reader might mend."""
        return self.trigger.partition("{")[0]

    def write_invalid(self, name: str | None, text: str) -> str:
        """A call that could not be read, as it was written: its text alone without a name, else its arguments."""
        if name and self.writable:
            return self.begin.replace("NAME", name) + text + self.end
        return text if text.startswith(self.marker) else f"{self.marker}{text}"

    def write(self, name: str, arguments: Mapping[str, Any]) -> str:
        """A call with JSON arguments as text."""
        return self.begin.replace("NAME", name) + json.dumps(arguments, ensure_ascii=False) + self.end


HERMES = ToolFormat(
    name="hermes",  # also Qwen 2, 2.5 and 3
    begin='<tool_call>\n{"name": "NAME", "arguments": ',
    end="}\n</tool_call>",
    reserved=("</tool_call>",),
    template={
        "start_anchor_pattern": _ASSISTANT,
        "fields": {
            "reasoning_content": _THINKING,
            "tool_calls": {
                "open_pattern": r"\s*<tool_call>",
                "close": "</tool_call>",
                "repeats": True,
                "content": "json",
                "transform": _FUNCTION,
            },
            "content": {"content": "text"},
        },
    },
)

QWEN_XML = ToolFormat(
    name="qwen_xml",  # Qwen 3 Coder and 3.5
    begin="<tool_call>\n<function=NAME>\n",
    end="\n</function>\n</tool_call>",
    style="qwen_xml",
    template={
        "start_anchor_pattern": _ASSISTANT,
        "fields": {
            "reasoning_content": _THINKING,
            "tool_calls": {
                "open_pattern": r"\s*<tool_call>\s*<function=(?P<name>[^>\n]+)>",
                "close_pattern": r"</function>\s*</tool_call>",
                "repeats": True,
                "content": "xml-inline",
                "content_args": {"tag_pattern": r"<parameter=(?P<key>[^>\n]+)>\n?(?P<value>.*?)\n?</parameter>"},
                "transform": _NAMED,
            },
            "content": {"content": "text"},
        },
    },
)

LLAMA_JSON = ToolFormat(
    name="llama_json",  # Llama 3.1 to 3.3
    begin='{"name": "NAME", "parameters": ',
    end="}",
    separator="; ",
    template={
        "start_anchor_pattern": r"<\|start_header_id\|>assistant<\|end_header_id\|>\n\n",
        "fields": {
            "tool_calls": {
                "open_pattern": r"\s*(?:<\|python_tag\|>)?"
                r'\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"(?:name|function)"\s*:\s*"(?P<name>[^"]*)"\s*,'
                rf'\s*"(?:{"|".join(ARGUMENTS)})"\s*:\s*',
                # A semicolon in a string is none: in a string, no quote stands without a backslash.
                "close_pattern": r'\}\s*(?:;\s*(?=\{\s*"(?:name|type|function)")|;?\s*\Z)',
                "repeats": True,
                "content": "json",
                "transform": _NAMED,
            },
            "content": {"content": "text"},
        },
    },
)

MISTRAL = ToolFormat(
    name="mistral",  # Mistral 7B v0.3, Nemo, Small and Large of 2024
    prefix="[TOOL_CALLS] [",
    begin='{"name": "NAME", "arguments": ',
    end="}",
    separator=", ",
    suffix="]",
    template={
        "start_anchor": "[/INST]",
        "fields": {
            "reasoning_content": _MISTRAL_THINKING,
            "tool_calls": {
                "open_pattern": r"\s*\[TOOL_CALLS\]\s*",
                "repeats": True,
                "content": "json",
            },
            "content": {"content": "text"},
        },
    },
)

MISTRAL_ARGS = ToolFormat(
    name="mistral_args",  # Mistral's models since 2025: Magistral, Devstral, Ministral 3
    begin="[TOOL_CALLS]NAME[ARGS]",
    separator="",
    reserved=("[TOOL_CALLS]",),
    template={
        "start_anchor": "[/INST]",
        "fields": {
            "reasoning_content": _MISTRAL_THINKING,
            "tool_calls": {
                "open_pattern": r"\s*\[TOOL_CALLS\](?P<name>[^\[\]]+)\[ARGS\]",
                "close_pattern": r"(?<=\})\s*(?:(?=\[TOOL_CALLS\])|\Z)",
                "repeats": True,
                "content": "json",
                "transform": _NAMED,
            },
            "content": {"content": "text"},
        },
    },
)

FORMATS = (HERMES, QWEN_XML, LLAMA_JSON, MISTRAL, MISTRAL_ARGS)
