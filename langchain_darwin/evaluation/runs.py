"""One run of a comparison: a conversation with one search, scored by the reward and by the held-out metric (gold)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_darwin.chat_models import ChatDarwin
from langchain_darwin.evaluation.datasets.prompts import Prompt
from langchain_darwin.evaluation.records import Answer, Cost, Record, RunKey
from langchain_darwin.rewards.base import Reward
from langchain_darwin.search.base import Beam, Event, Finished, Scored, Search, describe


@dataclass(frozen=True)
class Run:
    """What is to be run.

    Attributes:
        key: What it is filed under.
        label: The search's name in tables.
        prompt: What the user says.
        search: The algorithm.
        candidates: Whether all its answers are kept, for the pool.
    """

    key: RunKey
    label: str
    prompt: Prompt
    search: Search
    candidates: int = 1


@dataclass(frozen=True)
class Bench:
    """What all runs of a comparison share.

    Attributes:
        model: With the guiding reward and the sampling.
        reward: The guiding reward, for answers that a search left unjudged.
        gold: The other measure, which no search sees.
        at_once: Runs that share the machine.
    """

    model: ChatDarwin
    reward: Reward
    gold: Reward
    at_once: int = 1

    async def run(self, run: Run) -> Record:
        """Have the conversation and judge every answer."""
        answers: list[Answer] = []
        pools: list[tuple[Answer, ...]] = []
        cost = Cost()
        messages: list[BaseMessage] = []
        for turn, text in enumerate(run.prompt.turns):
            messages.append(HumanMessage(text))
            found, spent = await self._ask(run, messages, run_seed(run.key.seed, run.prompt.key, turn))
            messages.append(AIMessage(found[0].text))
            answers.append(found[0])
            pools += [tuple(found)] * (run.candidates > 1)
            cost += spent
        facts = (run.key.prompt, run.key.search, run.label, describe(run.search), run.key.seed)
        return Record(*facts, tuple(answers), cost, self.at_once, tuple(pools))

    async def _ask(self, run: Run, messages: Sequence[BaseMessage], seed: int) -> tuple[list[Answer], Cost]:
        """The answers to one turn, best first, and their cost."""
        meter = Meter()
        model = self.model.model_copy(update={"on_search_event": meter})
        result = await model.agenerate([list(messages)], search=run.search, seed=seed, n=run.candidates)
        found = [cast("AIMessage", cast("Any", made).message) for made in result.generations[0]]
        beams = meter.beams[: len(found)]
        return await self._judge(messages, found, beams), meter.cost(found[0].response_metadata["darwin"])

    async def _judge(
        self, messages: Sequence[BaseMessage], found: Sequence[AIMessage], beams: Sequence[Beam]
    ) -> list[Answer]:
        for message, beam in zip(found, beams, strict=True):
            message.response_metadata |= {"tokens": len(beam.tokens), "logprob": beam.logprob}
            message.response_metadata["token_ids"] = list(beam.tokens)
        rewards = [beam.reward for beam in beams if beam.reward is not None]
        if len(rewards) < len(beams):  # a vote, say, needs no reward
            rewards = await self.reward.ascore(messages, found)
        golds = await self.gold.ascore(messages, found)
        return [
            Answer(said.text, len(beam.tokens), float(reward), float(gold), said.response_metadata["finish_reason"])
            for said, beam, reward, gold in zip(found, beams, rewards, golds, strict=True)
        ]


@dataclass
class Meter:
    """Counts what the reward was asked in one search, and keeps the outcome; an observer of its events.

    Attributes:
        beams: The answers, best first, once the search has ended.
        judgings: Calls of the reward.
        judged_tokens: Answer tokens that it was given.
        seconds: That it took.
    """

    beams: tuple[Beam, ...] = ()
    judgings: int = 0
    judged_tokens: int = 0
    seconds: float = 0.0
    _seen: set[tuple[tuple[int, ...], bool]] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Finished):
            self.beams = event.outcome.beams
        elif isinstance(event, Scored) and event.judged:
            fresh = {(beam.tokens, beam.complete) for beam in event.beams if beam.reward is not None} - self._seen
            self._seen |= fresh
            self.judgings += 1
            self.judged_tokens += sum(len(tokens) for tokens, _ in fresh)
            self.seconds += event.seconds

    def cost(self, facts: dict[str, Any]) -> Cost:
        """The cost of the search, with what its answer says of itself (`response_metadata["darwin"]`)."""
        return Cost(
            **facts["tokens"],
            judged=facts["judged"],
            judgings=self.judgings,
            judged_tokens=self.judged_tokens,
            reward_seconds=round(self.seconds, 3),
            seconds=facts["seconds"],
        )


def run_seed(seed: int, prompt: str, turn: int) -> int:
    """The seed of one turn: the same for every search, so that differences have less noise (common random numbers).

    31 bits of BLAKE2b, so that prompts and seeds share nothing.
    """
    digest = hashlib.blake2b(f"{seed}/{turn}/{prompt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1
