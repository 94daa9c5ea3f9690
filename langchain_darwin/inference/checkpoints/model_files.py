"""What the small files of a model say, read without loading the model, torch or transformers, and without a network."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_darwin.runtime.text.thinking import MARKS

_BY_LENGTH = frozenset({"longrope", "su", "dynamic"})  # ways of rotary scaling that depend on the length
_NO_LIMIT = 10**9  # tokenizers write 1e30 for "unknown"


def model_folder(model: str, revision: str | None = None) -> Path | None:
    """The folder that holds a model's files on this machine, or None if there is none.

    Args:
        model: A folder, or a hub id, which is looked up in the local hub cache.
        revision: Branch, tag or commit of a hub id; the main branch by default.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if model.count("/") > 1 or model.startswith((".", "~", "/")):
        return None
    from huggingface_hub.constants import HF_HUB_CACHE

    cached = Path(HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
    named = cached / "refs" / (revision or "main")
    commit = named.read_text(encoding="utf-8").strip() if named.is_file() else revision
    snapshot = cached / "snapshots" / (commit or "")
    return snapshot if commit and snapshot.is_dir() else None


def stated_thinking(folder: Path) -> bool | None:
    """Return True if the chat template has the model think before it answers; None without a template.

    A model thinks if its template writes `<think>` or `[THINK]`, or if its tokenizer says how its reasoning is read.
    """
    tokenizer, own = _read(folder / "tokenizer_config.json"), _text(folder / "chat_template.jinja")
    template = own or json.dumps(tokenizer.get("chat_template") or "")
    if template == '""':
        return None
    told = tokenizer.get("response_template")
    marked = any(begin in template for begin, _ in MARKS)
    return marked or (isinstance(told, dict) and "reasoning_content" in told.get("fields", {}))


def stated_context_length(folder: Path) -> int | None:
    """Most tokens of prompt and response together by the configuration files, or None if they do not say."""
    config, tokenizer = _read(folder / "config.json"), _read(folder / "tokenizer_config.json")
    text = config.get("text_config")
    stated = text if isinstance(text, dict) else config
    limits = stated.get("max_position_embeddings"), original_context(stated)
    return least_limit(*limits, tokenizer.get("model_max_length"))


def original_context(config: Mapping[str, Any]) -> int | None:
    """Most tokens for which a model's rotary frequencies are fixed, or None if they always are.

    Frequencies that depend on the length are chosen by the longest text of a batch. Beyond the original context a
    text's numbers would change with its neighbours, and with how much of it was computed at once.
    """
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    found = []
    for kind in (rope, *rope.values()):
        if isinstance(kind, Mapping) and (kind.get("rope_type") or kind.get("type")) in _BY_LENGTH:
            stated = (kind, config)
            found += [of.get("original_max_position_embeddings") for of in stated]
            found.append(config.get("max_position_embeddings"))
    return least_limit(*found)


def least_limit(*stated: float | None) -> int | None:
    """The least of the numbers of tokens that were stated, or None if none was."""
    return min((int(limit) for limit in stated if limit and 0 < limit < _NO_LIMIT), default=None)


@functools.cache
def has_xgrammar() -> bool:
    """Return True if grammars can be enforced; nothing is imported for it."""
    return importlib.util.find_spec("xgrammar") is not None


def _read(file: Path) -> Mapping[str, Any]:
    try:
        return _parsed(file, file.stat().st_mtime_ns)
    except (OSError, ValueError):
        return {}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


@functools.lru_cache(maxsize=64)
def _parsed(file: Path, _changed: int) -> Mapping[str, Any]:
    found = json.loads(file.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}
