"""Event loops in threads of their own: one for policies that wait for servers, one for async rewards.

A thread begins when its loop is first needed and ends with the interpreter. A forked child begins its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import time
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from langchain_darwin.runtime.forks import PerProcess, ProcessBound

_T = TypeVar("_T")

_EXIT_PATIENCE = 10.0  # seconds that the interpreter waits for work under way and connections to close


class Closable(Protocol):
    """Something that must be closed on the event loop that uses it."""

    async def aclose(self) -> None:
        """Close it."""
        ...


class BackgroundLoop(ProcessBound):
    """An event loop and its thread."""

    def __init__(self, name: str) -> None:
        """Start the thread, under that name."""
        super().__init__()
        self._loop = asyncio.new_event_loop()
        self._open: weakref.WeakSet[Closable] = weakref.WeakSet()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Return True if its thread runs; what raises `SystemExit` on the loop ends it."""
        return self._thread.is_alive()

    def is_current(self) -> bool:
        """Return True if the caller runs on this loop, and would wait for itself if it waited for the loop."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Begin `work` on the loop; cancelling the future cancels it. May be called from any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def hold(self, resource: Closable, owner: object) -> None:
        """Close `resource` when its owner is gone, or when the interpreter exits."""
        self._open.add(resource)
        weakref.finalize(owner, self._close_later, resource).atexit = False

    def stop(self) -> None:
        """Cancel what runs, close what is open, and end the thread, unless it has ended."""
        if not self.is_alive():
            return
        deadline = time.monotonic() + _EXIT_PATIENCE
        with contextlib.suppress(TimeoutError):
            self.run(self._finish()).result(_EXIT_PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(max(0.1, deadline - time.monotonic()))
        if not self._thread.is_alive():
            self._loop.close()

    def _close_later(self, resource: Closable) -> None:
        """Called by the garbage collector, in any thread; a forked child leaves its parent's connections alone."""
        if not self.is_foreign and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(resource.aclose()))

    async def _finish(self) -> None:
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(each.aclose() for each in list(self._open)), return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()


def background_loop(name: str) -> BackgroundLoop:
    """The loop of that name in this process, started if it does not run.

    One name for all that share clients of async libraries, which cannot be used from two loops; another for what must
    not hold those up.
    """
    own = _process.get()
    with own.lock:
        loop = own.loops.get(name)
        if loop is None or not loop.is_alive():
            loop = own.loops[name] = BackgroundLoop(name)
        return loop


class _LoopsByName:
    """The loops of one process, by name."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loops: dict[str, BackgroundLoop] = {}


_process = PerProcess(_LoopsByName)


@atexit.register
def _stop() -> None:
    for loop in _process.get().loops.values():
        loop.stop()
