"""Majority vote: sample N answers, keep the one that most of them agree with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Beam, Grow, Outcome, Remark, Score, Steps, Task, ranked
from langchain_darwin.search.steps import softmax, standardised

AnswerKey = Callable[[str], Hashable | None]
"""The part of a text that votes, such as the number that it ends with; None abstains. A pure function."""

_NEAR = 1e-9  # votes that differ by rounding alone are ties


@dataclass(frozen=True)
class MajorityVote:
    """`argmax_i Σ_j w_j agree(y_i, y_j)` over `y_1..y_n ~ policy(x)`: self-consistency (arXiv 2203.11171).

    With an answer key, two texts agree if their keys are equal, and the vote is the majority's. Without one,
    `similarity` is their agreement, and the vote goes to the text that is most like the others. That is
    minimum-Bayes-risk decoding (Eikema and Aziz 2022, arXiv 2108.04718), which suits free text.

    The reward only breaks ties. So a vote costs n answers and few or no reward calls. With `weighted`, all answers
    are judged and their votes count by softmax of the standardised rewards. That is a scale-free form of the
    reward-weighted vote (arXiv 2206.02336).

    Attributes:
        n: Number of answers.
        answer: The answer key, or None to compare whole texts.
        weighted: Whether votes count by reward.
    """

    n: int = 5
    answer: AnswerKey | None = None
    weighted: bool = False

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_range("n", self.n, low=1)
        answer: Any = self.answer
        if answer is not None and not callable(answer):
            msg = f"answer={answer!r} must be a function from a text to what it answers"
            raise ConfigurationError(msg)

    def run(self, task: Task) -> Steps:
        """Sample, vote; score those in front if they are several."""
        beams: list[Beam] = yield Grow(task.roots(self.n), last_roots=True)
        if self.weighted:
            beams = yield Score(beams)
        votes = self._votes([task.text(beam) for beam in beams], self._weights(beams))
        first = max(votes)
        front = [beam for beam, vote in zip(beams, votes, strict=True) if vote >= first - _NEAR]
        yield Remark(f"Votes: {', '.join(f'{vote:.3g}' for vote in votes)}.")
        if len(front) > 1 and not self.weighted:
            front = yield Score(front)
        order = sorted(range(len(beams)), key=lambda i: -votes[i])
        rest = [beams[i] for i in order if votes[i] < first - _NEAR]
        return Outcome((*ranked(front), *rest))

    def _weights(self, beams: Sequence[Beam]) -> list[float]:
        """w_j; 1 each unless votes count by reward."""
        if not self.weighted or any(beam.reward is None for beam in beams):
            return [1.0] * len(beams)
        return softmax(standardised([beam.reward or 0.0 for beam in beams]))

    def _votes(self, texts: Sequence[str], weights: Sequence[float]) -> list[float]:
        """For each text the weight of those that agree with it, itself left out if texts are compared."""
        if self.answer is not None:
            return key_votes([_key(self.answer, text) for text in texts], weights)
        return [
            sum(weights[j] * similarity(text, other) for j, other in enumerate(texts) if j != i)
            for i, text in enumerate(texts)
        ]


def key_votes(keys: Sequence[Hashable | None], weights: Sequence[float]) -> list[float]:
    """For each key the weight of all that equal it; None has none."""
    total: Counter[Hashable] = Counter()
    for key, weight in zip(keys, weights, strict=True):
        total[key] += weight  # type: ignore[assignment]  # a Counter adds up any numbers
    return [0.0 if key is None else float(total[key]) for key in keys]


def similarity(one: str, other: str) -> float:
    """F1 of the letter trigrams that two texts share, in [0, 1]: `2 |A ∩ B| / (|A| + |B|)` on multisets.

    It is chrF (Popović 2015) at one n, so it works in every language. Case and the amount of white space do
    not matter.
    """
    a, b = _trigrams(one), _trigrams(other)
    return 2 * (a & b).total() / (a.total() + b.total())


def _trigrams(text: str) -> Counter[str]:
    text = f" {' '.join(text.casefold().split())} "
    return Counter(text[i : i + 3] for i in range(max(1, len(text) - 2)))


def _key(answer: AnswerKey, text: str) -> Hashable | None:
    key: Any = answer(text)
    if not isinstance(key, Hashable):
        msg = f"answer={answer!r} returned {key!r}, which cannot be counted; return text, a number or a tuple"
        raise ConfigurationError(msg)
    return key
