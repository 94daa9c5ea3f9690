"""What the embedded policy asks of its memory of computed prefixes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch


@dataclass(eq=False)
class Row:
    """One text being decoded.

    Attributes:
        tokens: All token ids of the text so far. The store appends to it in `step`.
        prefilled: Prefix tokens that were not in memory.
        reused: Prefix tokens that `open` found in memory.
        behind: Whether the last token of the prefix is left to the next `step`, which must be given it.
    """

    tokens: list[int]
    prefilled: int = 0
    reused: int = 0
    behind: bool = False
    slot: int = field(default=-1, repr=False)
    table: int = field(default=-1, repr=False)


class RowStore(Protocol):
    """Next-token logits of several texts, computing for each only what is not in memory.

    Used by one thread only. `live` is the decode batch: `step` advances every live row by one token.
    """

    live: list[Row]

    def free(self, lengths: Sequence[int] = ()) -> int:
        """Return how many more rows can be opened now.

        Args:
            lengths: Tokens of the texts that would be opened, in their order. Those after the last one for which
                there is memory do not count; at least one does while nothing is live.
        """
        ...

    def open(self, prefixes: Sequence[tuple[int, ...]], *, may_lag: bool = False) -> tuple[list[Row], torch.Tensor]:
        """Make rows for `prefixes` live, at the end of `live`, in an order of the store's choosing.

        Args:
            prefixes: Token ids, at least one each.
            may_lag: Leave rows of which only the last token is missing `behind`. The next `step` computes that token
                along with the next tokens of the others, which saves a forward pass.

        Returns:
            The new rows in the order of `prefixes`, and float32 logits `[rows not behind, vocabulary]` of the token
            that follows each prefix, in the same order.
        """
        ...

    def step(self, tokens: torch.Tensor, ids: Sequence[int]) -> torch.Tensor:
        """Append a token to every live row.

        Args:
            tokens: Int64 `[len(live)]` on the model's device; `tokens[i]` goes to `live[i]`.
            ids: The same numbers on the host, so that nothing is fetched from the device again.

        Returns:
            Float32 logits `[len(live), vocabulary]` after each token.
        """
        ...

    def close(self, rows: Sequence[Row]) -> None:
        """Take rows out of `live` (which may reorder it) and keep what they computed for later prefixes."""
        ...
