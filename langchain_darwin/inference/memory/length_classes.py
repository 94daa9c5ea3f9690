"""Slots by length class, within a budget: a long text makes no other text's slot longer.

Texts of up to 1024 tokens share a table, then those of up to 4096, and so on. Before a table outgrows the budget,
texts that are only remembered are forgotten. Memory that has not been used for a while is given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from langchain_darwin.errors import ContextOverflowError
from langchain_darwin.inference.memory.budget import COLUMNS_STEP, longest_text
from langchain_darwin.inference.memory.slot_table import SlotTable
from langchain_darwin.inference.out_of_memory import is_out_of_memory

_SHORTEST_CLASS = 1024  # tokens
_RATIO = 4  # of the longest texts of two neighbouring classes
_FEWEST = 8  # slots of a table, where there is memory
_FORGOTTEN = 128  # closes of rows, or reads, after which an unused slot may be given back


class KVMemoryError(MemoryError):
    """Texts do not fit in the budget together with those that are being decoded now."""


class LengthClasses:
    """Tables of slots by length class; their bytes together stay within the budget.

    Attributes:
        tables: By the most tokens of a text; only those in use.
        now: Time, counted in uses.
    """

    def __init__(self, max_slots: int, remember: int, budget: int, bytes_per_token: int) -> None:
        """Allocate nothing yet.

        Args:
            max_slots: Most slots of a table, unless more are live at once.
            remember: Texts per table that are never too old to be kept.
            budget: Most bytes of keys and values.
            bytes_per_token: Of all layers, as the model's configuration says; measured once there are layers.
        """
        self.tables: dict[int, SlotTable] = {}
        self.now = 0
        self._max_slots = max_slots
        self._remember = remember
        self._budget = budget
        self._stated = bytes_per_token

    @property
    def bytes(self) -> int:
        """Bytes of keys and values allocated, or to be allocated at the next forward pass."""
        return sum(self._size(*table.shape) for table in self.tables.values())

    @property
    def longest_text(self) -> int:
        """Most tokens of a text that fits in the budget when nothing else is in memory."""
        return longest_text(self._budget, self._size(1, 1))

    def table(self, length: int) -> SlotTable:
        """The table for texts of `length` tokens, made if there is none."""
        longest = _class_of(length)
        if longest not in self.tables:
            self.tables[longest] = SlotTable(longest)
        return self.tables[longest]

    def others(self, table: SlotTable) -> list[SlotTable]:
        """All tables but one."""
        return [other for other in self.tables.values() if other is not table]

    def reserve(
        self, table: SlotTable, slots: int, length: int, keep: int = 0, precious: NDArray[np.int64] | None = None
    ) -> None:
        """Have at least so many slots, each with room for `length` tokens and one more.

        Args:
            table: The one to enlarge.
            slots: Those live, and those that are about to be filled.
            length: Most tokens of a text.
            keep: Slots wanted beside, up to the most slots and as far as there is memory.
            precious: A number for each slot `[slots]`; where slots must be given up, those with less go first.

        Raises:
            KVMemoryError: There is no room until other texts have left.
            ContextOverflowError: There is no room even with nothing else in memory.
        """
        have, capacity = table.shape
        wanted = max(slots, min(slots + keep, self._max_slots))
        if wanted <= have and length < capacity:
            return
        columns = max(capacity, _round_up(length + 1))
        plenty = have if wanted <= have else max(slots, min(max(2 * wanted, _FEWEST), self._max_slots))
        if self._resize(table, plenty, columns, precious, self._budget // 2):
            return
        for size in (max(wanted, have), max(slots, min(wanted, have)), slots):
            if self._resize(table, size, columns, precious):
                return
        for _ in self._forget_others(table):
            if self._resize(table, slots, columns, precious):
                return
        self._forget(table)
        if self._resize(table, slots, _round_up(max(length, int(table.held.max(initial=0))) + 1)):
            return
        self._refuse(slots, length, alone=slots == 1 and not any(other.live for other in self.others(table)))

    def fitting(self, lengths: Sequence[int]) -> int:
        """Return how many texts of these lengths, from the first, fit beside the live ones and can grow a little."""
        needed = {longest: (t.live, int(t.held[: t.live].max(initial=0))) for longest, t in self.tables.items()}
        for fitting, length in enumerate(lengths):
            longest = _class_of(length + 1)
            slots, most = needed.get(longest, (0, 0))
            needed[longest] = slots + 1, max(most, length)
            if sum(self._size(n, _round_up(most + 1) + COLUMNS_STEP) for n, most in needed.values()) > self._budget:
                return fitting
        return len(lengths)

    def settle(self) -> None:
        """Give back tables, slots and columns that nothing has used for a while."""
        for longest, table in [*self.tables.items()]:
            recent = self._recent(table)
            if not recent:
                del self.tables[longest]
                continue
            slots = max(2 * table.live, len(recent), _FEWEST)
            columns = _round_up(int(table.held[recent].max()) + 2)
            if 2 * slots * columns <= table.shape[0] * table.shape[1]:
                table.resize(slots, columns, recent)

    def _recent(self, table: SlotTable) -> list[int]:
        """Slots that are live, were used of late, or are among those always remembered; live ones first."""
        idle = [int(slot) for slot in np.argsort(-table.used, kind="stable") if slot >= table.live and table.held[slot]]
        fresh = [i for i, slot in enumerate(idle) if table.used[slot] > self.now - _FORGOTTEN or i < self._remember]
        return [*range(table.live), *sorted(idle[i] for i in fresh)]

    def _resize(
        self,
        table: SlotTable,
        slots: int,
        columns: int,
        precious: NDArray[np.int64] | None = None,
        most: int | None = None,
    ) -> bool:
        """Give a table a new shape; False if that passes `most` bytes, by default the budget, or the device's."""
        most = self._budget if most is None else most
        if self.bytes - self._size(*table.shape) + self._size(slots, columns) > most:
            return False
        worth = precious if precious is not None and len(precious) == len(table.held) else table.held * 0
        idle = sorted(range(table.live, len(table.held)), key=lambda slot: (-worth[slot], -table.used[slot], slot))
        kept = [*range(table.live), *sorted(idle[: slots - table.live])]
        try:
            table.resize(slots, columns, kept)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        return True

    def _forget_others(self, table: SlotTable) -> Iterator[None]:
        """Forget what other tables only remember, the one used longest ago first, one table a turn."""
        for other in sorted(self.others(table), key=lambda other: other.used.max(initial=0)):
            if len(other.held) > other.live:
                self._forget(other)
                yield

    def _forget(self, table: SlotTable) -> None:
        """Keep nothing but live rows, in as many columns as they need."""
        live = range(table.live)
        columns = _round_up(int(table.held[: table.live].max(initial=0)) + 2) if live else 0
        table.resize(table.live, min(columns, table.shape[1]), live)

    def _refuse(self, slots: int, length: int, *, alone: bool) -> None:
        needed, most = _gib(self._size(slots, _round_up(length + 1))), _gib(self._budget)
        if alone:
            msg = (
                f"a text of {length} tokens needs {needed} for its keys and values, more than the {most} that "
                "kv_memory leaves for them; raise kv_memory, shorten the text or free memory on the device"
            )
            raise ContextOverflowError(msg)
        msg = (
            f"{slots} texts of up to {length} tokens need {needed} for keys and values; kv_memory allows {most}, some "
            "of it in use"
        )
        raise KVMemoryError(msg)

    def _size(self, slots: int, columns: int) -> int:
        measured = max((table.cache.bytes_per_token() for table in self.tables.values()), default=0)
        return slots * columns * max(1, measured or self._stated)


def _class_of(length: int) -> int:
    """Most tokens of a text of the class that a length belongs to."""
    longest = _SHORTEST_CLASS
    while longest < length:
        longest *= _RATIO
    return longest


def _round_up(length: int) -> int:
    return -(-length // COLUMNS_STEP) * COLUMNS_STEP


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
