"""Weighted sums of rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards.base import Reward
from langchain_darwin.rewards.checks import ScoreWithParts
from langchain_darwin.rewards.composed.composite import Composite
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage


class WeightedSum(Composite):
    """`sum_i w_i * r_i(x, y)`; what a list of rewards becomes.

    Each score knows its parts: `score.parts` is `{name: unweighted score}`. Unfinished text is judged if all
    parts may judge it, from the largest of their `min_tokens` on. In async searches the parts run side by
    side. Rewards of very different scales are better made alike first, with `Normalized`.

    Attributes:
        weights: One weight per reward.
    """

    def __init__(self, parts: Sequence[Any]) -> None:
        """Make the sum.

        Args:
            parts: `(weight, reward)` pairs; a bare reward weighs 1.
        """
        pairs = [_pair(part) for part in parts]
        if not pairs:
            raise ConfigurationError("reward=[] is an empty sum; pass at least one reward")
        super().__init__(reward for _, reward in pairs)
        self.weights = tuple(weight for weight, _ in pairs)
        self.name = " + ".join(
            reward.name if weight == 1 else f"{weight:g} {reward.name}" for weight, reward in self.parts
        )

    @property
    def parts(self) -> tuple[tuple[float, Reward], ...]:
        """`(weight, reward)` pairs; the rewards have names of their own ("Matches", "Matches 2")."""
        return tuple(zip(self.weights, self.rewards, strict=True))

    def with_weights(self, weights: Mapping[str, float]) -> WeightedSum:
        """The same rewards with other weights, for a single call: `model.bind(reward=total.with_weights(...))`.

        Args:
            weights: Name of a part to its new weight; parts left out keep theirs.

        Raises:
            ConfigurationError: No part has that name.
        """
        names = [reward.name for reward in self.rewards]
        for name in weights:
            if name not in names:
                raise ConfigurationError(f"weights: the sum has no part {name!r}; it has {', '.join(names)}")
        return WeightedSum([(weights.get(reward.name, weight), reward) for weight, reward in self.parts])

    def identity(self) -> dict[str, Any]:
        """Weights and the parts' identities."""
        parts = [{"weight": weight, **reward.identity()} for weight, reward in self.parts]
        return {"reward": "WeightedSum", "parts": parts}

    def _combine(self, responses: Sequence[AIMessage], scores: Sequence[list[float]]) -> list[float]:
        del responses
        names = [reward.name for reward in self.rewards]
        rows = list(zip(*scores, strict=True))
        return [ScoreWithParts(_dot(self.weights, row), dict(zip(names, row, strict=True))) for row in rows]


def _dot(weights: Sequence[float], scores: Sequence[float]) -> float:
    return sum(weight * score for weight, score in zip(weights, scores, strict=True))


def _pair(part: Any) -> tuple[float, Any]:
    """`(weight, reward)` of an entry; a bare reward weighs 1."""
    weight, reward = part if isinstance(part, tuple) and len(part) == 2 else (1.0, part)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ConfigurationError(f"{part!r} must be a reward or a pair (weight, reward), the weight a number")
    check_range("weight", weight, low=-1e12, high=1e12)
    return float(weight), reward
