"""What the runner holds of a reward: scores that are asked for, waited for and checked in one place.

A reward itself is a callable `(messages, responses) -> list of numbers`, batched, higher is better; see
`langchain_darwin.rewards.as_reward` for everything that is accepted as one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from langchain_darwin.errors import RewardError
from langchain_darwin.rewards.calls import in_thread, is_async, on_background_loop, result_of
from langchain_darwin.rewards.checks import blame, checked, too_slow
from langchain_darwin.runtime.fingerprints import identity_of
from langchain_darwin.runtime.http_retries import retry_wait
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    import tenacity
    from langchain_core.messages import AIMessage, BaseMessage

_LONGEST_WAIT = 10.0  # seconds between two calls of a reward that failed

JudgeFunction: TypeAlias = Callable[[list["BaseMessage"], list["AIMessage"]], Any]
"""A reward as users write it: the conversation and several answers in, one number per answer out.

The messages are LangChain's own and must not be changed. A judge may also be `async def`. As an object, it
may declare the attributes `name`, `partial`, `min_tokens`, `timeout` and `token_ids`, and the methods

- `acall(messages, responses)`, a coroutine that is awaited in async searches instead of `__call__`;
- `identity()`, JSON-able facts that tell it from any other with different numbers;
- `bind(policy)`, the same reward with the policy of the running search. It is called before anything is decoded, so
  what must be loaded is best loaded here.
