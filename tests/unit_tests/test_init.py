"""The public names, and that importing the package stays light."""

from __future__ import annotations

import subprocess
import sys

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


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("torch", "transformers", "langchain_core")
    code = f"import sys, langchain_darwin; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"
