"""Text to a Hugging Face model's token ids and back, by the model's own chat template."""

from __future__ import annotations

import inspect
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from langchain_darwin.errors import InvalidRequestError, first_line
from langchain_darwin.inference.prompts.chat_forms import Turn, forms
from langchain_darwin.inference.prompts.control_tokens import ControlTokens
from langchain_darwin.inference.prompts.tagged_text import Tagged
from langchain_darwin.runtime.forks import PerProcess
from langchain_darwin.runtime.text.unicode_text import well_formed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Conversation = Sequence[Mapping[str, Any]]
"""Chat turns as chat templates take them: `{"role": ..., "content": ..., "tool_calls": ...}`."""

_UNFINISHED = "\ufffd"  # what tokenizers write for bytes that are not (yet) a character
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
        self._control = ControlTokens(token.content for token in added.values())
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
        """Return the token ids of a conversation up to where the assistant's answer begins or goes on.

        If the assistant's text is last, the prompt ends with it (`continues`). Control tokens written in messages or
        tools are encoded as plain text, ill-formed Unicode is mended (`well_formed`). The template gets the
        conversation as it is. Only if it refuses that, fails on it or leaves out some of its text does it get other
        `forms` of it.

        Args:
            conversation: What was said.
            tools: Definitions of tools in OpenAI's form.
            template_kwargs: Variables of the template, such as `enable_thinking`; see `check_template_kwargs`.

        Raises:
            InvalidRequestError: The conversation is empty, or no form of it comes through the template whole.
        """
        turns = [{key: well_formed(value) for key, value in turn.items() if value is not None} for turn in conversation]
        if not turns:
            msg = "messages=[] holds nothing to answer; pass at least one message"
            raise InvalidRequestError(msg)
        variables = dict(template_kwargs or {})
        check_template_kwargs(self.tokenizer, variables)
        definitions, fault, cause = [dict(well_formed(tool)) for tool in tools], "", None
        for form in forms(turns):
            try:
                text, lost = self._render_checked(form, definitions, variables)
            except Exception as error:  # noqa: BLE001 - a template may fail in any way on what it does not know
                fault, cause = fault or _refusal(turns, error), cause or error
                continue
            if lost is None:
                return self._encode(form, definitions, variables, text)
            fault = fault or _loss(lost)
        raise InvalidRequestError(fault) from cause

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Token ids of bare text: no special tokens added, and those written in it encoded as plain text."""
        with self.lock:
            return tuple(self.tokenizer.encode(well_formed(text), add_special_tokens=False, split_special_tokens=True))

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

    def _render_checked(
        self, turns: list[Turn], tools: list[Any], variables: Mapping[str, Any]
    ) -> tuple[str, str | None]:
        """The prompt as text, and the first text of turns or tools that is not in it."""
        tagged = Tagged(turns, tools)
        with self.lock:
            text = self._apply(turns, tools, variables, tokenize=False)
            return text, tagged.lost(self._apply(tagged.turns, tagged.tools, variables, tokenize=False), text)

    def _encode(self, turns: list[Turn], tools: list[Any], variables: Mapping[str, Any], text: str) -> tuple[int, ...]:
        """Token ids of the prompt `text`; control tokens that are not the template's own are split."""
        with self.lock:
            if not self._control.within([turns, tools, variables]):
                return tuple(self.tokenizer.encode(text, add_special_tokens=False))
            if self._sanitizes:
                turns, tools, variables = self._control.split_keys([turns, tools, variables])
                try:
                    return tuple(self._apply(turns, tools, variables, tokenize=True, sanitize_control_tokens=True))
                except (NotImplementedError, ValueError):  # a vocabulary that spells a control token as text
                    pass
            turns, tools, variables = self._control.split([turns, tools, variables])
            return tuple(self._apply(turns, tools, variables, tokenize=True))

    def _apply(self, turns: list[Turn], tools: list[Any], variables: Mapping[str, Any], **options: Any) -> Any:
        on = continues(turns)
        own = {"add_generation_prompt": not on, "continue_final_message": on, "return_dict": False}
        return self.tokenizer.apply_chat_template(turns, tools=tools or None, **own, **variables, **options)

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


def continues(conversation: Conversation) -> bool:
    """Return True if the answer to a conversation goes on with the assistant's text that ends it.

    A last turn with calls is none: their results are still to come.
    """
    last = conversation[-1]
    return last.get("role") == "assistant" and bool(_written(last)) and not last.get("tool_calls")


def _written(turn: Mapping[str, Any]) -> str:
    content = turn.get("content") or ""
    return (content if isinstance(content, str) else "".join(part.get("text", "") for part in content)).strip()


def _refusal(turns: list[Turn], error: Exception) -> str:
    """Return what a template that raised `error` is said to do."""
    roles = ", ".join(str(turn.get("role")) for turn in turns)
    if type(error) is TemplateError:  # the template's own words
        return f"the model's chat template refuses the roles [{roles}]: {error}; change their order"
    return (
        f"the model's chat template fails on the roles [{roles}] with {type(error).__name__}: {first_line(error)}; "
        "mend the template, or set the variables that it needs (chat_template_kwargs)"
    )


def _loss(lost: str) -> str:
    return f"the model's chat template leaves out text, {lost}; leave out or reword it, or use another template"


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
