"""Ways to a valid end, on the embedded model's vocabulary."""

import pytest

pytest.importorskip("xgrammar")

from tests.noise import Noise
from tests.shortest_completion_contract import ShortestCompletionContract


class TestEmbedded(ShortestCompletionContract):
    @pytest.fixture(scope="class")
    @classmethod
    def noise(cls):
        return Noise.embedded()

    def test_parts_of_a_pattern_that_only_a_large_vocabulary_tells_apart(self, noise):
        self.check_pattern(noise, r"[A-Z][a-z]+ [a-z ]+\.", "Aa a.")
