"""ARGS: every next token is chosen by the policy's likelihood and the reward of the text it leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Proposal
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Beam, Extend, Outcome, Propose, Score, Steps, Task
from langchain_darwin.search.steps import UNJUDGED, complete_first, judged, softmax


@dataclass(frozen=True)
class ARGS:
    """`score(v) = log policy(v | x, y) + w r(x, [y, v])` over the k likeliest tokens v (arXiv 2402.01694, ICLR 2024).

    ARGS-greedy takes the highest score, ARGS-stochastic draws v by softmax(score / τ). The paper's code adds
    the reward to raw logits. A log-probability is the logit less a number that all candidates of a step share.
    So both make the same choice. Only the log-probability means the same at every step and on every policy.

    It makes one `Propose` and one `Score` a token. The candidates of all beams are judged in one batch, and a
    policy with a memory computes one token a beam. The task's temperature, top-p and top-k are not used. If the
    reward judges finished text only, tokens are chosen by likelihood alone.

    Attributes:
        top_k: Candidates per token, k. Paper: 10.
        weight: Of the reward, w, in nats per unit of reward. Paper: 1.5.
        temperature: τ; 0 takes the highest score.
        n: Texts side by side, of which the best is the answer; more than one needs a temperature.
    """

    top_k: int = 10
    weight: float = 1.5
    temperature: float = 0.0
    n: int = 1

    def __post_init__(self) -> None:
        """Refuse values outside their range."""
        check_range("top_k", self.top_k, low=1)
        check_range("weight", self.weight, low=0)
        check_range("temperature", self.temperature, low=0)
        check_range("n", self.n, low=1)
        if self.n > 1 and not self.temperature:
            msg = f"n={self.n} texts would all be the same at temperature=0; set a temperature, or n=1"
            raise ConfigurationError(msg)

    def run(self, task: Task) -> Steps:
        """Propose, score the candidates, take one for each text, until all have ended."""
        if task.sampling.constraint is not None:
            msg = "ARGS cannot follow a grammar; use another search, such as BestOfN(), for structured answers"
            raise ConfigurationError(msg)
        beams: list[Beam] = task.roots(self.n)
        skipped = False
        while live := [beam for beam in beams if beam.live]:
            spare = len(task.codec.end_ids) if task.sampling.min_tokens else 0
            proposals = yield Propose(live, self.top_k + spare)
            tried = [self._candidates(task, *pair) for pair in zip(live, proposals, strict=True)]
            scored = iter((yield Score([candidate for group in tried for candidate in group])))
            groups = [[next(scored) for _ in group] for group in tried]
            skipped = skipped or not all(map(judged, groups))
            chosen = [self._choose(beam, group) for beam, group in zip(live, groups, strict=True)]
            successors = {beam.id: beam for beam in chosen}
            beams = yield Extend([successors.get(beam.id, beam) for beam in beams], last_roots=True)
        beams = yield Score(beams)
        if skipped:
            yield UNJUDGED
        return Outcome(tuple(complete_first(beams)))

    def _candidates(self, task: Task, beam: Beam, proposal: Proposal) -> list[Beam]:
        """The text with each of the likeliest tokens; it may not end before `min_tokens`."""
        early = task.codec.end_ids if len(beam.tokens) < task.sampling.min_tokens else frozenset()
        tokens = zip(proposal.tokens, proposal.logprobs, strict=True)
        longer = [task.extend(beam, token, logprob) for token, logprob in tokens if token not in early]
        return longer[: self.top_k]

    def _choose(self, beam: Beam, candidates: Sequence[Beam]) -> Beam:
        """One of the candidates for the next token of `beam`, likeliest first."""
        scores = [candidate.logprob - beam.logprob for candidate in candidates]
        if judged(candidates):
            rewards = [candidate.reward or 0.0 for candidate in candidates]
            scores = [score + self.weight * reward for score, reward in zip(scores, rewards, strict=True)]
        if not self.temperature:
            return candidates[scores.index(max(scores))]
        rng = Random(f"{beam.key}/{len(beam.tokens)}")
        return rng.choices(candidates, softmax(scores, self.temperature))[0]
