"""Keys and values of many texts of different lengths in one static cache, with longest-prefix reuse.

A *slot* holds the keys and values of one text in every layer, together with the token ids they belong to.
Rows being decoded ("live") occupy the slots `0..len(live)-1`, so that the decode batch is a slice and nothing
is gathered; all other slots remember texts of the past. Replacing a beam by another is a copy of one slot;
going on with a beam costs nothing.

A column beyond what its slot holds is scratch: padding may be written there, no row ever attends to it, and
the next token overwrites it. A forward pass that fails therefore leaves the memory as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers.cache_utils import Cache

from langchain_darwin.policies.rows import Row

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

Masks = torch.Tensor | dict[str, torch.Tensor]
Forward = Callable[[torch.Tensor, Masks, torch.Tensor, Cache, torch.Tensor], torch.Tensor]
"""`forward(ids [B, n], masks, positions [B, n], cache, last [B]) -> float32 [B, width]`, read at `last`."""

_LENGTH_STEP = 256  # tokens; capacities are multiples of it
_CHUNK = 2048  # tokens; longer prefixes are computed in pieces of this size
_WORTH_WAITING = 16  # tokens; sharing at least so many more with a sibling is worth one more forward pass
_MAX_PADDING = 0.25  # share of padding accepted to compute several prefixes in one forward pass


class KVSlots:
    """A `RowStore` for decoder models whose layers attend to all, or to a sliding window, of the text.

    Attributes:
        live: The decode batch; `live[i].slot == i`.
        max_rows: Most live rows.
    """

    def __init__(self, model: PreTrainedModel, max_rows: int = 64, *, forward: Forward | None = None) -> None:
        """Make an empty store; nothing is allocated before the first `open`.

        Args:
            model: A model in eval mode that takes a cache, position ids and 4-D masks.
            max_rows: Most live rows; up to as many slots again remember texts that are not live.
            forward: What to compute at the last token of each row; next-token logits unless given.
        """
        self.live: list[Row] = []
        self.max_rows = max_rows
        self._forward = forward or causal_logits(model)
        self._device = model.device
        self._dtype = model.dtype
        self._windows = attention_windows(model)
        self._cache = _SlotCache()
        self._texts: NDArray[np.int32] = np.zeros((0, 0), np.int32)  # [slots, capacity]
        self._held: NDArray[np.int64] = np.zeros(0, np.int64)  # [slots]; computed tokens of each
        self._used: NDArray[np.int64] = np.zeros(0, np.int64)  # [slots]; time of last use, 0 is never
        self._clock = 0
        self._positions: torch.Tensor | None = None  # [live, 1]; columns of the next tokens, None after a change

    def free(self) -> int:
        """How many more rows can be opened now."""
        return self.max_rows - len(self.live)

    @torch.inference_mode()
    def open(self, prefixes: Sequence[tuple[int, ...]]) -> tuple[list[Row], torch.Tensor]:
        """Make rows for `prefixes` live; see `RowStore.open`."""
        before = len(self.live)
        if len(prefixes) > self.free():
            msg = f"cannot open {len(prefixes)} rows, only {self.free()} of {self.max_rows} are free"
            raise ValueError(msg)
        rows = [Row(list(prefix)) for prefix in prefixes]
        texts = [np.asarray(prefix, np.int32) for prefix in prefixes]
        outputs: list[torch.Tensor | None] = [None] * len(rows)
        waiting = list(range(len(rows)))
        try:
            while waiting:
                wave, waiting = self._split_wave(waiting, texts)
                self._reserve(len(self.live) + len(wave), max(len(texts[i]) for i in wave) + 1)
                self._seat([rows[i] for i in wave], [texts[i] for i in wave])
                for i, output in zip(wave, self._compute([rows[i] for i in wave]), strict=True):
                    outputs[i] = output
        except BaseException:
            self.close(self.live[before:])
            raise
        return rows, torch.stack([output for output in outputs if output is not None])

    @torch.inference_mode()
    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append `tokens[i]` to `live[i]` for every live row; see `RowStore.step`."""
        count = len(self.live)
        longest = int(self._held[:count].max()) + 1
        self._reserve(count, longest + 1)
        held = self._held[:count]  # a view, taken after `_reserve` may have made a new array
        if self._positions is None:
            self._positions = torch.from_numpy(held.copy()).to(self._device)[:, None]
        ids = tokens.tolist()
        output = self._run(0, tokens[:, None], self._positions, longest)
        self._texts[np.arange(count), held] = ids
        held += 1
        self._positions += 1
        for row, token in zip(self.live, ids, strict=True):
            row.tokens.append(token)
        return output

    @torch.inference_mode()
    def close(self, rows: Sequence[Row]) -> None:
        """Take rows out of `live` and keep what they computed for later prefixes."""
        closing = {id(row) for row in rows}
        stay = [row for row in self.live if id(row) not in closing]
        holes = [row for row in self.live[: len(stay)] if id(row) in closing]
        movers = [row for row in stay if row.slot >= len(stay)]
        self._clock += 1
        self._used[: len(self.live)] = self._clock
        self._positions = None
        for hole, mover in zip(holes, movers, strict=True):
            self._swap(hole.slot, mover.slot)
            hole.slot, mover.slot = mover.slot, hole.slot
        for row in rows:
            row.slot = -1
        self.live = sorted(stay, key=lambda row: row.slot)

    # ---- choosing and filling slots

    def _split_wave(self, waiting: list[int], texts: list[NDArray[np.int32]]) -> tuple[list[int], list[int]]:
        """Divide prefixes into those to compute now and those that will then copy much from one of them."""
        wave: list[int] = []
        later: list[int] = []
        for i in waiting:
            known = self._shared(texts[i]).max(initial=0)
            sibling = max((_common(texts[i], texts[j]) for j in wave), default=0)
            gain = min(sibling, len(texts[i]) - 1) - known
            (later if gain >= min(_WORTH_WAITING, len(texts[i]) - 1 - known) > 0 else wave).append(i)
        return wave, later

    def _shared(self, text: NDArray[np.int32]) -> NDArray[np.int64]:
        """How many leading tokens of `text` each slot holds."""
        width = min(len(text), self._texts.shape[1])
        if width == 0:
            return np.zeros(len(self._held), np.int64)
        differs = self._texts[:, :width] != text[:width]
        first = np.where(differs.any(axis=1), differs.argmax(axis=1), width)
        shared: NDArray[np.int64] = np.minimum(first, self._held)
        return shared

    def _seat(self, rows: list[Row], texts: list[NDArray[np.int32]]) -> None:
        """Give each row a slot right after the live ones, holding the longest known part of its text."""
        first = len(self.live)
        homes = self._seats_in_place(texts)
        rest = [i for i in range(len(rows)) if i not in homes]
        donors = {int(self._shared(texts[i]).argmax()) for i in rest}
        for i in rest:
            homes[i] = self._seat_by_copy(texts[i], set(homes.values()), donors)
        for i, row in enumerate(rows):
            row.reused = int(min(self._held[homes[i]], len(texts[i]) - 1))
            row.prefilled = len(texts[i]) - row.reused
        self._gather_homes(rows, homes, first)

    def _seats_in_place(self, texts: list[NDArray[np.int32]]) -> dict[int, int]:
        """Idle slots of which everything they hold begins a text: that text goes on in place."""
        homes: dict[int, int] = {}
        for i, text in enumerate(texts):
            shared = self._shared(text)
            whole = (shared == self._held) & (shared == shared.max(initial=0)) & (shared > 0)
            whole[: len(self.live)] = False
            whole[list(homes.values())] = False
            if whole.any():
                homes[i] = int(whole.argmax())
        return homes

    def _seat_by_copy(self, text: NDArray[np.int32], taken: set[int], donors: set[int]) -> int:
        """Copy the longest known part of `text` to the idle slot that will be missed least; return it."""
        shared = self._shared(text)
        donor = int(shared.argmax())
        idle = [slot for slot in range(len(self.live), len(self._held)) if slot not in taken]
        home = min(idle, key=lambda slot: (slot in donors, self._used[slot]))
        if home in donors and donor in idle:
            home = donor  # no other slot is left: cut the donor short
        length = int(min(shared[donor], len(text) - 1))
        if home != donor:
            self._copy(donor, home, length)
            self._used[donor] = max(self._used[donor], self._clock * (length > 0))
        self._held[home] = length
        return home

    def _gather_homes(self, rows: list[Row], homes: dict[int, int], first: int) -> None:
        """Swap slots until the rows occupy `first..first+len(rows)-1`, then make them live."""
        seats = range(first, first + len(rows))
        open_seats = sorted(set(seats) - set(homes.values()))
        moving = [i for i, home in homes.items() if home not in seats]
        moving.sort(key=lambda i: rows[i].prefilled)
        for i, seat in zip(moving, open_seats, strict=True):
            self._swap(homes[i], seat)
            homes[i] = seat
        for i, row in enumerate(rows):
            row.slot = homes[i]
        self._positions = None
        self.live += sorted(rows, key=lambda row: row.slot)

    # ---- computing

    def _compute(self, rows: list[Row]) -> list[torch.Tensor]:
        """Compute what is missing of the rows' texts; the output at each row's last token, in their order."""
        outputs: dict[int, torch.Tensor] = {}
        singles = []
        for row in rows:
            self._held[row.slot] = row.reused
            self._compute_pieces(row)
            if row.prefilled == 1:
                singles.append(row)
        several = sorted((row for row in rows if row.prefilled > 1), key=lambda row: row.slot)
        for group in _groups(several, self._missing):
            outputs |= self._compute_group(group)
        if singles:
            outputs |= self._compute_singles(singles)
        return [outputs[row.slot] for row in rows]

    def _missing(self, row: Row) -> int:
        return len(row.tokens) - int(self._held[row.slot])

    def _compute_pieces(self, row: Row) -> None:
        """Compute the beginning of a very long text, so that at most `_CHUNK` tokens are left."""
        while self._missing(row) > _CHUNK:
            start = int(self._held[row.slot])
            self._extend(row.slot, [np.asarray(row.tokens[start : start + _CHUNK], np.int64)])

    def _compute_group(self, group: list[Row]) -> dict[int, torch.Tensor]:
        """Compute rows in neighbouring slots in one forward pass, padded on the right."""
        first = group[0].slot
        news = [np.asarray(row.tokens[self._held[row.slot] :], np.int64) for row in group]
        return dict(enumerate(self._extend(first, news), start=first))

    def _compute_singles(self, rows: list[Row]) -> dict[int, torch.Tensor]:
        """Compute the last token of each row in one forward pass.

        Slots between them take part as well, each with a token of no meaning in its next, unused column.
        """
        first = min(row.slot for row in rows)
        span = max(row.slot for row in rows) + 1 - first
        starts = self._held[first : first + span]
        self._reserve(len(self.live), int(starts.max()) + 1)
        tokens = np.zeros((span, 1), np.int64)
        for row in rows:
            tokens[row.slot - first] = row.tokens[-1]
        ids, positions = self._to_device(tokens), self._to_device(starts[:, None])
        output = self._run(first, ids, positions, int(starts.max()) + 1)
        for row in rows:
            self._remember(row.slot, tokens[row.slot - first])
        return {row.slot: output[row.slot - first] for row in rows}

    def _extend(self, first: int, news: list[NDArray[np.int64]]) -> torch.Tensor:
        """Compute `news[i]` behind what slot `first + i` holds; outputs `[len(news), width]` at the last tokens.

        Columns of padding repeat the position of the last real token, as tables of positions may end there.
        """
        counts = np.array([len(new) for new in news])
        starts = self._held[first : first + len(news)].copy()
        width = int(counts.max())
        self._reserve(len(self.live), int(starts.max()) + width)
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
            self._remember(first + i, new)
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
        self._cache.aim(first, positions if columns is None else columns, used, self._texts.shape)
        if last is None:
            last = torch.zeros(len(ids), dtype=torch.long, device=self._device)
        return self._forward(ids, self._masks(positions, used), positions, self._cache, last)

    def _masks(self, positions: torch.Tensor, used: int) -> Masks:
        """Additive masks `[B, 1, n, used]` in the model's dtype: attend to yourself and to what is before.

        They are not boolean because attention kernels would convert those anew in every layer.
        """
        columns = torch.arange(used, device=self._device)
        at = positions[:, None, :, None]
        causal = columns <= at
        zero = torch.zeros((), dtype=self._dtype, device=self._device)
        low = torch.finfo(self._dtype).min
        masks = {
            kind: torch.where(causal if window is None else causal & (columns > at - window), zero, low)
            for kind, window in self._windows.items()
        }
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _to_device(self, array: NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(self._device)

    # ---- memory

    def _remember(self, slot: int, new: NDArray[np.int64]) -> None:
        start = int(self._held[slot])
        self._texts[slot, start : start + len(new)] = new
        self._held[slot] = start + len(new)

    def _copy(self, source: int, target: int, length: int) -> None:
        self._held[target] = 0  # in doubt until the copy is complete
        if length:
            self._cache.copy(source, target, length)
            self._texts[target, :length] = self._texts[source, :length]
        self._held[target] = length

    def _swap(self, a: int, b: int) -> None:
        if self._held[b] == 0:  # nothing worth keeping there
            self._copy(a, b, int(self._held[a]))
            self._held[a], self._used[[a, b]] = 0, (0, self._used[a])
            return
        held = self._held[[b, a]]
        self._held[[a, b]] = 0
        self._cache.swap(a, b, int(held.max()))
        self._texts[[a, b]] = self._texts[[b, a]]
        self._used[[a, b]] = self._used[[b, a]]
        self._held[[a, b]] = held

    def _reserve(self, slots: int, length: int) -> None:
        """Have at least so many slots and columns; grow by more than that where memory allows."""
        have, capacity = self._texts.shape
        if slots <= have and length <= capacity:
            return
        least = max(slots, have), max(_round_up(length), capacity)
        plenty = least
        if slots > have:
            plenty = min(max(2 * slots, 8), 2 * self.max_rows), plenty[1]
        if length > capacity:
            plenty = plenty[0], max(plenty[1], _round_up(capacity * 3 // 2))
        try:
            self._resize(*plenty)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            self._resize(*least)

    def _resize(self, slots: int, capacity: int) -> None:
        """Change the numbers of slots and columns, keeping the slots and columns that both have."""
        kept = min(slots, len(self._held))
        self._cache.resize(slots, capacity, int(self._held[:kept].max(initial=0)), kept)
        texts = np.zeros((slots, capacity), np.int32)
        width = min(capacity, self._texts.shape[1])
        texts[:kept, :width] = self._texts[:kept, :width]
        self._texts = texts
        self._held = np.pad(self._held[:kept], (0, slots - kept))
        self._used = np.pad(self._used[:kept], (0, slots - kept))


class _SlotCache(Cache):
    """The tensors of all slots, as the model's `past_key_values`; `aim` says where it writes next."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self._keys: list[torch.Tensor] = []  # by layer; [slots, kv heads, capacity, head dim]
        self._values: list[torch.Tensor] = []
        self._shape = (0, 0)  # slots, capacity
        self._rows = slice(0, 0)
        self._read = 0
        self._columns = torch.zeros(0, 0, dtype=torch.long)
        self._places: dict[int, torch.Tensor] = {}
        self._bases: dict[tuple[int, int, int, int], torch.Tensor] = {}

    def aim(self, first: int, columns: torch.Tensor, used: int, shape: tuple[int, ...]) -> None:
        """Next, write row i at `columns[i]` of slot `first + i`, and show it the first `used` columns."""
        self._rows = slice(first, first + len(columns))
        self._columns = columns
        self._read = used
        self._shape = (shape[0], shape[1])
        self._places = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store keys and values `[B, kv heads, n, head dim]`; views of all that the rows may attend to."""
        if layer_idx >= len(self._keys):
            self._add_layer(key_states, value_states)
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        places = self._flat_places(key_states.shape[1])
        keys.view(-1, keys.shape[-1]).index_copy_(0, places, key_states.reshape(-1, keys.shape[-1]))
        values.view(-1, values.shape[-1]).index_copy_(0, places, value_states.reshape(-1, values.shape[-1]))
        return keys[self._rows, :, : self._read], values[self._rows, :, : self._read]

    def _add_layer(self, key: torch.Tensor, value: torch.Tensor) -> None:
        slots, capacity = self._shape
        self._keys.append(key.new_zeros(slots, key.shape[1], capacity, key.shape[-1]))
        self._values.append(value.new_zeros(slots, value.shape[1], capacity, value.shape[-1]))

    def _flat_places(self, heads: int) -> torch.Tensor:
        """Where `[B, heads, n]` go in `[slots * heads * capacity]`."""
        if heads not in self._places:
            places = self._base(heads)[:, :, None] + self._columns[:, None, :]
            self._places[heads] = places.flatten()
        return self._places[heads]

    def _base(self, heads: int) -> torch.Tensor:
        """Place of column 0 of each row and head `[B, heads]`."""
        capacity = self._shape[1]
        key = (self._rows.start, self._rows.stop, heads, capacity)
        if key not in self._bases:
            device = self._columns.device
            rows = torch.arange(self._rows.start, self._rows.stop, device=device)
            self._bases = {key: (rows[:, None] * heads + torch.arange(heads, device=device)) * capacity}
        return self._bases[key]

    def copy(self, source: int, target: int, length: int) -> None:
        for tensor in (*self._keys, *self._values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def swap(self, a: int, b: int, length: int) -> None:
        for tensor in (*self._keys, *self._values):
            tensor[[a, b], :, :length] = tensor[[b, a], :, :length]

    def resize(self, slots: int, capacity: int, used: int, kept: int) -> None:
        """Give every layer the new shape, layer by layer, so that only one is in memory twice."""
        for tensors in (self._keys, self._values):
            for i, old in enumerate(tensors):
                if old.shape[0] == slots and old.shape[2] == capacity:
                    continue
                new = old.new_zeros(slots, old.shape[1], capacity, old.shape[3])
                new[:kept, :, :used] = old[:kept, :, :used]
                tensors[i] = new

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002
        return self._read


def causal_logits(model: PreTrainedModel) -> Forward:
    """Next-token logits of a causal language model, computed at the last tokens only."""

    def forward(
        ids: torch.Tensor, masks: Masks, positions: torch.Tensor, cache: Cache, last: torch.Tensor
    ) -> torch.Tensor:
        keep: int | torch.Tensor = 1
        place = last
        if ids.shape[1] > 1:
            keep, place = torch.unique(last, return_inverse=True)
        logits: torch.Tensor = model(
            input_ids=ids,
            attention_mask=masks,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
        ).logits
        if ids.shape[1] == 1:
            return logits[:, -1].float()
        return logits[torch.arange(len(ids), device=ids.device), place].float()

    return forward


def attention_windows(model: PreTrainedModel) -> dict[str, int | None]:
    """The kinds of attention of a model's layers, each with its sliding window (None: the whole text).

    The kinds are named as models with mixed layers expect them in their dict of masks.
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = dict.fromkeys(getattr(config, "layer_types", None) or ())
    if not kinds:
        kinds = {"full_attention" if window is None else "sliding_attention": None}
    return {kind: window if kind == "sliding_attention" else None for kind in kinds}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on any device."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


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


def _round_up(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP
