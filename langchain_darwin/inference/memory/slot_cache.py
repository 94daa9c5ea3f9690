"""The tensors behind the slots: every layer's keys and values, as transformers' models take them."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache


class SlotCache(Cache):
    """The tensors of all slots of a table, as the model's `past_key_values`; `aim` says where it writes next."""

    def __init__(self) -> None:
        """Make a cache without layers; each is allocated when the model first writes to it."""
        super().__init__(layers=[])
        self._keys: list[torch.Tensor] = []  # by layer; [slots, kv heads, capacity, head dim]
        self._values: list[torch.Tensor] = []
        self._shape = (0, 0)  # slots, capacity
        self._rows = slice(0, 0)
        self._read = 0
        self._columns = torch.zeros(0, 0, dtype=torch.long)
        self._places: dict[tuple[int, int], torch.Tensor] = {}
        self._bases: dict[tuple[int, int, int, int], torch.Tensor] = {}

    def bytes_per_token(self) -> int:
        """Bytes of one column of one slot, over all layers; 0 before anything was written."""
        tensors = (*self._keys, *self._values)
        return sum(tensor.shape[1] * tensor.shape[3] * tensor.element_size() for tensor in tensors)

    def aim(self, first: int, columns: torch.Tensor, used: int) -> None:
        """Next, write row i at `columns[i]` of slot `first + i`, and show it the first `used` columns."""
        self._rows = slice(first, first + len(columns))
        self._columns = columns
        self._read = used
        self._places = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store keys and values `[B, kv heads, n, head dim]`; views of all that the rows may attend to."""
        if layer_idx >= len(self._keys):
            self._add_layer(key_states, value_states)
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        places = self._flat_places(keys.shape[1], keys.shape[2])
        keys.view(-1, keys.shape[-1]).index_copy_(0, places, key_states.reshape(-1, keys.shape[-1]))
        values.view(-1, values.shape[-1]).index_copy_(0, places, value_states.reshape(-1, values.shape[-1]))
        return keys[self._rows, :, : self._read], values[self._rows, :, : self._read]

    def _add_layer(self, key: torch.Tensor, value: torch.Tensor) -> None:
        slots, capacity = self._shape
        self._keys.append(key.new_zeros(slots, key.shape[1], capacity, key.shape[-1]))
        self._values.append(value.new_zeros(slots, value.shape[1], capacity, value.shape[-1]))

    def _flat_places(self, heads: int, capacity: int) -> torch.Tensor:
        """Places of `[B, heads, n]` in `[slots * heads * capacity]`."""
        key = (heads, capacity)
        if key not in self._places:
            places = self._base(heads, capacity)[:, :, None] + self._columns[:, None, :]
            self._places[key] = places.flatten()
        return self._places[key]

    def _base(self, heads: int, capacity: int) -> torch.Tensor:
        """Place of column 0 of each row and head `[B, heads]`."""
        key = (self._rows.start, self._rows.stop, heads, capacity)
        if key not in self._bases:
            device = self._columns.device
            rows = torch.arange(self._rows.start, self._rows.stop, device=device)
            self._bases = {key: (rows[:, None] * heads + torch.arange(heads, device=device)) * capacity}
        return self._bases[key]

    # Slots are named by numbers, never by lists of them: torch would upload such a list once for every tensor.

    def copy(self, source: int, target: int, length: int, origin: SlotCache) -> None:
        """Copy the first `length` columns of a slot of `origin` over a slot of this cache."""
        if not self._keys:
            self._add_layers_of(origin)
        pairs = zip((*self._keys, *self._values), (*origin._keys, *origin._values), strict=True)
        for ours, theirs in pairs:
            ours[target, :, :length] = theirs[source, :, :length]

    def _add_layers_of(self, other: SlotCache) -> None:
        for key, value in zip(other._keys, other._values, strict=True):
            self._add_layer(key, value)

    def swap(self, a: int, b: int, length: int) -> None:
        """Exchange the first `length` columns of two slots."""
        for tensor in (*self._keys, *self._values):
            kept = tensor[a, :, :length].clone()
            tensor[a, :, :length] = tensor[b, :, :length]
            tensor[b, :, :length] = kept

    def zero(self, slot: int, first: int, last: int) -> None:
        """Write zeros to the columns from `first` to before `last` of a slot."""
        for tensor in (*self._keys, *self._values):
            tensor[slot, :, first:last].zero_()

    def resize(self, slots: int, capacity: int, kept: int, width: int) -> None:
        """Give every layer the new shape, one after the other, so that only one is in memory twice.

        The first `width` columns of the first `kept` slots stay. Where there is no memory for a layer, those before
        it have the new shape already; both shapes hold what stays.
        """
        for tensors in (self._keys, self._values):
            for i, old in enumerate(tensors):
                if old.shape[0] == slots and old.shape[2] == capacity:
                    continue
                new = old.new_zeros(slots, old.shape[1], capacity, old.shape[3])
                new[:kept, :, :width] = old[:kept, :, :width]
                tensors[i] = new
        self._shape = (slots, capacity)

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002
        """Return how many columns the rows are shown; asked by models."""
        return self._read
