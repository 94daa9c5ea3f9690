"""Settings of the engine."""

import json

import pytest

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.vllm.engine.settings import EngineSettings, check_known

PLAIN = {"revision": None, "dtype": "auto", "trust_remote_code": False}
MODEL = {"model": "org/name", "tokenizer_revision": None, **PLAIN}
OURS = {"disable_log_stats": True, "max_logprobs": 128}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("fp8", "must be a dict"),
        ({"model": "org/other"}, "pass model= beside"),
        ({"dtype": "float16"}, "pass dtype= beside"),
        ({"deterministic": 1}, "must be True or False"),
        ({"lora": 3}, "folder or the hub id"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_starts(options, said):
    with pytest.raises(ConfigurationError, match=said):
        EngineSettings("org/name", options=options)


def test_options_are_vllms_arguments():
    settings = EngineSettings("org/name", options={"tensor_parallel_size": 2, "max_logprobs": 5})
    assert settings.arguments("org/name", cpu=False) == {**OURS, "tensor_parallel_size": 2, "max_logprobs": 5, **MODEL}


def test_the_cpu_build_is_kept_from_what_it_dies_of_unless_told():
    cpu = {"enable_chunked_prefill": False, "block_size": 32}
    assert EngineSettings("org/name").arguments("org/name", cpu=True) == {**OURS, **cpu, **MODEL}
    told = EngineSettings("org/name", options={"block_size": 16}).arguments("org/name", cpu=True)
    assert told == {**OURS, **cpu, "block_size": 16, **MODEL}


@pytest.mark.parametrize(("rank", "room"), [(4, 8), (8, 8), (17, 32), (64, 64), (400, 400)])
def test_an_adapter_has_room_for_its_rank(tmp_path, rank, room):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank}))
    made = EngineSettings("org/name", options={"lora": str(tmp_path)}).arguments("org/name", cpu=False)
    assert made == {**OURS, "enable_lora": True, "max_lora_rank": room, **MODEL}


def test_an_unknown_option_has_a_hint():
    with pytest.raises(ConfigurationError, match="did you mean 'gpu_memory_utilization'"):
        check_known({"gpu_memory_utilisation": 0.5}, ["gpu_memory_utilization", "block_size"])
    check_known({"block_size": 16}, ["block_size"])


def test_the_identity_holds_everything_that_changes_an_answer():
    settings = EngineSettings("org/name", "v2", "bfloat16", options={"quantization": "fp8", "x": {1}})
    facts = {"revision": "v2", "dtype": "bfloat16", "trust_remote_code": False}
    options = {"quantization": "fp8", "x": "{1}"}
    assert settings.identity() == {"model": "org/name", "engine": "vllm", **facts, "engine_options": options}
    json.dumps(settings.identity())


def test_equal_settings_are_one_engine_and_others_are_not():
    one, same, other = (EngineSettings("m", options={"seed": seed, "extra": {}}) for seed in (1, 1, 2))
    assert (one == same, hash(one) == hash(same), one == other) == (True, True, False)


def test_names_are_of_hub_folder_or_embedded_model(tmp_path):
    (tmp_path / "mine").mkdir()
    names = [EngineSettings(model).name for model in ("org/name", str(tmp_path / "mine"), None)]
    assert names == ["org/name", "mine", "SmolLM2-135M-Instruct"]
