"""One forward pass over ragged rows: what is computed, and which columns each row may attend to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import Cache

from langchain_darwin.inference.kernels.step_threads import step_threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Masks = torch.Tensor | dict[str, torch.Tensor]
Forward = Callable[[torch.Tensor, Masks, torch.Tensor, Cache, torch.Tensor], torch.Tensor]
"""`forward(ids [B, n], masks, positions [B, n], cache, last [B]) -> float32 [B, width]`, read at `last`."""


def causal_logits(model: PreTrainedModel) -> Forward:
    """Next-token logits of a causal language model, computed at the last tokens only."""
    threads = step_threads(model)

    def forward(
        ids: torch.Tensor, masks: Masks, positions: torch.Tensor, cache: Cache, last: torch.Tensor
    ) -> torch.Tensor:
        if threads is None:
            return logits_at(ids, masks, positions, cache, last)
        rows, new = ids.shape
        return threads.compute(rows, new, lambda: logits_at(ids, masks, positions, cache, last))

    def logits_at(
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


def additive_masks(positions: torch.Tensor, used: int, windows: Mapping[str, int | None], dtype: torch.dtype) -> Masks:
    """Masks `[B, 1, n, used]`: a token at `positions[B, n]` attends to itself and to what is before it.

    They are not boolean because attention kernels would convert those anew in every layer.

    Args:
        positions: Columns of the new tokens.
        used: How many columns are shown.
        windows: As `attention_windows` gives them; one kind gives a tensor, several a dict of them.
        dtype: The model's.
    """
    columns = torch.arange(used, device=positions.device)
    at = positions[:, None, :, None]
    causal = columns <= at
    zero = torch.zeros((), dtype=dtype, device=positions.device)
    low = torch.finfo(dtype).min
    masks = {
        kind: torch.where(causal if window is None else causal & (columns > at - window), zero, low)
        for kind, window in windows.items()
    }
    return masks if len(masks) > 1 else next(iter(masks.values()))
