"""The sampler of a batch: next tokens of all its rows, with what the device needs for them kept there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from langchain_darwin.policies.local.live_rows import LiveRows, Request
from langchain_darwin.policies.local.sampling import SamplingMetadata, draw, make_metadata


@dataclass(eq=False)
class Cursor:
    """Ends of a batch's texts; all tensors by row, int64 `[B]`, on the device.

    Attributes:
        metadata: How the rows draw.
        tokens: Their newest tokens.
        ids: The same on the host.
        positions: Indices in their texts of the tokens that come next.
        first: A lower bound of `positions` on the host.
    """

    metadata: SamplingMetadata
    tokens: torch.Tensor
    ids: list[int]
    positions: torch.Tensor
    first: int

    def draw(self, logits: torch.Tensor, allowed: torch.Tensor | None) -> tuple[list[int], list[float]]:
        """Draw the rows' next tokens and step on to them; see `sampling.draw`. Waits for the device once."""
        self.tokens, logprobs = draw(logits, self.metadata, self.positions, first_position=self.first, allowed=allowed)
        self.positions = self.positions + 1
        self.first += 1
        self.ids, found = _fetch(self.tokens, logprobs)
        return self.ids, found

    def replace(self, row: int, token: int) -> None:
        """Let a row end with another token than the one drawn."""
        self.tokens[row] = token
        self.ids[row] = token


class Sampler:
    """Keeps the cursor of the live batch, and makes another when the rows' version changes."""

    def __init__(self, end_ids: Sequence[int], device: torch.device) -> None:
        """Have no cursor yet.

        Args:
            end_ids: Token ids that end a response.
            device: Where the logits are.
        """
        self._end_ids, self._device = end_ids, device
        self._version = -1
        self._cursor: Cursor | None = None

    def cursor(self, rows: LiveRows) -> Cursor:
        """Return the cursor of the live rows, in the store's order."""
        if self._cursor is None or self._version != rows.version:
            self._cursor, self._version = self.cursor_of(rows.requests), rows.version
        return self._cursor

    def cursor_of(self, requests: Sequence[Request]) -> Cursor:
        """Make a cursor of requests as they are now."""
        ids, positions = [request.newest for request in requests], [request.length for request in requests]
        samplings, keys = [request.sampling for request in requests], [request.key for request in requests]
        metadata = make_metadata(samplings, keys, [request.floor for request in requests], self._end_ids, self._device)
        both = torch.tensor([ids, positions]).to(self._device)
        return Cursor(metadata, both[0], ids, both[1], min(positions))


def _fetch(tokens: torch.Tensor, logprobs: torch.Tensor) -> tuple[list[int], list[float]]:
    """Read token ids and float32 numbers from the device at once, as the bits of 32-bit integers."""
    both = torch.stack([tokens.to(torch.int32), logprobs.view(torch.int32)]).tolist()
    return both[0], np.array(both[1], np.int32).view(np.float32).tolist()
