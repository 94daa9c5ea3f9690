"""Particle filtering: answers grow side by side and are resampled by their rewards."""

from __future__ import annotations

import math
from dataclasses import dataclass

from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Beam, Grow, Outcome, Score, Steps, Task
from langchain_darwin.search.steps import UNJUDGED, complete_first, judged, resample, softmax, take_over


@dataclass(frozen=True)
class Particles:
    """Resampling by `w_i = softmax(r(x, y_i) / τ)` after every period (Rollout Roulette, arXiv 2502.01618).

    The reward judges the whole text so far. A draw keeps weaker texts alive that top-k selection on noisy
    rewards of beginnings would lose. Drawn by systematic resampling, which adds less noise than the paper's
    independent draws. Finished answers are kept apart, so they are neither lost nor copied; the answer is the
    best of them.

    Attributes:
        n: Particles.
        period: Tokens between resamplings; in the paper a step of a proof.
        temperature: τ, in units of the reward; lower is greedier.
        ess: Resample only while the effective sample size `1 / Σ w_i²` is below this share of the particles;
            1 does so whenever weights differ.
    """

    n: int = 5
    period: int = 40
    temperature: float = 1.0
    ess: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_range("n", self.n, low=1)
        check_range("period", self.period, low=1)
        check_range("temperature", self.temperature, low=0, low_open=True)
        check_range("ess", self.ess, low=0, high=1)

    def run(self, task: Task) -> Steps:
        """Grow, score, resample what is unfinished."""
        live: list[Beam] = task.roots(self.n)
        ended: list[Beam] = []
        skipped = False
        while live:
            beams = yield Grow(live, self.period, last_roots=True)
            beams = yield Score(beams)
            ended += [beam for beam in beams if not beam.live]
            live = [beam for beam in beams if beam.live]
            if not judged(live):
                skipped = True
            elif live:
                weights = softmax([beam.reward or 0.0 for beam in live], self.temperature)
                if 1 / math.fsum(weight * weight for weight in weights) < self.ess * len(live):
                    live = yield from take_over(task, live, resample(live, weights, task.rng))
        if skipped:
            yield UNJUDGED
        return Outcome(tuple(complete_first(ended)))
