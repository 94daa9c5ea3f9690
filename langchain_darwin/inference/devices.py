"""Resolve the `device` and `dtype` settings by name or by what this machine has."""

from __future__ import annotations

import torch

from langchain_darwin.errors import ConfigurationError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str | torch.device) -> torch.device:
    """The device meant by "auto", a name such as "cuda:1", or a device."""
    if device == "auto":
        found = [name for name in ("cuda", "mps") if _available(name)]
        return torch.device(found[0] if found else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        msg = f"device={device!r} is unknown; use 'auto', 'cpu', 'cuda', 'cuda:<number>' or 'mps'"
        raise ConfigurationError(msg) from error
    if place.type in {"cuda", "mps"} and not _available(place.type):
        msg = f"device={str(device)!r} is not available to this PyTorch ({torch.__version__}); use 'auto'"
        raise ConfigurationError(msg)
    return place


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The number type meant by "auto", a name such as "bfloat16", or a torch dtype."""
    if dtype == "auto":
        return torch.bfloat16 if _native_bfloat16(device) else _without_bfloat16(device)
    number = _DTYPES.get(str(dtype).removeprefix("torch."))
    if number is None:
        msg = f"dtype={dtype!r} is unknown; use 'auto', {', '.join(map(repr, _DTYPES))}"
        raise ConfigurationError(msg)
    return number


def _available(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_available()
    return torch.backends.mps.is_available()


def _without_bfloat16(device: torch.device) -> torch.dtype:
    """Return float16 for GPUs, where it takes half the memory and time of float32 (T4, V100), else float32."""
    return torch.float16 if device.type == "cuda" else torch.float32


def _native_bfloat16(device: torch.device) -> bool:
    """Return True if bfloat16 is computed as such: recent GPUs, CPUs with avx512_bf16 (1.5 times float32) or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported") if device.type == "cpu" else ()
    return any(getattr(torch.cpu, check, bool)() for check in checks)
