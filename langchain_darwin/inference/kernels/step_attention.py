"""Attention of one new token a row, in bfloat16 on a CPU: an even number of queries for each head of keys.

transformers passes the query heads that share keys to torch's attention as the rows of one matrix. For an odd number
of them its bfloat16 kernel takes longer than for one more. For a single one it takes twice as long as for two
(docs/performance.md). So one query is passed twice and its second result dropped, which is the same up to rounding.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "sdpa_even_queries"
_SPECIAL = ("position_bias", "softcap", "cache")  # options that change what attention is


def use_even_queries(model: Any) -> None:
    """Have a model's steps attend through `even_queries` where that is faster; no other model is touched.

    It is for bfloat16 on a CPU and an odd number of query heads for each head of keys. A model whose code asks for
    torch's attention by its name would take another path under a new name, and is left alone.
    """
    if model.device.type == "cpu" and model.dtype is torch.bfloat16 and _has_odd_groups(model) and _is_free(model):
        AttentionInterface.register(_NAME, even_queries)
        AttentionMaskInterface.register(_NAME, sdpa_mask)
        model.set_attn_implementation(_NAME)


def even_queries(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers' models call it; all but a masked step of one token a row is left to transformers.

    Args:
        module: The layer that asks.
        query: `[B, heads, n, width]`.
        key: `[B, kv heads, used, width]`; `heads` is a multiple of `kv heads`.
        value: `[B, kv heads, used, value width]`.
        attention_mask: `[B, 1, n, used]`.
        scaling: Of the products of queries and keys; one over the root of `width` if None.
        options: As transformers passes them.

    Returns:
        `[B, n, heads, value width]`, and None in place of the weights.
    """
    rows, heads, new, width = query.shape
    group = heads // key.shape[1]
    plain = attention_mask is not None and attention_mask.shape[1] == 1
    if new > 1 or group % 2 == 0 or not plain or any(options.get(name) is not None for name in _SPECIAL):
        usual = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
        return usual[0], None
    queries = query.reshape(rows, -1, group, width)
    even = torch.cat((queries, queries[:, :, :1]), dim=2)
    attended = torch.nn.functional.scaled_dot_product_attention(
        even, key, value, attn_mask=attention_mask, scale=scaling
    )
    return attended[:, :, :group].reshape(rows, 1, heads, value.shape[-1]), None


def _has_odd_groups(model: Any) -> bool:
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_attention_heads", None) or 0
    return heads // (getattr(config, "num_key_value_heads", None) or heads or 1) % 2 == 1


def _is_free(model: Any) -> bool:
    """Return True if the model uses torch's attention, and its code does not depend on that name."""
    try:
        source = inspect.getsource(sys.modules[type(model).__module__])
    except (OSError, TypeError):  # installed without its source
        return False
    return model.config._attn_implementation == "sdpa" and '"sdpa"' not in source  # noqa: SLF001  (no public name)
