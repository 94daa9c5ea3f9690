"""Runs of a search on the scripted policy, as the contracts need them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from langchain_darwin.policies.base import Growth, Job, OnTokens, Policy, Proposal, Sampling
from langchain_darwin.rewards import as_reward
from langchain_darwin.search.base import Beam, Event, Finished, Outcome, Search, Task
from langchain_darwin.search.driver.runner import Budget, Runner
from langchain_darwin.testing.scripted_policy import ScriptedPolicy
from langchain_darwin.trace import beams_of

INSTRUCTION = "Write a poem about the old river."
EXTRAS = ("a bird", "the wind", "light", "some stones", "the night")


def rewriter(conversation: str, tools: object) -> str | list[str] | None:
    """Rewrite instructions when asked to, in either form; leave answers to be drawn."""
    del tools
    if "professional prompt engineer" in conversation:
        wording = conversation.rpartition("Original instruction: ")[2].partition("\n")[0]
        return "\n".join(f"{i}. {wording} Add {extra}." for i, extra in enumerate(EXTRAS, start=1))
    if "Rewrite this instruction" in conversation:
        wording = conversation.rpartition("<<")[2].partition(">>")[0]
        return [f"{wording} Add {extra}." for extra in EXTRAS] + ["The river is old."]
    return None


def erratic(messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
    """Score texts so that one says nothing about another that begins like it; in [0, 1)."""
    del messages
    return [zlib.crc32(response.text.encode()) % 1000 / 1000 for response in responses]


def runner(
    search: Search,
    *,
    reward: Any = erratic,
    seed: int = 0,
    policy: Policy | None = None,
    turns: list[dict[str, Any]] | None = None,
    watch: bool = False,
    budget: Budget | None = None,
    **sampling: Any,
) -> Any:  # a Runner; its events are told apart by the contract, not by their types
    """Prepare a run; beams have about 20 tokens."""
    policy = policy or ScriptedPolicy(rewriter, length=20)
    turns = turns or [{"role": "user", "content": INSTRUCTION}]
    task = Task(turns, policy.codec, Sampling(**{"max_tokens": 40, **sampling}), seed=seed)

    def respond(beam: Beam) -> AIMessage:
        finish = beam.finish if beam.complete else None
        return AIMessage(task.text(beam), response_metadata={"finish_reason": finish, "tokens": len(beam.tokens)})

    return Runner(
        search, task, policy, as_reward(reward), [HumanMessage(INSTRUCTION)], respond, budget or Budget(), watch
    )


def timeless(events: Iterable[Any]) -> list[Any]:
    """Return the events without what the clock says."""
    return [replace(event, seconds=0.0) if hasattr(event, "seconds") else event for event in events]


def outcome(events: Sequence[Event]) -> Outcome:
    """Return the outcome of a run that ended."""
    last = events[-1]
    assert isinstance(last, Finished)
    return last.outcome


def answers_in(events: Iterable[Event]) -> list[Beam]:
    """Return every state of every beam that may become an answer."""
    return [beam for event in events for beam in beams_of(event) if not beam.aside]


async def collect(run: Runner) -> list[Event]:
    """Run to the end on the event loop."""
    return [event async for event in run.arun()]


class RecordingPolicy:
    """A policy whose futures are kept."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.futures: list[Future[Any]] = []
        self.name, self.codec, self.context_length = policy.name, policy.codec, policy.context_length
        self.identity = policy.identity

    def submit(self, jobs: Sequence[Job], on_tokens: OnTokens | None = None) -> Future[list[Growth]]:
        """Ask the policy, and keep the future."""
        future = self.policy.submit(jobs, on_tokens)
        self.futures.append(future)
        return future

    def propose(
        self, prefixes: Sequence[tuple[int, ...]], k: int, among: Sequence[int] | None = None
    ) -> Future[list[Proposal]]:
        """Ask the policy, and keep the future."""
        future = self.policy.propose(prefixes, k, among)
        self.futures.append(future)
        return future
