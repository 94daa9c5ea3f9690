"""Where a judge runs: a thread of its own, the caller's event loop, or the background loop."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import inspect
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from langchain_darwin.errors import RewardError
from langchain_darwin.runtime.background_loop import background_loop

_EXIT_PATIENCE = 5.0  # seconds that the interpreter waits for judges under way


def is_async(judge: Any) -> bool:
    """Return True if calling the judge gives a coroutine: `async def`, or an object whose `__call__` is one."""
    return inspect.iscoroutinefunction(judge) or inspect.iscoroutinefunction(getattr(judge, "__call__", None))  # noqa: B004


def on_background_loop(work: Coroutine[Any, Any, Any]) -> Future[Any]:
    """Run it in a copy of the caller's context variables, on a loop that no policy waits for; see `result_of`."""
    loop = background_loop("langchain-darwin-async-rewards")
    if loop.is_current():
        work.close()
        message = "an async reward called a synchronous search with an async reward: await `ainvoke` there"
        raise RewardError(message)
    return loop.run(_carrying(work))


@dataclass(frozen=True)
class _Raised:
    """What would end an event loop, on its way to whom it concerns."""

    error: BaseException


async def _carrying(work: Coroutine[Any, Any, Any]) -> Any:
    """Await it; `SystemExit` and its like would end the loop, and its waiting caller would wait for ever."""
    try:
        return await work
    except (KeyboardInterrupt, SystemExit) as error:
        return _Raised(error)


def result_of(future: Future[Any]) -> Any:
    """Return the result of a future that is done, or raise its error."""
    value = future.result()
    if isinstance(value, _Raised):
        raise value.error
    return value


def in_thread(call: Callable[[], Any]) -> Future[Any]:
    """Run `call` in a new daemon thread, in a copy of the caller's context variables.

    Not in an executor: those cap how many calls run at once, and hold up the interpreter's exit for as long as a
    judge takes. Here it waits for some seconds: a thread that is cut off in native code aborts the process.
    """
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()  # from here on it cannot be cancelled
    context = contextvars.copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as error:  # noqa: BLE001  (handed on to whoever waits)
            future.set_exception(error)

    thread = threading.Thread(target=work, name="langchain-darwin reward", daemon=True)
    _threads.add(thread)
    thread.start()
    return future


_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@atexit.register
def _wait_for_threads() -> None:
    deadline = time.monotonic() + _EXIT_PATIENCE
    for thread in list(_threads):
        thread.join(max(0.0, deadline - time.monotonic()))


async def gather(calls: Sequence[Awaitable[Any]]) -> list[Any]:
    """Await all; the first failure cancels the others and is raised as itself."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
