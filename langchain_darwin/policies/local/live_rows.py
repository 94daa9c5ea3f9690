"""The live batch: which request each row of the store belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import torch

from langchain_darwin.inference.memory.rows import Row, RowStore
from langchain_darwin.policies.local.proposals import ProposedPrefix
from langchain_darwin.policies.sequences import TokenSequence

Request: TypeAlias = TokenSequence | ProposedPrefix


class LiveRows:
    """Requests by row. Whatever changes which row is whose changes `version` too.

    Attributes:
        version: A number that tells one composition of the batch from another.
    """

    def __init__(self, make_store: Callable[[], RowStore]) -> None:
        """Have no rows, and no store before the first one.

        Args:
            make_store: Makes an empty store; called again after a failure that leaves the old one in doubt.
        """
        self.version = 0
        self._make_store = make_store
        self._made: RowStore | None = None
        self._requests: dict[Row, Request] = {}
        self._rows: dict[Request, Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def store(self) -> RowStore:
        """The memory of computed prefixes."""
        if self._made is None:
            self._made = self._make_store()
        return self._made

    @property
    def requests(self) -> list[Request]:
        """The live requests in the store's order, which is that of `step`."""
        return [self._requests[row] for row in self.store.live] if self._rows else []

    def free(self, waiting: Iterable[Request]) -> int:
        """Return how many of the requests that wait, from the first, can be opened, or more."""
        return self.store.free([request.length for request in waiting])

    def open(self, requests: Sequence[Request]) -> tuple[list[Request], torch.Tensor]:
        """Make requests live.

        Returns:
            Those that need no step for their next token, and float32 logits `[of them, vocabulary]`. The last token
            of the others is left to the next step.
        """
        follows_a_step = bool(self._rows) or any(isinstance(request, TokenSequence) for request in requests)
        rows, logits = self.store.open([request.tokens for request in requests], may_lag=follows_a_step)
        self.version += 1
        for request, row in zip(requests, rows, strict=True):
            self._requests[row], self._rows[request] = request, row
            request.cost = request.cost or _cost(request, row)
        return [request for request, row in zip(requests, rows, strict=True) if not row.behind], logits

    def read_ahead(self, request: Request, upto: int) -> None:
        """Compute the first `upto` tokens of a request that still waits, and remember them."""
        [row], _ = self.store.open([request.tokens[:upto]])
        self.version += 1
        self.store.close([row])
        request.prefilled_ahead += row.prefilled
        request.read = upto

    def step(self, tokens: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
        """Append a token to each row; see `RowStore.step`."""
        return self.store.step(tokens, ids)

    def close(self, requests: Sequence[Request]) -> None:
        """Let requests leave the batch; what was computed for them is remembered."""
        rows = [self._rows.pop(request) for request in requests if request in self._rows]
        if rows:
            self.store.close(rows)
            self.version += 1
        for row in rows:
            del self._requests[row]

    def reset(self) -> list[Request]:
        """Begin with an empty store; return the requests that were live."""
        lost = list(self._rows)
        self._made = None
        self._requests, self._rows = {}, {}
        self.version += 1
        return lost


def _cost(request: Request, row: Row) -> tuple[int, int]:
    """Tokens of the prefix computed for the request, some of them perhaps ahead, and tokens found in memory."""
    return row.prefilled + request.prefilled_ahead, max(0, row.reused - request.prefilled_ahead)
