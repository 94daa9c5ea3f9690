"""Rows of different lengths decoded in one static cache, with longest-prefix reuse.

A *slot* holds the keys and values of one text in every layer, together with the token ids they belong to.
Rows being decoded ("live") occupy the slots `0..len(live)-1`, so that the decode batch is a slice and nothing
is gathered; all other slots remember texts of the past. Replacing a beam by another is a copy of one slot;
going on with a beam costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from langchain_darwin.inference.memory.forward import Forward, additive_masks, attention_windows, causal_logits
from langchain_darwin.inference.memory.rows import Row
from langchain_darwin.inference.memory.slot_memory import SlotMemory

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

_Waiting: TypeAlias = "tuple[Row, NDArray[np.int32]]"  # a row and its text

_CHUNK = 2048  # tokens; longer prefixes are computed in pieces of this size
_WORTH_WAITING = 16  # tokens; sharing at least so many more with a sibling is worth one more forward pass
_SHORT_END = 4  # tokens, of a turn's end or a last word; not worth keeping a copy of a text for
_MAX_PADDING = 0.25  # share of padding accepted to compute several prefixes in one forward pass


class KVSlots:
    """A `RowStore` for decoder models whose layers attend to all, or to a sliding window, of the text.

    Attributes:
        live: The decode batch; `live[i].slot == i`.
        max_rows: Most live rows.
    """

    def __init__(
        self, model: PreTrainedModel, max_rows: int = 64, *, remember: int = 0, forward: Forward | None = None
    ) -> None:
        """Make an empty store; nothing is allocated before the first `open`.

        Args:
            model: A model in eval mode that takes a cache, position ids and 4-D masks.
            max_rows: Most live rows. The slots that they leave remember texts that are not live, as do up to as
                many slots again.
            remember: Texts not live to remember if there is memory for them, at the price of slots of their own.
            forward: What to compute at the last token of each row; next-token logits unless given.
        """
        self.live: list[Row] = []
        self.max_rows = max_rows
        self._forward = forward or causal_logits(model)
        self._device = model.device
        self._dtype = model.dtype
        self._windows = attention_windows(model)
        self._memory = SlotMemory(max_rows + max(max_rows, remember))
        self._remember = remember
        self._positions: torch.Tensor | None = None  # [live, 1]; columns of the next tokens, None after a change

    def free(self) -> int:
        """How many more rows can be opened now."""
        return self.max_rows - len(self.live)

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
            for wave, texts in self._waves(rows):
                self._seat(wave, texts, self._fill(texts), len(self.live))
                self._positions = None
                self.live += sorted(wave, key=lambda row: row.slot)
                if may_lag:
                    self._leave_behind(wave)
                outputs |= self._compute([row for row in wave if not row.behind])
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
        for wave, texts in self._waves(rows):
            homes = self._fill(texts)
            self._seat(wave, texts, homes, self._nearest_block(homes))
            outputs |= self._compute(wave)
            self._memory.touch([row.slot for row in wave])
        return torch.stack([outputs[row] for row in rows]), sum(row.prefilled for row in rows)

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
        """Append `ids[i]`, on the device `tokens[i]`, to `live[i]` for every live row; see `RowStore.step`."""
        count = len(self.live)
        longest = int(self._memory.held[:count].max()) + 1
        self._memory.reserve(count, longest + 1)
        if self._positions is None:
            self._positions = self._to_device(self._memory.held[:count, None].copy())  # `append` counts `held` up
        output = self._run(0, tokens[:, None], self._positions, longest)
        self._memory.append(ids)
        self._positions += 1
        for row, token in zip(self.live, ids, strict=True):
            row.tokens.append(token)
            row.behind = False
        return output

    @torch.inference_mode()
    def close(self, rows: Sequence[Row]) -> None:
        """Take rows out of `live` and keep what they computed for later prefixes."""
        closing = {id(row) for row in rows}
        stay = [row for row in self.live if id(row) not in closing]
        holes = [row for row in self.live[: len(stay)] if id(row) in closing]
        movers = [row for row in stay if row.slot >= len(stay)]
        self._memory.touch(range(len(self.live)))
        self._positions = None
        for hole, mover in zip(holes, movers, strict=True):
            self._memory.swap(hole.slot, mover.slot)
            hole.slot, mover.slot = mover.slot, hole.slot
        for row in rows:
            row.slot = -1
        self.live = sorted(stay, key=lambda row: row.slot)

    # ---- choosing and filling slots

    def _worth_keeping(self) -> int:
        """How many texts that are not live should not be overwritten."""
        return min(self._remember, int((self._memory.held[len(self.live) :] > 0).sum()))

    def _waves(self, rows: Sequence[Row]) -> Iterator[tuple[list[Row], list[NDArray[np.int32]]]]:
        """Rows to compute now, with their texts and room in memory; when they are, the next, until all are."""
        waiting = [(row, np.asarray(row.tokens, np.int32)) for row in rows]
        while waiting:
            wave, waiting = self._split_wave(waiting)
            longest = max(len(text) for _, text in wave)
            self._memory.reserve(len(self.live) + len(wave), longest + 1, keep=self._worth_keeping())
            yield [row for row, _ in wave], [text for _, text in wave]

    def _split_wave(self, waiting: list[_Waiting]) -> tuple[list[_Waiting], list[_Waiting]]:
        """Divide prefixes into those to compute now and those that will then copy much from one of them."""
        wave: list[_Waiting] = []
        later: list[_Waiting] = []
        for row, text in waiting:
            known = self._memory.shared(text).max(initial=0)
            sibling = max((_common(text, other) for _, other in wave), default=0)
            gain = min(sibling, len(text) - 1) - known
            (later if gain >= min(_WORTH_WAITING, len(text) - 1 - known) > 0 else wave).append((row, text))
        return wave, later

    def _fill(self, texts: list[NDArray[np.int32]]) -> list[int]:
        """Idle slots that hold the longest known part of each text."""
        homes = self._in_place(texts)
        rest = [i for i in range(len(texts)) if i not in homes]
        donors = {int(self._memory.shared(texts[i]).argmax()) for i in rest}
        for i in rest:
            homes[i] = self._by_copy(texts[i], set(homes.values()), donors)
        return [homes[i] for i in range(len(texts))]

    def _in_place(self, texts: list[NDArray[np.int32]]) -> dict[int, int]:
        """Idle slots of which all that they hold, but for a short end, begins a text: that text goes on there."""
        homes: dict[int, int] = {}
        for i, text in enumerate(texts):
            shared = self._memory.shared(text)
            whole = (shared >= self._memory.held - _SHORT_END) & (shared == shared.max(initial=0)) & (shared > 0)
            whole[: len(self.live)] = False
            whole[list(homes.values())] = False
            if whole.any():
                homes[i] = int(whole.argmax())
        return homes

    def _by_copy(self, text: NDArray[np.int32], taken: set[int], donors: set[int]) -> int:
        """Copy the longest known part of `text` to the idle slot that will be missed least; return it."""
        shared = self._memory.shared(text)
        donor = int(shared.argmax())
        idle = [slot for slot in range(len(self.live), len(self._memory.held)) if slot not in taken]
        home = min(idle, key=lambda slot: (slot in donors, self._memory.used[slot]))
        if home in donors and donor in idle:
            home = donor  # no other slot is left: cut the donor short
        length = int(min(shared[donor], len(text) - 1))
        if home != donor:
            self._memory.copy(donor, home, length)
        self._memory.held[home] = length
        return home

    def _nearest_block(self, homes: list[int]) -> int:
        """First of as many neighbouring idle slots as there are homes, chosen so that the fewest have to move."""
        firsts = range(len(self.live), len(self._memory.held) - len(homes) + 1)
        return max(firsts, key=lambda first: sum(first <= home < first + len(homes) for home in homes))

    def _seat(self, rows: list[Row], texts: list[NDArray[np.int32]], homes: list[int], first: int) -> None:
        """Give the rows the slots from `first` on, swapping in those of their `homes` that lie elsewhere."""
        for row, text, home in zip(rows, texts, homes, strict=True):
            row.slot = home
            row.reused = int(min(self._memory.shared(text)[home], len(text) - 1))
            row.prefilled = len(text) - row.reused
        seats = range(first, first + len(rows))
        open_seats = sorted(set(seats) - set(homes))
        moving = sorted((row for row in rows if row.slot not in seats), key=lambda row: row.prefilled)
        for row, seat in zip(moving, open_seats, strict=True):
            self._memory.swap(row.slot, seat)
            row.slot = seat

    def _leave_behind(self, rows: list[Row]) -> None:
        """Leave the last token of a row to the next step if all others are in memory."""
        for row in rows:
            if row.prefilled == 1:
                row.tokens.pop()
                row.behind = True
                self._memory.held[row.slot] = row.reused

    # ---- computing

    def _compute(self, rows: list[Row]) -> dict[Row, torch.Tensor]:
        """Compute what is missing of the rows' texts; the output at each row's last token."""
        outputs: dict[int, torch.Tensor] = {}
        singles = []
        for row in rows:
            self._memory.held[row.slot] = row.reused
            self._compute_pieces(row)
            if row.prefilled == 1:
                singles.append(row)
        several = sorted((row for row in rows if row.prefilled > 1), key=lambda row: row.slot)
        for group in _groups(several, self._missing):
            outputs |= self._compute_group(group)
        if singles:
            outputs |= self._compute_singles(singles)
        return {row: outputs[row.slot] for row in rows}

    def _missing(self, row: Row) -> int:
        return len(row.tokens) - int(self._memory.held[row.slot])

    def _compute_pieces(self, row: Row) -> None:
        """Compute the beginning of a very long text, so that at most `_CHUNK` tokens are left."""
        while self._missing(row) > _CHUNK:
            start = int(self._memory.held[row.slot])
            self._extend(row.slot, [np.asarray(row.tokens[start : start + _CHUNK], np.int64)])

    def _compute_group(self, group: list[Row]) -> dict[int, torch.Tensor]:
        """Compute rows in neighbouring slots in one forward pass, padded on the right."""
        first = group[0].slot
        news = [np.asarray(row.tokens[self._memory.held[row.slot] :], np.int64) for row in group]
        return dict(enumerate(self._extend(first, news), start=first))

    def _compute_singles(self, rows: list[Row]) -> dict[int, torch.Tensor]:
        """Compute the last token of each row in one forward pass.

        Slots between them take part as well, each with a token of no meaning in its next, unused column.
        """
        first = min(row.slot for row in rows)
        span = max(row.slot for row in rows) + 1 - first
        starts = self._memory.held[first : first + span].copy()
        self._memory.reserve(len(self.live), int(starts.max()) + 1)
        tokens = np.zeros((span, 1), np.int64)
        for row in rows:
            tokens[row.slot - first] = row.tokens[-1]
        ids, positions = self._to_device(tokens), self._to_device(starts[:, None])
        output = self._run(first, ids, positions, int(starts.max()) + 1)
        for row in rows:
            self._memory.remember(row.slot, tokens[row.slot - first])
        return {row.slot: output[row.slot - first] for row in rows}

    def _extend(self, first: int, news: list[NDArray[np.int64]]) -> torch.Tensor:
        """Compute `news[i]` behind what slot `first + i` holds; outputs `[len(news), width]` at the last tokens.

        Columns of padding repeat the position of the last real token, as tables of positions may end there.
        """
        counts = np.array([len(new) for new in news])
        starts = self._memory.held[first : first + len(news)].copy()
        width = int(counts.max())
        self._memory.reserve(len(self.live), int(starts.max()) + width)
        tokens = np.zeros((len(news), width), np.int64)
        for i, new in enumerate(news):
            tokens[i, : len(new)] = new
        steps = np.arange(width)[None, :]
        columns = self._to_device(starts[:, None] + steps)
        positions = self._to_device(starts[:, None] + np.minimum(steps, counts[:, None] - 1))
        last = self._to_device(counts - 1)
        used = int((starts + counts).max())
        output = self._run(first, self._to_device(tokens), positions, used, columns, last)
        for i, new in enumerate(news):
            self._memory.remember(first + i, new)
        return output

    def _run(
        self,
        first: int,
        ids: torch.Tensor,
        positions: torch.Tensor,
        used: int,
        columns: torch.Tensor | None = None,
        last: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """One forward pass over slots `first..first+len(ids)-1`, attending to the first `used` columns."""
        if last is None:
            last = torch.zeros(len(ids), dtype=torch.long, device=self._device)
        cache = self._memory.aim(first, positions if columns is None else columns, used)
        masks = additive_masks(positions, used, self._windows, self._dtype)
        return self._forward(ids, masks, positions, cache, last)

    def _to_device(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(self._device)


def _groups(rows: list[Row], missing: Callable[[Row], int]) -> list[list[Row]]:
    """Divide rows, sorted by slot, into runs of neighbours that together need little padding."""
    groups: list[list[Row]] = []
    for row in rows:
        last = groups[-1] if groups else []
        together = [*last, row]
        counts = [missing(each) for each in together]
        padded = max(counts) * len(counts)
        neighbours = bool(last) and last[-1].slot + 1 == row.slot
        if neighbours and padded - sum(counts) <= _MAX_PADDING * padded and padded <= _CHUNK:
            groups[-1] = together
        else:
            groups.append([row])
    return groups


def _common(a: NDArray[np.int32], b: NDArray[np.int32]) -> int:
    """Length of the longest common prefix of two texts."""
    width = min(len(a), len(b))
    differs = a[:width] != b[:width]
    return int(differs.argmax()) if differs.any() else width
