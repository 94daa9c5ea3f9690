"""How much memory keys and values may take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

COLUMNS_STEP = 256  # tokens; memory is allocated in multiples of it, and it is one of the step of columns shown
DEFAULT_SHARE = 0.5  # of what is free
_UNKNOWN = 8 << 30  # bytes, on devices that do not say what is free


def kv_budget(device: torch.device, share: float = DEFAULT_SHARE) -> int:
    """Bytes that keys and values may take: a share of what is free on the device now."""
    return int(share * free_bytes(device))


def longest_text(budget: int, token_bytes: int) -> int:
    """Most tokens of a text whose keys and values fit in a budget when nothing else is in memory."""
    columns = budget // (max(1, token_bytes) * COLUMNS_STEP) * COLUMNS_STEP
    return max(0, columns - 1)


def free_bytes(device: torch.device) -> int:
    """Bytes that can be allocated on a device, as far as it says."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return _free_host_bytes() if device.type == "cpu" else _UNKNOWN


def bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Bytes of keys and values of one token in all layers, by a model's configuration."""
    text = config.get_text_config(decoder=True)
    heads = getattr(text, "num_attention_heads", None) or 1
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    width = getattr(text, "head_dim", None) or text.hidden_size // heads
    return int(2 * text.num_hidden_layers * kv_heads * width * dtype.itemsize)


def _free_host_bytes() -> int:
    """Bytes free for this process: of the machine, or of the control group that limits it."""
    limits = [_available(), *_control_group()]
    return min((limit for limit in limits if limit is not None), default=_UNKNOWN)


def _available() -> int | None:
    """Bytes that the machine can give without swapping; half of its memory where it does not say."""
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return None


def _control_group() -> list[int]:
    """Bytes left in the control group of a container, if there is a limit."""
    group = "/sys/fs/cgroup"
    most, now = _lines(f"{group}/memory.max"), _lines(f"{group}/memory.current")
    if not most or not now or most[0] == "max":
        return []
    return [max(0, int(most[0]) - int(now[0]))]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
