"""Forward passes over neighbouring slots of a table: a step of its live rows, or the missing ends of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from langchain_darwin.inference.memory.forward import (
    Forward,
    Inputs,
    additive_masks,
    attention_kernels,
    attention_windows,
)
from langchain_darwin.inference.memory.rows import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from langchain_darwin.inference.memory.slot_table import SlotTable

PIECE = 2048  # tokens; longer texts are computed in pieces of this size
_SHOWN_STEP = 64  # columns shown to attention are a multiple of it, so that shapes repeat
_MAX_PADDING = 0.25  # share of padding accepted to compute several texts in one forward pass
_NOTHING: NDArray[np.int64] = np.zeros(0, np.int64)


class Passes:
    """Runs a model over slots."""

    def __init__(self, model: PreTrainedModel, forward: Forward) -> None:
        """Prepare for a model in eval mode.

        Args:
            model: Takes a cache, position ids and 4-D masks.
            forward: What to compute at the last token of each row.
        """
        self._forward = forward
        self._device = model.device
        self._dtype = model.dtype
        self._windows = attention_windows(model)

    def step(self, table: SlotTable, tokens: torch.Tensor) -> torch.Tensor:
        """Compute one more token of each live row, int64 `[live]` on the device; outputs `[live, width]`.

        Nothing is uploaded or fetched if the same rows were live at the last step. The table's books are left to the
        caller, so that a step over several tables happens in all of them or in none.
        """
        ends = table.held[: table.live] + 1
        if table.positions is None:
            (table.positions,) = self._upload(table.held[: table.live, None])
        table.writes(0, ends)
        last = torch.zeros(table.live, dtype=torch.long, device=self._device)
        inputs = self._inputs(tokens[:, None], table.positions, int(ends.max()), last)
        output = self._run(table, 0, inputs, table.positions, int(ends.max()))
        table.positions = table.positions + 1
        return output

    def complete(self, table: SlotTable, rows: Sequence[Row]) -> dict[Row, torch.Tensor]:
        """Compute what is missing of texts that lie in the slots of a table; outputs `[width]` at their last tokens."""

        def missing(row: Row) -> int:
            return len(row.tokens) - int(table.held[row.slot])

        for row in rows:
            while missing(row) > PIECE:
                start = int(table.held[row.slot])
                self._extend(table, row.slot, [np.asarray(row.tokens[start : start + PIECE], np.int64)])
        several = sorted((row for row in rows if missing(row) > 1), key=lambda row: row.slot)
        singles = sorted((row for row in rows if missing(row) == 1), key=lambda row: row.slot)
        outputs: dict[Row, torch.Tensor] = {}
        for group in [*_groups(several, missing), *([singles] if singles else [])]:
            outputs |= self._complete(table, group)
        return outputs

    def _complete(self, table: SlotTable, group: list[Row]) -> dict[Row, torch.Tensor]:
        """Compute rows, sorted by slot, in one forward pass in which the slots between them take part."""
        first = group[0].slot
        news = [_NOTHING] * (group[-1].slot + 1 - first)
        for row in group:
            news[row.slot - first] = np.asarray(row.tokens[table.held[row.slot] :], np.int64)
        output = self._extend(table, first, news)
        return {row: output[row.slot - first] for row in group}

    def _extend(self, table: SlotTable, first: int, news: list[NDArray[np.int64]]) -> torch.Tensor:
        """Compute `news[i]` behind what slot `first + i` holds; outputs `[len(news), width]` at the last tokens.

        Padding is written to the first column behind a row's new tokens and repeats their last position, as tables
        of positions may end there. A slot with nothing new gets a token of no meaning in that column.
        """
        counts = np.array([len(new) for new in news])
        starts = table.held[first : first + len(news)].copy()
        lasts = np.maximum(counts, 1) - 1
        steps = np.arange(int(lasts.max()) + 1)[None, :]
        tokens = np.zeros((len(news), steps.size), np.int64)
        for i, new in enumerate(news):
            tokens[i, : len(new)] = new
        columns = starts[:, None] + np.minimum(steps, counts[:, None])
        positions = starts[:, None] + np.minimum(steps, lasts[:, None])
        kept, place = np.unique(lasts, return_inverse=True)
        ids, columns_there, positions_there, last, *ends = self._upload(
            tokens, columns, positions, lasts, *((kept, place) if steps.size > 1 else ())
        )
        shown = int((starts + lasts).max()) + 1
        table.writes(first, columns.max(axis=1) + 1)
        inputs = self._inputs(ids, positions_there, shown, last, *ends)
        output = self._run(table, first, inputs, columns_there, shown)
        for i, new in enumerate(news):
            table.remember(first + i, new)
        return output

    def _inputs(
        self, ids: torch.Tensor, positions: torch.Tensor, shown: int, last: torch.Tensor, *ends: torch.Tensor
    ) -> Inputs:
        masks = additive_masks(positions, _round_up(shown), self._windows, self._dtype)
        return Inputs(ids, masks, positions, last, *ends)

    def _run(self, table: SlotTable, first: int, inputs: Inputs, columns: torch.Tensor, shown: int) -> torch.Tensor:
        """One forward pass over slots from `first` on that writes at `columns` and shows at least `shown` columns."""
        table.cache.aim(first, columns, _round_up(shown))
        with attention_kernels(self._device):
            return self._forward(inputs, table.cache)

    def _upload(self, *arrays: NDArray[np.int64]) -> list[torch.Tensor]:
        """The arrays as int64 tensors on the device, brought there in one piece."""
        whole = np.concatenate([array.ravel() for array in arrays], dtype=np.int64)
        there = torch.from_numpy(whole).to(self._device)
        parts = there.split([array.size for array in arrays])
        return [part.view(array.shape) for part, array in zip(parts, arrays, strict=True)]


def _groups(rows: list[Row], missing: Callable[[Row], int]) -> list[list[Row]]:
    """Divide rows, sorted by slot, into runs of neighbours that together need little padding."""
    groups: list[list[Row]] = []
    for row in rows:
        last = groups[-1] if groups else []
        together = [*last, row]
        counts = [missing(each) for each in together]
        padded = max(counts) * len(counts)
        neighbours = bool(last) and last[-1].slot + 1 == row.slot
        if neighbours and padded - sum(counts) <= _MAX_PADDING * padded and padded <= PIECE:
            groups[-1] = together
        else:
            groups.append([row])
    return groups


def _round_up(columns: int) -> int:
    return -(-columns // _SHOWN_STEP) * _SHOWN_STEP
