"""Tiny random models with a small real tokenizer, saved as Hugging Face folders: no downloads."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

CHATML = (
    "{% if tools %}{{ '<|im_start|>system\n' + tools|tojson + '<|im_end|>\n' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# As Gemma's: strict alternation, no system role, BOS written by the template.
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\n'"
    " + message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)

# As Mistral's: one system message first, then strict alternation.
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = messages[0]['content'] %}{% set rest = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{{ bos_token }}{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + (system + '\n\n' if loop.first and system else '')"
    " + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<bos>", "<start_of_turn>", "<end_of_turn>"]

TEXT = [
    "The quick brown fox jumps over the lazy dog. What is the capital of France? Paris.",
    "Explain how a tree search picks the best answer, and why a reward scores every beam.",
    '{"name": "Ada", "age": 36, "tags": ["a", "b"], "ok": true, "nothing": null}',
]

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,  # large, so that a wrong cache shows in the logits
}

_LINEAR: dict[str, Any] = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_conv_kernel_dim": 4,
    "layer_types": ["linear_attention", "full_attention"] * 2,
}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "qwen3": ("qwen3", {}),
    "mistral": ("mistral", {"sliding_window": 8}),
    "gemma3": (
        "gemma3_text",
        {
            "sliding_window": 8,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "query_pre_attn_scalar": 8,
        },
    ),
    "qwen3_5": ("qwen3_5_text", _LINEAR),
    "lfm2": ("lfm2", {"layer_types": ["conv", "full_attention"] * 2, "block_auto_adjust_ff_dim": False}),
}
"""Family name -> (transformers model type, settings beside the common sizes). The last two are hybrids."""

HYBRIDS = ("qwen3_5", "lfm2")

_HALF = _SIZES["head_dim"] // 2

UNUSUAL: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", {}),
    "falcon": ("falcon", {"head_dim": None, "alibi": True, "multi_query": False, "parallel_attn": False}),
    "mpt": ("mpt", {"max_seq_len": 512, "num_key_value_heads": 4}),
    "longrope": (
        "phi3",
        {
            "original_max_position_embeddings": 128,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0] * _HALF,
                "long_factor": [8.0] * _HALF,
            },
        },
    ),
    "dynamic": (
        "llama",
        {
            "max_position_embeddings": 128,
            "rope_parameters": {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
        },
    ),
}
"""As `FAMILIES`: positions by ALiBi, and rotary frequencies that depend on the length beyond 128 tokens."""


def tiny_model(family: str, folder: Path) -> Path:
    """Save a random model of `family` with a ChatML tokenizer; the path of its own folder in `folder`."""
    path = folder / family
    tokenizer = tiny_tokenizer(CHATML)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config(family), dtype=torch.float32)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>")]
    model.generation_config = GenerationConfig(eos_token_id=ends, pad_token_id=ends[1])
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def tiny_config(family: str) -> Any:
    """The configuration of a tiny model, for the vocabulary of `tiny_tokenizer`."""
    kind, settings = (FAMILIES | UNUSUAL)[family]
    ids = {"bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0}
    sizes = {name: size for name, size in (_SIZES | settings).items() if size is not None}
    return AutoConfig.for_model(kind, **sizes, vocab_size=len(tiny_tokenizer(None)), **ids)


def tiny_tokenizer(template: str | None, **options: Any) -> PreTrainedTokenizerBase:
    """A byte-level BPE tokenizer of about 400 tokens with the given chat template."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        **options,
    )
    tokenizer.chat_template = template
    return tokenizer


@functools.cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer.to_str()


@functools.cache
def cached_tiny_model(family: str) -> Path:
    """`tiny_model` in a folder that lives as long as the test process."""
    return tiny_model(family, Path(_scratch().name))


@functools.cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tiny-models-")


@functools.cache
def embedded_tokenizer() -> PreTrainedTokenizerBase:
    """The embedded model's tokenizer."""
    from langchain_darwin.inference.embedded_model import embedded_model_path

    return AutoTokenizer.from_pretrained(embedded_model_path())
