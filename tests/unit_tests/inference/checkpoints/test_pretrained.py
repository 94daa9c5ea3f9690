"""What goes wrong in reading a model's files, under the name that messages give the model."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from langchain_darwin.errors import MissingDependencyError, ModelNotFound, PolicyError, UnsupportedModelError
from langchain_darwin.inference.checkpoints.pretrained import Pretrained
from tests.tiny_models import tiny_config


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("no_network")
def test_what_is_not_there_is_not_found_whatever_its_name():
    files = Pretrained("nobody/safetensors", "reward model 'nobody/safetensors'")
    for read in (files.config, lambda: files.weights(AutoModelForCausalLM, torch.float32, "cpu")):
        with pytest.raises(ModelNotFound, match=r"^reward model 'nobody/safetensors' is neither a folder nor in the"):
            read()


def test_a_folder_without_weights_has_none_that_are_read(tmp_path):
    tiny_config("llama").save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"^it has no \*\.safetensors files"):
        Pretrained(str(tmp_path), "it").weights(AutoModelForCausalLM, torch.float32, "cpu")


def test_missing_weights_are_named(tmp_path):
    model = AutoModelForCausalLM.from_config(tiny_config("llama"))
    weights = {name: weight for name, weight in model.state_dict().items() if name != "model.norm.weight"}
    model.save_pretrained(tmp_path, state_dict=weights)
    _, lacking = Pretrained(str(tmp_path), "it").weights(AutoModelForCausalLM, torch.float32, "cpu")
    assert lacking == ["model.norm.weight"]


class Broken:
    """An auto class whose reading ends as transformers' did in public reports."""

    def __init__(self, error):
        self.error = error

    def from_pretrained(self, *_args, **_options):
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (KeyError("model.layers.0"), UnsupportedModelError, "KeyError: 'model.layers.0'"),
        (TypeError("got an unexpected keyword"), UnsupportedModelError, "TypeError: got an unexpected keyword"),
        (RuntimeError("size mismatch\nfor 3 weights"), UnsupportedModelError, "RuntimeError: size mismatch$"),
        (AttributeError("no rope_theta"), UnsupportedModelError, "AttributeError: no rope_theta"),
        (ImportError("needs mamba-ssm"), MissingDependencyError, "needs a package that is not installed: needs mamba"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), PolicyError, "does not fit into the memory of cpu"),
    ],
)
def test_whatever_reading_raises_is_an_error_that_names_the_model(error, kind, said):
    with pytest.raises(kind, match=f"^it .*{said}"):
        Pretrained("anywhere", "it").weights(Broken(error), torch.float32, "cpu")


def test_weights_of_a_gpu_go_straight_to_it(monkeypatch):
    asked = []

    class Reading:
        def from_pretrained(self, source, **options):
            asked.append(options["device_map"])
            return torch.nn.Identity(), {"missing_keys": [], "mismatched_keys": []}

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert Pretrained("anywhere", "it").weights(Reading(), torch.float32, "meta")[1] == []
    assert asked == [{"": "meta"}]


@pytest.mark.parametrize("method", ["fp8", "awq", "gptq", "bitsandbytes", "compressed-tensors", "mxfp4"])
def test_quantised_checkpoints_are_refused_with_the_way_out(method, tmp_path):
    config = tiny_config("llama")
    config.quantization_config = {"quant_method": method}
    config.save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=rf"^it is quantised \({method}\), .* engine='vllm'"):
        Pretrained(str(tmp_path), "it").config()
