"""The tensors behind the slots: every layer's keys and values, as transformers' models take them."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache


class SlotCache(Cache):
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
        """Copy the first `length` columns of one slot over another's."""
        for tensor in (*self._keys, *self._values):
            tensor[target, :, :length] = tensor[source, :, :length]

    def swap(self, a: int, b: int, length: int) -> None:
        """Exchange the first `length` columns of two slots."""
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
        """How many columns the rows are shown; asked by models."""
        return self._read
