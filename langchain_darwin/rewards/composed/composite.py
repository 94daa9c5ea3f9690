"""The part that rewards made of rewards have in common: asking them all."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from langchain_darwin.rewards.base import Reward
from langchain_darwin.rewards.calls import gather

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage


class MadeOfRewards:
    """A judge that holds rewards: what they may judge, their policy and their identities.

    Unfinished text is judged if all of them may judge it, from the largest of their `min_tokens` on.

    Attributes:
        rewards: What is asked; the names are made different ("Matches", "Matches 2").
    """

    name: str

    def __init__(self, rewards: Iterable[Any]) -> None:
        self.rewards = named_apart(rewards)
        self.partial = all(reward.partial for reward in self.rewards)
        self.min_tokens = max((reward.min_tokens for reward in self.rewards), default=0)
        self.token_ids = any(reward.token_ids for reward in self.rewards)

    def bind(self, policy: Any) -> Self:
        """The same with every reward bound."""
        bound = copy.copy(self)
        bound.rewards = tuple(reward.bind(policy) for reward in self.rewards)
        return bound

    def identity(self) -> dict[str, Any]:
        """The settings and the rewards' identities."""
        parts = [reward.identity() for reward in self.rewards]
        return {"reward": type(self).__name__, "parts": parts, **self._facts()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name})"

    def _facts(self) -> dict[str, Any]:
        """Settings that change the numbers, JSON-able."""
        return {}


class Composite(MadeOfRewards, ABC):
    """A judge that asks all its rewards, side by side in async searches, and combines their scores."""

    def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        """One score per response."""
        return self._combine(responses, [self._ask(reward, messages, responses) for reward in self.rewards])

    async def acall(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        """The same, all rewards at once."""
        scores = await gather([self._aask(reward, messages, responses) for reward in self.rewards])
        return self._combine(responses, scores)

    def _ask(self, reward: Reward, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        return reward.score(messages, responses)

    async def _aask(self, reward: Reward, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        return await reward.ascore(messages, responses)

    @abstractmethod
    def _combine(self, responses: Sequence[AIMessage], scores: Sequence[list[float]]) -> list[float]:
        """One score per response, from the scores of each reward in turn."""


def named_apart(rewards: Iterable[Any]) -> tuple[Reward, ...]:
    """The rewards with a number added to names that occur before."""
    from langchain_darwin.rewards.accepting import as_reward

    apart: list[Reward] = []
    for reward in map(as_reward, rewards):
        taken = {other.name for other in apart}
        names = [reward.name, *(f"{reward.name} {number}" for number in range(2, len(apart) + 3))]
        apart.append(as_reward(reward, name=next(name for name in names if name not in taken)))
    return tuple(apart)
