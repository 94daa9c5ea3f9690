"""Drives a search: the only place that waits, for tokens or for scores.

`Runner.run` and `Runner.arun` are the same loop over the search's generator, one blocking and one not. Both
wait for two things only, an inbox and the reward, and yield events, `Finished` last. Closing them early (or
cancelling the task) cancels what is under way.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage

from langchain_darwin.errors import RewardTimeoutError, SearchTimeoutError
from langchain_darwin.policies.base import Growth, OnTokens, Policy, Proposal
from langchain_darwin.rewards.base import Reward
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import (
    Beam,
    Event,
    Extend,
    Finished,
    Grow,
    Outcome,
    Propose,
    Request,
    Score,
    Search,
    Started,
    Task,
    describe,
)
from langchain_darwin.search.driver.inbox import AsyncInbox, Inbox
from langchain_darwin.search.driver.work import Growing, Ledger, Scoring

AnyInbox: TypeAlias = Inbox | AsyncInbox
MakeInbox: TypeAlias = Callable[[], AnyInbox]
Wait: TypeAlias = AnyInbox | Scoring


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of one search; whichever is reached first ends it with the best answer so far.

    Attributes:
        seconds: Wall time. Judging what is there by then may take a tenth more, or one second if that is
            longer.
        tokens: Policy tokens decoded, over all beams and rewritten instructions.
    """

    seconds: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing."""
        if self.seconds is not None:
            check_range("seconds", self.seconds, low=0, low_open=True)
        if self.tokens is not None:
            check_range("tokens", self.tokens, low=1)

    @property
    def grace(self) -> float:
        """Seconds that judging may take beyond the limit."""
        return max(1.0, 0.1 * (self.seconds or 0.0))


@dataclass
class Runner:
    """One run of one search.

    Attributes:
        search: The algorithm.
        task: The question.
        policy: Where tokens come from.
        reward: Where scores come from.
        messages: The original conversation, as the reward sees it.
        respond: Makes the message that the reward sees from a beam.
        budget: Limits of the run.
        watch: Whether to yield `TokensDrawn` while beams grow.
        context: Context variables that the reward runs under.
        ledger: What the run has spent and seen so far.
        stopped: The limit that ended the search, "timeout" or "budget", or None.
    """

    search: Search
    task: Task
    policy: Policy
    reward: Reward
    messages: Sequence[BaseMessage]
    respond: Callable[[Beam], AIMessage]
    budget: Budget = field(default_factory=Budget)
    watch: bool = False
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    ledger: Ledger = field(default_factory=Ledger)
    stopped: str | None = None
    _deadline: float | None = None

    def run(self) -> Generator[Event, None, None]:
        """Run to the end, blocking; yields events, `Finished` last."""
        with closing(self._drive(Inbox)) as drive:
            reply: Any = None
            while (step := _advance(drive, reply)) is not None:
                reply = None
                if isinstance(step, Inbox):
                    reply = step.get()
                elif isinstance(step, Scoring):
                    reply = self._judge(step)
                else:
                    yield step

    async def arun(self) -> AsyncGenerator[Event, None]:
        """Run to the end without blocking the event loop; yields events, `Finished` last."""
        with closing(self._drive(AsyncInbox)) as drive:
            reply: Any = None
            while (step := _advance(drive, reply)) is not None:
                reply = None
                if isinstance(step, AsyncInbox):
                    reply = await step.get()
                elif isinstance(step, Scoring):
                    reply = await self._ajudge(step)
                else:
                    yield step

    def _drive(self, make_inbox: MakeInbox) -> Generator[Event | Wait, Any, None]:
        """All of the run but the waiting: yields events, and what to wait for, whose result it receives."""
        yield self._start()
        outcome = yield from self._outcome(make_inbox)
        yield Finished(outcome, self.stopped)

    def _outcome(self, make_inbox: MakeInbox) -> Generator[Event | Wait, Any, Outcome]:
        """Return what the search returns, or the best so far once a limit stops it."""
        with closing(self.search.run(self.task)) as steps:
            reply: Any = None
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration as end:
                    return self._returned(end.value)
                if self._spent(step):
                    return self._best_so_far()
                reply = yield from self._answer(step, make_inbox)
                if self.stopped:
                    return self._best_so_far()

    def _answer(self, step: Request | Event, make_inbox: MakeInbox) -> Generator[Event | Wait, Any, Any]:
        """Return what the search receives for one step; None if the time ran out first."""
        match step:
            case Grow():
                return (yield from self._grow(step, make_inbox()))
            case Score():
                return (yield from self._score(step))
            case Propose():
                return (yield from self._propose(step, make_inbox()))
            case Extend():
                beams, event = self.ledger.extend(step, self.policy.context_length)
                yield event
                return beams
            case _:
                return (yield step)

    def _grow(self, step: Grow, inbox: AnyInbox) -> Generator[Event | Wait, Any, list[Beam]]:
        growing = Growing(step, self.task, self.policy, self._tokens_left(), self._deadline)
        if self.watch:
            yield growing.begun()
        growths = (yield from self._growths(growing, inbox)) if growing.jobs else []
        beams, grown = growing.finish(growths, self.ledger)
        yield grown
        return beams

    def _growths(self, growing: Growing, inbox: AnyInbox) -> Generator[Event | Wait, Any, list[Growth]]:
        """Return what the policy decodes; yield tokens as they come, if watched."""
        watch: OnTokens = lambda job, tokens: inbox.post((job, tokens))  # noqa: E731
        future = self.policy.submit(growing.jobs, watch if self.watch else None)
        future.add_done_callback(lambda _: inbox.post(None))
        try:
            while (arrival := (yield inbox)) is not None:
                yield growing.drawn(*arrival)
            return future.result()
        finally:
            future.cancel()

    def _propose(self, step: Propose, inbox: AnyInbox) -> Generator[Wait, Any, list[Proposal]]:
        began = time.monotonic()
        future = self.policy.propose([beam.prompt + beam.tokens for beam in step.beams], step.k)
        future.add_done_callback(lambda _: inbox.post(None))
        try:
            yield inbox
            proposals = future.result()
        finally:
            future.cancel()
        self.ledger.propose(proposals, time.monotonic() - began)
        return proposals

    def _score(self, step: Score) -> Generator[Event | Wait, Any, list[Beam] | None]:
        scoring = Scoring(step, self.reward, self.respond, self.ledger)
        scores = yield scoring
        if scores is None:
            return None
        beams, scored = scoring.finish(scores, self.ledger)
        yield scored
        return beams

    def _start(self) -> Started:
        if self.budget.seconds is not None:
            self._deadline = time.monotonic() + self.budget.seconds
        task = self.task
        return Started(describe(self.search), task.seed, task.instruction, len(task.prompt))

    def _spent(self, step: Request | Event) -> bool:
        """Return True if the search asks for more tokens when a limit is reached; remember the limit."""
        if not isinstance(step, Grow | Propose):
            return False
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self.stopped = "timeout"
        elif self._tokens_left() < sum(beam.live for beam in step.beams):
            self.stopped = "budget"
        return self.stopped is not None

    def _tokens_left(self) -> float:
        return math.inf if self.budget.tokens is None else self.budget.tokens - self.ledger.decoded

    def _returned(self, found: Outcome) -> Outcome:
        """Return what the search returned; if a deadline cut its beams short, complete answers go first."""
        if any(beam.finish == "timeout" for beam in found.beams):
            self.stopped = "timeout"
        elif self.budget.tokens is not None and not found.best.complete:
            self.stopped = "budget"
        return self._best_so_far() if self.stopped else found

    def _best_so_far(self) -> Outcome:
        beams = self.ledger.best_so_far()
        if not beams:
            msg = f"no token of an answer was decoded within {self.budget}; allow more"
            raise SearchTimeoutError(msg)
        return Outcome(tuple(beams))

    def _judge(self, scoring: Scoring) -> list[float] | None:
        """Scores, or None if the time ran out first."""
        if not scoring.responses:
            return []
        try:
            return self.context.run(self.reward.score, self.messages, scoring.responses, timeout=self._judging_time())
        except RewardTimeoutError as error:
            self._late(error)
            return None

    async def _ajudge(self, scoring: Scoring) -> list[float] | None:
        """Scores, or None if the time ran out first."""
        if not scoring.responses:
            return []
        try:
            scores = self.reward.ascore(self.messages, scoring.responses, timeout=self._judging_time())
            return await asyncio.create_task(scores, context=self.context)
        except RewardTimeoutError as error:
            self._late(error)
            return None

    def _judging_time(self) -> float | None:
        """Seconds that a reward may take now: until the deadline and its grace."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - time.monotonic()) + self.budget.grace

    def _late(self, error: RewardTimeoutError) -> None:
        """After a reward timed out: the run's time is up, or else the reward's own, which is an error."""
        if self._deadline is None or time.monotonic() < self._deadline:
            raise error
        self.stopped = "timeout"


def _advance(drive: Generator[Any, Any, None], reply: Any) -> Any:
    """The next step, or None at the end."""
    try:
        return drive.send(reply)
    except StopIteration:
        return None
