"""Ends searches from outside, in whatever thread they run.

Python cannot interrupt a thread. But a search waits for its policy nearly all of the time, and a policy's futures
can be cancelled from any thread. So a scope keeps the futures of its searches.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from langchain_darwin.errors import SearchCancelledError
from langchain_darwin.policies.base import Growth, Job, OnTokens, Policy, Proposal

_T = TypeVar("_T")


class CancelScope:
    """Searches that end when this scope is left, or when any thread calls `cancel`.

    A search belongs to the scopes that were open, in its context, when it began. LangChain and LangGraph copy the
    context to their threads, so what a graph's nodes or a chain's branches begin belongs to them as well. A search
    that is cancelled gives its rows back within one decode step and raises `SearchCancelledError`.

        with closing(agent.stream(question)) as chunks, CancelScope():
            for chunk in chunks:
                if enough(chunk):
                    break

    In this order the scope is left first. So the graph, which waits for its nodes when its stream is closed, finds
    them done. A scope may be entered once.
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._futures: set[Future[Any]] = set()
        self._tokens: list[contextvars.Token[tuple[CancelScope, ...]]] = []

    @property
    def cancelled(self) -> bool:
        """Return True if its searches have been told to end."""
        return self._cancelled.is_set()

    def __enter__(self) -> Self:
        """Searches that begin from here on belong to the scope."""
        self._tokens.append(_open_scopes.set((*_open_scopes.get(), self)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End what is still running."""
        _open_scopes.reset(self._tokens.pop())
        self.cancel()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Let what begins in this thread, meanwhile, belong to the scope; leaving ends nothing."""
        token = _open_scopes.set((*_open_scopes.get(), self))
        try:
            yield
        finally:
            _open_scopes.reset(token)

    def cancel(self) -> None:
        """End the scope's searches, and those that still begin in it; may be called from any thread, again too."""
        with self._lock:
            self._cancelled.set()
            futures = list(self._futures)
        for future in futures:
            future.cancel()

    def hold(self, future: Future[Any]) -> None:
        """Cancel a policy's future when the scope is cancelled, or now if it has been."""
        with self._lock:
            self._futures.add(future)
        future.add_done_callback(self._let_go)
        if self.cancelled:
            future.cancel()

    def _let_go(self, future: Future[Any]) -> None:
        with self._lock:
            self._futures.discard(future)


_open_scopes: contextvars.ContextVar[tuple[CancelScope, ...]] = contextvars.ContextVar("open_scopes", default=())


def open_scopes() -> tuple[CancelScope, ...]:
    """The scopes that a search belongs to if it begins now, in this context.

    Raises:
        SearchCancelledError: One of them has been cancelled.
    """
    scopes = _open_scopes.get()
    check_scopes(scopes)
    return scopes


def check_scopes(scopes: Sequence[CancelScope]) -> None:
    """Raise `SearchCancelledError` if one of the scopes has been cancelled."""
    if any(scope.cancelled for scope in scopes):
        msg = "the search was cancelled with the scope it belongs to: a CancelScope, or a batch that was left early"
        raise SearchCancelledError(msg)


def cancellable(policy: Policy, scopes: Sequence[CancelScope]) -> Policy:
    """The policy, with its futures held by these scopes."""
    return cast("Policy", ScopedPolicy(policy, scopes)) if scopes else policy


class ScopedPolicy:
    """A policy whose futures are cancelled with the scopes of a search; in all else the policy within."""

    def __init__(self, inner: Policy, scopes: Sequence[CancelScope]) -> None:
        self._inner = inner
        self._scopes = scopes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def submit(self, jobs: Sequence[Job], on_tokens: OnTokens | None = None) -> Future[list[Growth]]:
        """See `Policy.submit`."""
        return self._held(self._inner.submit(jobs, on_tokens))

    def propose(
        self, prefixes: Sequence[tuple[int, ...]], k: int, among: Sequence[int] | None = None
    ) -> Future[list[Proposal]]:
        """See `Policy.propose`."""
        return self._held(self._inner.propose(prefixes, k, among))

    def _held(self, future: Future[_T]) -> Future[_T]:
        for scope in self._scopes:
            scope.hold(future)
        return future
