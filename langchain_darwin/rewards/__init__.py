"""Rewards: what a good answer is, as numbers; higher is better. The names below are loaded when used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_darwin.rewards.adapters import as_reward, per_response, trl_reward
    from langchain_darwin.rewards.base import Reward, is_unfinished
    from langchain_darwin.rewards.checks import Score
    from langchain_darwin.rewards.combine import WeightedSum
    from langchain_darwin.rewards.model import RewardModel
    from langchain_darwin.rewards.rules import (
        Complete,
        Keywords,
        LengthWindow,
        Matches,
        NoRefusal,
        RepetitionPenalty,
        ValidJson,
    )
    from langchain_darwin.rewards.self_reward import SelfReward

__all__ = [
    "Complete",
    "Keywords",
    "LengthWindow",
    "Matches",
    "NoRefusal",
    "RepetitionPenalty",
    "Reward",
    "RewardModel",
    "Score",
    "SelfReward",
    "ValidJson",
    "WeightedSum",
    "as_reward",
    "is_unfinished",
    "per_response",
    "trl_reward",
]

_HOMES = {
    "Complete": "rules",
    "Keywords": "rules",
    "LengthWindow": "rules",
    "Matches": "rules",
    "NoRefusal": "rules",
    "RepetitionPenalty": "rules",
    "Reward": "base",
    "RewardModel": "model",
    "Score": "checks",
    "SelfReward": "self_reward",
    "ValidJson": "rules",
    "WeightedSum": "combine",
    "as_reward": "adapters",
    "is_unfinished": "base",
    "per_response": "adapters",
    "trl_reward": "adapters",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
