"""Blockwise best-of-K: K continuations of one text, block by block, the best of them kept each time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Beam, Grow, Outcome, Replaced, Score, Steps, Task, ranked
from langchain_darwin.search.steps import UNJUDGED, complete_first, judged


@dataclass(frozen=True)
class BlockwiseBestOfK:
    """`z = argmax_k r(x, [y, z_k])` over blocks `z_1..z_K ~ policy(x, y)` of M tokens, then `y = [y, z]`.

    Controlled decoding (arXiv 2310.17022, section 3.2) with the reward of the text so far as value. With
    `decay` below 1, more continuations are tried early and fewer late, as in AdaSearch (arXiv 2510.23334):
    block b has `max(1, round(K decay^b))`. Rewards of beginnings and of whole answers are not comparable. So
    finished continuations wait in a pool, and the best unfinished one goes on. The answer is the best of the pool.

    Attributes:
        k: Continuations per block, K.
        block: Tokens per block, M. Larger is better but less steered; `max_tokens` makes it Best-of-K.
        decay: What the number of continuations is multiplied by from block to block.
    """

    k: int = 5
    block: int = 40
    decay: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_range("k", self.k, low=1)
        check_range("block", self.block, low=1)
        check_range("decay", self.decay, low=0, high=1, low_open=True)

    def run(self, task: Task) -> Steps:
        """Grow a block, score, let the best branch; a single continuation grows to its end."""
        live: list[Beam] = task.roots(self.k)
        ended: list[Beam] = []
        skipped = False
        for b in count(1):
            beams = yield Grow(live, self.block if self.width(b - 1) > 1 else None, last_roots=True)
            beams = yield Score(beams)
            ended += [beam for beam in beams if not beam.live]
            live = [beam for beam in beams if beam.live]
            if not live:
                break
            if judged(live):
                best, *rest = ranked(live)
                copies = [task.branch(best) for _ in range(self.width(b) - 1)]
                for loser, copy in zip(rest, copies, strict=False):
                    yield Replaced(loser.id, best.id, copy.id, best.reward)
                live = [best, *copies]
            else:
                skipped = True
        if skipped:
            yield UNJUDGED
        return Outcome(tuple(complete_first(ended)))

    def width(self, b: int) -> int:
        """Continuations of block `b`, counted from 0."""
        return max(1, round(self.k * self.decay**b))
