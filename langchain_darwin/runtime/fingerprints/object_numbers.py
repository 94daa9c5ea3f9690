"""Numbers for objects that nothing else distinguishes."""

from __future__ import annotations

import functools
import itertools
import secrets
import threading
import weakref
from typing import Any

from langchain_darwin.runtime.forks import PerProcess


class Numbers:
    """Numbers of this process's objects, none of which is used twice; an object's id is, once it is gone."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(8)
        self._lock = threading.RLock()  # an object may go while a number is looked up
        self._counter = itertools.count()
        self._known: dict[int, tuple[weakref.ref[Any], int]] = {}

    def of(self, thing: Any) -> str:
        """Return a text that no other object has, here or in another process."""
        with self._lock:
            known = self._known.get(id(thing))
            if known is not None and known[0]() is thing:
                return f"{self._process} {known[1]}"
            number = next(self._counter)
            try:
                self._known[id(thing)] = (
                    weakref.ref(thing, functools.partial(self._forget, id(thing), number)),
                    number,
                )
            except TypeError:  # it cannot be watched
                return f"{self._process} id {id(thing)}"
            return f"{self._process} {number}"

    def _forget(self, key: int, number: int, _: weakref.ref[Any]) -> None:
        with self._lock:
            if key in self._known and self._known[key][1] == number:
                del self._known[key]


_numbers = PerProcess(Numbers)


def number_of(thing: Any) -> str:
    """Return a text that this object alone has, in this process."""
    return _numbers.get().of(thing)
