"""Code in docs/rewards.md runs, and the reward that it writes keeps to the contract."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from langchain_darwin import rewards
from langchain_darwin.testing.contracts import RewardContract

PAGE = Path(__file__).parents[3] / "docs" / "rewards.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
FITTING = "fit_preference_reward("  # on the embedded model: an integration test
HELPERS = {"Reward", "Score", "ScoreWithParts", "as_reward", "is_unfinished", "per_response", "trl_reward"}


def names_of(block):
    names = {"__name__": "docs"}
    exec(compile(block, str(PAGE), "exec", dont_inherit=True), names)
    return names


@pytest.mark.parametrize("block", [block for block in BLOCKS if FITTING not in block])
def test_a_block_runs(block, capsys):
    names_of(block)
    assert ("print(" in block) == bool(capsys.readouterr().out.strip())


def test_every_reward_is_told_of():
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in rewards.__all__ if f"`{name}" not in text and name not in HELPERS] == []


class TestAlliteration(RewardContract):
    def make(self):
        return names_of(BLOCKS[-1])["Alliteration"]()
