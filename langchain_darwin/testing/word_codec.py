"""A tokenizer without a vocabulary."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Conversation

END, _TOOLS = 0, 1
ROLES = {"system": 2, "user": 3, "assistant": 4, "tool": 5}  # ids of words begin at 256
_ROLE_NAMES = {mark: role for role, mark in ROLES.items()}


@dataclass(frozen=True)
class WordCodec:
    """A reversible tokenizer: a token is a word with the white space before it, its id its bytes as a number.

    There is no vocabulary: any text can be encoded, `decode(encode_text(text)) == text`, and a word has the
    same id in every process. Ids of words longer than seven bytes do not fit in 64 bits.
    """

    @property
    def end_ids(self) -> frozenset[int]:
        """The one end token, which also ends each turn of a prompt."""
        return frozenset({END})

    def encode_chat(
        self,
        conversation: Conversation,
        tools: Sequence[Mapping[str, Any]] = (),
        template_kwargs: Mapping[str, Any] | None = None,  # noqa: ARG002 - there is no template
    ) -> tuple[int, ...]:
        """A mark for the role, the words and an end token for each turn; last the mark of the assistant."""
        ids: list[int] = []
        if tools:
            ids += (_TOOLS, *self.encode_text(json.dumps(list(tools), ensure_ascii=False)), END)
        for turn in conversation:
            ids += (_mark(turn), *self.encode_text(_turn_text(turn)), END)
        return (*ids, ROLES["assistant"])

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Ids of the words of a text."""
        words = re.findall(r"\s*\S+|\s+", text)
        return tuple(int.from_bytes(b"\x01" + word.encode("utf-8", "surrogatepass"), "big") for word in words)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of ids; marks and end tokens are left out."""
        return "".join(_word(token) for token in tokens)

    def unknown(self, tokens: Sequence[int]) -> int | None:
        """Return the first id that is neither a word's nor a mark, or None."""
        return next((token for token in tokens if not _known(token)), None)

    def read_chat(self, prompt: Sequence[int]) -> tuple[str, list[dict[str, Any]]]:
        """The conversation, as lines of text, and the tools that `encode_chat` made `prompt` from."""
        lines: list[str] = []
        tools: list[dict[str, Any]] = []
        marks = [at for at, token in enumerate(prompt) if token in _ROLE_NAMES or token == _TOOLS]
        for begin, end in zip(marks, [*marks[1:], len(prompt)], strict=True):
            text = self.decode(prompt[begin + 1 : end])
            if prompt[begin] == _TOOLS:
                tools = json.loads(text)
            else:
                lines.append(f"{_ROLE_NAMES[prompt[begin]]}: {text}".rstrip())
        return "\n".join(lines), tools


def _mark(turn: Mapping[str, Any]) -> int:
    if turn["role"] not in ROLES:
        msg = f"role={turn['role']!r} is none of {', '.join(ROLES)}, which are all that WordCodec knows"
        raise ConfigurationError(msg)
    return ROLES[turn["role"]]


def _turn_text(turn: Mapping[str, Any]) -> str:
    content = turn.get("content") or ""
    text = content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
    calls = [json.dumps(turn["tool_calls"], ensure_ascii=False)] if turn.get("tool_calls") else []
    unread = [call["args"] or "" for call in turn.get("invalid_tool_calls") or ()]
    return "\n".join([text, *calls, *unread])


def _known(token: int) -> bool:
    return token in _ROLE_NAMES or token in (END, _TOOLS) or (token > 0 and _bytes(token)[0] == 1)


def _word(token: int) -> str:
    return _bytes(token)[1:].decode("utf-8", "surrogatepass")


def _bytes(token: int) -> bytes:
    return token.to_bytes((token.bit_length() + 7) // 8, "big")
