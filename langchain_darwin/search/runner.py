"""Drives a search: the only place that waits, for tokens or for scores.

`Runner.run` and `Runner.arun` are the same loop over the search's generator, one blocking and one not. Both
yield events, `Finished` last. Closing them early (or cancelling the task) cancels what is under way.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import queue
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_darwin.errors import RewardTimeoutError, SearchTimeoutError
from langchain_darwin.policies.base import Growth, OnTokens, Policy, Proposal, check_range
from langchain_darwin.rewards.base import Reward
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
    TokensDrawn,
    describe,
)
from langchain_darwin.search.work import Growing, Ledger, Scoring


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
        with closing(self._drive()) as drive:
            reply: Any = None
            while (step := _advance(drive, reply)) is not None:
                reply = None
                if isinstance(step, Growing):
                    reply = yield from self._grow(step)
                elif isinstance(step, Scoring):
                    reply = self._judge(step)
                elif isinstance(step, Propose):
                    reply = self._proposals(step)
                else:
                    yield step

    async def arun(self) -> AsyncGenerator[Event, None]:
        """Run to the end without blocking the event loop; yields events, `Finished` last."""
        with closing(self._drive()) as drive:
            reply: Any = None
            while (step := _advance(drive, reply)) is not None:
                reply = None
                if isinstance(step, Growing):
                    async with aclosing(self._agrow(step)) as drawn:
                        async for item in drawn:
                            if isinstance(item, TokensDrawn):
                                yield item
                            else:
                                reply = item
                elif isinstance(step, Scoring):
                    reply = await self._ajudge(step)
                elif isinstance(step, Propose):
                    reply = await asyncio.wrap_future(self._propose(step))
                else:
                    yield step

    def _drive(self) -> Generator[Event | Growing | Scoring | Propose, Any, None]:
        """The search's generator with limits, ledger and events added; all that is left to do is wait."""
        yield self._start()
        with closing(self.search.run(self.task)) as steps:
            reply: Any = None
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration as end:
                    outcome = self._returned(end.value)
                    break
                if self._spent(step):
                    outcome = self._best_so_far()
                    break
                if isinstance(step, Grow):
                    growing = Growing(step, self.task, self.policy, self._tokens_left(), self._deadline)
                    if self.watch:
                        yield growing.begun()
                    reply, grown = growing.finish((yield growing), self.ledger)
                    yield grown
                elif isinstance(step, Score):
                    scoring = Scoring(step, self.reward, self.respond, self.ledger)
                    scores = yield scoring
                    if scores is None:
                        outcome = self._best_so_far()
                        break
                    reply, scored = scoring.finish(scores, self.ledger)
                    yield scored
                elif isinstance(step, Propose):
                    began = time.monotonic()
                    reply = yield step
                    self.ledger.propose(reply, time.monotonic() - began)
                elif isinstance(step, Extend):
                    reply, event = self.ledger.extend(step, self.policy.context_length)
                    yield event
                else:
                    reply = yield step
        yield Finished(outcome, self.stopped)

    def _start(self) -> Started:
        if self.budget.seconds is not None:
            self._deadline = time.monotonic() + self.budget.seconds
        task = self.task
        return Started(describe(self.search), task.seed, task.instruction, len(task.prompt))

    def _spent(self, step: Request | Event) -> bool:
        """Whether the search asks for more tokens when a limit is reached; remembers which limit."""
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
        """What the search returned; if a deadline cut its beams short, complete answers go first."""
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

    def _grow(self, growing: Growing) -> Generator[TokensDrawn, None, list[Growth]]:
        """Block until the policy is done; yield tokens as they come, if watched."""
        if not growing.jobs:
            return []
        inbox: queue.SimpleQueue[tuple[int, Sequence[int]] | None] = queue.SimpleQueue()
        watch: OnTokens = lambda job, tokens: inbox.put((job, tokens))  # noqa: E731
        future = self.policy.submit(growing.jobs, watch if self.watch else None)
        future.add_done_callback(lambda _: inbox.put(None))
        try:
            while (item := inbox.get()) is not None:
                yield growing.drawn(*item)
            return future.result()
        finally:
            future.cancel()

    async def _agrow(self, growing: Growing) -> AsyncGenerator[TokensDrawn | list[Growth], None]:
        """Wait for the policy; yield tokens as they come, if watched, then the growths."""
        if not growing.jobs:
            yield []
            return
        inbox: asyncio.Queue[tuple[int, Sequence[int]] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def post(item: tuple[int, Sequence[int]] | None) -> None:
            with suppress(RuntimeError):  # the loop was closed while the policy was finishing
                loop.call_soon_threadsafe(inbox.put_nowait, item)

        watch: OnTokens = lambda job, tokens: post((job, tokens))  # noqa: E731
        future = self.policy.submit(growing.jobs, watch if self.watch else None)
        future.add_done_callback(lambda _: post(None))
        try:
            while (item := await inbox.get()) is not None:
                yield growing.drawn(*item)
            yield future.result()
        finally:
            future.cancel()

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

    def _proposals(self, step: Propose) -> list[Proposal]:
        future = self._propose(step)
        try:
            return future.result()
        finally:
            future.cancel()

    def _propose(self, step: Propose) -> Future[list[Proposal]]:
        return self.policy.propose([beam.prompt + beam.tokens for beam in step.beams], step.k)


def _advance(drive: Generator[Any, Any, None], reply: Any) -> Any:
    """The next step, or None at the end."""
    try:
        return drive.send(reply)
    except StopIteration:
        return None
