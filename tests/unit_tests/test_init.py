"""The public names."""

from __future__ import annotations

import pytest

import langchain_darwin


def test_every_public_name_is_there():
    assert {name: type(getattr(langchain_darwin, name)).__name__ for name in langchain_darwin.__all__} == {
        "BestOfN": "type",
        "CancelScope": "type",
        "ChatDarwin": "ModelMetaclass",
        "Darwin": "type",
        "DarwinError": "type",
        "MajorityVote": "type",
        "RewardModel": "type",
        "Sampling": "type",
        "SearchCancelledError": "type",
        "StopAt": "type",
        "TransformersPolicy": "type",
        "VLLMPolicy": "type",
        "__version__": "str",
        "per_response": "function",
    }


def test_dir_lists_the_public_names():
    assert dir(langchain_darwin) == sorted(langchain_darwin.__all__)


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'langchain_darwin' has no attribute 'Darwinn'"):
        _ = langchain_darwin.Darwinn
