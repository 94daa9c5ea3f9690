"""Soft Best-of-N: sample N answers, draw one by softmax of the rewards."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Grow, Outcome, Score, Steps, Task, ranked
from langchain_darwin.search.steps import softmax


@dataclass(frozen=True)
class SoftBestOfN:
    """`P(i) = exp(r_i / λ) / Σ_j exp(r_j / λ)` over `y_1..y_n ~ policy(x)` (arXiv 2505.03156, Soft Best-of-n).

    As n grows, the answer becomes a sample of the policy tilted by the reward, `policy(y|x) exp(r(x, y) / λ)`.
    So a weak reward is trusted less than by Best-of-N, and answers stay varied. Its reward can be below
    Best-of-N's, because it does not maximise it. It costs the same as Best-of-N.

    Attributes:
        n: Number of answers.
        temperature: λ, in units of the reward; towards 0 it is Best-of-N, towards infinity a plain sample.
    """

    n: int = 5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_range("n", self.n, low=1)
        check_range("temperature", self.temperature, low=0, low_open=True)

    def run(self, task: Task) -> Steps:
        """Sample, score, draw."""
        beams = yield Grow(task.roots(self.n), last_roots=True)
        beams = ranked((yield Score(beams)))
        answers = [beam for beam in beams if beam.reward is not None] or beams  # a deadline leaves some unjudged
        weights = softmax([beam.reward or 0.0 for beam in answers], self.temperature)
        (drawn,) = task.rng.choices(answers, weights)
        return Outcome((drawn, *(beam for beam in beams if beam is not drawn)))
