"""What a forked child must make for itself: it has none of its parent's threads, and its locks may be held for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class PerProcess(Generic[_T]):
    """A value that each process makes for itself when it first asks for it.

    A child keeps what its parent had, unused: to free it would run finalizers that count on the parent's threads.

    Args:
        make: Makes the value. Two threads that ask first at the same time may both call it; one result is used.
    """

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make = make
        self._values: dict[int, _T] = {}

    def get(self) -> _T:
        """Return this process's value."""
        pid = os.getpid()
        if pid not in self._values:
            self._values.setdefault(pid, self._make())
        return self._values[pid]


class ProcessBound:
    """A mixin for what must not be used in a forked child of the process that made it."""

    def __init__(self) -> None:
        """Remember the process."""
        self._pid = os.getpid()

    @property
    def is_foreign(self) -> bool:
        """True in a forked child."""
        return self._pid != os.getpid()
