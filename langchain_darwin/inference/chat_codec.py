"""Text to a Hugging Face model's token ids and back, by the model's own chat template."""

from __future__ import annotations

import inspect
import re
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from langchain_darwin.errors import InvalidRequestError
from langchain_darwin.runtime.forks import PerProcess

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Turn = dict[str, Any]

Conversation = Sequence[Mapping[str, Any]]
"""Chat turns as chat templates take them: `{"role": ..., "content": ..., "tool_calls": ...}`."""

_UNFINISHED = "\ufffd"  # what tokenizers write for bytes that are not (yet) a character
_WORD_JOINER = "\u2060"  # invisible, no line break: splits a control token without changing how it reads
_PROBE = "darwinprobe"


class ChatCodec:
    """A tokenizer and its chat template, safe in any thread.

    Attributes:
        tokenizer: The Hugging Face tokenizer. Its calls change its own state, so use it under `lock`.
        end_ids: Token ids that end a response.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, end_ids: frozenset[int]) -> None:
        self.tokenizer: Any = tokenizer
        self.end_ids = end_ids
        self._lock = PerProcess(threading.RLock)
        added = tokenizer.added_tokens_decoder
        self._special = frozenset(tokenizer.all_special_ids) | {i for i, token in added.items() if token.special}
        parameters = inspect.signature(tokenizer.apply_chat_template).parameters
        self._sanitizes = "sanitize_control_tokens" in parameters  # transformers 5.20 and newer

    @property
    def lock(self) -> threading.RLock:
        """The lock of this process."""
        return self._lock.get()

    def encode_chat(
        self,
        conversation: Conversation,
        tools: Sequence[Mapping[str, Any]] = (),
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        """Token ids of a conversation up to where the assistant's answer begins.

        `template_kwargs` are variables of the template, such as `enable_thinking`; see `check_template_kwargs`.
        Control tokens written in messages or tools are encoded as plain text. The template gets the
        conversation as it is; only if it refuses that are turns of one role merged and system texts moved
        into user turns.

        Raises:
            InvalidRequestError: The conversation is empty, or the template refuses every form of it.
        """
        turns = [{key: value for key, value in turn.items() if value is not None} for turn in conversation]
        if not turns:
            msg = "messages=[] holds nothing to answer; pass at least one message"
            raise InvalidRequestError(msg)
        refusal: TemplateError | None = None
        variables = dict(template_kwargs or {})
        check_template_kwargs(self.tokenizer, variables)
        for form in _forms(turns):
            try:
                return self._apply(form, list(tools), variables)
            except TemplateError as error:
                refusal = refusal or error
        roles = ", ".join(str(turn.get("role")) for turn in turns)
        msg = f"the model's chat template refuses the roles [{roles}]: {refusal}; change their order"
        raise InvalidRequestError(msg) from refusal

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Token ids of bare text: no special tokens added, and those written in it encoded as plain text."""
        with self.lock:
            return tuple(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids without special and end tokens.

        The text of a prefix of `tokens` is a prefix of the text: a multi-byte character that `tokens` ends
        within is left out.
        """
        hidden = self.end_ids | self._special
        return self._decode([token for token in tokens if token not in hidden])

    def decode_marked(self, tokens: Sequence[int]) -> str:
        """Like `decode`, but with special tokens other than end tokens, as response parsers need them."""
        return self._decode([token for token in tokens if token not in self.end_ids])

    def _apply(
        self, turns: list[Turn], tools: list[Mapping[str, Any]], variables: Mapping[str, Any]
    ) -> tuple[int, ...]:
        options: dict[str, Any] = {"tokenize": True, "add_generation_prompt": True, "return_dict": False, **variables}
        with self.lock:
            if self._sanitizes:
                try:
                    return tuple(
                        self.tokenizer.apply_chat_template(
                            turns, tools=tools or None, sanitize_control_tokens=True, **options
                        )
                    )
                except (NotImplementedError, ValueError):  # a vocabulary that spells a control token as text
                    pass
            control = [token.content for token in self.tokenizer.added_tokens_decoder.values()]
            turns, tools = _split_control_tokens([turns, tools], [token for token in control if token.strip()])
            return tuple(self.tokenizer.apply_chat_template(turns, tools=tools or None, **options))

    def _decode(self, tokens: list[int]) -> str:
        text = self._raw(tokens)
        if not text.endswith(_UNFINISHED):
            return text
        # A byte-fallback decoder spoils whole characters before an unfinished one: also try without it.
        shorter = (self._raw(tokens[:-cut]) for cut in range(1, min(4, len(tokens) + 1)))
        whole = next((text for text in shorter if not text.endswith(_UNFINISHED)), "")
        return max(text.rstrip(_UNFINISHED), whole, key=len)

    def _raw(self, tokens: list[int]) -> str:
        with self.lock:
            text: str = self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text


def check_template_kwargs(tokenizer: Any, template_kwargs: Mapping[str, Any]) -> None:
    """Refuse variables that are not the template's to take; warn about those that it does not use.

    Raises:
        InvalidRequestError: A name is an argument of transformers' `apply_chat_template`, or no name.
    """
    own = inspect.signature(tokenizer.apply_chat_template).parameters if template_kwargs else {}
    for name in template_kwargs:
        if not str(name).isidentifier() or name in own or name == "messages":
            msg = f"chat_template_kwargs={dict(template_kwargs)!r}: {name!r} is no variable of a chat template; drop it"
            raise InvalidRequestError(msg)
        if not re.search(rf"\b{name}\b", str(tokenizer.chat_template)):
            msg = f"chat_template_kwargs: the model's chat template does not use {name!r}, so it has no effect"
            warnings.warn(msg, stacklevel=2)


def response_end_ids(tokenizer: PreTrainedTokenizerBase, stated: int | Sequence[int] | None) -> frozenset[int]:
    """Return the token ids that end a response: those stated by its configuration, the tokenizer's and the template's.

    Args:
        tokenizer: The model's tokenizer.
        stated: `eos_token_id` of the generation config, or of the model's.
    """
    listed = stated if isinstance(stated, Sequence) else [stated]
    ids = {*listed, tokenizer.eos_token_id, end_of_turn_id(tokenizer)}
    return frozenset(int(index) for index in ids if index is not None)


def end_of_turn_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The added token that the chat template writes right after an assistant's text, if it does."""
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": _PROBE}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except TemplateError:
        return None
    after = text[text.rfind(_PROBE) + len(_PROBE) :].lstrip() if _PROBE in text else ""
    added = ((token.content.strip(), index) for index, token in tokenizer.added_tokens_decoder.items())
    found = [(len(content), index) for content, index in added if content and after.startswith(content)]
    return max(found)[1] if found else None


def _forms(turns: list[Turn]) -> Iterator[list[Turn]]:
    """The conversation as it is, then ever more changed towards what strict templates take."""
    yield turns
    yield _merge_runs(turns)
    yield _merge_runs(_system_as_user(turns, keep_first=True))
    yield _merge_runs(_system_as_user(turns, keep_first=False))


def _system_as_user(turns: list[Turn], *, keep_first: bool) -> list[Turn]:
    def relabelled(index: int, turn: Turn) -> Turn:
        kept = turn.get("role") != "system" or (keep_first and index == 0)
        return turn if kept else {**turn, "role": "user"}

    return [relabelled(index, turn) for index, turn in enumerate(turns)]


def _merge_runs(turns: list[Turn]) -> list[Turn]:
    """Join neighbouring plain-text turns of one role with a blank line."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and _mergeable(merged[-1], turn):
            merged[-1] = {**merged[-1], "content": f"{merged[-1]['content']}\n\n{turn['content']}"}
        else:
            merged.append(turn)
    return merged


def _mergeable(first: Turn, second: Turn) -> bool:
    plain = all(isinstance(turn.get("content"), str) and not turn.get("tool_calls") for turn in (first, second))
    return plain and first.get("role") == second.get("role") and first.get("role") != "tool"


def _split_control_tokens(value: Any, control: list[str]) -> Any:
    """`value` with a word joiner inside each control token in its strings, so that none is encoded as one."""
    if isinstance(value, str):
        for token in control:
            value = value.replace(token, token[0] + _WORD_JOINER + token[1:])
        return value
    if isinstance(value, Mapping):
        return {key: _split_control_tokens(item, control) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_split_control_tokens(item, control) for item in value]
    return value