"""


@dataclass(frozen=True)
class Reward:
    """A judge and how to ask it. Made by `as_reward`; safe to use from any thread and event loop.

    A synchronous judge runs in the calling thread. With a time limit, or in an async search, it runs in a
    thread of its own that sees the caller's context variables. Such a thread cannot be stopped: past its time
    it is left behind. An `async` judge runs on the caller's event loop, or on one shared background loop in
    synchronous searches. It is cancelled when its time is up or its caller is cancelled.

    Attributes:
        judge: The callable that knows the scores.
        name: What errors and traces call it.
        partial: Whether it may judge text that is still being written.
        min_tokens: Unfinished text is judged from this many response tokens on.
        timeout: Seconds that one call of the judge may take, or None for no limit.
        retries: How often a failed call is repeated, after random, growing waits of at most 10 s.
        version: Anything that changes when the judge's numbers do; part of the identity.
        token_ids: Whether a search notes the policy's token ids in `response_metadata["token_ids"]`.
    """

    judge: JudgeFunction
    name: str
    partial: bool = True
    min_tokens: int = 0
    timeout: float | None = None
    retries: int = 0
    version: str | None = None
    token_ids: bool = False

    def __post_init__(self) -> None:
        """Refuse settings outside their range."""
        check_range("min_tokens", self.min_tokens, low=0)
        check_range("retries", self.retries, low=0)
        if self.timeout is not None:
            check_range("timeout", self.timeout, low=0, low_open=True)

    def score(
        self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage], timeout: float | None = None
    ) -> list[float]:
        """One finite number per response, higher is better.

        Args:
            messages: The original conversation.
            responses: Answers to it; empty gives an empty list without a call.
            timeout: Seconds for all of it, repeated calls included.

        Raises:
            RewardError: The judge raised, or returned something else than one finite number per response.
            RewardTimeoutError: It did not answer in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout

        def once() -> list[float]:
            return self._once(list(messages), list(responses), self._seconds(deadline))

        if not responses:
            return []
        if not self.retries:
            return once()
        from tenacity import Retrying

        return Retrying(**self._retry_rules(deadline))(once)

    async def ascore(
        self,
        messages: Sequence[BaseMessage],
        responses: Sequence[AIMessage],
        timeout: float | None = None,  # noqa: ASYNC109  (the same signature as `score`)
    ) -> list[float]:
        """As `score`, without blocking the event loop; cancelling it cancels an `async` judge."""
        deadline = None if timeout is None else time.monotonic() + timeout

        async def once() -> list[float]:
            return await self._aonce(list(messages), list(responses), self._seconds(deadline))

        if not responses:
            return []
        if not self.retries:
            return await once()
        from tenacity import AsyncRetrying

        return await AsyncRetrying(**self._retry_rules(deadline))(once)

    def __call__(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """The same as `score`."""
        return self.score(messages, responses)

    def identity(self) -> dict[str, Any]:
        """JSON-able facts that differ between rewards that guide a search differently; for cache keys.

        What cannot be described (an open connection, say) counts by its object id, so that it matches nothing
        but itself.
        """
        usual = {"partial": True, "min_tokens": 0, "version": None}
        chosen = {key: getattr(self, key) for key in usual if getattr(self, key) != usual[key]}
        return {**identity_of(self.judge), **chosen}

    def __deepcopy__(self, memo: dict[int, Any]) -> Reward:
        """Copy the judge with its data; one that holds a lock or a connection is shared, since it serves any thread."""
        try:
            judge = copy.deepcopy(self.judge, memo)
        except TypeError:
            judge = self.judge
        return replace(self, judge=judge)

    def bind(self, policy: Any) -> Reward:
        """Return the same reward, ready for a search: it knows the policy, and what it needs is loaded.

        Raises:
            RewardError: The judge's own `bind` failed.
            ModelNotFound: There is no such reward model.
        """
        with blame(self.name):
            bind = getattr(self.judge, "bind", None)
            return self if bind is None else replace(self, judge=bind(policy))

    def _once(self, messages: list[BaseMessage], responses: list[AIMessage], seconds: float | None) -> list[float]:
        with blame(self.name):
            if is_async(self.judge):
                return self._wait(on_background_loop(self._awaited(messages, responses)), seconds)
            if seconds is None:
                return self._judged(messages, responses)
            return self._wait(in_thread(partial(self._judged, messages, responses)), seconds)

    def _judged(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        """Call the judge here, and check what it returns here too, where iterating over it may block."""
        with blame(self.name):
            return checked(self.name, self.judge(messages, responses), len(responses))

    async def _awaited(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[float]:
        """Await a judge that can be awaited."""
        with blame(self.name, awaited=True):
            ask = self.judge if is_async(self.judge) else self.judge.acall  # type: ignore[attr-defined]
            return checked(self.name, await ask(messages, responses), len(responses))

    def _wait(self, future: concurrent.futures.Future[Any], seconds: float | None) -> list[float]:
        """The future's result; cancels it when the time is up or the waiting is interrupted."""
        try:
            done, _ = concurrent.futures.wait([future], timeout=seconds)
        finally:
            future.cancel()
        if not done:
            raise too_slow(self.name, seconds)
        scores: list[float] = result_of(future)
        return scores

    async def _aonce(
        self, messages: list[BaseMessage], responses: list[AIMessage], seconds: float | None
    ) -> list[float]:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                if is_async(self.judge) or hasattr(self.judge, "acall"):
                    return await self._awaited(messages, responses)
                return await asyncio.wrap_future(in_thread(partial(self._judged, messages, responses)))
        except TimeoutError:
            if not limit.expired():
                raise
            raise too_slow(self.name, seconds) from None

    def _seconds(self, deadline: float | None) -> float | None:
        """Seconds for one call that starts now."""
        left = None if deadline is None else deadline - time.monotonic()
        limits = [limit for limit in (self.timeout, left) if limit is not None]
        if limits and min(limits) <= 0:
            raise too_slow(self.name, None)
        return min(limits, default=None)

    def _retry_rules(self, deadline: float | None) -> dict[str, Any]:
        """Arguments for tenacity: full jitter, up to 0.5 s at first; no wait reaches past the deadline."""
        import tenacity

        patient = retry_wait(_LONGEST_WAIT)

        def left() -> float:
            return math.inf if deadline is None else deadline - time.monotonic()

        def stop(state: tenacity.RetryCallState) -> bool:
            return state.attempt_number > self.retries or left() <= 0

        def wait(state: tenacity.RetryCallState) -> float:
            return max(0.0, min(patient(state), left()))

        return {
            "stop": stop,
            "wait": wait,
            "retry": tenacity.retry_if_exception_type(RewardError),
            "reraise": True,
        }


def is_unfinished(response: AIMessage) -> bool:
    """Return True if a response is still being written: its metadata has a `finish_reason`, and that is None."""
    return response.response_metadata.get("finish_reason", "") is None
