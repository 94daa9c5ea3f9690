"""Rows of different lengths decoded in static caches, with longest-prefix reuse.

A *slot* holds the keys and values of one text in every layer, together with the token ids they belong to. Slots lie
in tables by length class. Rows being decoded ("live") occupy a table's first slots, so that they are a slice of its
tensors and nothing is gathered. All other slots remember texts of the past. Replacing a beam by another is a copy of
one slot; going on with a beam costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from langchain_darwin.inference.memory.budget import bytes_per_token, kv_budget
from langchain_darwin.inference.memory.forward import Forward, causal_logits
from langchain_darwin.inference.memory.length_classes import LengthClasses
from langchain_darwin.inference.memory.passes import PIECE, Passes
from langchain_darwin.inference.memory.placement import Ids, place, split_wave
from langchain_darwin.inference.memory.rows import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from langchain_darwin.inference.memory.slot_table import SlotTable


@dataclass(frozen=True, eq=False)
class _Order:
    """The places in `live` of the live rows of several tables.

    Attributes:
        rows: Numbers of each table's rows in `live`, by slot.
        there: The same on the device.
        back: Place of each live row's output among those of all tables one after the other.
    """

    rows: dict[int, list[int]]
    there: dict[int, torch.Tensor]
    back: torch.Tensor


class KVSlots:
    """A `RowStore` for decoder models whose layers attend to all, or to a sliding window, of the text.

    Attributes:
        live: The decode batch; `live[i].slot == i` while all rows are of one length class.
        max_rows: Most live rows.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        max_rows: int = 64,
        *,
        remember: int = 0,
        forward: Forward | None = None,
        budget: int | None = None,
    ) -> None:
        """Make an empty store; nothing is allocated before the first `open`.

        Args:
            model: A model in eval mode that takes a cache, position ids and 4-D masks.
            max_rows: Most live rows. The slots that they leave remember texts that are not live, as do up to as
                many slots again.
            remember: Texts not live to remember if there is memory for them, at the price of slots of their own.
            forward: What to compute at the last token of each row; next-token logits unless given.
            budget: Most bytes of keys and values; half of what is free on the device unless given.
        """
        self.live: list[Row] = []
        self.max_rows = max_rows
        self._remember = remember
        self._device = model.device
        self._passes = Passes(model, forward or causal_logits(model))
        most = kv_budget(model.device) if budget is None else budget
        slots = max_rows + max(max_rows, remember)
        self._classes = LengthClasses(slots, remember, most, bytes_per_token(model.config, model.dtype))
        self._order: _Order | None = None

    @property
    def bytes(self) -> int:
        """Bytes of keys and values that are allocated."""
        return self._classes.bytes

    @property
    def longest_text(self) -> int:
        """Most tokens of a text for which there is memory if nothing else is live."""
        return self._classes.longest_text

    def free(self, lengths: Sequence[int] = ()) -> int:
        """Return how many more rows can be opened now; see `RowStore.free`."""
        rows = self.max_rows - len(self.live)
        if not lengths or rows < 1:
            return rows
        fitting = self._classes.fitting(lengths[:rows])
        return rows if fitting == min(rows, len(lengths)) else max(fitting, int(not self.live))

    @torch.inference_mode()
    def open(self, prefixes: Sequence[tuple[int, ...]], *, may_lag: bool = False) -> tuple[list[Row], torch.Tensor]:
        """Make rows for `prefixes` live; see `RowStore.open`."""
        before = len(self.live)
        if len(prefixes) > self.free():
            msg = f"cannot open {len(prefixes)} rows, only {self.free()} of {self.max_rows} are free"
            raise ValueError(msg)
        rows = [Row(list(prefix)) for prefix in prefixes]
        outputs: dict[Row, torch.Tensor] = {}
        try:
            for table, wave in self._waves(rows):
                self._seat(table, wave)
                table.live += len(wave)
                table.positions = self._order = None
                self.live += sorted(wave, key=lambda row: row.slot)
                if may_lag:
                    _leave_behind(wave)
                outputs |= self._passes.complete(table, [row for row in wave if not row.behind])
        except BaseException:
            self.close(self.live[before:])
            raise
        known = [outputs[row] for row in rows if not row.behind]
        return rows, torch.stack(known) if known else torch.empty(0, 0)

    @torch.inference_mode()
    def read(self, prefixes: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, int]:
        """Compute texts that will be remembered, but not decoded: they need not move next to the live rows.

        Args:
            prefixes: Token ids, at least one each.

        Returns:
            Outputs `[len(prefixes), ...]` at their last tokens, and how many tokens were computed.
        """
        rows = [Row(list(prefix)) for prefix in prefixes]
        outputs: dict[Row, torch.Tensor] = {}
        for table, wave in self._waves(rows):
            self._seat(table, wave, anywhere=True)
            outputs |= self._passes.complete(table, wave)
            self._classes.now += 1
            table.touch([row.slot for row in wave], self._classes.now)
        self._classes.settle()
        return torch.stack([outputs[row] for row in rows]), sum(row.prefilled for row in rows)

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
        """Append `ids[i]`, on the device `tokens[i]`, to `live[i]` for every live row; see `RowStore.step`."""
        self._make_room()
        order = self._ordered()
        tables = [table for table in self._classes.tables.values() if table.live]
        if order is None:
            output = self._passes.step(tables[0], tokens)
            tables[0].append(ids)
        else:
            parts = [self._passes.step(table, tokens[order.there[table.longest]]) for table in tables]
            output = torch.cat(parts)[order.back]
            for table in tables:
                table.append([ids[i] for i in order.rows[table.longest]])
        for row, token in zip(self.live, ids, strict=True):
            row.tokens.append(token)
            row.behind = False
        return output

    @torch.inference_mode()
    def close(self, rows: Sequence[Row]) -> None:
        """Take rows out of `live` and keep what they computed for later prefixes."""
        closing = set(rows)
        self._classes.now += 1
        for table in self._classes.tables.values():
            table.touch(range(table.live), self._classes.now)
            self._leave(table, [row for row in rows if row.table == table.longest])
        for row in rows:
            row.slot = row.table = -1
        self.live = [row for row in self.live if row not in closing]
        if len({row.table for row in self.live}) == 1:
            self.live.sort(key=lambda row: row.slot)
        self._classes.settle()

    # ---- taking seats

    def _waves(self, rows: Sequence[Row]) -> Iterator[tuple[SlotTable, list[Row]]]:
        """Rows of one table to compute now; when they are, the next, until all are.

        A row that will copy much from another waits for it. Of rows that need not wait, the longest come first:
        they may begin with what a shorter table remembers, which shorter rows might overwrite.
        """
        waiting = list(rows)
        while waiting:
            texts = [_ids(row) for row in waiting]
            known = [max((int(t.shared(text).max(initial=0)) for t in self._tables()), default=0) for text in texts]
            now, later = split_wave(texts, known)
            by_table: dict[int, list[Row]] = {}
            for i in now:
                table = self._classes.table(len(texts[i]) + 1)
                by_table.setdefault(table.longest, []).append(waiting[i])
            for longest in sorted(by_table, reverse=True):
                yield self._classes.table(longest), by_table[longest]
            waiting = [waiting[i] for i in later]

    def _seat(self, table: SlotTable, rows: list[Row], *, anywhere: bool = False) -> None:
        """Give rows the slots behind the live ones, or `anywhere` neighbouring ones, with all that is known of them."""
        texts = [_ids(row) for row in rows]
        precious = np.max([table.shared(text) for text in texts], axis=0)
        longest = max(len(text) for text in texts)
        self._classes.reserve(table, table.live + len(rows), longest, self._worth_keeping(table), precious)
        others = self._classes.others(table)
        shared = np.stack([self._shared_by_all(text, [table, *others]) for text in texts])
        plan = place([len(text) for text in texts], shared, table.held, table.used, table.live, anywhere=anywhere)
        table.carry_out(plan, others)
        for row, text, seat, reused in zip(rows, texts, plan.seats, plan.reused, strict=True):
            row.table, row.slot = table.longest, seat
            row.reused, row.prefilled = reused, len(text) - reused
            table.clean(seat, min(len(text), reused + PIECE))

    def _tables(self) -> list[SlotTable]:
        return list(self._classes.tables.values())

    @staticmethod
    def _shared_by_all(text: Ids, tables: Sequence[SlotTable]) -> NDArray[np.int64]:
        return np.concatenate([table.shared(text) for table in tables])

    def _worth_keeping(self, table: SlotTable) -> int:
        """Return how many texts that are not live should not be overwritten."""
        return min(self._remember, int((table.held[table.live :] > 0).sum()))

    # ---- leaving and changing seats

    def _leave(self, table: SlotTable, rows: Sequence[Row]) -> None:
        """Bring the rows of a table that stay live together again in its first slots."""
        leaving = set(rows)
        here = [row for row in self.live if row.table == table.longest]
        stay = [row for row in here if row not in leaving]
        holes = [row for row in here if row.slot < len(stay) and row in leaving]
        movers = [row for row in stay if row.slot >= len(stay)]
        table.live = len(stay)
        table.positions = self._order = None
        for hole, mover in zip(holes, movers, strict=True):
            table.swap(hole.slot, mover.slot)
            hole.slot, mover.slot = mover.slot, hole.slot

    def _make_room(self) -> None:
        """Have a free column for each live row; rows that outgrow their class move to the next."""
        for row in self.live:
            table = self._classes.tables[row.table]
            if table.held[row.slot] >= table.longest:
                self._promote(row, table)
        for table in self._tables():
            if table.live:
                self._classes.reserve(table, table.live, int(table.held[: table.live].max()) + 1)

    def _promote(self, row: Row, table: SlotTable) -> None:
        """Move a live row to the table of the next class."""
        held = int(table.held[row.slot])
        larger = self._classes.table(held + 1)
        self._classes.reserve(larger, larger.live + 1, held + 1)
        self._leave(table, [row])
        larger.take(larger.live, table, row.slot, held)
        larger.clean(larger.live, held)
        table.held[row.slot] = 0
        row.table, row.slot = larger.longest, larger.live
        larger.live += 1
        larger.positions = None

    def _ordered(self) -> _Order | None:
        """Return the places in `live` of the rows of each table; None if there is one table, in the order of `live`."""
        if all(row.table == self.live[0].table and row.slot == i for i, row in enumerate(self.live)):
            return None
        if self._order is None:
            by_slot = sorted(range(len(self.live)), key=lambda i: self.live[i].slot)
            rows = {
                t.longest: [i for i in by_slot if self.live[i].table == t.longest] for t in self._tables() if t.live
            }
            whole = np.concatenate(list(rows.values()))
            there = torch.from_numpy(np.concatenate([whole, whole.argsort()])).to(self._device)
            parts = there.split([*map(len, rows.values()), len(whole)])
            self._order = _Order(rows, dict(zip(rows, parts[:-1], strict=True)), parts[-1])
        return self._order


def _ids(row: Row) -> Ids:
    return np.asarray(row.tokens, np.int32)


def _leave_behind(rows: Sequence[Row]) -> None:
    """Leave the last token of a row to the next step if all others are in memory."""
    for row in rows:
        if row.prefilled == 1:
            row.tokens.pop()
            row.behind = True
