"""DARWIN (arXiv 2406.15193 v5): mutate the instruction, decode by periods, replace weak beams by strong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal, get_args

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.runtime.ranges import check_choice, check_range
from langchain_darwin.search.base import (
    Archived,
    Beam,
    CycleStarted,
    Grow,
    Outcome,
    Part,
    Score,
    Steps,
    Task,
    ranked,
)
from langchain_darwin.search.mutation.mutate import mutate
from langchain_darwin.search.steps import (
    UNJUDGED,
    Pair,
    complete_first,
    judged,
    resample,
    softmax,
    standardised,
    take_over,
)

Mutation = Literal["each", "list", "append", "none"]
Replacement = Literal["top_k", "resample", "none"]
Carry = Literal["branch", "text"]


@dataclass(frozen=True)
class Darwin:
    """Evolutionary search over instructions and partial answers (paper, Algorithm 1).

    Each cycle draws an instruction from the archive, rewrites it if asked to, and decodes a beam for each rewriting.
    After every `period` tokens the beams are rewarded against the original instruction. Low-scoring beams then become
    copies of high-scoring ones. Rewritings that did well enter the archive. The answer is the complete
    response with the highest reward over all cycles. The published method is `Darwin.paper()`; docs/paper.md
    says where and why the defaults differ from it.

    Attributes:
        beams: Instructions decoded per cycle; n in the paper.
        per_instruction: Beams per instruction, all of them replaced together; nb in the paper.
        cycles: Mutation cycles; N or #MC in the paper.
        period: Tokens between replacements; m in the paper.
        first_period: Tokens before the first replacement, or None for `period`. Rewards of very short texts
            say little (paper, Table 3).
        keep: Beams that stay in each round of "top_k", and instructions that can enter the archive per cycle; k.
        mutation: "none" decodes the instruction as it is. "append" adds a short request, such as "Be specific.",
            without asking the model. "each" asks it for one rewriting per beam, all in one batch. "list" asks for
            all in one text (paper, App. D).
        keep_original: Whether the first of the instructions is the user's own.
        drift_guard: Whether the instruction itself is decoded in place of a rewriting that strays from it.
        seed_answer: Whether a plain answer is sampled first and competes with the others.
        replacement: "resample" draws the survivors by softmax of the standardised rewards (Rollout Roulette,
            arXiv 2502.01618) with systematic resampling, so that a fair beam often survives. "top_k" gives the
            place of each weaker beam to one of the `keep` best, drawn uniformly (paper, Exploitation B). "none"
            decodes to the end (paper, "Mutation + BoN").
        resample_temperature: Of that softmax; lower is greedier.
        carry: The instruction under which a copied response goes on. "branch" is its own instruction, which
            costs the policy nothing. "text" is the instruction of the beam it replaces, as in the paper.
        pool_finished: Whether finished answers leave the round for a pool. If not, as in the paper, they
            compete with unfinished text and may be copied over it.
        look_ahead: Tokens decoded beyond each period for the reward to see, then discarded unless they end
            an answer; l in the paper (Table 7).
    """

    beams: int = 5
    per_instruction: int = 1
    cycles: int = 1
    period: int = 16
    first_period: int | None = None
    keep: int = 3
    mutation: Mutation = "none"
    keep_original: bool = True
    drift_guard: bool = True
    seed_answer: bool = False
    replacement: Replacement = "resample"
    resample_temperature: float = 1.0
    carry: Carry = "branch"
    pool_finished: bool = True
    look_ahead: int = 0

    def __post_init__(self) -> None:
        """Refuse settings under which the search could not run."""
        for name in ("beams", "per_instruction", "cycles", "period"):
            check_range(name, getattr(self, name), low=1)
        if self.first_period is not None:
            check_range("first_period", self.first_period, low=1)
        check_range("look_ahead", self.look_ahead, low=0)
        check_range("resample_temperature", self.resample_temperature, low=0, low_open=True)
        check_choice("mutation", self.mutation, get_args(Mutation))
        check_choice("replacement", self.replacement, get_args(Replacement))
        check_choice("carry", self.carry, get_args(Carry))
        self._check_keep()

    @classmethod
    def paper(cls) -> Darwin:
        """The published method to the letter (v5, App. B): 3 cycles of 5 beams, m = 40, k = 3."""
        return cls(
            cycles=3,
            period=40,
            mutation="list",
            keep_original=False,
            drift_guard=False,
            seed_answer=True,
            replacement="top_k",
            carry="text",
            pool_finished=False,
        )

    def run(self, task: Task) -> Steps:
        """Algorithm 1."""
        seed = (yield from self._answer_plainly(task)) if self.seed_answer else None
        answers = [seed] if seed else []
        archive = {task.instruction: seed.reward if seed else None}  # A = {I}, with the reward of each
        for cycle in range(1, self.cycles + 1):
            candidate = task.rng.choice(list(archive))  # I_cand ~ A
            yield CycleStarted(cycle, candidate, tuple(archive))
            instructions = yield from self._rewrite(task, candidate, cycle)
            roots = [task.root(text) for text in instructions for _ in range(self.per_instruction)]
            ended, credited = yield from self._decode(task, roots, last=cycle == self.cycles)
            answers += ended
            archive = update_archive(archive, candidate, ended, most_credited(credited, ended, self.keep))
            yield Archived(cycle, tuple(archive), tuple(archive.values()))
        return Outcome(tuple(complete_first(answers)), seed)

    def _answer_plainly(self, task: Task) -> Part[Beam]:
        """The answer without any search, which the paper's code samples first and keeps as a fallback."""
        answers = yield Grow([task.root()])
        answers = yield Score(answers)
        return answers[0]  # type: ignore[no-any-return]

    def _rewrite(self, task: Task, candidate: str, cycle: int) -> Part[list[str]]:
        """Mutate(I_cand, n): the instructions of one cycle."""
        if self.mutation == "none":
            return [candidate] * self.beams
        own = [task.instruction] if self.keep_original else []
        if len(own) == self.beams:
            return own
        rewritings = yield from mutate(
            task, candidate, self.beams - len(own), cycle=cycle, how=self.mutation, guard=self.drift_guard
        )
        return own + rewritings

    def _decode(self, task: Task, beams: list[Beam], *, last: bool) -> Part[tuple[list[Beam], Counter[str]]]:
        """Decode, reward and replace until all beams end; return the answers and the credit.

        Live beams always have the same number of tokens. They start together, and a `Grow` gives each the same
        number unless it ends. A copy is as long as its donor.
        """
        pool: list[Beam] = []
        credited: Counter[str] = Counter()
        tokens = None if self.replacement == "none" else self.first_period or self.period
        unjudged = False
        while any(beam.live for beam in beams):
            growing = {beam.id for beam in beams if beam.live}
            beams = yield Grow(beams, tokens, last_roots=last)
            beams, ended_ahead = yield from self._value(task, beams)
            pool += ended_ahead
            credited.update(credit(beams, growing, self.keep))
            if self.pool_finished:
                pool += [beam for beam in beams if not beam.live]
                beams = [beam for beam in beams if beam.live]
            unjudged = unjudged or not judged(beam for beam in beams if beam.live)
            beams = yield from self._replace(task, beams)
            tokens = self.period
        if unjudged:
            yield UNJUDGED
        return pool + beams, credited

    def _value(self, task: Task, beams: list[Beam]) -> Part[tuple[list[Beam], list[Beam]]]:
        """The beams with R(s, I), or R of what each leads to in `look_ahead` more tokens; and what ended there."""
        live = [beam for beam in beams if beam.live]
        if not self.look_ahead or not live:
            return (yield Score(beams)), []
        ended = [beam for beam in beams if not beam.live]
        ahead = yield Grow([task.branch(beam) for beam in live], self.look_ahead)
        scored = yield Score([*ended, *ahead])
        ended, ahead = scored[: len(ended)], scored[len(ended) :]
        values = {beam.id: beam for beam in ended} | {beam.parent: beam for beam in ahead}
        return [beam.scored_as(values[beam.id]) for beam in beams], [beam for beam in ahead if beam.complete]

    def _replace(self, task: Task, beams: list[Beam]) -> Part[list[Beam]]:
        """f(s_1..s_n): the beams of the next round."""
        if not judged(beams) or not any(beam.live for beam in beams):
            return beams
        return (yield from take_over(task, beams, self._pairs(task.rng, beams), keep_instruction=self.carry == "text"))

    def _pairs(self, rng: Random, beams: Sequence[Beam]) -> list[Pair]:
        if self.replacement == "resample":
            scores = standardised([beam.reward or 0.0 for beam in beams])  # any scale of rewards will do
            return resample(beams, softmax(scores, self.resample_temperature), rng) if any(scores) else []
        return replace_worst(beams, self.keep, rng) if self.replacement == "top_k" else []

    def _check_keep(self) -> None:
        check_range("keep", self.keep, low=1)
        total = self.beams * self.per_instruction
        if self.replacement != "top_k" or self.keep < total:
            return
        if total == 1:
            msg = f"beams={self.beams} leaves nothing to replace; use at least 2 beams, or replacement='none'"
            raise ConfigurationError(msg)
        msg = f"keep={self.keep} must be between 1 and the number of beams less one, {total - 1}"
        raise ConfigurationError(msg)


