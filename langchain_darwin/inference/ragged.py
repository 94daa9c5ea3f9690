"""Which models can compute rows of different lengths in one cache."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.inference.out_of_memory import is_out_of_memory

_LENGTHS = (9, 4)  # tokens of the two texts
_TOLERANCE = 0.05  # of the largest logit; bfloat16 rounding stays below, wrong positions do not
_SMALL = 1 << 30  # bytes, more than two short texts take in any model


def is_ragged(config: Any) -> bool:
    """Return True if every layer of a model keeps plain keys and values, of all its past or a sliding window."""
    text = config.get_text_config(decoder=True)
    if getattr(text, "attention_chunk_size", None) or getattr(text, "num_kv_shared_layers", 0):
        return False
    try:
        layers = DynamicCache(config=config).layers
    except (AttributeError, KeyError, TypeError, ValueError):  # a layer type that transformers has no cache for
        return False
    return all(type(layer) in {DynamicLayer, DynamicSlidingWindowLayer} for layer in layers)


@torch.inference_mode()
def takes_ragged_rows(model: Any) -> bool:
    """Return True if texts of different lengths in one batch get the logits that each gets alone.

    Models whose positions come from a 2-D mask, as most with ALiBi, refuse 4-D masks or compute something else.
    """
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    texts = [tuple(7 * i % vocabulary for i in range(1, length + 1)) for length in _LENGTHS]
    try:
        _, together = KVSlots(model, len(texts), budget=_SMALL).open(texts)
        alone = torch.stack([_plain(model, text) for text in texts])
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        return False
    gap, most = (together - alone).abs().max(), alone.abs().max()
    return not bool(gap > _TOLERANCE * most)  # weights that give no finite numbers show nothing


def _plain(model: Any, text: tuple[int, ...]) -> torch.Tensor:
    logits: torch.Tensor = model(torch.tensor([text], device=model.device), use_cache=False).logits
    return logits[0, -1].float()
