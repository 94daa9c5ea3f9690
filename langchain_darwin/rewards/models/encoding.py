"""A conversation with an answer as the token ids that a reward model reads."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from langchain_darwin.errors import ContextOverflowError, InvalidRequestError
from langchain_darwin.rewards.transcript import transcript, turns

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

Ids = tuple[int, ...]

REMEMBERED = 64
"""Texts that a model which scores them keeps in memory: those of several searches side by side."""


class Encoder:
    """A reward model's tokenizer, its chat template and its limit."""

    def __init__(self, tokenizer: Any, name: str, limit: int | None) -> None:
        """Take the tokenizer as it is.

        Args:
            tokenizer: Of the model; without a chat template, it gets conversation and answer as a pair of texts.
            name: The model, in messages.
            limit: Most tokens that the model can read, or None if that is unknown.
        """
        self._tokenizer = tokenizer
        self._name = name
        self._limit = limit

    def encode(self, messages: list[BaseMessage], response: AIMessage) -> Ids:
        """Token ids of conversation and answer; drops the oldest messages until they fit.

        Raises:
            ContextOverflowError: The last message and the answer alone are too long.
            InvalidRequestError: The chat template refuses the conversation.
        """
        for history in ever_shorter(messages):
            ids = self._chat(history, response) if self._tokenizer.chat_template else self._pair(history, response)
            if self._limit is None or len(ids) <= self._limit:
                return ids
        message = (
            f"the last message and an answer are {len(ids)} tokens, more than the {self._limit} that reward model"
            f" {self._name!r} can read; lower max_tokens, or use a reward model with a longer context"
        )
        raise ContextOverflowError(message)

    def _pair(self, messages: list[BaseMessage], response: AIMessage) -> Ids:
        return tuple(self._tokenizer(transcript(messages), transcript([response]))["input_ids"])

    def _chat(self, messages: list[BaseMessage], response: AIMessage) -> Ids:
        options = {"tokenize": True, "add_generation_prompt": False, "return_dict": False}
        if "sanitize_control_tokens" in inspect.signature(self._tokenizer.apply_chat_template).parameters:
            options["sanitize_control_tokens"] = True
        refusal: Exception | None = None
        for form in (turns(messages), _without_system(turns(messages))):
            try:
                return tuple(self._tokenizer.apply_chat_template([*form, *turns([response])], **options))
            except TemplateError as error:
                refusal = refusal or error
        message = f"reward model {self._name!r} cannot read this conversation, its chat template says: {refusal}"
        raise InvalidRequestError(message) from refusal


def ever_shorter(messages: list[BaseMessage]) -> Iterator[list[BaseMessage]]:
    """The conversation, then without ever more of its oldest turns; system messages and the last turn stay.

    What is left begins with a human message, as many chat templates demand.
    """
    yield messages
    system = [message for message in messages if message.type == "system"]
    others = [message for message in messages if message.type != "system"]
    for start in range(1, len(others)):
        if others[start].type == "human":
            yield [*system, *others[start:]]


def _without_system(spoken: list[dict[str, str]]) -> list[dict[str, str]]:
    """For templates without a system role: its text goes in front of the first other turn."""
    system = [turn["content"] for turn in spoken if turn["role"] == "system"]
    others = [turn for turn in spoken if turn["role"] != "system"]
    if not system or not others:
        return spoken
    first = {**others[0], "content": "\n\n".join([*system, others[0]["content"]])}
    return [first, *others[1:]]
