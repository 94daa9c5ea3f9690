"""Rewards that put one thing before another: hard constraints and lexicographic order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards.base import Reward, is_unfinished
from langchain_darwin.rewards.calls import gather
from langchain_darwin.rewards.checks import ScoreWithParts
from langchain_darwin.rewards.composed.composite import Composite, MadeOfRewards
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

_MOST_LEVELS = 2**40


class Veto(MadeOfRewards):
    """The reward of answers that keep to all constraints; every other answer is below all of those.

    An answer that breaks k constraints gets `floor - k`, so that of two bad ones the better is known. The
    others get the reward, but at least `floor`. The reward is not asked about answers that are ruled out.

    A constraint holds where its score reaches `threshold`. Every rule gives 1 where it is kept to, and so does
    a function that returns booleans. A constraint that may not judge unfinished text is left to the end. One
    that may rules unfinished text out like any other: `Matches` gives 0 until the expression is found. Wrap it
    if it should wait: `as_reward(Matches(...), partial=False)`.

    Attributes:
        reward: What ranks the answers that comply. It decides whether unfinished text is judged.
        checks: The constraints.
        floor: Below the reward's range; any lower and it distorts averages (z-scores, softmax) for nothing.
        threshold: Score from which on a constraint holds.
    """

    def __init__(self, reward: Any, *, unless: Any, floor: float = -1000.0, threshold: float = 1.0) -> None:
        """Make the reward.

        Args:
            reward: Anything that is accepted as a reward.
            unless: The constraint, or a list of them: anything that is accepted as a reward.
            floor: Best score of an answer that breaks a constraint, plus 1.
            threshold: Score from which on a constraint holds.
        """
        super().__init__([reward, *(unless if isinstance(unless, list | tuple) else [unless])])
        self.reward, self.checks = self.rewards[0], self.rewards[1:]
        if not self.checks:
            raise ConfigurationError("unless=[] holds no constraint; pass at least one")
        check_range("floor", floor, low=-1e12, high=1e12)
        check_range("threshold", threshold, low=-1e300, high=1e300)
        self.floor, self.threshold = float(floor), float(threshold)
        self.name = f"{self.reward.name} unless {', '.join(check.name for check in self.checks)}"
        self.partial, self.min_tokens = self.reward.partial, self.reward.min_tokens

    def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        """One score per response."""
        judged = [self._judged_by(check, responses) for check in self.checks]
        held = [check.score(messages, some) for check, some in zip(self.checks, judged, strict=True)]
        parts = self._parts(responses, judged, held)
        good = [response for response, part in zip(responses, parts, strict=True) if not self._broken(part)]
        return self._scores(parts, self.reward.score(messages, good))

    async def acall(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        """The same, all constraints at once."""
        judged = [self._judged_by(check, responses) for check in self.checks]
        held = await gather([check.ascore(messages, some) for check, some in zip(self.checks, judged, strict=True)])
        parts = self._parts(responses, judged, held)
        good = [response for response, part in zip(responses, parts, strict=True) if not self._broken(part)]
        return self._scores(parts, await self.reward.ascore(messages, good))

    def bind(self, policy: Any) -> Veto:
        """The same with every reward bound."""
        bound = super().bind(policy)
        bound.reward, bound.checks = bound.rewards[0], bound.rewards[1:]
        return bound

    def _judged_by(self, check: Reward, responses: Sequence[AIMessage]) -> list[AIMessage]:
        """The responses that a constraint may judge as they are."""
        return [response for response in responses if _may_judge(check, response)]

    def _parts(
        self, responses: Sequence[AIMessage], judged: Sequence[Sequence[AIMessage]], held: Sequence[list[float]]
    ) -> list[dict[str, float]]:
        """For each response the scores of the constraints that judged it, by name."""
        found = [
            {id(response): score for response, score in zip(*pair, strict=True)}
            for pair in zip(judged, held, strict=True)
        ]
        return [
            {
                check.name: by_id[id(response)]
                for check, by_id in zip(self.checks, found, strict=True)
                if id(response) in by_id
            }
            for response in responses
        ]

    def _broken(self, parts: dict[str, float]) -> int:
        return sum(score < self.threshold for score in parts.values())

    def _scores(self, parts: Sequence[dict[str, float]], good: list[float]) -> list[float]:
        """The scores, from those of the constraints and of the reward on what is left."""
        ranked = iter(good)
        scores: list[float] = []
        for part in parts:
            if broken := self._broken(part):
                scores.append(ScoreWithParts(self.floor - broken, part))
            else:
                own = next(ranked)
                scores.append(ScoreWithParts(max(own, self.floor), {self.reward.name: own, **part}))
        return scores

    def _facts(self) -> dict[str, Any]:
        return {"floor": self.floor, "threshold": self.threshold}


def _may_judge(check: Reward, response: AIMessage) -> bool:
    if not is_unfinished(response):
        return True
    return check.partial and response.response_metadata.get("tokens", math.inf) >= check.min_tokens


class Lexicographic(Composite):
    """The first reward decides; the second where the first is level, the third where both are, and so on.

    One real number, the same for the same text in any batch and round. Every reward but the last is cut to
    `bounds` and rounded to whole steps of its `tolerance`, so that level means the same step. "Within the
    tolerance of each other" would not do, since it is no order (a ties with b, b with c, a beats c).

    Let `k_i` be the steps, from 0 to `n_i`, and f the last reward as a fraction of its bounds, in [0, 1]. The
    score is `k_1 + (k_2 + (... + f/2) / (n_3 + 1)) / (n_2 + 1)`, in units of the first tolerance. It is in
    [0, n_1 + 1) and keeps strictly to that order.

    Numbers have 52 bits, so the steps of all rewards together may be at most 2^40. Of the last reward,
    differences below `2 * product of steps * 2^-52` of its bounds are lost.

    Attributes:
        rewards: The first first.
        tolerance: Step of each reward but the last.
        bounds: Lowest and highest score that is distinguished, of each reward.
    """

    def __init__(
        self,
        *rewards: Any,
        tolerance: float | Sequence[float] = 0.1,
        bounds: tuple[float, float] | Sequence[tuple[float, float]] = (-100.0, 100.0),
    ) -> None:
        super().__init__(rewards)
        count = len(self.rewards)
        if count < 2:
            raise ConfigurationError(f"Lexicographic of {count} rewards; pass at least two")
        self.name = " then ".join(reward.name for reward in self.rewards)
        self.tolerance = tuple(_each("tolerance", tolerance, count - 1))
        self.bounds = tuple(_each("bounds", bounds, count))
        for step in self.tolerance:
            check_range("tolerance", step, low=0, low_open=True)
        for low, high in self.bounds:
            check_range("bounds", high - low, low=0, high=1e300, low_open=True)
        self.steps = tuple(
            math.floor((high - low) / step + 0.5)
            for step, (low, high) in zip(self.tolerance, self.bounds, strict=False)
        )
        if (product := math.prod(step + 1 for step in self.steps)) > _MOST_LEVELS:
            message = (
                f"tolerance and bounds make {product:.1e} levels, more than 2^40; raise tolerance or narrow bounds"
            )
            raise ConfigurationError(message)

    def _combine(self, responses: Sequence[AIMessage], scores: Sequence[list[float]]) -> list[float]:
        del responses
        names = [reward.name for reward in self.rewards]
        return [
            ScoreWithParts(self._number(row), dict(zip(names, row, strict=True))) for row in zip(*scores, strict=True)
        ]

    def _number(self, row: Sequence[float]) -> float:
        low, high = self.bounds[-1]
        number = (min(max(row[-1], low), high) - low) / (high - low) / 2
        for at in reversed(range(len(self.steps))):
            low, high = self.bounds[at]
            level = math.floor((min(max(row[at], low), high) - low) / self.tolerance[at] + 0.5)
            number = level + number
            if at:
                number /= self.steps[at] + 1
        return float(number)

    def _facts(self) -> dict[str, Any]:
        return {"tolerance": list(self.tolerance), "bounds": [list(pair) for pair in self.bounds]}


def _each(name: str, given: Any, count: int) -> list[Any]:
    """One setting per reward, from a single one for all or a sequence."""
    single = isinstance(given, int | float) or (
        len(given) == 2 and name == "bounds" and all(isinstance(value, int | float) for value in given)
    )
    values = [given] * count if single else list(given)
    if len(values) != count:
        raise ConfigurationError(f"{name}={given!r} has {len(values)} entries; it takes one, or {count}")
    return values
