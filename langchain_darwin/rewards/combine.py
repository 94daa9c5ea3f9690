"""Rewards made of rewards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import check_range
from langchain_darwin.rewards.base import Reward, Values
from langchain_darwin.rewards.calls import gather
from langchain_darwin.rewards.checks import Score

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage


class WeightedSum:
    """`sum_i w_i * r_i(x, y)`; what a list of rewards becomes.

    Each score knows its parts: `score.parts` is `{name: unweighted score}`. Unfinished text is judged if all
    parts may judge it, from the largest of their `min_tokens` on. In async searches the parts run side by
    side.

    Attributes:
        parts: `(weight, reward)` pairs; the rewards have names of their own ("Matches", "Matches 2").
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = _named_apart([_pair(part) for part in parts])
        if not self.parts:
            raise ConfigurationError("reward=[] is an empty sum; pass at least one reward")
        rewards = [reward for _, reward in self.parts]
        self.name = " + ".join(
            reward.name if weight == 1 else f"{weight:g} {reward.name}" for weight, reward in self.parts
        )
        self.partial = all(reward.partial for reward in rewards)
        self.min_tokens = max(reward.min_tokens for reward in rewards)

    def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> Values:
        """The sums, as `Score`s."""
        return self._sums([reward.score(messages, responses) for _, reward in self.parts])

    async def acall(self, messages: list[BaseMessage], responses: list[AIMessage]) -> Values:
        """The same, all parts at once."""
        return self._sums(await gather([reward.ascore(messages, responses) for _, reward in self.parts]))

    def identity(self) -> dict[str, Any]:
        """Weights and the parts' identities."""
        parts = [{"weight": weight, **reward.identity()} for weight, reward in self.parts]
        return {"reward": "WeightedSum", "parts": parts}

    def bind(self, policy: Any) -> WeightedSum:
        """The same sum with every part bound."""
        return WeightedSum([(weight, reward.bind(policy)) for weight, reward in self.parts])

    def __repr__(self) -> str:
        return f"WeightedSum({self.name})"

    def _sums(self, scores: Sequence[Values]) -> Values:
        names = [reward.name for _, reward in self.parts]
        weights = [weight for weight, _ in self.parts]
        rows = list(zip(*scores, strict=True))
        return [Score(_dot(weights, row), dict(zip(names, row, strict=True))) for row in rows]


def _dot(weights: Sequence[float], scores: Sequence[float]) -> float:
    return sum(weight * score for weight, score in zip(weights, scores, strict=True))


def _pair(part: Any) -> tuple[float, Reward]:
    """`(weight, reward)` of an entry; a bare reward weighs 1."""
    from langchain_darwin.rewards.adapters import as_reward

    weight, reward = part if isinstance(part, tuple) and len(part) == 2 else (1.0, part)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ConfigurationError(f"{part!r} must be a reward or a pair (weight, reward), the weight a number")
    check_range("weight", weight, low=-1e12, high=1e12)
    return float(weight), as_reward(reward)


def _named_apart(parts: Sequence[tuple[float, Reward]]) -> tuple[tuple[float, Reward], ...]:
    """The parts with a number added to names that occur before."""
    from langchain_darwin.rewards.adapters import as_reward

    taken: set[str] = set()
    apart = []
    for weight, reward in parts:
        name = next(name for name in _numbered(reward.name, len(parts)) if name not in taken)
        taken.add(name)
        apart.append((weight, as_reward(reward, name=name)))
    return tuple(apart)


def _numbered(name: str, count: int) -> list[str]:
    return [name, *(f"{name} {number}" for number in range(2, count + 2))]
