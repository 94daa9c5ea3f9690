"""Packed linear layers: equal results, only where they apply."""

from __future__ import annotations

import torch
from torch import nn

from langchain_darwin.inference.kernels.packed_linear import PackedLinear, pack_linears


def network(dtype):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 32, bias=False)).to(dtype).eval()


@torch.inference_mode()
def test_results_are_those_of_the_plain_layers_for_any_number_of_rows():
    for rows in (1, 5, 16, 40):
        inputs = torch.randn(rows, 3, 64, generator=torch.Generator().manual_seed(rows)).bfloat16()
        model = network(torch.bfloat16)
        plain = model(inputs)
        pack_linears(model)
        torch.testing.assert_close(model(inputs), plain, atol=1e-2, rtol=1e-2)


def test_only_bfloat16_layers_on_a_cpu_with_kernels_are_packed():
    half, single = network(torch.bfloat16), network(torch.float32)
    pack_linears(half)
    pack_linears(single)
    packed = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    assert [type(layer) for layer in single] == [nn.Linear, nn.GELU, nn.Linear]
    kind = PackedLinear if packed else nn.Linear
    assert [type(layer) for layer in half] == [kind, nn.GELU, kind]
