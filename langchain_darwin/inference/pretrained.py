"""A Hugging Face model's files, read by transformers; what goes wrong becomes an error of ours."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging as transformers_logging

from langchain_darwin.errors import ModelNotFound, UnsupportedModelError, first_line
from langchain_darwin.inference.model_files import least_limit


@dataclass(frozen=True)
class Pretrained:
    """Where a model's files are, and what messages call it.

    Every method raises `ModelNotFound` for files that are not there and `UnsupportedModelError` for files that
    cannot be read.

    Attributes:
        source: Folder or hub id.
        called: How messages begin, such as "model='org/name'".
        revision: Branch, tag or commit of a hub id.
        trust_remote_code: Run Python code that comes with the model.
    """

    source: str
    called: str
    revision: str | None = None
    trust_remote_code: bool = False

    def config(self) -> Any:
        """The configuration."""
        with self._blame():
            return AutoConfig.from_pretrained(self.source, **self._options)

    def tokenizer(self) -> Any:
        """The tokenizer."""
        with self._blame():
            return AutoTokenizer.from_pretrained(self.source, **self._options)

    def weights(self, auto_class: Any, dtype: torch.dtype) -> tuple[Any, list[str]]:
        """The model from safetensors files, and the names of weights that these lack or disagree with.

        Args:
            auto_class: What makes the model, such as `AutoModelForCausalLM`.
            dtype: Of the weights.
        """
        read: Callable[..., Any] = auto_class.from_pretrained
        with self._blame(), _quiet(), self._blame_format():
            model, info = read(
                self.source, dtype=dtype, use_safetensors=True, output_loading_info=True, **self._options
            )
        return model, sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))

    @property
    def _options(self) -> dict[str, Any]:
        return {"revision": self.revision, "trust_remote_code": self.trust_remote_code}

    @contextlib.contextmanager
    def _blame(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = (
                f"{self.called} is neither a folder nor in the local Hugging Face cache, and could not be "
                "downloaded; check its name, connect to the network (gated models: `hf auth login`), or pass the "
                f"folder of a model. Cause: {first_line(error)}"
            )
            raise ModelNotFound(msg) from error
        except ValueError as error:
            msg = f"{self.called} cannot be read by transformers {transformers.__version__}: {first_line(error)}"
            raise UnsupportedModelError(msg) from error

    @contextlib.contextmanager
    def _blame_format(self) -> Iterator[None]:
        """What transformers raises where weights are in another format names the one that was asked for."""
        try:
            yield
        except OSError as error:
            if "safetensors" not in str(error).replace(self.source, ""):
                raise
            msg = f"{self.called} has no *.safetensors files, the only weights that are read; convert it first"
            raise UnsupportedModelError(msg) from error


def context_length(config: Any, tokenizer: Any) -> int | None:
    """Most tokens of one text by what is stated, or None if nothing is."""
    text = config.get_text_config(decoder=True)
    return least_limit(getattr(text, "max_position_embeddings", None), tokenizer.model_max_length)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar for reading weights from disk."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