def replace_worst(beams: Sequence[Beam], keep: int, rng: Random) -> list[Pair]:
    """f(s_1..s_n) = (s_1..s_k, r_1..r_(n-k)) with r_i ~ Uniform{s_1..s_k} (paper, Exploitation B).

    Finished beams are not given up; they may be donors if they are among `beams`.
    """
    order = ranked(beams)
    return [(beam, rng.choice(order[:keep])) for beam in order[keep:] if beam.live]


def credit(beams: Sequence[Beam], growing: Collection[int], keep: int) -> list[str]:
    """Instructions of this round's `keep` best beams, of those that grew in it.

    A finished beam gets no further credit in rounds that it merely outlasts.
    """
    return [beam.instruction for beam in ranked(beams)[:keep] if beam.reward is not None and beam.id in growing]


def final_rewards(ended: Iterable[Beam]) -> dict[str, float]:
    """The best final reward of each instruction."""
    rewards: dict[str, float] = {}
    for beam in ended:
        if beam.reward is not None:
            rewards[beam.instruction] = max(beam.reward, rewards.get(beam.instruction, beam.reward))
    return rewards


def most_credited(credited: Counter[str], ended: Iterable[Beam], keep: int) -> list[str]:
    """I_top-k: the `keep` instructions most often in the top k; ties by final reward."""
    final = final_rewards(ended)
    return sorted(credited, key=lambda text: (-credited[text], -final.get(text, -math.inf)))[:keep]


def update_archive(
    archive: Mapping[str, float | None], candidate: str, ended: Sequence[Beam], top: Iterable[str]
) -> dict[str, float | None]:
    """A <- A u {I_j in I_top-k whose final reward is above that of I_cand}, each with its best reward yet.

    A candidate without a reward is below all others. Members never leave, so the archive is never empty.
    """
    final = final_rewards(ended)
    known = {text: _best(reward, final.get(text)) for text, reward in archive.items()}
    bar = known[candidate]
    better = [text for text in top if text in final and (bar is None or final[text] > bar)]
    return known | {text: _best(known.get(text), final[text]) for text in better}


def _best(one: float | None, other: float | None) -> float | None:
    return max((reward for reward in (one, other) if reward is not None), default=None)
