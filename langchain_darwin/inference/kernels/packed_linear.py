"""Linear layers with weights laid out for the CPU's matrix kernels once, not at every call.

oneDNN multiplies matrices in a blocked layout. A plain `nn.Linear` in bfloat16 has its weight reordered in every
forward pass. For the few rows of a decode batch that costs as much as the product itself (docs/performance.md).

In float32 a plain layer goes to MKL. For 5 to 15 rows it takes up to three times longer than oneDNN on a packed
weight. MKL also adds in an order that depends on the number of threads. oneDNN's order does not, so that a text does
not depend on how many threads computed it. That lets `step_threads` choose their number by the clock.
"""

from __future__ import annotations

import platform
from typing import Any

import torch
from torch import nn

# ruff: noqa: SLF001 - torch has no public name for these operators, which its own compiler uses
_mkldnn: Any = torch.ops.mkldnn
_TYPICAL_ROWS = 16  # oneDNN chooses the layout for this many rows; any number can be multiplied


class PackedLinear(nn.Module):
    """`nn.Linear` for inference on a CPU: equal up to rounding, the weight in oneDNN's blocked layout."""

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
    """Replace the model's linear layers on a CPU that has kernels for them; no others are touched.

    A weight that is not tied to the embeddings is let go of, so memory does not grow by more than the output layer.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child.weight.device.type == "cpu" and _has_kernels(child.weight.dtype):
                setattr(parent, name, PackedLinear(child))


def is_packed(model: nn.Module) -> bool:
    """Return True if all linear layers of a model are packed."""
    return not any(type(module) is nn.Linear for module in model.modules())


def _has_kernels(dtype: torch.dtype) -> bool:
    if not torch.backends.mkldnn.is_available() or not hasattr(_mkldnn, "_reorder_linear_weight"):
        return False
    if dtype is torch.float32:
        return platform.machine().lower() in {"x86_64", "amd64"}  # where it was measured
    return dtype is torch.bfloat16 and bool(_mkldnn._is_mkldnn_bf16_supported())
