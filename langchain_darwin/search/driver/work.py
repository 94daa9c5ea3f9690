"""The two kinds of work a search asks for, from request to answer, without the waiting in between."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from langchain_core.messages import AIMessage

from langchain_darwin.policies.base import Growth, Job, Policy, Proposal
from langchain_darwin.rewards.base import Reward
from langchain_darwin.search.base import (
    Beam,
    Extend,
    Grow,
    Grown,
    GrowthStarted,
    Score,
    Scored,
    Task,
    TokensDrawn,
    ranked,
)

_ASIDE_SHARE = 0.25


@dataclass
class Ledger:
    """What a run has spent and seen.

    Attributes:
        prefilled: Prompt tokens the policy computed.
        decoded: Tokens the policy drew, asides and thrown-away look-ahead included.
        reused: Prompt tokens the policy had in memory.
        judged: Texts that went to the reward.
        beams: The latest state of every beam by id, asides left out.
        growing: Ids of the beams of the last `Grow`; other unfinished beams have been given up.
        scores: Rewards by response and whether it was complete; a text is judged once.
        proposals: Answers to `Propose` since the last `Extend`.
        proposing: Seconds that they took.
    """

    prefilled: int = 0
    decoded: int = 0
    reused: int = 0
    judged: int = 0
    beams: dict[int, Beam] = field(default_factory=dict)
    growing: frozenset[int] = frozenset()
    scores: dict[tuple[tuple[int, ...], bool], float] = field(default_factory=dict)
    proposals: list[Proposal] = field(default_factory=list)
    proposing: float = 0.0

    def pay(self, costs: Iterable[Growth]) -> None:
        """Count what the policy computed."""
        for cost in costs:
            self.prefilled += cost.prefilled
            self.reused += cost.reused
            self.decoded += len(cost.tokens)

    def propose(self, proposals: Iterable[Proposal], seconds: float) -> None:
        """Count proposals: each is a token decoded; the token that it was read off is not prefilled anew."""
        for proposal in proposals:
            self.prefilled += max(0, proposal.prefilled - 1)
            self.reused += proposal.reused
            self.decoded += 1
            self.proposals.append(proposal)
        self.proposing += seconds

    def extend(self, step: Extend, room: int) -> tuple[list[Beam], Grown]:
        """The beams of an `Extend`, ended if they fill the context, and the event that tells of them."""
        full = {beam.id for beam in step.beams if beam.live and len(beam.prompt + beam.tokens) >= room}
        beams = [replace(beam, finish="length") if beam.id in full else beam for beam in step.beams]
        proposals, seconds = self.proposals, self.proposing
        self.proposals, self.proposing = [], 0.0
        self.see(beams)
        self.growing = frozenset(beam.id for beam in beams)
        return beams, Grown(
            tuple(beams),
            prefilled=sum(max(0, proposal.prefilled - 1) for proposal in proposals),
            decoded=len(proposals),
            reused=sum(proposal.reused for proposal in proposals),
            seconds=seconds,
            last_roots=step.last_roots,
        )

    def see(self, beams: Iterable[Beam]) -> None:
        """Remember beams that may become the answer."""
        self.beams.update((beam.id, beam) for beam in beams if not beam.aside)

    def best_so_far(self) -> list[Beam]:
        """Complete answers by reward, then unfinished ones still growing, by reward and then by length."""
        beams = sorted(self.beams.values(), key=lambda beam: -len(beam.tokens))
        rest = [beam for beam in beams if beam.id in self.growing and not beam.complete and beam.tokens]
        return ranked(beam for beam in beams if beam.complete) + ranked(rest)


class Growing:
    """One `Grow`: beams to jobs, growths to beams."""

    def __init__(self, step: Grow, task: Task, policy: Policy, tokens_left: float, deadline: float | None) -> None:
        """Choose the beams that can grow and share the tokens that are left among them.

        Asides get a quarter of the tokens and the time that are left, so that there is always an answer.
        """
        self.step, self.started = step, time.monotonic()
        self.rows = [i for i, beam in enumerate(step.beams) if beam.live]
        room = policy.context_length
        self.full = [i for i in self.rows if len(step.beams[i].prompt) + len(step.beams[i].tokens) >= room]
        self.rows = [i for i in self.rows if i not in self.full]
        self._aside = all(beam.aside for beam in step.beams)
        limit = step.tokens
        if tokens_left < math.inf and self.rows:
            share = max(1, int(tokens_left * (_ASIDE_SHARE if self._aside else 1) / len(self.rows)))
            limit = share if limit is None else min(limit, share)
        if deadline is not None and self._aside:
            deadline = self.started + _ASIDE_SHARE * (deadline - self.started)
        sampling = step.sampling or task.sampling
        beams = [step.beams[i] for i in self.rows]
        self.jobs = [
            Job(beam.prompt + beam.tokens, len(beam.prompt), sampling, beam.key, limit, deadline) for beam in beams
        ]

    def begun(self) -> GrowthStarted:
        """The event that tells which beams are about to grow."""
        return GrowthStarted(tuple(self.step.beams), self.step.last_roots)

    def drawn(self, job: int, tokens: Sequence[int]) -> TokensDrawn:
        """The event for new tokens of one job."""
        return TokensDrawn(self.step.beams[self.rows[job]].id, tuple(tokens))

    def finish(self, growths: Sequence[Growth], ledger: Ledger) -> tuple[list[Beam], Grown]:
        """The grown beams in the order of the request, and the event that tells of them."""
        beams = list(self.step.beams)
        for i in self.full:
            beams[i] = beams[i].grown(Growth((), 0.0, "length"))
        for i, growth in zip(self.rows, growths, strict=True):
            beams[i] = beams[i].grown(growth)
        ledger.see(beams)
        ledger.growing = frozenset(beam.id for beam in beams if not beam.aside) or ledger.growing
        ledger.pay(growths)
        return beams, Grown(
            tuple(beams),
            prefilled=sum(growth.prefilled for growth in growths),
            decoded=sum(len(growth.tokens) for growth in growths),
            reused=sum(growth.reused for growth in growths),
            seconds=time.monotonic() - self.started,
            last_roots=self.step.last_roots,
        )


class Scoring:
    """One `Score`: each different text that the reward may judge goes to it once in a run."""

    def __init__(self, step: Score, reward: Reward, respond: Callable[[Beam], AIMessage], ledger: Ledger) -> None:
        """Choose the texts that are new to the reward."""
        self.step, self.reward, self.started = step, reward, time.monotonic()
        fresh = {_text_key(beam): beam for beam in step.beams if self._may_judge(beam)}
        self.keys = [key for key in fresh if key not in ledger.scores]
        self.responses = [respond(fresh[key]) for key in self.keys]
        if reward.token_ids:
            for key, response in zip(self.keys, self.responses, strict=True):
                response.response_metadata["token_ids"] = list(fresh[key].tokens)

    def finish(self, scores: Sequence[float], ledger: Ledger) -> tuple[list[Beam], Scored]:
        """The scored beams in the order of the request, and the event that tells of them."""
        ledger.scores.update(zip(self.keys, scores, strict=True))
        ledger.judged += len(self.keys)
        beams = [
            beam.scored(ledger.scores[_text_key(beam)] if self._may_judge(beam) else None) for beam in self.step.beams
        ]
        ledger.see(beams)
        return beams, Scored(tuple(beams), len(self.keys), time.monotonic() - self.started)

    def _may_judge(self, beam: Beam) -> bool:
        if beam.complete:
            return True
        return self.reward.partial and len(beam.tokens) >= max(1, self.reward.min_tokens)


def _text_key(beam: Beam) -> tuple[tuple[int, ...], bool]:
    return beam.tokens, beam.complete
