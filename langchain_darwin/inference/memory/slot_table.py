"""The slots of one length class: which token ids each one holds, in how many of its columns, and when it was used.

Invariant: a column that was never written, or that its slot lost, holds zeros or finite numbers of the text that the
slot holds. Masks give such scratch columns the weight 0, and 0 times NaN would be NaN. So `clean` zeroes what is left
of an earlier text before another goes on in its slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from langchain_darwin.inference.memory.placement import Ids, Plan, shared_prefixes
from langchain_darwin.inference.memory.slot_cache import SlotCache

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


class SlotTable:
    """Texts by slot, together with their keys and values; the first `live` slots are being decoded.

    Attributes:
        longest: Most tokens of a text of this class.
        live: How many slots are being decoded.
        cache: The tensors.
        held: How many leading tokens of each slot are computed `[slots]`.
        used: Time of each slot's last use `[slots]`; 0 is never.
        written: Columns of each slot from here on are zeros `[slots]`.
        positions: Columns of the live rows' next tokens `[live, 1]` on the device; None after a change.
    """

    def __init__(self, longest: int) -> None:
        """Make a table without slots."""
        self.longest = longest
        self.live = 0
        self.cache = SlotCache()
        self.tokens: Ids = np.zeros((0, 0), np.int32)
        self.held: NDArray[np.int64] = np.zeros(0, np.int64)
        self.used: NDArray[np.int64] = np.zeros(0, np.int64)
        self.written: NDArray[np.int64] = np.zeros(0, np.int64)
        self.positions: torch.Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Slots and columns."""
        return self.tokens.shape[0], self.tokens.shape[1]

    def shared(self, text: Ids) -> NDArray[np.int64]:
        """Return how many leading tokens of `text` each slot holds `[slots]`."""
        return shared_prefixes(text, self.tokens, self.held)

    def touch(self, slots: Sequence[int], now: int) -> None:
        """Note that these slots were used at time `now`."""
        self.used[list(slots)] = now

    def remember(self, slot: int, new: NDArray[np.int64]) -> None:
        """Note that `new` was computed behind what the slot holds."""
        start = int(self.held[slot])
        self.tokens[slot, start : start + len(new)] = new
        self.held[slot] = start + len(new)

    def append(self, tokens: Sequence[int]) -> None:
        """Note that `tokens[i]` was computed behind what slot `i` holds."""
        count = len(tokens)
        self.tokens[np.arange(count), self.held[:count]] = tokens
        self.held[:count] += 1

    def writes(self, first: int, ends: NDArray[np.int64]) -> None:
        """Note that columns before `ends[i]` of slot `first + i` are being written."""
        span = slice(first, first + len(ends))
        self.written[span] = np.maximum(self.written[span], ends)

    def carry_out(self, plan: Plan, others: Sequence[SlotTable]) -> None:
        """Do what a plan says; slots of `others` are numbered behind this table's, in that order."""
        homes = [(table, slot) for table in (self, *others) for slot in range(len(table.held))]
        for source, target, length in plan.copies:
            self.take(target, *homes[source], length)
        for a, b in plan.swaps:
            self.swap(a, b)
        for seat, reused in zip(plan.seats, plan.reused, strict=True):
            self.held[seat] = reused

    def take(self, target: int, origin: SlotTable, source: int, length: int) -> None:
        """Have slot `target` hold the first `length` tokens of a slot of `origin`, which counts as a use of that."""
        self.held[target] = 0  # in doubt until the copy is complete
        if length:
            self.cache.copy(source, target, length, origin.cache)
            self.tokens[target, :length] = origin.tokens[source, :length]
            origin.used[source] = max(origin.used[source], origin.used.max())
        self.written[target] = max(self.written[target], length)
        self.held[target] = length

    def swap(self, a: int, b: int) -> None:
        """Exchange what two slots hold."""
        held, used = self.held[[b, a]], self.used[[b, a]]
        self.held[[a, b]] = 0
        if held[0] == 0:  # nothing worth keeping in b
            self.take(b, self, a, int(held[1]))
        else:
            self.cache.swap(a, b, int(held.max()))
            self.tokens[[a, b]] = self.tokens[[b, a]]
        self.written[[a, b]] = self.written[[a, b]].max()
        self.held[[a, b]], self.used[[a, b]] = held, used

    def clean(self, slot: int, first: int) -> None:
        """Zero all that was written to a slot from column `first` on."""
        last = int(self.written[slot])
        if first < last:
            self.cache.zero(slot, first, last)
            self.written[slot] = first

    def resize(self, slots: int, capacity: int, kept: Sequence[int]) -> None:
        """Change the numbers of slots and columns; the slots `kept` become the first, all others are forgotten.

        If there is no memory for it, all but the slots `kept` are forgotten nevertheless.

        Args:
            slots: How many there will be, at least as many as are kept.
            capacity: Columns of each, at least as many as are held.
            kept: Slots in ascending order, the live ones first.
        """
        self._keep(kept)
        self.tokens = self.tokens[:, :capacity]  # no more than layers hold that are resized before memory runs out
        width = int(self.held.max(initial=0))
        self.cache.resize(slots, capacity, len(kept), width)
        tokens = np.zeros((slots, capacity), np.int32)
        tokens[: len(kept), :width] = self.tokens[:, :width]
        self.tokens = tokens
        spare = (0, slots - len(kept))
        self.held = np.pad(self.held, spare)
        self.used = np.pad(self.used, spare)
        self.written = np.pad(np.minimum(self.written, width), spare)

    def _keep(self, kept: Sequence[int]) -> None:
        """Move the slots `kept` to the front and forget the others."""
        for target, source in enumerate(kept):
            if target != source:
                self.cache.copy(source, target, int(self.held[source]), self.cache)
                self.written[source] = max(self.written[[source, target]])
        chosen = list(kept)
        self.tokens, self.held = self.tokens[chosen], self.held[chosen]
        self.used, self.written = self.used[chosen], self.written[chosen]
