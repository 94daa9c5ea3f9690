"""Several rewards that judge the same thing, and what is left when their disagreement is taken off."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from langchain_darwin.errors import ConfigurationError, RewardError
from langchain_darwin.rewards.base import Reward
from langchain_darwin.rewards.checks import ScoreWithParts, refused
from langchain_darwin.rewards.composed.composite import Composite
from langchain_darwin.rewards.composed.normalized import Normalized
from langchain_darwin.rewards.composed.samples import Sample
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

logger = logging.getLogger(__name__)

OnError = Literal["raise", "drop"]


class Ensemble(Composite):
    """`mean_i r_i - pessimism * std_i r_i`: a lower confidence bound over rewards of one scale; any real number.

    A text that fools one reward seldom fools all. Where they disagree the mean is not to be trusted (Coste et
    al., arXiv 2310.02743; over-optimisation itself: Gao et al., arXiv 2210.10760). `std` is the population
    standard deviation over the members. Members of different scales must be made alike first: pass
    `Normalized` rewards, or call `calibrated`. A score's `parts` are its members' scores.

    Attributes:
        rewards: The members, at least two.
        pessimism: How many standard deviations are taken off; 0 is the mean.
        on_error: What a member that fails does: "raise" its error, which names it, or "drop" it from that
            batch. A dropped member is logged as a warning and is nan in the scores' `parts`. Scores with and
            without a member are comparable only as far as the members agree; if all fail, that is an error.
    """

    name = "ensemble"

    def __init__(self, rewards: Sequence[Any], *, pessimism: float = 1.0, on_error: OnError = "raise") -> None:
        super().__init__(rewards)
        if len(self.rewards) < 2:
            raise ConfigurationError(f"Ensemble of {len(self.rewards)} rewards; pass at least two")
        check_range("pessimism", pessimism, low=0, high=1e6)
        if on_error not in ("raise", "drop"):
            raise ConfigurationError(f"on_error={on_error!r} must be 'raise' or 'drop'")
        self.pessimism = pessimism
        self.on_error = on_error

    def calibrated(self, samples: Sequence[Sample]) -> Ensemble:
        """The same ensemble with members standardised on `samples`; see `Normalized.calibrated`."""
        members = [Normalized(reward).calibrated(samples) for reward in self.rewards]
        return Ensemble(members, pessimism=self.pessimism, on_error=self.on_error)

    def _ask(self, reward: Reward, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        try:
            return super()._ask(reward, messages, responses)
        except RewardError as error:
            return self._without(reward, error, len(responses))

    async def _aask(self, reward: Reward, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        try:
            return await super()._aask(reward, messages, responses)
        except RewardError as error:
            return self._without(reward, error, len(responses))

    def _without(self, reward: Reward, error: RewardError, count: int) -> list[float]:
        if self.on_error == "raise":
            raise error
        logger.warning("the ensemble goes on without %r for %d texts: %s", reward.name, count, error)
        return [math.nan] * count

    def _combine(self, responses: Sequence[AIMessage], scores: Sequence[list[float]]) -> list[float]:
        if responses and all(math.isnan(values[0]) for values in scores):
            raise refused(self.name, "has no member left: all failed", "see the warnings in the log")
        names = [reward.name for reward in self.rewards]
        return [self._bound(dict(zip(names, row, strict=True))) for row in zip(*scores, strict=True)]

    def _bound(self, parts: dict[str, float]) -> ScoreWithParts:
        present = [score for score in parts.values() if not math.isnan(score)]
        return ScoreWithParts(statistics.fmean(present) - self.pessimism * statistics.pstdev(present), parts)

    def _facts(self) -> dict[str, Any]:
        return {"pessimism": self.pessimism, "on_error": self.on_error}
