"""Means with confidence intervals over prompts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from langchain_darwin.errors import ConfigurationError

RESAMPLES = 10_000
_SEED = 0
_LEVEL = 0.95
_AT_ONCE = 2_000_000  # drawn indices in memory at a time


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % confidence interval.

    Attributes:
        mean: Over prompts.
        low: 2.5 % quantile of the resampled means.
        high: 97.5 % quantile.
    """

    mean: float
    low: float
    high: float


def bootstrap(values: Sequence[float], resamples: int = RESAMPLES) -> Interval:
    """The mean with its percentile bootstrap interval (Efron 1979): prompts are drawn anew, with replacement.

    The draws have a fixed seed, so equal values give equal intervals. Paired differences are given as such: one value
    a prompt.

    Args:
        values: One a prompt, finite; at least one. Of a single one the interval is that value, and says nothing.
        resamples: How often all prompts are drawn.

    Raises:
        ConfigurationError: There are no values.
    """
    if not values:
        raise ConfigurationError("no values to average; a mean needs at least one prompt")
    numbers = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(_SEED)
    rows = max(1, _AT_ONCE // len(numbers))
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    means = np.concatenate(
        [numbers[rng.integers(0, len(numbers), (size, len(numbers)))].mean(axis=1) for size in sizes]
    )
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(numbers.mean()), float(low), float(high))


def by_prompt(values: Iterable[tuple[str, float]]) -> Mapping[str, float]:
    """The mean of each prompt over its seeds, in the order of the prompts' keys: the prompt is the unit.

    Seeds of one prompt are no new prompts; counted as such they would make intervals too narrow.

    Args:
        values: Key of the prompt and value, one pair a run.
    """
    grouped: dict[str, list[float]] = {}
    for key, value in values:
        grouped.setdefault(key, []).append(value)
    return {key: float(np.mean(sorted(grouped[key]))) for key in sorted(grouped)}
