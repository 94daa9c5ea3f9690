"""Rewards: the quality of an answer as a number; higher is better.

Read `base.py` first: `Reward` is what searches ask. `accepting.py` makes one of everything that users may pass.
`checks.py` and `calls.py` are its border to users' code. `rules.py` holds rewards that need no model, with
`json_text.py`. The folders are `models`, `judges`, `remote` and `composed`. `transcript.py` shows conversations to
models. To add a reward, write one file, and add its name below and a paragraph to docs/rewards.md.

The names below are loaded when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_darwin.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from langchain_darwin.rewards.accepting import as_reward, per_response, trl_reward
    from langchain_darwin.rewards.base import Reward, is_unfinished
    from langchain_darwin.rewards.checks import ScoreWithParts
    from langchain_darwin.rewards.checks import ScoreWithParts as Score
    from langchain_darwin.rewards.composed.constraints import Lexicographic, Veto
    from langchain_darwin.rewards.composed.ensemble import Ensemble
    from langchain_darwin.rewards.composed.guards import LengthCorrected, LogprobFloor, NotDegenerate
    from langchain_darwin.rewards.composed.normalized import Normalized
    from langchain_darwin.rewards.composed.weighted_sum import WeightedSum
    from langchain_darwin.rewards.judges.judge import Judge
    from langchain_darwin.rewards.judges.self_reward import SelfReward
    from langchain_darwin.rewards.models.preference import PreferenceReward, fit_preference_reward
    from langchain_darwin.rewards.models.reward_model import RewardModel
    from langchain_darwin.rewards.remote.endpoints import Classify, Json, Pairs
    from langchain_darwin.rewards.remote.remote_reward import RemoteReward
    from langchain_darwin.rewards.rules import (
        Complete,
        Keywords,
        LengthWindow,
        Matches,
        NoRefusal,
        RepetitionPenalty,
        ValidJson,
    )

__all__ = [
    "Classify",
    "Complete",
    "Ensemble",
    "Json",
    "Judge",
    "Keywords",
    "LengthCorrected",
    "LengthWindow",
    "Lexicographic",
    "LogprobFloor",
    "Matches",
    "NoRefusal",
    "Normalized",
    "NotDegenerate",
    "Pairs",
    "PreferenceReward",
    "RemoteReward",
    "RepetitionPenalty",
    "Reward",
    "RewardModel",
    "Score",
    "ScoreWithParts",
    "SelfReward",
    "ValidJson",
    "Veto",
    "WeightedSum",
    "as_reward",
    "fit_preference_reward",
    "is_unfinished",
    "per_response",
    "trl_reward",
]

_HOMES = {
    "Classify": "remote.endpoints",
    "Complete": "rules",
    "Ensemble": "composed.ensemble",
    "Json": "remote.endpoints",
    "Judge": "judges.judge",
    "Keywords": "rules",
    "LengthCorrected": "composed.guards",
    "LengthWindow": "rules",
    "Lexicographic": "composed.constraints",
    "LogprobFloor": "composed.guards",
    "Matches": "rules",
    "NoRefusal": "rules",
    "Normalized": "composed.normalized",
    "NotDegenerate": "composed.guards",
    "Pairs": "remote.endpoints",
    "PreferenceReward": "models.preference",
    "RemoteReward": "remote.remote_reward",
    "RepetitionPenalty": "rules",
    "Reward": "base",
    "RewardModel": "models.reward_model",
    "Score": "checks",
    "ScoreWithParts": "checks",
    "SelfReward": "judges.self_reward",
    "ValidJson": "rules",
    "Veto": "composed.constraints",
    "WeightedSum": "composed.weighted_sum",
    "as_reward": "accepting",
    "fit_preference_reward": "models.preference",
    "is_unfinished": "base",
    "per_response": "accepting",
    "trl_reward": "accepting",
}

if not TYPE_CHECKING:  # a checker that saw `__getattr__` would take any name for one of these
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
