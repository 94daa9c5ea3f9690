"""Even numbers of queries: the results of torch's attention, only where they apply."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from langchain_darwin.inference.kernels.step_attention import even_queries, use_even_queries


def llama(dtype, heads, kv_heads):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16 * heads,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
    )
    return LlamaForCausalLM(config).to(dtype).eval()


def attention_of(model):
    use_even_queries(model)
    return model.config._attn_implementation


@pytest.mark.parametrize(("heads", "kv_heads", "new"), [(9, 3, 1), (4, 4, 1), (7, 1, 1), (8, 4, 1), (9, 3, 5)])
def test_results_are_those_of_the_usual_attention(heads, kv_heads, new):
    layer = llama(torch.float32, heads, kv_heads).model.layers[0].self_attn
    torch.manual_seed(1)
    query, key, value = (torch.randn(3, count, n, 16) for count, n in ((heads, new), (kv_heads, 20), (kv_heads, 20)))
    mask = torch.where(torch.rand(3, 1, new, 20) < 0.7, 0.0, torch.finfo(torch.float32).min)
    for given in (mask, None):
        ours, _ = even_queries(layer, query, key, value, given, scaling=0.3, dropout=0.0)
        usual, _ = sdpa_attention_forward(layer, query, key, value, given, scaling=0.3, dropout=0.0)
        torch.testing.assert_close(ours, usual)


@torch.inference_mode()
def test_a_model_takes_the_same_step_through_it():
    ids = torch.tensor([[3, 1, 4, 1, 5]])
    model = llama(torch.bfloat16, 3, 1)
    cache = model(ids).past_key_values
    plain = model(ids[:, -1:], past_key_values=cache, attention_mask=torch.zeros(1, 1, 1, 6)).logits
    use_even_queries(model)
    cache = model(ids).past_key_values
    even = model(ids[:, -1:], past_key_values=cache, attention_mask=torch.zeros(1, 1, 1, 6)).logits
    torch.testing.assert_close(even, plain, atol=0.01, rtol=0.02)


def test_only_bfloat16_models_with_an_odd_number_of_queries_for_a_key_use_it():
    assert attention_of(llama(torch.bfloat16, 9, 3)) == "sdpa_even_queries"
    assert attention_of(llama(torch.bfloat16, 4, 4)) == "sdpa_even_queries"
    assert attention_of(llama(torch.bfloat16, 8, 4)) == "sdpa"
    assert attention_of(llama(torch.float32, 9, 3)) == "sdpa"


def test_a_model_that_does_not_use_the_attention_of_torch_keeps_its_own():
    model = llama(torch.bfloat16, 9, 3)
    model.set_attn_implementation("eager")
    assert attention_of(model) == "eager"
