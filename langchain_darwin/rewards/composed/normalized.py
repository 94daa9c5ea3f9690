"""Rewards of different scales made alike."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards.checks import ScoreWithParts
from langchain_darwin.rewards.composed.composite import Composite
from langchain_darwin.rewards.composed.samples import Sample, scored_samples
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage


class Normalized(Composite):
    """`(r(x, y) - mean) / std`, with a fixed mean and deviation: about 0 on average and seldom beyond 3.

    Both never change during a search, on purpose. A search compares scores of different rounds with each
    other, judges a text once, and must be the same run for the same seed. Statistics that moved with every
    batch would break all three, and would leak from one search into the next. So the running part is explicit:
    each `calibrated(samples)` gives a new reward, whose statistics are those of all samples so far.

    Attributes:
        mean: Mean of the reward over `count` samples, or None before calibration.
        std: Their population standard deviation, or None.
        count: Samples behind them; 0 if `mean` and `std` were given.
    """

    def __init__(self, reward: Any, *, mean: float | None = None, std: float | None = None) -> None:
        super().__init__([reward])
        self.name = self.rewards[0].name
        if (mean is None) != (std is None):
            raise ConfigurationError(f"mean={mean!r}, std={std!r}: give both, or neither and call calibrated()")
        if mean is not None and std is not None:
            check_range("mean", mean, low=-1e300, high=1e300)
            check_range("std", std, low=0, high=1e300, low_open=True)
        self.mean, self.std, self.count = mean, std, 0

    def calibrated(self, samples: Sequence[Sample]) -> Normalized:
        """This reward with the statistics of `samples` and of all samples it was calibrated on before.

        Args:
            samples: Pairs of a question (or a conversation) and a finished answer, such as the policy's own
                answers to a dozen typical questions. The reward judges each once.

        Raises:
            ConfigurationError: All samples have the same score, so there is no scale to go by.
        """
        values = list(itertools.chain(*(scores for _, scores in scored_samples(self.rewards[0], samples))))
        mean, std, count = self._merged(statistics.fmean(values), statistics.pstdev(values), len(values))
        if not std:
            message = f"reward {self.name!r} gave all {count} samples {mean:g}; pass answers that it tells apart"
            raise ConfigurationError(message)
        new = Normalized(self.rewards[0], mean=mean, std=std)
        new.count = count
        return new

    def _merged(self, mean: float, std: float, count: int) -> tuple[float, float, int]:
        """Statistics of the samples so far and of `count` new ones (Chan, Golub and LeVeque 1979)."""
        if self.mean is None or self.std is None or not self.count:
            return mean, std, count
        total, gap = self.count + count, mean - self.mean
        squares = self.count * self.std**2 + count * std**2 + gap**2 * self.count * count / total
        return self.mean + gap * count / total, math.sqrt(squares / total), total

    def _combine(self, responses: Sequence[AIMessage], scores: Sequence[list[float]]) -> list[float]:
        del responses
        if self.mean is None or self.std is None:
            message = f"Normalized({self.name}) has no statistics: call .calibrated(samples), or pass mean= and std="
            raise ConfigurationError(message)
        return [ScoreWithParts((score - self.mean) / self.std, {self.name: score}) for score in scores[0]]

    def _facts(self) -> dict[str, Any]:
        return {"mean": self.mean, "std": self.std}
