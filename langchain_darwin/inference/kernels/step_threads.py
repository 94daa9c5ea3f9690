"""How many threads compute a decode step on a CPU: as many as torch would take, or one, whichever is faster here.

A step is hundreds of small products. Sharing each of them takes waking other threads, which with few cores costs more
than it brings (docs/performance.md). Where other work keeps a core busy, it costs far more. Each product waits for a
thread that has been put aside, on two cores for as much as 8 ms instead of 0.1 ms. What is faster depends on the
machine, on the number of rows, and on what else runs. So both are tried on the first steps, again when steps get
slower, and again after a while. A trial ends at once if one of the two turns out to be hopeless.

Texts do not depend on the choice, because it is made only where results are equal bit for bit. Products in bfloat16,
and products of packed layers in float32, do not depend on the number of threads. Other products in float32 do, by
rounding, and for those torch's own number stays.
"""

from __future__ import annotations

import functools
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import torch

from langchain_darwin.inference.kernels.packed_linear import is_packed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TURN = 4  # steps with one number of threads; the first is not counted, for torch then clears its caches
_TURNS = 6  # three of each number, one after the other
_AGAIN = 500  # steps until both are tried anew: texts are longer, and the machine busier or quieter by then
_LATEST_AGAIN = 4000  # the same, doubled each time that several threads were hopeless
_HOPELESS = 2.0  # times slower than the other number, after which a trial ends
_HOPELESS_FIRST = 5.0  # the same for the first step of a turn
_WORTH = 0.97  # of one thread's time; what several threads must stay below to be used
_RECENT = 6  # steps looked at to tell whether the machine has become busier
_SLOWED = 1.5  # times slower than in the trial, after which both are tried anew
_MANY_TOKENS = 64  # in one forward pass; sharing those pays unless other work keeps the cores busy

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
        self._crowded = False  # whether several threads were hopeless in the newest trial
        self._trials: dict[int, Trial] = {}

    def compute(self, rows: int, new: int, forward: Callable[[], _T]) -> _T:
        """Return the result of a forward pass over `new` tokens in each of `rows` rows."""
        if new > 1:
            self._use(self._for_prompts(rows * new))
            return forward()
        trial = self._trials.setdefault(rows.bit_length(), Trial(self._most))
        self._use(trial.threads)
        began = self._clock()
        result = forward()
        trial.took(self._clock() - began)
        self._crowded = trial.crowded
        return result

    def _for_prompts(self, tokens: int) -> int:
        if tokens < _MANY_TOKENS:
            return self._now
        return 1 if self._crowded else self._most

    def _use(self, threads: int) -> None:
        if threads != self._now:
            self._set_threads(threads)
            self._now = threads


class Trial:
    """Which number of threads is to be used for steps of one kind.

    The two take turns, so that what slows the machine down for a moment, or a model's first steps, falls on both.

    Attributes:
        threads: The number for the next step.
        crowded: Whether several threads were hopeless when they were last tried.
    """

    def __init__(self, most: int) -> None:
        """Begin with one thread, which is never hopeless."""
        self._most = most
        self._again = _AGAIN
        self.crowded = False
        self._begin()

    def _begin(self) -> None:
        self.threads = 1
        self._steps = 0
        self._tried: dict[int, list[float]] = {1: [], self._most: []}
        self._usual = 0.0  # seconds of a step with the number chosen; 0 while both are tried
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def took(self, seconds: float) -> None:
        """Take note of how long a step with `threads` took."""
        turn, step = divmod(self._steps, _TURN)
        self._steps += 1
        if self._usual:
            self._watch(seconds)
        elif self._is_hopeless(seconds, _HOPELESS if step else _HOPELESS_FIRST):
            self._choose(1, crowded=True)
        else:
            self._compare(seconds, turn, step)

    def _compare(self, seconds: float, turn: int, step: int) -> None:
        if step:
            self._tried[self.threads].append(seconds)
        if step < _TURN - 1:
            return
        if turn == _TURNS - 1:
            several, one = (statistics.median(self._tried[threads]) for threads in (self._most, 1))
            self._choose(self._most if several < _WORTH * one else 1, crowded=False)
        else:
            self.threads = 1 if self.threads == self._most else self._most

    def _is_hopeless(self, seconds: float, times: float) -> bool:
        return self.threads > 1 and seconds > times * statistics.median(self._tried[1])

    def _choose(self, threads: int, *, crowded: bool) -> None:
        self.threads, self.crowded = threads, crowded
        self._usual = statistics.median(self._tried[threads])
        self._again = min(2 * self._again, _LATEST_AGAIN) if crowded else _AGAIN

    def _watch(self, seconds: float) -> None:
        """Try both anew after a while, or once several threads have become slow."""
        self._recent.append(seconds)
        full = self.threads > 1 and len(self._recent) == _RECENT
        if self._steps >= self._again or (full and statistics.median(self._recent) > _SLOWED * self._usual):
            self._begin()


def step_threads(model: PreTrainedModel) -> StepThreads | None:
    """Return what chooses the threads of a model's steps, or None where there is nothing to choose."""
    most = _torch_threads()
    if model.device.type != "cpu" or most == 1 or "OMP_NUM_THREADS" in os.environ:
        return None
    exact = model.dtype is torch.bfloat16 or (model.dtype is torch.float32 and is_packed(model))
    return StepThreads(most) if exact else None
