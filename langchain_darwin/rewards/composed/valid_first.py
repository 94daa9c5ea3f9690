"""The reward of a search whose answers must follow a schema: valid answers come before invalid ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from langchain_darwin.rewards.base import Reward, is_unfinished
from langchain_darwin.rewards.checks import ScoreWithParts

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

PENALTY = 1e9
"""Taken from the score of an invalid answer. Scores of valid answers stay as they are."""


@dataclass(frozen=True)
class ValidFirst(Reward):
    """A reward that takes `PENALTY` from finished answers that do not follow their schema.

    A grammar enforces most words of a schema while decoding, but not all. Answers that break one of the others are
    judged as always, and rank below all valid ones. Unfinished text is not checked. The parts of such a score are
    the reward's own score and `follows schema`, 0.

    Attributes:
        is_valid: Returns True if an answer follows its schema.
    """

    is_valid: Callable[[AIMessage], bool] = lambda _: True

    @classmethod
    def of(cls, reward: Reward, is_valid: Callable[[AIMessage], bool] | None) -> Reward:
        """Return a reward that puts valid answers first; the reward itself if there is nothing to check."""
        if is_valid is None:
            return reward
        return cls(**{each.name: getattr(reward, each.name) for each in fields(reward)}, is_valid=is_valid)

    def score(
        self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage], timeout: float | None = None
    ) -> list[float]:
        """Return one score per response; see `Reward.score`."""
        return self._ordered(responses, super().score(messages, responses, timeout))

    async def ascore(
        self,
        messages: Sequence[BaseMessage],
        responses: Sequence[AIMessage],
        timeout: float | None = None,  # noqa: ASYNC109  (the same signature as `score`)
    ) -> list[float]:
        """Return one score per response; see `Reward.ascore`."""
        return self._ordered(responses, await super().ascore(messages, responses, timeout))

    def _ordered(self, responses: Sequence[AIMessage], scores: Sequence[float]) -> list[float]:
        return [
            score if is_unfinished(response) or self.is_valid(response) else self._lowered(score)
            for response, score in zip(responses, scores, strict=True)
        ]

    def _lowered(self, score: float) -> float:
        parts = getattr(score, "parts", None) or {self.name: float(score)}
        return ScoreWithParts(score - PENALTY, {**parts, "follows schema": 0.0})
