"""Speculative rejection: start many answers, give up the least promising ones as they grow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import count

from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Beam, Grow, Outcome, Remark, Score, Steps, Task, ranked
from langchain_darwin.search.steps import UNJUDGED, complete_first, judged


@dataclass(frozen=True)
class SpeculativeRejection:
    """Best-of-N that drops the lowest quantile `a` of unfinished answers at checkpoints (arXiv 2410.20290).

    The paper rejects whenever the memory is full. There, a batch of which 1 - a remains fits until its texts are
    1/(1 - a) times as long. Hence the checkpoints here, at `first / (1 - a)^i` tokens. The batch never holds more
    than about `n * first` response tokens. Unlike in the paper, finished answers are never rejected, because
    rewards of beginnings and of whole answers are not comparable.

    With n = 16, a = 1/2 and 512 tokens an answer, it costs about as much as three whole answers.

    Attributes:
        n: Answers to start.
        alpha: `a`, the share of the unfinished answers that is given up at each checkpoint. Paper: 0.5.
        first: Tokens before the first checkpoint.
    """

    n: int = 16
    alpha: float = 0.5
    first: int = 32

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_range("n", self.n, low=1)
        check_range("alpha", self.alpha, low=0, high=0.9)
        check_range("first", self.first, low=1)

    def run(self, task: Task) -> Steps:
        """Grow to the next checkpoint, score, reject; the last one left grows to its end."""
        live: list[Beam] = task.roots(self.n)
        ended: list[Beam] = []
        reached, skipped = 0, False
        for i in count():
            checkpoint = max(reached + 1, math.ceil(self.first / (1 - self.alpha) ** i))
            beams = yield Grow(live, self._tokens(len(live), checkpoint - reached), last_roots=True)
            beams = yield Score(beams)
            ended += [beam for beam in beams if not beam.live]
            live, reached = [beam for beam in beams if beam.live], checkpoint
            if not live:
                break
            if not judged(live):
                skipped = True
            elif rejected := int(self.alpha * len(live)):
                yield Remark(f"Rejected {rejected} of {len(live)} at {reached} tokens.")
                live = self._without_lowest(live, rejected)
        if skipped:
            yield UNJUDGED
        return Outcome(tuple(complete_first(ended)))

    def _tokens(self, live: int, until_checkpoint: int) -> int | None:
        """Tokens to decode; None, to the end, if there would be none to reject at the checkpoint."""
        return until_checkpoint if int(self.alpha * live) else None

    def _without_lowest(self, live: list[Beam], rejected: int) -> list[Beam]:
        lowest = {beam.id for beam in ranked(live)[-rejected:]}
        return [beam for beam in live if beam.id not in lowest]
