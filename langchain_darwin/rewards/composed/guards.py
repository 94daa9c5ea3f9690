"""Guards against over-optimisation: what a search finds if it looks hard enough at an imperfect reward.

The harder one searches, the higher the reward and, past a point, the worse the answer (Gao et al., arXiv
2210.10760). Long texts, improbable texts and broken texts win. Each guard here wraps a reward, and can be
wrapped by another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards.checks import ScoreWithParts, refused
from langchain_darwin.rewards.composed.composite import Composite
from langchain_darwin.rewards.composed.samples import Sample, scored_samples
from langchain_darwin.rewards.rules import RepetitionPenalty, Rule, Unit, length_of
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage


class LengthCorrected(Composite):
    """`r(x, y) - slope * length(y)`: the reward without its share for mere length; any real number.

    Much of what reward models learn is that longer is better (Singhal et al., arXiv 2310.03716). A straight
    line is the simplest correction, and the only one that treats texts of all lengths alike. Unfinished texts
    are corrected the same way; of one length, their order does not change.

    Attributes:
        slope: Reward per unit of length, or None before calibration.
        unit: As for `LengthWindow`: "words", "characters", "sentences", "lines" or "tokens".
    """

    def __init__(self, reward: Any, *, slope: float | None = None, unit: Unit = "words") -> None:
        super().__init__([reward])
        self.name = f"{self.rewards[0].name} less length"
        if slope is not None:
            check_range("slope", slope, low=-1e300, high=1e300)
        self.slope, self.unit = slope, unit

    def calibrated(self, samples: Sequence[Sample]) -> LengthCorrected:
        """This reward with the slope that fits `samples`: least squares, each question with a level of its own.

        Args:
            samples: Pairs of a question (or a conversation) and a finished answer; several answers of different
                lengths and about the same quality to each question.

        Raises:
            ConfigurationError: No question has answers of different lengths.
        """
        covariance = variance = 0.0
        for responses, scores in scored_samples(self.rewards[0], samples):
            lengths = [length_of(response, self.unit) for response in responses]
            middle = sum(lengths) / len(lengths)
            covariance += sum((length - middle) * score for length, score in zip(lengths, scores, strict=True))
            variance += sum((length - middle) ** 2 for length in lengths)
        if not variance:
            raise ConfigurationError("samples: no question has answers of different lengths; pass a few of each")
        return LengthCorrected(self.rewards[0], slope=covariance / variance, unit=self.unit)

    def _combine(self, responses: Sequence[AIMessage], scores: Sequence[list[float]]) -> list[float]:
        if self.slope is None:
            raise ConfigurationError("LengthCorrected has no slope: call .calibrated(samples), or pass slope=")
        name = self.rewards[0].name
        pairs = zip(responses, scores[0], strict=True)
        return [ScoreWithParts(score - self.slope * length_of(text, self.unit), {name: score}) for text, score in pairs]

    def _facts(self) -> dict[str, Any]:
        return {"slope": self.slope, "unit": self.unit}


class LogprobFloor(Composite):
    """`r(x, y) - weight * max(0, floor - l(y))`, l the mean log-probability of the answer's tokens; at most r.

    An answer that the policy itself finds absurd, and the reward likes, has most likely fooled the reward. This
    takes off reward where the mean falls below `floor`, and leaves ordinary answers alone. Regularised
    Best-of-N of Jinnai et al. (arXiv 2404.01054) keeps the choice near the policy for the same reason. The
    log-probabilities are those that the policy drew with (temperature 1, natural log): the search notes their
    sum as `response_metadata["logprob"]`, so this costs nothing. Unfinished text is judged the same way.

    Attributes:
        floor: Nats per token. Answers of SmolLM2-135M at temperature 0.7 had -0.7 to -1.5; at temperature 1.5
            without top-k, which makes gibberish, -7 to -9.
        weight: Reward taken off per nat below the floor; about the spread of the reward.
    """

    def __init__(self, reward: Any, *, floor: float = -3.0, weight: float = 1.0) -> None:
        super().__init__([reward])
        self.name = f"{self.rewards[0].name} above {floor:g} nats"
        check_range("floor", floor, low=-1e6, high=0)
        check_range("weight", weight, low=0, high=1e12, low_open=True)
        self.floor, self.weight = float(floor), float(weight)

    def _combine(self, responses: Sequence[AIMessage], scores: Sequence[list[float]]) -> list[float]:
        return [self._one(response, score) for response, score in zip(responses, scores[0], strict=True)]

    def _one(self, response: AIMessage, score: float) -> ScoreWithParts:
        mean = self._mean_logprob(response)
        short = max(0.0, self.floor - mean)
        return ScoreWithParts(score - self.weight * short, {self.rewards[0].name: score, "mean logprob": mean})

    def _mean_logprob(self, response: AIMessage) -> float:
        facts = response.response_metadata
        if "logprob" not in facts or "tokens" not in facts:
            what = "got a response without response_metadata['logprob'] and ['tokens']"
            raise refused(self.name, what, "use it in a search, which notes them, or set them yourself")
        return float(facts["logprob"]) / max(1, int(facts["tokens"]))

    def _facts(self) -> dict[str, Any]:
        return {"floor": self.floor, "weight": self.weight}


_RULE = re.compile(r"([^\w\s])\1{3,}")  # a line drawn with one sign


@dataclass(frozen=True)
class NotDegenerate(Rule):
    """0 for text that is broken whatever it says, else 1; a constraint: `Veto(reward, unless=NotDegenerate())`.

    Broken is text that

    - repeats itself: more than `repetition` of its 3-grams of words occurred before, in at least 30 words;
    - repeats itself at its end: one and the same piece over and over, for 60 characters or more;
    - is gibberish: at least 40 characters, of which less than 40 % are letters, digits and white space;
    - is gibberish: at least 40 characters, of which more than 5 % are control characters and undecodable bytes;
    - is truncated: finished, but cut off by a limit of tokens or time.

    Unfinished text is judged the same way, except that it is never truncated.

    Attributes:
        repetition: Largest share of repeated 3-grams, in [0, 1].
        truncated: Whether truncated answers count as broken.
    """

    repetition: float = 0.5
    truncated: bool = True

    def __post_init__(self) -> None:
        """Refuse a share outside [0, 1]."""
        check_range("repetition", self.repetition, low=0, high=1)

    def _score(self, response: AIMessage) -> float:
        text = response.text
        cut = self.truncated and response.response_metadata.get("finish_reason") in ("length", "timeout")
        return float(not (cut or _ends_in_a_loop(text) or _is_gibberish(text) or self._repeats(response)))

    def _repeats(self, response: AIMessage) -> bool:
        if length_of(response, "words") < 30:
            return False
        return RepetitionPenalty(n=3)([], [response])[0] < -self.repetition


def _ends_in_a_loop(text: str) -> bool:
    """Return True if the end is one piece of up to 60 characters, four times or more and for at least 60 characters."""
    text = text.rstrip()
    for period in range(1, 61):
        tail = text[-max(60, 4 * period) :]
        if len(tail) < max(60, 4 * period):
            return False
        if tail[period:] == tail[:-period] and any(map(str.isalnum, tail)):
            return True
    return False


def _is_gibberish(text: str) -> bool:
    strange = sum(letter == "\ufffd" or _is_control(letter) for letter in text)
    if len(text) >= 40 and strange > 0.05 * len(text):
        return True
    text = _RULE.sub(r"\1", text)
    plain = sum(letter.isalnum() or letter.isspace() or unicodedata.category(letter)[0] == "M" for letter in text)
    return len(text) >= 40 and plain < 0.4 * len(text)


def _is_control(letter: str) -> bool:
    return not letter.isspace() and unicodedata.category(letter) in ("Cc", "Cn", "Co", "Cs")
