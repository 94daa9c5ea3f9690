"""A policy from a model's name as users write it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import SecretStr

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.policies.base import Policy
from langchain_darwin.policies.vllm.engine.settings import EngineSettings, has_gpu_engine, require_vllm
from langchain_darwin.policies.vllm.policy import SCHEMES, VLLMPolicy

EngineName = Literal["auto", "vllm", "transformers"]
"""What computes a model in this process; "auto" is vLLM where there is a GPU for it."""

_GPUS = ("auto", "cuda")


def policy_named(
    model: str | None,
    *,
    api_key: SecretStr | str | None = None,
    max_retries: int | None = None,
    engine: str = "auto",
    engine_options: Mapping[str, Any] | None = None,
    **local: Any,
) -> Policy:
    """Return the policy of a model. Making one is cheap: what it loads or connects to is shared process-wide.

    Args:
        model: Hub id or folder, None for the embedded model, or "vllm+http://host:8000/served-name".
        api_key: Of a server; local models need none.
        max_retries: Of requests to a server; None for the policy's own default.
        engine: "vllm" or "transformers" for a model in this process. "auto" takes vLLM where it is installed for a
            GPU that is there. It takes transformers for the embedded model, and if `device` is not that GPU.
        engine_options: Of vLLM's engine; see `VLLMPolicy`.
        **local: Other arguments of `TransformersPolicy`, for models that run here.

    Raises:
        ConfigurationError: It is the address of a server without saying of which kind, or engine and options do not
            fit the model.
        MissingDependencyError: vLLM is asked for and not installed.
    """
    check_engine(engine, engine_options)
    if model is not None and model.startswith(SCHEMES):
        _refuse_engine(model, engine, engine_options)
        retries = {} if max_retries is None else {"max_retries": max_retries}
        return VLLMPolicy.from_address(model, api_key=api_key, **retries)
    if model is not None and model.startswith(("http://", "https://")):
        msg = f"model={model!r} is an address; of a vLLM server, write 'vllm+http://host:8000/served-name'"
        raise ConfigurationError(msg)
    device = local.get("device", "auto")
    if engine == "vllm" or (engine == "auto" and model is not None and device in _GPUS and has_gpu_engine()):
        return _on_engine(model, engine_options, local)
    if engine_options:
        msg = f"engine_options={dict(engine_options)!r} has no effect on transformers; pass engine='vllm'"
        warnings.warn(msg, UserWarning, stacklevel=2)
    from langchain_darwin.policies.local.policy import TransformersPolicy

    return TransformersPolicy(model, **local)


def check_engine(engine: Any, engine_options: Any) -> None:
    """Check both settings without importing vLLM.

    Raises:
        ConfigurationError: There is no such engine, or it takes no such options.
        MissingDependencyError: vLLM is asked for and not installed.
    """
    if engine not in get_args(EngineName):
        msg = f"engine={engine!r} must be one of {', '.join(map(repr, get_args(EngineName)))}"
        raise ConfigurationError(msg)
    if engine_options is not None:
        EngineSettings(None, options=engine_options)
    if engine_options and engine == "transformers":
        msg = f"engine_options={engine_options!r} are vLLM's, but engine='transformers'; pass engine='vllm' or none"
        raise ConfigurationError(msg)
    if engine == "vllm":
        require_vllm()


def _refuse_engine(model: str, engine: str, engine_options: Mapping[str, Any] | None) -> None:
    if engine_options or engine == "transformers":
        given = f"engine_options={dict(engine_options)!r}" if engine_options else f"engine={engine!r}"
        msg = f"{given} is for a model in this process, but model={model!r} is a server; give its options to the server"
        raise ConfigurationError(msg)


def _on_engine(model: str | None, options: Mapping[str, Any] | None, local: Mapping[str, Any]) -> VLLMPolicy:
    device = local.get("device", "auto")
    if device not in (*_GPUS, "cpu"):
        msg = f"device={device!r} cannot be chosen with engine='vllm'; set CUDA_VISIBLE_DEVICES, or leave out device"
        raise ConfigurationError(msg)
    taken = {name: local[name] for name in ("revision", "dtype", "trust_remote_code") if name in local}
    return VLLMPolicy(model=model, engine_options=options, **taken)
