"""A policy from a model's name as users write it."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Policy
from langchain_darwin.policies.vllm.policy import SCHEMES, VLLMPolicy


def policy_named(
    model: str | None, *, api_key: SecretStr | str | None = None, max_retries: int | None = None, **local: Any
) -> Policy:
    """The policy of a model. Making one is cheap: what it loads or connects to is shared process-wide.

    Args:
        model: Hub id or folder, None for the embedded model, or "vllm+http://host:8000/served-name".
        api_key: Of a server; local models need none.
        max_retries: Of requests to a server; None for the policy's own default.
        **local: Other arguments of `TransformersPolicy`, for models that run here.

    Raises:
        ConfigurationError: It is the address of a server without saying of which kind.
    """
    if model is not None and model.startswith(SCHEMES):
        retries = {} if max_retries is None else {"max_retries": max_retries}
        return VLLMPolicy.from_address(model, api_key=api_key, **retries)
    if model is not None and model.startswith(("http://", "https://")):
        msg = f"model={model!r} is an address; of a vLLM server, write 'vllm+http://host:8000/served-name'"
        raise ConfigurationError(msg)
    from langchain_darwin.policies.local.policy import TransformersPolicy

    return TransformersPolicy(model, **local)
