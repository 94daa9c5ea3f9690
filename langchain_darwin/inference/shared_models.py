"""Loaded models that a whole process shares, and when their weights are let go."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from langchain_darwin.runtime.forks import PerProcess

Key = TypeVar("Key", bound=Hashable)
Model = TypeVar("Model")


class SharedModels(Generic[Key, Model]):
    """Loaded models by key: one load at a time per key, kept while somebody holds them, the latest always.

    The latest is let go before another is loaded, so that two need not fit in memory where nobody holds the
    first. Every kind of model (policies, reward models) has its own `SharedModels`, so that one of each stays.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._locks: PerProcess[_Locks[Key]] = PerProcess(_Locks)
        self._alive: weakref.WeakValueDictionary[Key, Model] = weakref.WeakValueDictionary()
        self._latest: Model | None = None

    def get(self, key: Key, load: Callable[[], Model]) -> Model:
        """The model of that key, loaded if it is not there; a caller that asks meanwhile waits for it."""
        locks = self._locks.get()
        with locks.all:
            loading = locks.loading.setdefault(key, threading.Lock())
        with loading:
            model = self.held(key)
            if model is None:
                self._latest = None
                model = _in_own_thread(load)
            with locks.all:
                self._alive[key] = self._latest = model
        return model

    def held(self, key: Key) -> Model | None:
        """The model of that key if it is loaded."""
        return self._alive.get(key)


class _Locks(Generic[Key]):
    """The locks of one process: a fork may happen while another thread holds its parent's."""

    def __init__(self) -> None:
        self.all = threading.Lock()
        self.loading: dict[Key, threading.Lock] = {}


def _in_own_thread(load: Callable[[], Model]) -> Model:
    """Return what `load` returns, called in a thread that ends with it.

    Every thread that computes with torch on a CPU keeps OpenMP workers of its own for as long as it lives. Where
    there are more of them in all than CPUs, each product waits for its workers to be woken. Decoding has a thread of
    its own; the loading thread's workers must not outlive the loading.
    """
    pool = ThreadPoolExecutor(1, "loading")
    try:
        return pool.submit(load).result()
    finally:
        pool.shutdown(wait=False)
