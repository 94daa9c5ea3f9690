"""How many samples Best-of-n affords in given seconds, from Best-of-n runs that were timed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from langchain_darwin.evaluation.records import POOL, Record


@dataclass(frozen=True)
class Timings:
    """Seconds of Best-of-n by prompt and n.

    Samples of one prompt share a batch, so seconds grow more slowly than n; between two timed n they are taken to be
    linear.

    Attributes:
        seconds: By prompt, pairs of n and mean seconds over seeds, n growing. Seconds that fall as n grows, which is
            noise, count as those of the smaller n.
    """

    seconds: dict[str, tuple[tuple[int, float], ...]]

    def bounds(self, prompt: str) -> tuple[float, float] | None:
        """The seconds of the least and of the greatest n; None if fewer than two were timed."""
        timed = self.seconds.get(prompt, ())
        return (timed[0][1], timed[-1][1]) if len(timed) > 1 else None

    def samples_for(self, prompt: str, seconds: float) -> float:
        """The n that takes so many seconds on a prompt, bounded by the n that were timed."""
        timed = self.seconds[prompt]
        return float(np.interp(seconds, [spent for _, spent in timed], [n for n, _ in timed]))


def timings(records: Iterable[Record]) -> Timings:
    """From all runs that are the pool's or of `BestOfN` without batches; other runs are passed over."""
    spent: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        chosen = record.configuration
        if record.search == POOL or (chosen["search"] == "BestOfN" and chosen["batch"] is None):
            spent[record.prompt][chosen["n"]].append(record.cost.seconds)
    return Timings({prompt: _rising(by_n) for prompt, by_n in spent.items()})


def _rising(by_n: dict[int, list[float]]) -> tuple[tuple[int, float], ...]:
    numbers = sorted(by_n)
    seconds = np.maximum.accumulate([np.mean(by_n[n]) for n in numbers])
    return tuple(zip(numbers, map(float, seconds), strict=True))
