"""What the files of a model's folder say, read without loading the model, torch or transformers."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NO_LIMIT = 10**9  # tokenizers write 1e30 for "unknown"


def stated_context_length(folder: Path) -> int | None:
    """Most tokens of prompt and response together by the configuration files, or None if they do not say."""
    config, tokenizer = _read(folder / "config.json"), _read(folder / "tokenizer_config.json")
    text = config.get("text_config")
    model = (text if isinstance(text, dict) else config).get("max_position_embeddings")
    limits = (model, tokenizer.get("model_max_length"))
    return min((int(limit) for limit in limits if limit and 0 < limit < NO_LIMIT), default=None)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        return _parsed(file, file.stat().st_mtime_ns)
    except (OSError, ValueError):
        return {}


@functools.lru_cache(maxsize=64)
def _parsed(file: Path, _changed: int) -> Mapping[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
