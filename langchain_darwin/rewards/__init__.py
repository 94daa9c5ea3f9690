"""Rewards: what a good answer is, as numbers; higher is better."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_darwin.rewards.adapters import as_reward, per_response, trl_reward
    from langchain_darwin.rewards.base import Reward, is_unfinished
    from langchain_darwin.rewards.checks import Score
    from langchain_darwin.rewards.combine import WeightedSum

__all__ = [
    "Reward",
    "Score",
    "WeightedSum",
    "as_reward",
    "is_unfinished",
    "per_response",
    "trl_reward",
]

_HOMES = {
    "Reward": "base",
    "Score": "checks",
    "WeightedSum": "combine",
    "as_reward": "adapters",
    "is_unfinished": "base",
    "per_response": "adapters",
    "trl_reward": "adapters",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return __all__
