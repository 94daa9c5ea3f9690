"""Tokens that a server drew beyond what was asked for, kept for the next continuation of the same text."""

from __future__ import annotations

import hashlib
import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

from langchain_darwin.policies.base import Job

Drawn: TypeAlias = tuple[int, float]
"""A token id and its natural-log probability under the model itself."""

_KEPT = 8192  # texts; each takes about a kilobyte


class PrefetchedTokens:
    """The rest of each draft, by text and by how it is drawn; the latest `kept` of them. Safe in any thread."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Hold nothing yet."""
        self._kept = kept
        self._rests: OrderedDict[bytes, tuple[Drawn, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._rests)

    def get(self, job: Job, text: Sequence[int]) -> tuple[Drawn, ...]:
        """Return the tokens drawn already after `text`, the tokens of prompt and response; empty if there are none."""
        name = _name(job, text)
        with self._lock:
            if name not in self._rests:
                return ()
            self._rests.move_to_end(name)
            return self._rests[name]

    def keep(self, job: Job, text: Sequence[int], rest: Sequence[Drawn]) -> None:
        """Remember the tokens drawn after `text`."""
        if not rest:
            return
        name = _name(job, text)
        with self._lock:
            self._rests[name] = tuple(rest)
            self._rests.move_to_end(name)
            while len(self._rests) > self._kept:
                self._rests.popitem(last=False)


def _name(job: Job, text: Sequence[int]) -> bytes:
    """A name for a text and everything that its next draws depend on."""
    drawn = hashlib.blake2b(repr((job.key, job.start, job.sampling)).encode(), digest_size=16)
    drawn.update(array("q", text).tobytes())
    return drawn.digest()
