"""A Hugging Face model's files, read by transformers; what goes wrong becomes an error of ours."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging as transformers_logging

from langchain_darwin.errors import (
    DarwinError,
    MissingDependencyError,
    ModelNotFound,
    PolicyError,
    UnsupportedModelError,
    first_line,
)
from langchain_darwin.inference.checkpoints.file_checks import check_files, check_not_quantised
from langchain_darwin.inference.checkpoints.model_files import least_limit, model_folder, original_context
from langchain_darwin.inference.out_of_memory import is_out_of_memory


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
        """The configuration, after a check of the files that are on this machine already."""
        folder = model_folder(self.source, self.revision)
        if folder is not None:
            check_files(folder, self.called)
        with self._blame():
            config = AutoConfig.from_pretrained(self.source, **self._options)
        check_not_quantised(config, self.called)
        return config

    def tokenizer(self) -> Any:
        """The tokenizer."""
        with self._blame():
            return AutoTokenizer.from_pretrained(self.source, **self._options)

    def weights(self, auto_class: Any, dtype: torch.dtype, device: str | torch.device) -> tuple[Any, list[str]]:
        """The model on its device from safetensors files, and the names of weights that these lack or disagree with.

        With accelerate installed, weights of a GPU go straight to it. Otherwise they are held in main memory first.

        Args:
            auto_class: What makes the model, such as `AutoModelForCausalLM`.
            dtype: Of the weights.
            device: Where they go.
        """
        read: Callable[..., Any] = auto_class.from_pretrained
        straight = torch.device(device).type != "cpu" and importlib.util.find_spec("accelerate") is not None
        options = {**self._options, "device_map": {"": str(device)}} if straight else self._options
        with self._blame(), _quiet(), self._blame_format(), self._blame_memory(device):
            model, info = read(self.source, dtype=dtype, use_safetensors=True, output_loading_info=True, **options)
            model = model.to(device)
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
        except DarwinError:
            raise
        except ImportError as error:
            msg = f"{self.called} needs a package that is not installed: {first_line(error)}"
            raise MissingDependencyError(msg) from error
        except Exception as error:  # whatever transformers and the formats under it raise
            said = (
                first_line(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {first_line(error)}"
            )
            msg = f"{self.called} cannot be read by transformers {transformers.__version__}: {said}"
            raise UnsupportedModelError(msg) from error

    @contextlib.contextmanager
    def _blame_memory(self, device: str | torch.device) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            msg = (
                f"{self.called} does not fit into the memory of {device}; free what else holds memory there (a reward "
                "model, another process); take a smaller or quantised model; or spread it over several GPUs with "
                "engine='vllm' and engine_options={'tensor_parallel_size': 2}"
            )
            raise PolicyError(msg) from error

    @contextlib.contextmanager
    def _blame_format(self) -> Iterator[None]:
        """Name the format of the weights that was asked for, where transformers finds another."""
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
    limits = getattr(text, "max_position_embeddings", None), original_context(text.to_dict())
    return least_limit(*limits, tokenizer.model_max_length)


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
