"""A model's name as users write it: a folder, a hub id, or a refusal that says what to pass instead."""

from __future__ import annotations

import os
import re
from pathlib import Path

from langchain_darwin.errors import ModelNotFound, UnsupportedModelError

_HUB_ID = re.compile(r"(?:[\w.-]+/)?[\w.-]+")
_NO_NAME = (
    "model={model!r} is neither a folder nor a Hugging Face hub id; pass a folder with config.json, an id such as "
    "'Qwen/Qwen3-8B', or None for the embedded model"
)
_GGUF = (
    "model={model!r} is a GGUF file, which llama.cpp and Ollama read; pass the hub id or folder of the model that it "
    "was made from, or serve it with vLLM and pass 'vllm+http://host:port/name'"
)
_LORA = (
    "model={model!r} is a LoRA adapter of {base}, not a model; merge it into its base (peft: merge_and_unload, "
    "save_pretrained) and pass the merged folder, or serve both with vLLM (--enable-lora)"
)


def resolve_source(model: str | os.PathLike[str]) -> str:
    """Return an absolute folder or a hub id, as `from_pretrained` takes it.

    Args:
        model: Hub id or folder of a Hugging Face model.

    Raises:
        ModelNotFound: There is no such folder, or the name cannot be one of a hub.
        UnsupportedModelError: It is a GGUF file, a LoRA adapter, or one file of a model.
    """
    text = os.fspath(model)
    if not text.strip():
        raise ModelNotFound(_NO_NAME.format(model=text))
    path = Path(text).expanduser()
    if text.lower().endswith(".gguf"):
        raise UnsupportedModelError(_GGUF.format(model=text))
    if path.is_dir():
        check_folder(path, text)
        return str(path.resolve())
    if path.is_file():
        msg = f"model={text!r} is a file; pass the folder that holds it, with its config.json"
        raise UnsupportedModelError(msg)
    _check_hub_id(model, text)
    return text


def check_folder(folder: Path, called: str) -> None:
    """Raise unless a folder is one of a Hugging Face model."""
    if (folder / "config.json").is_file():
        return
    if (folder / "adapter_config.json").is_file():
        raise UnsupportedModelError(_LORA.format(model=called, base=_base_of(folder)))
    if any(folder.glob("*.gguf")):
        raise UnsupportedModelError(_GGUF.format(model=called))
    msg = f"model={called!r} is a folder without config.json; pass a Hugging Face model's folder"
    raise ModelNotFound(msg)


def _base_of(folder: Path) -> str:
    """The base model that an adapter names, for a message."""
    import json

    try:
        stated = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        return repr(stated["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return "another model"


def _check_hub_id(model: str | os.PathLike[str], text: str) -> None:
    separators = tuple({os.sep, "/", "\\"})
    if not isinstance(model, str) or text.startswith((".", "~", *separators)) or text.count("/") > 1 or "\\" in text:
        msg = f"model={text!r}: no such folder; pass a folder with config.json or a Hugging Face hub id"
        raise ModelNotFound(msg)
    if re.fullmatch(r"[\w./-]+:[\w.-]+", text):
        msg = (
            f"model={text!r} is written as Ollama names models; pass the Hugging Face hub id, such as "
            "'Qwen/Qwen3-8B', or a served model as 'vllm+http://host:port/name'"
        )
        raise ModelNotFound(msg)
    if not _HUB_ID.fullmatch(text):
        raise ModelNotFound(_NO_NAME.format(model=text))
