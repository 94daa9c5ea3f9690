"""One forward pass over ragged rows: what is computed, and which columns each row may attend to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers.cache_utils import Cache

from langchain_darwin.inference.kernels.step_threads import step_threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Masks = torch.Tensor | dict[str, torch.Tensor]

_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


@dataclass(frozen=True, eq=False)
class Inputs:
    """The tensors of one forward pass over `B` rows of `n` new tokens, all on the model's device.

    Attributes:
        ids: Token ids `[B, n]`, padded on the right.
        masks: As `additive_masks` gives them.
        positions: Position of each token `[B, n]`; padding repeats the last one.
        last: Place of each row's last token among the `n` `[B]`.
        kept: The different values of `last`, ascending; None if `n` is 1.
        place: Place of each row's value among `kept` `[B]`; None if `n` is 1.
    """

    ids: torch.Tensor
    masks: Masks
    positions: torch.Tensor
    last: torch.Tensor
    kept: torch.Tensor | None = None
    place: torch.Tensor | None = None


Forward = Callable[[Inputs, Cache], torch.Tensor]
"""`forward(inputs, cache) -> float32 [B, width]`, read at each row's last token."""


def causal_logits(model: PreTrainedModel) -> Forward:
    """Next-token logits of a causal language model, computed at the last tokens only."""
    threads = step_threads(model)

    def forward(inputs: Inputs, cache: Cache) -> torch.Tensor:
        if threads is None:
            return logits_at(inputs, cache)
        rows, new = inputs.ids.shape
        return threads.compute(rows, new, lambda: logits_at(inputs, cache))

    def logits_at(inputs: Inputs, cache: Cache) -> torch.Tensor:
        logits: torch.Tensor = model(
            input_ids=inputs.ids,
            attention_mask=inputs.masks,
            position_ids=inputs.positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1 if inputs.kept is None else inputs.kept,
        ).logits
        if inputs.place is None:
            return logits[:, -1].float()
        return logits[torch.arange(len(logits), device=logits.device), inputs.place].float()

    return forward


def attention_kernels(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Context in which attention on CUDA does without cuDNN; nothing changes on other devices.

    cuDNN makes a plan for every new shape, which takes longer than many decode steps, and each longer text is one.
    """
    return sdpa_kernel(_KERNELS) if device.type == "cuda" else contextlib.nullcontext()


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
