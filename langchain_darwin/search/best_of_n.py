"""Best-of-N: sample N answers, keep the one with the highest reward."""

from __future__ import annotations

from dataclasses import dataclass

from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Grow, Outcome, Score, Steps, Task, ranked


@dataclass(frozen=True)
class BestOfN:
    """`argmax_i r(x, y_i)` over `y_1..y_n ~ policy(x)` (paper, section 3.3: Exploitation A).

    Costs n answers of policy tokens and n reward calls in one batch. The reward sees finished answers only.

    Attributes:
        n: Number of answers. Paper: 5, 10 and 15 (Table 1).
        batch: Answers sampled and judged at a time, or None for all; `StopAt` can stop between batches.
    """

    n: int = 5
    batch: int | None = None

    def __post_init__(self) -> None:
        """Refuse impossible numbers of answers."""
        check_range("n", self.n, low=1)
        if self.batch is not None:
            check_range("batch", self.batch, low=1)

    def run(self, task: Task) -> Steps:
        """Sample, score, rank."""
        roots, answers = task.roots(self.n), []
        size = self.batch or self.n
        for start in range(0, self.n, size):
            beams = yield Grow(roots[start : start + size], last_roots=start + size >= self.n)
            answers += yield Score(beams)
        return Outcome(tuple(ranked(answers)))
