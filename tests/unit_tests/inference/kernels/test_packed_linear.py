"""Packed linear layers: equal results, only where they apply."""

from __future__ import annotations

import platform
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from langchain_darwin.inference.kernels.packed_linear import PackedLinear, is_packed, pack_linears
from langchain_darwin.inference.kernels.step_threads import set_own_threads


def network(dtype):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 96), nn.GELU(), nn.Linear(96, 32, bias=False)).to(dtype).eval()


@torch.inference_mode()
@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 1e-2), (torch.float32, 1e-5)])
def test_results_are_those_of_the_plain_layers_for_any_number_of_rows(dtype, error):
    for rows in (1, 5, 16, 40):
        inputs = torch.randn(rows, 3, 64, generator=torch.Generator().manual_seed(rows)).to(dtype)
        model = network(dtype)
        plain = model(inputs)
        pack_linears(model)
        torch.testing.assert_close(model(inputs), plain, atol=error, rtol=error)


def test_layers_are_packed_where_there_are_kernels_for_their_numbers():
    half, single, double = (network(dtype) for dtype in (torch.bfloat16, torch.float32, torch.float64))
    for model in (half, single, double):
        pack_linears(model)
    kinds = {True: PackedLinear, False: nn.Linear}
    for_half = kinds[torch.ops.mkldnn._is_mkldnn_bf16_supported()]
    for_single = kinds[platform.machine() in {"x86_64", "AMD64"}]
    assert [type(layer) for layer in half] == [for_half, nn.GELU, for_half]
    assert [type(layer) for layer in single] == [for_single, nn.GELU, for_single]
    assert [type(layer) for layer in double] == [nn.Linear, nn.GELU, nn.Linear]
    assert (is_packed(single), is_packed(double)) == (for_single is PackedLinear, False)


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(576, 576), (192, 576), (1536, 576), (576, 1536)])
def test_packed_products_in_float32_do_not_depend_on_the_number_of_threads(shape):
    layer = nn.Sequential(nn.Linear(shape[1], shape[0], bias=False))
    pack_linears(layer)
    if not is_packed(layer):
        pytest.skip("no kernels for it here")
    for rows in (1, 2, 5, 8, 15, 40, 64, 300):
        inputs = torch.randn(rows, shape[1], generator=torch.Generator().manual_seed(rows))
        one, two, three = (with_threads(threads, lambda inputs=inputs: layer(inputs)) for threads in (1, 2, 3))
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def with_threads(threads, compute):
    """What a thread of its own computes with so many torch threads."""

    def run():
        with torch.inference_mode():
            set_own_threads(threads)
            return compute()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()
