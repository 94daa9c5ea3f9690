"""Hugging Face causal chat models by id or folder: checked, loaded once per process, shared by all."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from langchain_darwin.errors import UnsupportedModelError
from langchain_darwin.inference.chat_codec import ChatCodec, response_end_ids
from langchain_darwin.inference.checkpoints.pretrained import Pretrained, context_length
from langchain_darwin.inference.checkpoints.sources import resolve_source
from langchain_darwin.inference.devices import resolve_device, resolve_dtype
from langchain_darwin.inference.kernels.packed_linear import pack_linears
from langchain_darwin.inference.kernels.step_attention import use_even_queries
from langchain_darwin.inference.ragged import is_ragged, takes_ragged_rows
from langchain_darwin.inference.shared_models import SharedModels

_UNSTATED_CONTEXT = 32_768  # tokens, for the few models that state no limit (recurrent ones)

Key = tuple[str, str | None, torch.dtype, str, bool]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to decode. Shared: never change its weights or its mode.

    Attributes:
        model: The transformers model, in evaluation mode on `device`.
        tokenizer: Its tokenizer; use it through `codec`, whose lock makes it safe in any thread.
        codec: Text to token ids and back.
        name: Hub id, or the name of the folder.
        context_length: Most tokens of prompt and response together.
        device: Where the weights are.
        dtype: Of the weights.
        end_ids: Token ids that end a response: of the generation config, the tokenizer and the chat template.
        ragged: Whether rows of different lengths that share one cache get the numbers that each gets alone. It is
            True only if all layers keep plain keys and values (full or sliding attention).
    """

    model: Any
    tokenizer: Any
    codec: ChatCodec
    name: str
    context_length: int
    device: torch.device
    dtype: torch.dtype
    end_ids: frozenset[int]
    ragged: bool


def load_model(
    model: str | Path,
    *,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | torch.device = "auto",
    trust_remote_code: bool = False,
) -> LoadedModel:
    """The model, loaded or shared with others in this process that hold the same one.

    Args:
        model: Folder or hub id. Weights are read from safetensors files only.
        revision: Branch, tag or commit of a hub id.
        dtype: "auto" is bfloat16 where the device computes in it natively, float16 on GPUs that do not, else float32.
        device: "auto" is the first of cuda, mps and cpu that this machine has.
        trust_remote_code: Run Python code that comes with the model.

    Raises:
        ModelNotFound: No such folder, or no such model on the hub or in the local cache.
        UnsupportedModelError: The model cannot be driven, or a file of it is damaged; the message says why.
        MissingDependencyError: The model's code needs a package that is not installed.
        PolicyError: The device's memory is too small for the weights.
        ConfigurationError: The device or dtype is unknown or not available here.
    """
    place = resolve_device(device)
    number = resolve_dtype(dtype, place)
    source = resolve_source(model)
    key = (source, revision, number, str(place), trust_remote_code)
    return _shared.get(key, lambda: _load(*key))


_shared: SharedModels[Key, LoadedModel] = SharedModels()


def _load(source: str, revision: str | None, dtype: torch.dtype, device: str, trusted: bool) -> LoadedModel:
    files = Pretrained(source, f"model={source!r}", revision, trusted)
    config = files.config()
    _check_config(source, config)
    tokenizer = files.tokenizer()
    _check_template(source, tokenizer)
    model, lacking = files.weights(AutoModelForCausalLM, dtype, device)
    _check_weights(source, type(model), lacking)
    _check_forward(source, type(model))
    model = model.eval().requires_grad_(requires_grad=False)
    pack_linears(model)
    use_even_queries(model)
    end_ids = response_end_ids(tokenizer, getattr(model.generation_config, "eos_token_id", None))
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        codec=ChatCodec(tokenizer, end_ids),
        name=Path(source).name if Path(source).is_dir() else source,
        context_length=context_length(config, tokenizer) or _UNSTATED_CONTEXT,
        device=torch.device(device),
        dtype=dtype,
        end_ids=end_ids,
        ragged=is_ragged(model.config) and takes_ragged_rows(model),
    )


def _check_config(source: str, config: Any) -> None:
    if config.is_encoder_decoder:
        msg = f"model={source!r} is an encoder-decoder ({config.model_type}); use a decoder-only chat model"
        raise UnsupportedModelError(msg)
    remote = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    classes: Any = transformers.MODEL_FOR_CAUSAL_LM_MAPPING
    if type(config) in classes:
        found = classes[type(config)]
        _check_forward(source, found[0] if isinstance(found, tuple) else found)
    elif not remote:
        msg = f"model={source!r} ({config.model_type}) is not a causal language model; use one that writes text"
        raise UnsupportedModelError(msg)


def _check_forward(source: str, model_class: Any) -> None:
    if "past_key_values" not in inspect.signature(model_class.forward).parameters:
        msg = (
            f"model={source!r}: {model_class.__name__} does not take `past_key_values`, so its state cannot "
            "be kept between tokens or copied between beams; use an attention or hybrid model"
        )
        raise UnsupportedModelError(msg)


def _check_template(source: str, tokenizer: Any) -> None:
    if not tokenizer.chat_template:
        msg = (
            f"model={source!r} has no chat template, so it is likely a base model; use its instruct version, "
            "or add a chat_template.jinja to a local copy of the model's folder"
        )
        raise UnsupportedModelError(msg)


def _check_weights(source: str, model_class: Any, lacking: list[str]) -> None:
    if lacking:
        msg = (
            f"model={source!r}: its files lack or disagree with {len(lacking)} of the weights that "
            f"{model_class.__name__} needs, such as {lacking[0]}; use a complete causal language model"
        )
        raise UnsupportedModelError(msg)
