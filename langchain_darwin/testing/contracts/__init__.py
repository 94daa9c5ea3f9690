"""What every search, reward and policy must hold to, as test classes. Subclass one and give it yours.

    from langchain_darwin.testing.contracts import PolicyContract, RewardContract, SearchContract

    class TestMySearch(SearchContract):
        @pytest.fixture
        def search(self):
            return MySearch()

    class TestMyReward(RewardContract):
        def make(self):
            return MyReward()

    class TestMyPolicy(PolicyContract):
        @pytest.fixture
        def policy(self):
            return MyPolicy()

Searches and rewards run on the scripted policy, so their tests take seconds. Needs pytest; `langchain_darwin.testing`
does not.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in ("policy", "reward", "runs", "search")))

from langchain_darwin.testing.contracts.policy import PolicyContract  # noqa: E402 - asserts are rewritten from here on
from langchain_darwin.testing.contracts.reward import RewardContract  # noqa: E402
from langchain_darwin.testing.contracts.search import SearchContract  # noqa: E402

__all__ = ["PolicyContract", "RewardContract", "SearchContract"]
