"""Starts of vLLM's engine that failed, as errors that name the setting and what else holds memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from langchain_darwin.errors import ConfigurationError, DarwinError, ModelNotFound, PolicyError, first_line

_MEMORY = re.compile(
    r"gpu_memory_utilization|memory utilization|out of memory|OutOfMemory|no available memory|not enough .*memory"
    r"|ALLOC_FAILED|cannot allocate memory",
    re.IGNORECASE,
)
_CAUSE = re.compile(r"^.*?((?:\w+\.)*\w*(?:Error|Exception|Interrupt)(?::.*)?)$")
_MISSING = re.compile(r"not a (?:local folder|valid model identifier)|RepositoryNotFound|LocalEntryNotFound")
_GIB = 2**30


def start_failure(error: Exception, said: str, name: str, arguments: Mapping[str, Any]) -> DarwinError:
    """Return the error for an engine that did not start.

    Args:
        error: Raised in this process.
        said: The errors in the engine's log, which hold the cause if it failed in its own process.
        name: The model's name.
        arguments: The engine's arguments.
    """
    if isinstance(error, DarwinError):
        return error
    cause = root_cause(said) or f"{type(error).__name__}: {error}"
    if _MEMORY.search(cause):
        share = arguments.get("gpu_memory_utilization", "vLLM's default")
        msg = (
            f"vLLM's engine for {name!r} did not find enough memory ({cause}). Set another "
            f"engine_options={{'gpu_memory_utilization': ...}} (now {share}), a smaller 'max_model_len', or free "
            f"memory: {memory_holders()}"
        )
        return ConfigurationError(msg)
    if _MISSING.search(f"{cause} {error}"):
        return ModelNotFound(f"model={name!r} is neither a folder nor on the hub: {first_line(error)}")
    if isinstance(error, ValueError | TypeError | NotImplementedError):
        return ConfigurationError(f"vLLM's engine for {name!r} refuses its settings: {_plain(error)}")
    return PolicyError(f"vLLM's engine for {name!r} did not start: {cause}; what vLLM said is above")


def root_cause(said: str) -> str:
    """Return the first exception that a log of errors names, else an empty string."""
    lines = [line.rstrip() for line in said.splitlines()]
    causes = [found.group(1) for line in lines if (found := _CAUSE.match(line)) and "Traceback" not in line]
    return causes[0] if causes else ""


def memory_holders() -> str:
    """Return a sentence about who holds memory where vLLM wants it."""
    try:
        return _gpu_holders() or _main_memory()
    except Exception as error:  # noqa: BLE001  (the error that is being explained is the one that counts)
        return f"who holds it is not known ({type(error).__name__})"


def _gpu_holders() -> str:
    """Return who holds memory of GPUs, by NVIDIA's own counts; empty without GPUs."""
    from vllm.platforms import current_platform

    if current_platform.is_rocm():
        return "rocm-smi lists the processes that hold it"
    if not current_platform.is_cuda():
        return ""
    from vllm.utils.import_utils import import_pynvml

    nvml = import_pynvml()
    nvml.nvmlInit()
    told = []
    for index in range(nvml.nvmlDeviceGetCount()):
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        memory = nvml.nvmlDeviceGetMemoryInfo(device)
        holders = "".join(map(_holder, nvml.nvmlDeviceGetComputeRunningProcesses(device)))
        told.append(f"GPU {index} has {_gib(memory.free)} of {_gib(memory.total)} free{holders}")
    return "; ".join(told)


def _holder(process: Any) -> str:
    mine = "this process, with its reward model if it has one," if process.pid == os.getpid() else "process"
    return f", {mine} {process.pid} holds {_gib(process.usedGpuMemory or 0)}"


def _main_memory() -> str:
    import psutil

    memory, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    return (
        f"{_gib(memory.available)} of {_gib(memory.total)} of main memory are available, and this process, with its "
        f"reward model if it has one, holds {_gib(own)}"
    )


def _gib(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"


def _plain(error: Exception) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split())[:500]
