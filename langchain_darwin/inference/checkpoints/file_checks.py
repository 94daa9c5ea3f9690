"""Faults of a model's files that can be named before anything is loaded."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_darwin.errors import UnsupportedModelError

_POINTER = b"version https://git-lfs"
_AGAIN = "download the model again (`hf download`, or `git lfs pull` in a clone)"
_LARGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors format


def check_files(folder: Path, called: str) -> None:
    """Raise `UnsupportedModelError` for a file of a model that is a pointer or is cut short; it names the file.

    Args:
        folder: The model's files.
        called: How messages begin, such as "model='org/name'".
    """
    for file in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors"), *folder.glob("*.model")]):
        fault = _pointer(file) or _FAULTS.get(file.suffix, _no_fault)(file)
        if fault:
            msg = f"{called}: {file.name} {fault}; {_AGAIN}"
            raise UnsupportedModelError(msg)
    for name in _missing_shards(folder):
        msg = f"{called}: {name} is missing, though model.safetensors.index.json names it; {_AGAIN}"
        raise UnsupportedModelError(msg)


def _pointer(file: Path) -> str | None:
    with file.open("rb") as opened:
        begins = opened.read(len(_POINTER))
    if begins == _POINTER:
        return "is a Git LFS pointer, not the file itself"
    return "is empty" if not begins else None


def _truncated(file: Path) -> str | None:
    """Compare a safetensors file's size with the one that its header states."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 0 < length <= _LARGEST_HEADER:
            return "does not begin with a safetensors header"
        try:
            header = json.loads(opened.read(length))
            end = max(
                (tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"), default=0
            )
        except (ValueError, KeyError, TypeError, IndexError):
            return f"has a safetensors header that cannot be read ({size} bytes in all)"
    wanted = 8 + length + end
    return f"is cut short: it has {size} of {wanted} bytes" if size < wanted else None


def _no_json(file: Path) -> str | None:
    """Read the small configuration files; a tokenizer's many megabytes are left to the tokenizer."""
    if not file.name.endswith("config.json"):
        return None
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        return f"is not valid JSON ({error})"
    return None


def _no_fault(_file: Path) -> None:
    return None


_FAULTS = {".safetensors": _truncated, ".json": _no_json}


def _missing_shards(folder: Path) -> list[str]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return []
    try:
        shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return sorted({str(shard) for shard in shards if not (folder / str(shard)).is_file()})


def check_not_quantised(config: Any, called: str) -> None:
    """Raise `UnsupportedModelError` for a checkpoint whose weights are quantised.

    transformers places and converts such weights by rules of each method (FP8, AWQ, GPTQ, bitsandbytes, ...), which
    differ by device. vLLM reads all of them.
    """
    stated = getattr(config, "quantization_config", None)
    if not stated:
        return
    method = stated.get("quant_method") if isinstance(stated, Mapping) else getattr(stated, "quant_method", None)
    name = str(getattr(method, "value", method) or "an unknown method")
    msg = (
        f"{called} is quantised ({name}), and weights that run in this process by transformers must be plain; pass "
        "the model that it was made from, or use vLLM: engine='vllm' on a GPU, or 'vllm+http://host:port/name'"
    )
    raise UnsupportedModelError(msg)
