"""The remote policy before it connects; on a real server in tests/integration_tests."""

import pickle

import pytest

from langchain_darwin import ChatDarwin, VLLMPolicy
from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.by_name import policy_named
from langchain_darwin.policies.local.policy import TransformersPolicy

HOST = "http://host:8000"


def test_construction_connects_to_nothing():
    policy = VLLMPolicy(HOST, "org/name", tokenizer="org/other", api_key="secret")
    assert policy.identity() == {"model": "org/name", "base_urls": [HOST], "tokenizer": "org/other", "block": 16}
    assert repr(policy) == (
        "VLLMPolicy(model='org/name', base_urls=['http://host:8000'], tokenizer='org/other', block=16)"
    )
    assert set(policy.profile()) == {"tool_choice", "structured_output"}
    assert policy.name == "org/name"


@pytest.mark.parametrize("url", [HOST, HOST + "/", HOST + "/v1", HOST + "/v1/"])
def test_addresses_are_taken_as_clients_write_them(url):
    assert VLLMPolicy(url, "m").base_urls == (HOST,)


def test_several_addresses_are_replicas():
    assert VLLMPolicy([HOST, "https://two/", HOST], "m").base_urls == (HOST, "https://two")


@pytest.mark.parametrize(
    ("address", "base_urls", "model"),
    [
        ("vllm+http://host:8000/org/name", (HOST,), "org/name"),
        ("vllm+https://host/name", ("https://host",), "name"),
        ("vllm+http://host:8000,two:9/name", (HOST, "http://two:9"), "name"),
    ],
)
def test_a_model_string_names_hosts_and_model(address, base_urls, model):
    policy = policy_named(address, api_key="key", max_retries=3, dtype="float32")
    assert isinstance(policy, VLLMPolicy)
    assert (policy.base_urls, policy.model, policy.max_retries) == (base_urls, model, 3)
    assert policy.api_key.get_secret_value() == "key"


@pytest.mark.parametrize("address", ["vllm+http://host:8000", "vllm+http://host:8000/", "vllm+http:///name"])
def test_an_incomplete_model_string_is_refused(address):
    with pytest.raises(ConfigurationError, match="must be like 'vllm\\+http://host:8000/served-name'"):
        policy_named(address)


def test_a_bare_address_is_refused():
    with pytest.raises(ConfigurationError, match="write 'vllm\\+http"):
        policy_named("http://host:8000/name")


@pytest.mark.parametrize("name", [None, "org/name", "./folder"])
def test_other_names_are_local_models(name):
    policy = policy_named(name, api_key="unused", max_retries=1, dtype="float32")
    assert isinstance(policy, TransformersPolicy)
    assert (policy.model, policy.dtype) == (name, "float32")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base_url": "host:8000"}, "base_url='host:8000' must begin with http"),
        ({"base_url": []}, "at least one address"),
        ({"model": ""}, "GET http://host:8000/v1/models lists them"),
        ({"block": 0}, "block=0"),
        ({"max_retries": -1}, "max_retries=-1"),
        ({"max_concurrency": 0}, "max_concurrency=0"),
        ({"request_timeout": 0}, "request_timeout=0"),
    ],
)
def test_wrong_settings_are_refused(settings, said):
    with pytest.raises(ConfigurationError, match=said):
        VLLMPolicy(**{"base_url": HOST, "model": "m", **settings})


def test_a_copy_holds_no_connection_and_keeps_its_key():
    policy = VLLMPolicy(HOST, "m", api_key="secret", block=7)
    copy = pickle.loads(pickle.dumps(policy))
    assert (copy.identity(), copy.api_key.get_secret_value()) == (policy.identity(), "secret")


def test_a_chat_model_hands_its_settings_on_and_hides_the_key():
    model = ChatDarwin(model="vllm+http://host:8000/org/name", api_key="secret", max_retries=4)
    policy = model.policy_of(model.model)[0]
    assert (policy.base_urls, policy.model, policy.max_retries) == ((HOST,), "org/name", 4)
    assert policy.api_key.get_secret_value() == "secret"
    assert model.model_name == "org/name"
    assert "secret" not in repr(model) + str(model._identifying_params) + repr(policy)
    assert ChatDarwin(model="x").policy_of("vllm+http://host:8000/m")[0].max_retries == 10
    with pytest.raises(ValueError, match="max_retries=-1"):
        ChatDarwin(max_retries=-1)
