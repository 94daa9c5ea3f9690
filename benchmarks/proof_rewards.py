"""Rewards of benchmarks/proof.py: ready rules, and two heads fitted to disjoint halves of the same preferences."""

from pathlib import Path

import proof_data

from langchain_darwin.rewards import NoRefusal, PreferenceReward, RepetitionPenalty, fit_preference_reward
from langchain_darwin.rewards.models.preference import read_pairs

HEADS = Path("build/proof")

rules = [RepetitionPenalty(), NoRefusal()]
"""What is wrong with a text whatever was asked; they do not look at IFEval's verifiers."""


def missing(folder: Path) -> str | None:
    """What to tell someone whose folder lacks a file, if it does."""
    lacking = ", ".join(name for name in proof_data.SOURCES if not (folder / name).is_file())
    return f"{folder} lacks {lacking}; get them with python benchmarks/proof_data.py {folder}" if lacking else None


def fit(pairs: Path) -> None:
    """Fit both heads unless they are there: `guide` to every other pair, `gold` to those that it never saw."""
    for offset, name in enumerate(("guide", "gold")):
        if not (HEADS / name).is_dir():
            fit_preference_reward(read_pairs(pairs)[offset::2], folder=HEADS / name)


def __getattr__(name: str) -> PreferenceReward:
    if name not in ("guide", "gold"):
        raise AttributeError(name)
    return PreferenceReward.load(HEADS / name)
