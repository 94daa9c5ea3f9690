"""Policies: language models that continue token ids, and the protocol that they implement.

Read `base.py` first: it is the protocol. `by_name.py` makes a policy from a model's name. `job_checks.py` and
`sequences.py` are what all policies share. The folder `local` decodes in this process, `vllm` asks vLLM, and
`grammar` constrains output.

The names below are loaded when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_darwin.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from langchain_darwin.policies.base import (
        Codec,
        Constraint,
        Conversation,
        FinishReason,
        Growth,
        Job,
        OnTokens,
        Policy,
        Proposal,
        Sampling,
    )
    from langchain_darwin.policies.local.policy import TransformersPolicy
    from langchain_darwin.policies.vllm.policy import VLLMPolicy

__all__ = [
    "Codec",
    "Constraint",
    "Conversation",
    "FinishReason",
    "Growth",
    "Job",
    "OnTokens",
    "Policy",
    "Proposal",
    "Sampling",
    "TransformersPolicy",
    "VLLMPolicy",
]

_HOMES = {
    "Codec": "base",
    "Constraint": "base",
    "Conversation": "base",
    "FinishReason": "base",
    "Growth": "base",
    "Job": "base",
    "OnTokens": "base",
    "Policy": "base",
    "Proposal": "base",
    "Sampling": "base",
    "TransformersPolicy": "local.policy",
    "VLLMPolicy": "vllm.policy",
}

if not TYPE_CHECKING:  # a checker that saw `__getattr__` would take any name for one of these
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)
