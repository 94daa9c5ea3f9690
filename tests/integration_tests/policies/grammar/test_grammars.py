"""Grammars on the embedded model's vocabulary."""

import pytest

pytest.importorskip("xgrammar")

from tests.grammar_contract import GrammarContract
from tests.noise import Noise


class TestEmbedded(GrammarContract):
    @pytest.fixture(scope="class")
    @classmethod
    def noise(cls):
        return Noise.embedded()
