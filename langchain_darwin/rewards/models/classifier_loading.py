"""Reward models by id or folder: found, checked and made ready to score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification

from langchain_darwin.errors import ConfigurationError, PolicyError, UnsupportedModelError
from langchain_darwin.inference.checkpoints.pretrained import Pretrained, context_length
from langchain_darwin.inference.devices import resolve_device, resolve_dtype
from langchain_darwin.inference.embedded_model import resolve_model
from langchain_darwin.inference.out_of_memory import is_out_of_memory
from langchain_darwin.rewards.models.classifier import Classifier, has_score_head
from langchain_darwin.rewards.models.encoding import Encoder


def load_classifier(
    model: str | Path,
    *,
    revision: str | None,
    label: int | str | None,
    dtype: str,
    device: str,
    batch_size: int,
    trust_remote_code: bool,
) -> Classifier:
    """Load a reward model and check that it is one.

    Raises:
        ModelNotFound: No such folder, or no such model on the hub or in the local cache.
        UnsupportedModelError: It has no trained classification head, no safetensors, or cannot read chats.
        PolicyError: It does not fit into memory, or leaves none to compute with.
        ConfigurationError: The device, dtype or label does not exist.
    """
    place = resolve_device(device)
    number = resolve_dtype(dtype, place)
    source = str(resolve_model(model))
    files = Pretrained(source, f"reward model {source!r}", revision, trust_remote_code)
    config, tokenizer = files.config(), files.tokenizer()
    loaded, lacking = files.weights(AutoModelForSequenceClassification, number, place)
    _check_weights(source, lacking)
    ready = loaded.eval().requires_grad_(requires_grad=False)
    _check_readable(source, ready, tokenizer)
    encoder = Encoder(tokenizer, source, context_length(config, tokenizer))
    index = _label_index(config, label, source)
    try:
        return Classifier(ready, encoder, index, batch_size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        message = (
            f"reward model {source!r} fits into the memory of {place}, but leaves none to compute with; free what else "
            "holds memory there (the policy), or take a smaller model, dtype='bfloat16' or device='cpu'"
        )
        raise PolicyError(message) from error


def _check_weights(source: str, lacking: list[str]) -> None:
    if lacking:
        message = (
            f"{source!r} is not a reward model: its files lack {lacking[0]}, so its scores would be random; use a"
            " model that was trained for sequence classification"
        )
        raise UnsupportedModelError(message)


def _check_readable(source: str, model: Any, tokenizer: Any) -> None:
    if not tokenizer.chat_template and has_score_head(model):
        message = (
            f"reward model {source!r} has no chat template, so what it was trained to read is unknown; add its"
            " chat_template.jinja to a local copy of its folder"
        )
        raise UnsupportedModelError(message)


def _label_index(config: Any, label: int | str | None, name: str) -> int | None:
    """Number of the label to score; None for a model with one output."""
    if config.num_labels == 1:
        return None
    names = [config.id2label[i] for i in range(config.num_labels)]
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    if label in names:
        return names.index(label)
    message = f"label={label!r}: reward model {name!r} has several outputs; choose one of {names} as label="
    raise ConfigurationError(message)
