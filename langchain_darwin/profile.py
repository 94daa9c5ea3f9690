"""What LangChain may know of a model before it is loaded: its `ModelProfile`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from langchain_core.language_models import ModelProfile

from langchain_darwin.policies.base import Policy

_READS_AND_WRITES: Mapping[str, Any] = {
    "text_inputs": True,
    "text_outputs": True,
    "image_inputs": False,
    "audio_inputs": False,
    "video_inputs": False,
    "pdf_inputs": False,
    "tool_calling": True,
    "tool_choice": True,
    "tool_call_streaming": True,
    "structured_output": True,
    "temperature": True,
    "open_weights": True,
}


def model_profile(policy: Policy) -> ModelProfile:
    """The profile of a policy; nothing is loaded for it.

    A policy may have a method `profile()` with what it knows better, `max_input_tokens` above all.
    """
    own: Callable[[], Mapping[str, Any]] = getattr(policy, "profile", dict)
    return cast("ModelProfile", {"name": policy.identity()["model"], **_READS_AND_WRITES, **own()})
