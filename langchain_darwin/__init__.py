"""DARWIN, reward-guided tree search at inference time, as a LangChain chat model.

    from langchain_darwin import ChatDarwin

    model = ChatDarwin(reward=lambda messages, responses: [-len(r.text) for r in responses])
    model.invoke("What is a monad?")

Importing this package loads neither torch nor transformers nor LangChain; the names below are loaded when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_darwin._version import __version__
from langchain_darwin.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from langchain_darwin.chat.cancellation import CancelScope
    from langchain_darwin.chat_models import ChatDarwin
    from langchain_darwin.errors import DarwinError, SearchCancelledError
    from langchain_darwin.policies.base import Sampling
    from langchain_darwin.policies.local.policy import TransformersPolicy
    from langchain_darwin.policies.vllm.policy import VLLMPolicy
    from langchain_darwin.rewards.accepting import per_response
    from langchain_darwin.rewards.models.reward_model import RewardModel
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
    "RewardModel": "rewards.models.reward_model",
    "per_response": "rewards.accepting",
    "TransformersPolicy": "policies.local.policy",
    "VLLMPolicy": "policies.vllm.policy",
    "Sampling": "policies.base",
    "CancelScope": "chat.cancellation",
    "DarwinError": "errors",
    "SearchCancelledError": "errors",
}

__all__ = [
    "BestOfN",
    "CancelScope",
    "ChatDarwin",
    "Darwin",
    "DarwinError",
    "MajorityVote",
    "RewardModel",
    "Sampling",
    "SearchCancelledError",
    "StopAt",
    "TransformersPolicy",
    "VLLMPolicy",
    "__version__",
    "per_response",
]

if not TYPE_CHECKING:  # a checker that saw `__getattr__` would take any name for one of these
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
