"""Grammars on a small vocabulary; on the embedded model's in tests/integration_tests."""

import builtins

import pytest

pytest.importorskip("xgrammar")

from langchain_darwin.errors import MissingDependencyError
from tests.grammar_contract import GrammarContract
from tests.noise import Noise


class TestTiny(GrammarContract):
    limits = (160,)  # type: ignore[assignment]  # its tokens are single letters, or little more

    @pytest.fixture(scope="class")
    @classmethod
    def noise(cls):
        return Noise.tiny()


def test_without_xgrammar_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **options):
        if name == "xgrammar":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=r'pip install "langchain-darwin\[tools\]"'):
        Noise.tiny()
