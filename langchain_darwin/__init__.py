"""DARWIN, reward-guided tree search at inference time, as a LangChain chat model.

    from langchain_darwin import ChatDarwin

    model = ChatDarwin(reward=lambda messages, responses: [-len(r.text) for r in responses])
    model.invoke("What is a monad?")

Importing this package loads neither torch nor transformers nor LangChain; the names below are loaded when used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from langchain_darwin._version import __version__

if TYPE_CHECKING:
    from langchain_darwin.chat_models import ChatDarwin
    from langchain_darwin.errors import DarwinError
    from langchain_darwin.policies.base import Sampling
    from langchain_darwin.policies.transformers import TransformersPolicy
    from langchain_darwin.rewards.adapters import per_response
    from langchain_darwin.rewards.model import RewardModel
    from langchain_darwin.search.best_of_n import BestOfN
    from langchain_darwin.search.darwin import Darwin
    from langchain_darwin.search.majority_vote import MajorityVote
    from langchain_darwin.search.stop_at import StopAt

_HOMES = {
    "ChatDarwin": "chat_models",
    "Darwin": "search.darwin",
    "BestOfN": "search.best_of_n",
    "MajorityVote": "search.majority_vote",
    "StopAt": "search.stop_at",
    "RewardModel": "rewards.model",
    "per_response": "rewards.adapters",
    "TransformersPolicy": "policies.transformers",
    "Sampling": "policies.base",
    "DarwinError": "errors",
}

__all__ = [
    "BestOfN",
    "ChatDarwin",
    "Darwin",
    "DarwinError",
    "MajorityVote",
    "RewardModel",
    "Sampling",
    "StopAt",
    "TransformersPolicy",
    "__version__",
    "per_response",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
