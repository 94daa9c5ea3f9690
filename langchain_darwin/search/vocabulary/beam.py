"""The beam: one text of a search. Outcomes are made of beams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from langchain_darwin.policies.base import FinishReason, Growth


@dataclass(frozen=True, slots=True)
class Beam:
    """One text, live or finished; never changed, only succeeded by another with the same id.

    Attributes:
        id: Unique within a search. A grown or scored beam keeps its id, a copy gets a new one.
        instruction: Text of the last human message that this beam answers, possibly a rewritten one.
        prompt: Token ids of the whole prompt.
        tokens: Token ids of the response so far, the end token included. Never re-tokenised.
        key: 64-bit key of the beam's random stream, from the task's seed and the id.
        parent: Id of the beam it was copied from, or None for a fresh one.
        logprob: Sum of natural-log probabilities of the tokens, each under the prompt it was drawn with.
        reward: Last score against the original conversation, or None if its current text is not judged.
        finish: Why it ended, or None while it is live.
        aside: An auxiliary text (a rewritten instruction, say): never scored, never an answer.
        parts: Name to unweighted score of the rewards that a composed reward was made of; empty for others.
    """

    id: int
    instruction: str
    prompt: tuple[int, ...]
    tokens: tuple[int, ...] = ()
    key: int = 0
    parent: int | None = None
    logprob: float = 0.0
    reward: float | None = None
    finish: FinishReason | None = None
    aside: bool = False
    parts: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def live(self) -> bool:
        """True while it can still grow."""
        return self.finish is None

    @property
    def complete(self) -> bool:
        """True if it came to its own end and was not cut by a deadline."""
        return self.finish in ("stop", "length")

    def grown(self, growth: Growth) -> Beam:
        """The beam with a policy's new tokens; its reward is void unless nothing was added."""
        return replace(
            self,
            tokens=self.tokens + growth.tokens,
            logprob=self.logprob + growth.logprob,
            finish=growth.finish,
            reward=None if growth.tokens else self.reward,
            parts={} if growth.tokens else self.parts,
        )

    def scored(self, score: float | None) -> Beam:
        """The beam with a reward's score, as a plain float, and with the parts that the score may carry."""
        if score is None:
            return replace(self, reward=None, parts={})
        parts = getattr(score, "parts", {})
        return replace(self, reward=float(score), parts={str(name): float(part) for name, part in parts.items()})

    def scored_as(self, other: Beam) -> Beam:
        """The beam with the reward of another, and its parts."""
        return replace(self, reward=other.reward, parts=other.parts)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search found.

    Attributes:
        beams: Candidate answers, best first; never empty.
        seed: The plain answer to the original instruction, where the search made one; else None.
    """

    beams: tuple[Beam, ...]
    seed: Beam | None = None

    @property
    def best(self) -> Beam:
        """The answer."""
        return self.beams[0]


def ranked(beams: Iterable[Beam]) -> list[Beam]:
    """Beams by reward, highest first; unjudged ones last; ties in the given order."""
    return sorted(beams, key=lambda beam: (beam.reward is None, -(beam.reward or 0.0)))
