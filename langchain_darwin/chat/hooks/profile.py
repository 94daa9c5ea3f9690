"""What LangChain may know of a model before it is loaded: its `ModelProfile`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from langchain_core.language_models import ModelProfile

from langchain_darwin.inference.checkpoints.model_files import model_folder, stated_context_length, stated_thinking
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
    """The profile of a policy; nothing is loaded or downloaded for it.

    A policy may have a method `profile()` with what it knows better, `max_input_tokens` above all. Of a Hugging Face
    model, one whose identity has a revision, the files are read if they are on this machine.
    """
    identity = policy.identity()
    own: Callable[[], Mapping[str, Any]] = getattr(policy, "profile", dict)
    stated = _stated(str(identity["model"]), identity["revision"]) if "revision" in identity else {}
    return cast("ModelProfile", {"name": identity["model"], **_READS_AND_WRITES, **stated, **own()})


def _stated(model: str, revision: str | None) -> dict[str, Any]:
    """Return what a model's files say; what they do not say is left out."""
    folder = model_folder(model, revision)
    if folder is None:
        return {}
    facts = {"max_input_tokens": stated_context_length(folder), "reasoning_output": stated_thinking(folder)}
    return {name: value for name, value in facts.items() if value is not None}
