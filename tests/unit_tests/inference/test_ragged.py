"""Models that share a cache between rows of different lengths, and models that do not."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from langchain_darwin.inference.ragged import is_ragged, takes_ragged_rows
from tests.tiny_models import cached_tiny_model


def tiny(family):
    return AutoModelForCausalLM.from_pretrained(cached_tiny_model(family)).eval()


def test_what_is_ragged():
    configs = {name: AutoConfig.for_model(name) for name in ("llama4_text", "gemma3n_text", "gemma2", "jamba")}
    assert {name: is_ragged(config) for name, config in configs.items()} == {
        "llama4_text": False, "gemma3n_text": False, "gemma2": True, "jamba": False,
    }  # fmt: skip


def test_models_that_read_positions_from_a_mask_are_found_by_trying():
    tried = {family: takes_ragged_rows(tiny(family)) for family in ("llama", "gemma3", "mpt", "bloom", "falcon")}
    assert tried == {"llama": True, "gemma3": True, "mpt": True, "bloom": False, "falcon": False}


def test_a_model_that_mistakes_the_positions_of_rows_is_found_by_trying(monkeypatch):
    model = tiny("llama")
    forward = model.model.forward

    def without_positions(position_ids=None, **inputs):
        return forward(**inputs)

    monkeypatch.setattr(model.model, "forward", without_positions)
    assert not takes_ragged_rows(model)


def test_weights_without_finite_numbers_show_nothing():
    model = tiny("llama")
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    assert takes_ragged_rows(model)


def test_running_out_of_memory_is_no_finding(monkeypatch):
    model = tiny("llama")

    def full(**_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(model, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        takes_ragged_rows(model)
