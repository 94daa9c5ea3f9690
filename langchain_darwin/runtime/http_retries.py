"""HTTP retries: which requests are repeated, the waits between tries, and limits to requests under way."""

from __future__ import annotations

import asyncio
import email.utils
import sys
import threading
import time
import weakref
from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import MissingDependencyError

if TYPE_CHECKING:
    import httpx
    import tenacity

_PASSING = (408, 425, 429)  # and all from 500 on


class Refusal(Exception):
    """A server's answer that is not a success.

    Attributes:
        status: The HTTP status.
        said: What the server said.
        retry_after: Seconds that the server asks to wait, or None.
        passing: Whether the same request may succeed later.
    """

    def __init__(self, status: int, said: str, retry_after: float | None = None, reason: str = "") -> None:
        super().__init__(f"answered {status} {reason}".rstrip() + f": {said[:300]!r}")
        self.status = status
        self.said = said
        self.retry_after = retry_after
        self.passing = status in _PASSING or status >= 500


def httpx_for(name: str) -> Any:
    """The library httpx, for `name`, which needs it.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import httpx
    except ImportError:
        message = f"{name} needs httpx: pip install 'langchain-darwin[vllm]'"
        raise MissingDependencyError(message) from None
    return httpx


class BrokenAnswer(Exception):
    """An answer that breaks off, or is not what was asked for; worth asking again."""


def answered(response: httpx.Response) -> httpx.Response:
    """The response if it is a success; raises `Refusal` otherwise."""
    if not response.is_success:
        wait = _seconds(response.headers.get("Retry-After"))
        raise Refusal(response.status_code, response.text, wait, response.reason_phrase)
    return response


def is_passing(error: BaseException, longest_wait: float = float("inf")) -> bool:
    """Return True if the same request may succeed after `longest_wait` seconds at most."""
    if isinstance(error, Refusal):
        return error.passing and (error.retry_after or 0.0) <= longest_wait
    httpx = sys.modules.get("httpx")  # its errors exist only where it was imported
    if httpx is None or isinstance(error, BrokenAnswer):
        return isinstance(error, BrokenAnswer)
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)


def retry_wait(longest_wait: float) -> Callable[[tenacity.RetryCallState], float]:
    """Return the seconds between two tries: full jitter from 0.5 s on, doubling, and never before `Retry-After`."""
    import tenacity

    jitter = tenacity.wait_random_exponential(multiplier=0.5, max=longest_wait)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(jitter(state), getattr(error, "retry_after", None) or 0.0)

    return wait


def retry_rules(retries: int, longest_wait: float) -> dict[str, Any]:
    """Return arguments for tenacity: `retries` repetitions of requests that may succeed later."""
    import tenacity

    return {
        "stop": tenacity.stop_after_attempt(retries + 1),
        "wait": retry_wait(longest_wait),
        "retry": tenacity.retry_if_exception(partial(is_passing, longest_wait=longest_wait)),
        "reraise": True,
    }


class Gates:
    """Limits to what is under way at a time: one per key for all threads, one per key and event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[Hashable, threading.Semaphore] = {}
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, asyncio.Semaphore]]
        self._loops = weakref.WeakKeyDictionary()

    def of_threads(self, key: Hashable, limit: int) -> threading.Semaphore:
        """The limit for synchronous callers."""
        with self._lock:
            return self._threads.setdefault(key, threading.Semaphore(limit))

    def of_loop(self, key: Hashable, limit: int) -> asyncio.Semaphore:
        """The limit for callers on the running event loop."""
        with self._lock:
            own = self._loops.setdefault(asyncio.get_running_loop(), {})
        return own.setdefault(key, asyncio.Semaphore(limit))


def _seconds(retry_after: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for, as a number or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
