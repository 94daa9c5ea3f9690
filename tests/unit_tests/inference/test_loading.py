"""Loading tiny models end to end: what comes back, sharing, and refusals by name."""

import gc
import json
import weakref

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, BertConfig, BertModel, T5Config

from langchain_darwin.errors import ModelNotFound, UnsupportedModelError
from langchain_darwin.inference import loading
from langchain_darwin.inference.checkpoints.model_files import stated_context_length
from langchain_darwin.inference.loading import load_model
from langchain_darwin.inference.memory.kv_slots import KVSlots
from langchain_darwin.inference.shared_models import SharedModels
from tests.tiny_models import CHATML, FAMILIES, HYBRIDS, UNUSUAL, tiny_config, tiny_model, tiny_tokenizer

CPU = {"device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def llama(folder):
    return tiny_model("llama", folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads(family, folder):
    loaded = load_model(tiny_model(family, folder), **CPU)
    facts = (loaded.name, loaded.context_length, loaded.device, loaded.dtype, loaded.end_ids, loaded.ragged)
    assert facts == (family, 512, torch.device("cpu"), torch.float32, {0, 2}, family not in HYBRIDS)
    assert loaded.codec.tokenizer is loaded.tokenizer
    assert loaded.codec.end_ids == {0, 2}
    assert not loaded.model.training
    assert not any(weight.requires_grad for weight in loaded.model.parameters())


def test_models_whose_positions_are_unusual_share_no_cache_or_keep_to_their_original_context(folder):
    loaded = {family: load_model(tiny_model(family, folder), **CPU) for family in UNUSUAL}
    facts = {family: (each.context_length, each.ragged) for family, each in loaded.items()}
    assert facts == {
        "bloom": (512, False),
        "falcon": (512, False),
        "mpt": (512, True),
        "longrope": (128, True),
        "dynamic": (128, True),
    }
    assert all(stated_context_length(folder / family) in {None, length} for family, (length, _) in facts.items())


@pytest.mark.parametrize("family", ["longrope", "dynamic"])
def test_numbers_do_not_depend_on_neighbours_where_rotary_scaling_depends_on_the_length(family, folder):
    loaded = load_model(tiny_model(family, folder), **CPU)
    text, neighbour = tuple(range(20, 60)), tuple(range(30, 30 + loaded.context_length))
    _, alone = KVSlots(loaded.model, 2).open([text])
    _, together = KVSlots(loaded.model, 2).open([text, neighbour])
    torch.testing.assert_close(together[0], alone[0], atol=1e-4, rtol=0)


def test_the_same_model_is_shared_and_another_dtype_is_not(llama):
    first = load_model(llama, **CPU)
    assert load_model(str(llama), device="cpu", dtype=torch.float32) is first
    assert load_model(llama, device="cpu", dtype="bfloat16") is not first


def test_weights_are_freed_when_nobody_holds_them_but_for_the_latest(folder, monkeypatch):
    monkeypatch.setattr(loading, "_shared", SharedModels())
    first = weakref.ref(load_model(tiny_model("llama", folder), **CPU))
    gc.collect()
    assert first() is not None
    second = weakref.ref(load_model(tiny_model("qwen3", folder), **CPU))
    gc.collect()
    assert (first(), second() is None) == (None, False)


def test_missing_folders_and_ids_are_not_found(tmp_path, monkeypatch):
    with pytest.raises(ModelNotFound, match=r"no such folder; pass a folder with config.json or a"):
        load_model(tmp_path / "absent", **CPU)
    with pytest.raises(ModelNotFound, match=r"is a folder without config\.json"):
        load_model(tmp_path, **CPU)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelNotFound, match=r"model='nobody/nothing' is neither a folder nor .* connect to the"):
        load_model("nobody/nothing", **CPU)


def saved(tmp_path, config, template=CHATML):
    config.save_pretrained(tmp_path)
    tiny_tokenizer(template).save_pretrained(tmp_path)
    return tmp_path


def test_an_encoder_decoder_is_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"is an encoder-decoder \(t5\)"):
        load_model(saved(tmp_path, T5Config()), **CPU)


def test_a_model_without_text_output_is_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"\(vit\) is not a causal language model"):
        load_model(saved(tmp_path, AutoConfig.for_model("vit")), **CPU)


def test_a_model_without_past_key_values_is_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match="MambaForCausalLM does not take `past_key_values`"):
        load_model(saved(tmp_path, AutoConfig.for_model("mamba")), **CPU)


def test_a_model_without_chat_template_is_refused(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"has no chat template, .* use its instruct version"):
        load_model(saved(tmp_path, tiny_config("llama"), template=None), **CPU)


def test_a_model_without_safetensors_is_refused(tmp_path):
    path = saved(tmp_path, tiny_config("llama"))
    torch.save(AutoModelForCausalLM.from_config(tiny_config("llama")).state_dict(), path / "pytorch_model.bin")
    with pytest.raises(UnsupportedModelError, match=r"has no \*\.safetensors files"):
        load_model(path, **CPU)


def test_files_that_lack_weights_are_refused(tmp_path):
    config = BertConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"lack or disagree with .* weights that BertLMHeadModel"):
        load_model(saved(tmp_path, config), **CPU)


def test_an_unknown_architecture_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "from_the_future"}))
    with pytest.raises(UnsupportedModelError, match="cannot be read by transformers 5"):
        load_model(tmp_path, **CPU)


def test_the_text_part_of_a_multimodal_model_loads(tmp_path):
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    text = tiny_config("qwen3_5").to_dict()
    whole = Qwen3_5ForConditionalGeneration(Qwen3_5Config(text_config=text, vision_config=vision)).eval()
    whole.save_pretrained(tmp_path)
    tiny_tokenizer(CHATML).save_pretrained(tmp_path)
    loaded = load_model(tmp_path, **CPU)
    tokens = torch.arange(10, 30)[None]
    with torch.inference_mode():
        torch.testing.assert_close(loaded.model(tokens).logits, whole(tokens).logits, atol=1e-4, rtol=1e-4)
    assert (loaded.context_length, loaded.ragged) == (512, False)
