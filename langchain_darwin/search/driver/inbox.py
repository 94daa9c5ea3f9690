"""Where a policy's tokens arrive while the runner waits: one inbox for callers that block, one for event loops.

What arrives is `(job, tokens)`, the job being its number in the submission, and None once the policy is done.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeAlias

Arrival: TypeAlias = tuple[int, Sequence[int]] | None


class Inbox:
    """For a caller that blocks; `post` may be called from any thread."""

    def __init__(self) -> None:
        """Make an empty inbox."""
        self._arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()

    def post(self, arrival: Arrival) -> None:
        """Put in what arrived."""
        self._arrivals.put(arrival)

    def get(self) -> Arrival:
        """Wait for the next arrival."""
        return self._arrivals.get()


class AsyncInbox:
    """For a caller on the event loop that runs when it is made; `post` may be called from any thread."""

    def __init__(self) -> None:
        """Make an empty inbox."""
        self._arrivals: asyncio.Queue[Arrival] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def post(self, arrival: Arrival) -> None:
        """Put in what arrived, unless the loop was closed meanwhile."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._arrivals.put_nowait, arrival)

    async def get(self) -> Arrival:
        """Wait for the next arrival."""
        return await self._arrivals.get()
