"""What goes wrong in reading a model's files, under the name that messages give the model."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from langchain_darwin.errors import ModelNotFound, UnsupportedModelError
from langchain_darwin.inference.pretrained import Pretrained
from tests.tiny_models import tiny_config


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("no_network")
def test_what_is_not_there_is_not_found_whatever_its_name():
    files = Pretrained("nobody/safetensors", "reward model 'nobody/safetensors'")
    for read in (files.config, lambda: files.weights(AutoModelForCausalLM, torch.float32)):
        with pytest.raises(ModelNotFound, match=r"^reward model 'nobody/safetensors' is neither a folder nor in the"):
            read()


def test_a_folder_without_weights_has_none_that_are_read(tmp_path):
    tiny_config("llama").save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"^it has no \*\.safetensors files"):
        Pretrained(str(tmp_path), "it").weights(AutoModelForCausalLM, torch.float32)


def test_missing_weights_are_named(tmp_path):
    model = AutoModelForCausalLM.from_config(tiny_config("llama"))
    weights = {name: weight for name, weight in model.state_dict().items() if name != "model.norm.weight"}
    model.save_pretrained(tmp_path, state_dict=weights)
    _, lacking = Pretrained(str(tmp_path), "it").weights(AutoModelForCausalLM, torch.float32)
    assert lacking == ["model.norm.weight"]
