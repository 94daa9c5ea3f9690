"""Many inputs at once, each in a thread or task of its own that waits; leaving early ends all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from contextlib import aclosing
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list, get_executor_for_config

from langchain_darwin.chat.cancellation import CancelScope

_MOST_THREADS = 256

Configs: TypeAlias = RunnableConfig | Sequence[RunnableConfig] | None
_T = TypeVar("_T")


class BatchedAtOnce(BaseChatModel):
    """A chat model whose batches run all at once; leaving one early ends all of it."""

    def batch(
        self, inputs: list[Any], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> list[AIMessage]:
        """Answer all inputs at once: their searches share the policy's decode batch.

        When one fails and `return_exceptions` is not set, the others are cancelled.
        """
        if len(inputs) == 1 and not return_exceptions:
            return [self.invoke(inputs[0], get_config_list(config, 1)[0], **kwargs)]
        answers = dict(self.batch_as_completed(inputs, config, return_exceptions=return_exceptions, **kwargs))
        return [cast("AIMessage", answers[at]) for at in range(len(inputs))]

    def batch_as_completed(  # type: ignore[override]
        self, inputs: Sequence[Any], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> Iterator[tuple[int, AIMessage | Exception]]:
        """Answer all inputs at once, each as soon as it is there; leaving the iterator cancels the rest."""
        invoke = partial(self.invoke, **kwargs)
        yield from answers_as_completed(invoke, inputs, config, return_exceptions=return_exceptions)

    async def abatch(
        self, inputs: list[Any], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> list[AIMessage]:
        """Like `batch`, without blocking."""
        stream = self.abatch_as_completed(inputs, config, return_exceptions=return_exceptions, **kwargs)
        async with aclosing(stream) as answered:
            answers = {at: answer async for at, answer in answered}
        return [cast("AIMessage", answers[at]) for at in range(len(inputs))]

    async def abatch_as_completed(  # type: ignore[override]
        self, inputs: Sequence[Any], config: Configs = None, *, return_exceptions: bool = False, **kwargs: Any
    ) -> AsyncGenerator[tuple[int, AIMessage | Exception], None]:
        """Like `batch_as_completed`, without blocking."""
        ainvoke = partial(self.ainvoke, **kwargs)
        stream = aanswers_as_completed(ainvoke, inputs, config, return_exceptions=return_exceptions)
        async with aclosing(stream) as answered:
            async for answer in answered:
                yield answer


def answers_as_completed(
    invoke: Callable[[Any, RunnableConfig], _T],
    inputs: Sequence[Any],
    configs: Configs,
    *,
    return_exceptions: bool,
) -> Iterator[tuple[int, _T | Exception]]:
    """Index and answer of each input, as soon as it is there.

    When one raises, or the iterator is closed, or the thread that waits is interrupted, the searches of the others
    are cancelled. Those that have not begun do not begin.

    Args:
        invoke: Answers one input.
        inputs: What to answer.
        configs: One config for all, or one each. All inputs run at once, up to 256, unless `max_concurrency` is set.
        return_exceptions: Give exceptions as answers instead of raising them.
    """
    if not inputs:
        return
    each = get_config_list(configs, len(inputs))
    together = CancelScope()

    def answer(given: Any, config: RunnableConfig) -> _T:
        with together.joined():
            return invoke(given, config)

    with get_executor_for_config(_all_at_once(each[0], len(inputs))) as executor:
        waiting = {executor.submit(answer, *pair): at for at, pair in enumerate(zip(inputs, each, strict=True))}
        try:
            for future in as_completed(waiting):
                failure = _failure(future) if return_exceptions else None
                yield waiting[future], failure or future.result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            together.cancel()


async def aanswers_as_completed(
    ainvoke: Callable[[Any, RunnableConfig], Awaitable[_T]],
    inputs: Sequence[Any],
    configs: Configs,
    *,
    return_exceptions: bool,
) -> AsyncGenerator[tuple[int, _T | Exception], None]:
    """Like `answers_as_completed`, in tasks."""
    if not inputs:
        return
    each = get_config_list(configs, len(inputs))
    free = asyncio.Semaphore(each[0].get("max_concurrency") or len(inputs))

    async def answer(at: int) -> tuple[int, _T | Exception]:
        async with free:
            try:
                return at, await ainvoke(inputs[at], each[at])
            except Exception as error:
                if return_exceptions:
                    return at, error
                raise

    tasks = [asyncio.create_task(answer(at)) for at in range(len(inputs))]
    try:
        for answered in asyncio.as_completed(tasks):
            yield await answered
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _failure(future: Future[Any]) -> Exception | None:
    error = future.exception()
    return error if isinstance(error, Exception) else None


def _all_at_once(config: RunnableConfig, n: int) -> RunnableConfig:
    """The config without LangChain's limit of a few threads, unless the caller has set one."""
    return {**config, "max_concurrency": config.get("max_concurrency") or min(n, _MOST_THREADS)}
