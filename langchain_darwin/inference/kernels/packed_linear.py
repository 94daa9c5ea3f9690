"""Linear layers with weights laid out for the CPU's matrix kernels once, not at every call.

oneDNN multiplies bfloat16 matrices in a blocked layout. A plain `nn.Linear` has its weight reordered in every
forward pass, which for the few rows of a decode batch costs as much as the product itself (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# ruff: noqa: SLF001 - torch has no public name for these operators, which its own compiler uses
_mkldnn: Any = torch.ops.mkldnn
_TYPICAL_ROWS = 16  # oneDNN chooses the layout for this many rows; any number can be multiplied


class PackedLinear(nn.Module):
    """`nn.Linear` for inference in bfloat16 on a CPU; equal results, the weight in oneDNN's blocked layout."""

    def __init__(self, linear: nn.Linear) -> None:
        """Lay out the weight `[out_features, in_features]`."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._packed = _mkldnn._reorder_linear_weight(linear.weight.detach(), _TYPICAL_ROWS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Product of `[..., in_features]` and the weight, plus the bias: `[..., out_features]`."""
        output: torch.Tensor = _mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")
        return output


def pack_linears(model: nn.Module) -> None:
    """Replace the model's bfloat16 linear layers on a CPU that has kernels for them; no others are touched.

    A weight that is not tied to the embeddings is let go of, so memory does not grow by more than the output layer.
    """
    if not _has_kernels():
        return
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child.weight.dtype is torch.bfloat16 and child.weight.device.type == "cpu":
                setattr(parent, name, PackedLinear(child))


def _has_kernels() -> bool:
    if not torch.backends.mkldnn.is_available() or not hasattr(_mkldnn, "_reorder_linear_weight"):
        return False
    return bool(_mkldnn._is_mkldnn_bf16_supported())
