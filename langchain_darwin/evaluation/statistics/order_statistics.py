"""Best-of-n for every n from one pool of samples: the expected best of a random subset, without drawing any.

N samples are ordered by reward, best first. The one of rank r (from 0) is the best of a subset of n if the rest of
the subset is below it. That holds for C(N - 1 - r, n - 1) of all C(N, n) subsets, and their share is its weight.
The weighted mean over the pool is the unbiased estimate of what Best-of-n gives. Nakano et al. 2021, arXiv
2112.09332, and Gao et al. 2023, arXiv 2210.10760, measure so. Dodge et al. 2019, arXiv 1909.03004, have the form
with replacement, which is biased.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.evaluation.records import Record

Floats = NDArray[np.float64]


def best_weights(rewards: Sequence[float], n: int) -> Floats:
    """The probability of each sample to be the best of a random subset of `n`; equal rewards share it.

    Args:
        rewards: Of the samples of the pool, in any order.
        n: Size of the subset, 1 to the size of the pool.

    Returns:
        One weight a sample, in the order given; they sum to 1.

    Raises:
        ConfigurationError: `n` is outside its range.
    """
    size = len(rewards)
    if not 1 <= n <= size:
        raise ConfigurationError(f"n={n} must be between 1 and the size of the pool, {size}")
    subsets = math.comb(size, n)
    by_rank = np.array([math.comb(size - 1 - rank, n - 1) / subsets for rank in range(size)])
    values, tied = np.unique(-np.asarray(rewards, dtype=np.float64), return_inverse=True)
    order = np.argsort(tied, kind="stable")
    shared = np.bincount(tied[order], weights=by_rank, minlength=len(values)) / np.bincount(tied)
    return np.asarray(shared[tied], dtype=np.float64)


def expected_best(rewards: Sequence[float], values: Sequence[float], n: float) -> float:
    """The mean of `values` (any measure, one a sample) of the sample that Best-of-n takes by `rewards`.

    Args:
        rewards: What the best is chosen by.
        values: What is averaged; the rewards themselves, or a measure of gold.
        n: Size of the subset. Values between two whole numbers are interpolated linearly. Values below 1 or above
            the size of the pool count as these.
    """
    n = min(max(n, 1.0), float(len(rewards)))
    low = math.floor(n)
    high = min(low + 1, len(rewards))
    at_low, at_high = (float(best_weights(rewards, whole) @ np.asarray(values)) for whole in (low, high))
    return at_low + (n - low) * (at_high - at_low)


@dataclass(frozen=True)
class Pool:
    """Plain samples of one prompt, and Best-of-n made of them.

    Attributes:
        rewards: By turn of the conversation and sample.
        golds: Likewise.
        tokens: Policy tokens, likewise.
    """

    rewards: tuple[tuple[float, ...], ...]
    golds: tuple[tuple[float, ...], ...]
    tokens: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, record: Record) -> Pool:
        """Return the samples of a run of the pool as numbers."""
        return cls(
            tuple(tuple(answer.reward for answer in turn) for turn in record.pools),
            tuple(tuple(answer.gold for answer in turn) for turn in record.pools),
            tuple(tuple(answer.tokens for answer in turn) for turn in record.pools),
        )

    @property
    def size(self) -> int:
        """Samples a turn; the greatest n."""
        return len(self.rewards[0])

    @property
    def tokens_a_sample(self) -> float:
        """Mean policy tokens of one sample, all turns together."""
        return math.fsum(math.fsum(turn) / len(turn) for turn in self.tokens)

    def samples_for(self, tokens: float) -> float:
        """Return the number of samples that cost so many policy tokens; not bounded by the pool."""
        return tokens / self.tokens_a_sample

    def reward(self, n: float) -> float:
        """Expected reward of Best-of-n, the mean over turns."""
        return _mean(expected_best(rewards, rewards, n) for rewards in self.rewards)

    def gold(self, n: float) -> float:
        """Expected gold of what Best-of-n takes by reward, the mean over turns."""
        pairs = zip(self.rewards, self.golds, strict=True)
        return _mean(expected_best(rewards, golds, n) for rewards, golds in pairs)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return math.fsum(numbers) / len(numbers)
