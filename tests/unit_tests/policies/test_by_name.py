"""The policy that a name, an engine and its options mean."""

import importlib.util

import pytest

from langchain_darwin import ChatDarwin, TransformersPolicy, VLLMPolicy
from langchain_darwin.errors import ConfigurationError, MissingDependencyError
from langchain_darwin.policies import by_name
from langchain_darwin.policies.by_name import policy_named
from langchain_darwin.policies.vllm.engine import settings

SERVER = "vllm+http://localhost:8000/name"


@pytest.fixture(params=[True, False], ids=["gpu", "no gpu"])
def gpu(request, monkeypatch):
    """Whether vLLM is installed for a GPU that is there."""
    monkeypatch.setattr(by_name, "has_gpu_engine", lambda: request.param)
    monkeypatch.setattr(settings, "require_vllm", lambda: None)
    monkeypatch.setattr(by_name, "require_vllm", lambda: None)
    return request.param


def test_auto_is_vllm_where_there_is_a_gpu_for_it(gpu):
    assert type(policy_named("org/name")) is (VLLMPolicy if gpu else TransformersPolicy)
    assert type(policy_named("org/name", device="cuda")) is (VLLMPolicy if gpu else TransformersPolicy)


@pytest.mark.parametrize("local", [{"device": "cpu"}, {"device": "mps"}, {"device": "cuda:1"}])
def test_auto_keeps_to_the_device_that_is_asked_for(gpu, local):
    assert type(policy_named("org/name", **local)) is TransformersPolicy


def test_auto_leaves_the_embedded_model_where_it_starts_at_once(gpu):
    assert type(policy_named(None)) is TransformersPolicy


def test_an_engine_that_is_named_is_taken(gpu):
    assert type(policy_named("org/name", engine="transformers")) is TransformersPolicy
    options = {"tensor_parallel_size": 2}
    policy = policy_named(None, engine="vllm", engine_options=options, revision="v1", dtype="float32", device="auto")
    plain = {"revision": "v1", "dtype": "float32", "trust_remote_code": False}
    where = {"model": "HuggingFaceTB/SmolLM2-135M-Instruct", "engine": "vllm", "engine_options": options}
    assert policy.identity() == {**where, **plain, "tokenizer": None, "block": 16}


def test_servers_stay_servers(gpu):
    assert policy_named(SERVER).base_urls == ("http://localhost:8000",)


REFUSED = [
    ("org/name", {"engine": "vlm"}, "engine='vlm' must be one of 'auto', 'vllm', 'transformers'"),
    ("org/name", {"engine": "transformers", "engine_options": {"seed": 1}}, "pass engine='vllm' or none"),
    ("org/name", {"engine_options": ["fp8"]}, "must be a dict"),
    ("org/name", {"engine": "vllm", "engine_options": {"model": "x"}}, "pass model= beside engine_options"),
    ("org/name", {"engine": "vllm", "device": "cuda:1"}, "set CUDA_VISIBLE_DEVICES"),
    (SERVER, {"engine": "transformers"}, "is a server"),
    (SERVER, {"engine_options": {"seed": 1}}, "give its options to the server"),
]


@pytest.mark.parametrize(("model", "given", "said"), REFUSED)
def test_what_does_not_fit_is_refused_by_name(gpu, model, given, said):
    with pytest.raises(ConfigurationError, match=said):
        policy_named(model, **given)


def test_options_without_effect_are_told(monkeypatch):
    monkeypatch.setattr(by_name, "has_gpu_engine", lambda: False)
    with pytest.warns(UserWarning, match="has no effect on transformers; pass engine='vllm'"):
        assert type(policy_named("org/name", engine_options={"seed": 1})) is TransformersPolicy


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_missing_vllm_is_told_with_the_command_that_installs_it():
    with pytest.raises(MissingDependencyError, match="pip install vllm"):
        ChatDarwin(model="org/name", engine="vllm")
    with pytest.raises(MissingDependencyError, match="pip install vllm"):
        VLLMPolicy(model="org/name").codec  # noqa: B018


def test_a_chat_model_takes_engine_and_options(gpu):
    with pytest.raises(ValueError, match="engine='vlm' must be one of"):
        ChatDarwin(model="org/name", engine="vlm")
    one, other = (
        ChatDarwin(model="org/name", engine="vllm", engine_options={"quantization": kind}) for kind in ("fp8", "awq")
    )
    assert one._get_llm_string() != other._get_llm_string()
    assert one._get_llm_string() == one.model_copy()._get_llm_string()


def test_servers_and_engine_do_not_mix():
    with pytest.raises(ConfigurationError, match="leave out base_url"):
        VLLMPolicy("http://localhost:8000", "name", engine_options={})
    with pytest.raises(ConfigurationError, match="must be the name that the server serves"):
        VLLMPolicy("http://localhost:8000")


def test_nothing_is_imported_before_the_first_use(gpu):
    import sys

    policy = policy_named("org/name", engine="vllm")
    assert (policy.name, policy.engine.name) == ("org/name", "org/name")
    assert "vllm" not in sys.modules
