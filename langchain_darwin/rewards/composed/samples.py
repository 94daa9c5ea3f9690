"""Reference answers that rewards are calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_darwin.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_darwin.rewards.base import Reward

Sample: TypeAlias = tuple[str | Sequence[BaseMessage], str | AIMessage]
"""A question, or a whole conversation, and a finished answer to it."""


def scored_samples(reward: Reward, samples: Sequence[Sample]) -> list[tuple[list[AIMessage], list[float]]]:
    """Answers and their scores, by conversation in order of appearance; one call of the reward for each.

    Raises:
        ConfigurationError: There are fewer than two samples, or one is not a pair.
    """
    if len(samples) < 2:
        raise ConfigurationError(f"{len(samples)} samples; pass at least two pairs (question, answer)")
    groups: dict[str, tuple[list[BaseMessage], list[AIMessage]]] = {}
    for sample in samples:
        conversation, response = _read(sample)
        key = repr([(message.type, message.content) for message in conversation])
        groups.setdefault(key, (conversation, []))[1].append(response)
    return [(responses, reward.score(messages, responses)) for messages, responses in groups.values()]


def _read(sample: Sample) -> tuple[list[BaseMessage], AIMessage]:
    if len(sample) != 2:
        raise ConfigurationError(f"sample {sample!r} must be a pair (question, answer)")
    question, answer = sample
    messages: list[BaseMessage] = [HumanMessage(question)] if isinstance(question, str) else list(question)
    return messages, AIMessage(answer) if isinstance(answer, str) else answer
