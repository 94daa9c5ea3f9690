"""The books of the slots: which token ids each one holds, how many of them, and when it was last used.

A column beyond what its slot holds is scratch: padding may be written there, no row ever attends to it, and
the next token overwrites it. A forward pass that fails therefore leaves the memory as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from langchain_darwin.inference.memory.slot_cache import SlotCache
from langchain_darwin.inference.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

_LENGTH_STEP = 256  # tokens; capacities are multiples of it


class SlotMemory:
    """Texts by slot, together with their keys and values; nothing is allocated before the first `reserve`.

    Attributes:
        texts: Token ids `[slots, capacity]`.
        held: How many leading tokens of each slot are computed `[slots]`. Changes in place until `reserve`.
        used: Time of each slot's last use `[slots]`, counted in calls of `touch`; 0 is never.
    """

    def __init__(self, max_slots: int) -> None:
        """Make an empty memory that grows to `max_slots` by itself, and beyond where asked to."""
        self._cache = SlotCache()
        self.texts: NDArray[np.int32] = np.zeros((0, 0), np.int32)
        self.held: NDArray[np.int64] = np.zeros(0, np.int64)
        self.used: NDArray[np.int64] = np.zeros(0, np.int64)
        self._max_slots = max_slots
        self._clock = 0

    def shared(self, text: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many leading tokens of `text` each slot holds `[slots]`."""
        width = min(len(text), self.texts.shape[1])
        if width == 0:
            return np.zeros(len(self.held), np.int64)
        differs = self.texts[:, :width] != text[:width]
        first = np.where(differs.any(axis=1), differs.argmax(axis=1), width)
        shared: NDArray[np.int64] = np.minimum(first, self.held)
        return shared

    def aim(self, first: int, columns: torch.Tensor, used: int) -> SlotCache:
        """The keys and values, to be written and read as `SlotCache.aim` says."""
        self._cache.aim(first, columns, used, self.texts.shape)
        return self._cache

    def remember(self, slot: int, new: NDArray[np.int64]) -> None:
        """Note that `new` was computed behind what the slot holds."""
        start = int(self.held[slot])
        self.texts[slot, start : start + len(new)] = new
        self.held[slot] = start + len(new)

    def append(self, tokens: Sequence[int]) -> None:
        """Note that `tokens[i]` was computed behind what slot `i` holds."""
        count = len(tokens)
        self.texts[np.arange(count), self.held[:count]] = tokens
        self.held[:count] += 1

    def touch(self, slots: Sequence[int]) -> None:
        """Note that these slots were used just now."""
        self._clock += 1
        self.used[list(slots)] = self._clock

    def copy(self, source: int, target: int, length: int) -> None:
        """Have `target` hold the first `length` tokens of `source`, which counts as a use of `source`."""
        self._copy(source, target, length)
        if length:
            self.used[source] = max(self.used[source], self._clock)

    def swap(self, a: int, b: int) -> None:
        """Exchange what two slots hold."""
        if self.held[b] == 0:  # nothing worth keeping there
            self._copy(a, b, int(self.held[a]))
            self.held[a], self.used[[a, b]] = 0, (0, self.used[a])
            return
        held = self.held[[b, a]]
        self.held[[a, b]] = 0
        self._cache.swap(a, b, int(held.max()))
        self.texts[[a, b]] = self.texts[[b, a]]
        self.used[[a, b]] = self.used[[b, a]]
        self.held[[a, b]] = held

    def reserve(self, slots: int, length: int, keep: int = 0) -> None:
        """Have at least so many slots and columns, and `keep` more slots; grow further where memory allows.

        What `keep` asks for is left out where there is no memory for it, or more than the most slots.
        """
        have, capacity = self.texts.shape
        wanted = max(slots, min(slots + keep, self._max_slots))
        if wanted <= have and length <= capacity:
            return
        least = max(slots, have), max(_round_up(length), capacity)
        plenty = least
        if wanted > have:
            plenty = max(slots, min(max(2 * wanted, 8), self._max_slots)), plenty[1]
        if length > capacity:
            plenty = plenty[0], max(plenty[1], _round_up(capacity * 3 // 2))
        try:
            self._resize(*plenty)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._resize(*least)

    def _copy(self, source: int, target: int, length: int) -> None:
        self.held[target] = 0  # in doubt until the copy is complete
        if length:
            self._cache.copy(source, target, length)
            self.texts[target, :length] = self.texts[source, :length]
        self.held[target] = length

    def _resize(self, slots: int, capacity: int) -> None:
        """Change the numbers of slots and columns, keeping the slots and columns that both have."""
        kept = min(slots, len(self.held))
        self._cache.resize(slots, capacity, int(self.held[:kept].max(initial=0)), kept)
        texts = np.zeros((slots, capacity), np.int32)
        width = min(capacity, self.texts.shape[1])
        texts[:kept, :width] = self.texts[:kept, :width]
        self.texts = texts
        self.held = np.pad(self.held[:kept], (0, slots - kept))
        self.used = np.pad(self.used[:kept], (0, slots - kept))


def _round_up(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP
