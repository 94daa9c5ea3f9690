"""How many threads compute a decode step on a CPU: as many as torch would take, or one, whichever is faster here.

A step is hundreds of small products. Sharing each of them takes waking other threads, which with few cores costs more
than it brings (docs/performance.md). What is faster depends on the machine and on the number of rows, so it is tried
out on the first steps. Results are the same: bfloat16 products do not depend on the number of threads. In float32 they
do, by rounding, and torch's own number stays, so that a text does not depend on a measurement.
"""

from __future__ import annotations

import functools
import os
import statistics
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TURN = 4  # steps with one number of threads; the first is not counted, for torch then clears its caches
_TURNS = 6  # three of each number, one after the other
_AGAIN = 500  # steps until both are tried anew: texts are longer, and the machine busier or quieter by then
_MANY_TOKENS = 64  # in one forward pass; sharing those always pays

_T = TypeVar("_T")


@functools.cache
def _torch_threads() -> int:
    """Torch's own number, asked for before any was set here."""
    return torch.get_num_threads()


def set_own_threads(threads: int) -> None:
    """Set torch's number of threads for the calling thread; threads that begin later keep torch's own number."""
    torch.get_num_threads()  # sets this thread up, which torch would otherwise do later, undoing what follows
    torch.set_num_threads(threads)
    restoring = threading.Thread(target=torch.set_num_threads, args=(_torch_threads(),))
    restoring.start()
    restoring.join()


class StepThreads:
    """Sets the calling thread's number of torch threads before each forward pass; used by one thread only."""

    def __init__(
        self,
        most: int,
        set_threads: Callable[[int], None] = set_own_threads,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Choose between `most` threads and one.

        Args:
            most: What torch would use.
            set_threads: Sets the number of threads.
            clock: Gives the time, in seconds.
        """
        self._most, self._set_threads, self._clock = most, set_threads, clock
        self._now = most
        self._trials: dict[int, Trial] = {}

    def compute(self, rows: int, new: int, forward: Callable[[], _T]) -> _T:
        """The result of a forward pass over `new` tokens in each of `rows` rows."""
        if new > 1:
            self._use(self._most if rows * new >= _MANY_TOKENS else self._now)
            return forward()
        trial = self._trials.setdefault(rows.bit_length(), Trial(self._most))
        self._use(trial.threads)
        began = self._clock()
        result = forward()
        trial.took(self._clock() - began)
        return result

    def _use(self, threads: int) -> None:
        if threads != self._now:
            self._set_threads(threads)
            self._now = threads


class Trial:
    """Which number of threads is to be used for steps of one kind.

    The two take turns, so that what slows the machine down for a moment, or a model's first steps, falls on both.

    Attributes:
        threads: The number for the next step.
    """

    def __init__(self, most: int) -> None:
        """Begin with `most` threads."""
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self.threads = self._most
        self._steps = 0
        self._seconds: dict[int, list[float]] = {self._most: [], 1: []}

    def took(self, seconds: float) -> None:
        """Take note of how long a step with `threads` took."""
        turn, step = divmod(self._steps, _TURN)
        self._steps += 1
        if turn < _TURNS:
            if step:
                self._seconds[self.threads].append(seconds)
            if step == _TURN - 1:
                self.threads = self._faster() if turn == _TURNS - 1 else self._other()
        elif self._steps == _AGAIN:
            self._begin()

    def _other(self) -> int:
        return 1 if self.threads == self._most else self._most

    def _faster(self) -> int:
        return min(self._seconds, key=lambda threads: statistics.median(self._seconds[threads]))


def step_threads(model: PreTrainedModel) -> StepThreads | None:
    """What chooses the threads of a model's steps, or None where there is nothing to choose."""
    most = _torch_threads()
    if model.device.type != "cpu" or model.dtype is not torch.bfloat16 or most == 1 or "OMP_NUM_THREADS" in os.environ:
        return None
    return StepThreads(most)
