"""The embedded policy: a Hugging Face model in this process."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError, PolicyError
from langchain_darwin.inference.checkpoints.model_files import has_xgrammar, stated_context_length
from langchain_darwin.inference.embedded_model import CONTEXT_LENGTH, HUB_ID
from langchain_darwin.policies.base import Codec, Constraint, Growth, Job, OnTokens, Proposal
from langchain_darwin.policies.grammar.lazy_grammars import LazyGrammars
from langchain_darwin.policies.job_checks import check_job, check_prefix
from langchain_darwin.runtime.forks import PerProcess
from langchain_darwin.runtime.ranges import check_range

if TYPE_CHECKING:
    from langchain_darwin.inference.loading import LoadedModel
    from langchain_darwin.inference.memory.rows import RowStore
    from langchain_darwin.policies.local.decode_loop import DecodeLoop

_KV_MEMORY = 0.5  # share of free memory
_LONGER = " or use a model with a longer context"


class TransformersPolicy:
    """A local causal chat model, loaded at first use.

    Policies of one process that name the same model share its weights, its memory and its decode batch.

    Attributes:
        model: Hub id or folder; None for the embedded model.
        revision: Branch, tag or commit of a hub id.
        dtype: "auto" or a torch dtype's name. "auto" is bfloat16 where the device computes in it natively, float16 on
            other GPUs, else float32.
        device: "auto" (the first of cuda, mps and cpu that there is) or a torch device's name.
        trust_remote_code: Run Python code that comes with the model.
        max_rows: Most texts decoded at a time; others wait. Policies that share a model share the first
            one's.
        kv_memory: Share of the memory free at the first call that keys and values may take, above 0 and at most
            1. Texts that are only remembered are forgotten first; texts that do not fit wait. Policies that share a
            model share the first one's.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        revision: str | None = None,
        dtype: str = "auto",
        device: str = "auto",
        trust_remote_code: bool = False,
        max_rows: int = 64,
        kv_memory: float = _KV_MEMORY,
    ) -> None:
        check_range("max_rows", max_rows, low=1)
        check_range("kv_memory", kv_memory, low=0, high=1, low_open=True)
        self.model = model
        self.revision = revision
        self.dtype = dtype
        self.device = device
        self.trust_remote_code = trust_remote_code
        self.max_rows = max_rows
        self.kv_memory = kv_memory
        self._loaded: LoadedModel | None = None
        self._loop: DecodeLoop | None = None

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}={value!r}" for name, value in self.identity().items())
        return f"TransformersPolicy({facts})"

    def __getstate__(self) -> dict[str, Any]:
        """Weights and thread stay here; a copy in another process loads its own."""
        return self.__dict__ | {"_loaded": None, "_loop": None}

    @property
    def name(self) -> str:
        """Hub id, or the name of the folder."""
        return HUB_ID.rpartition("/")[2] if self.model is None else self._load().name

    @property
    def codec(self) -> Codec:
        """The model's tokenizer and chat template."""
        return self._load().codec

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and response together."""
        self._running()  # it asks the system how much memory is free, which an event loop's `submit` must not wait for
        return self._load().context_length

    @property
    def live_rows(self) -> int:
        """Texts that the model decodes now, of all policies that share it; 0 before the first call."""
        return self._loop.live_rows if self._loop else 0

    @property
    def waiting(self) -> int:
        """Texts and proposals that wait for a row now, of all policies that share the model."""
        return self._loop.waiting if self._loop else 0

    def identity(self) -> Mapping[str, Any]:
        """Return what tells this policy from others with different outputs."""
        return {
            "model": self.model or HUB_ID,
            "revision": self.revision,
            "dtype": self.dtype,
            "device": self.device,
            "trust_remote_code": self.trust_remote_code,
        }

    def profile(self) -> Mapping[str, Any]:
        """Return what is known for LangChain's `ModelProfile` without loading the model."""
        enforces = has_xgrammar()
        known = {"tool_choice": enforces, "structured_output": enforces}
        length = self._known_context_length()
        return known if length is None else {"max_input_tokens": length, **known}

    def _known_context_length(self) -> int | None:
        if self._loaded is not None:
            return self._loaded.context_length
        return CONTEXT_LENGTH if self.model is None else stated_context_length(Path(self.model).expanduser())

    def prepare(self, constraint: Constraint) -> None:
        """Compile a grammar, so that `submit` need not: a new one takes up to seconds.

        Raises:
            InvalidRequestError: It cannot be read.
            MissingDependencyError: xgrammar is not installed.
        """
        self._running().compile(constraint)

    def submit(self, jobs: Sequence[Job], on_tokens: OnTokens | None = None) -> Future[list[Growth]]:
        """Continue each job; see `Policy.submit`."""
        loop = self._running()
        for job in jobs:
            check_job(job, *self._limit(loop))
            self._check_ids("prefix", job.prefix)
        return loop.submit(jobs, on_tokens)

    def propose(
        self, prefixes: Sequence[tuple[int, ...]], k: int, among: Sequence[int] | None = None
    ) -> Future[list[Proposal]]:
        """The likeliest next tokens of each prefix; see `Policy.propose`."""
        check_range("k", k, low=1)
        loop = self._running()
        for prefix in prefixes:
            check_prefix(prefix, *self._limit(loop))
            self._check_ids("prefix", prefix)
        self._check_ids("among", among or ())
        return loop.propose(prefixes, k, among)

    def _limit(self, loop: DecodeLoop) -> tuple[int, str, str]:
        """Most tokens of a text, the model's name, and what allows more."""
        if loop.longest_text < self.context_length:
            more = f" or raise kv_memory={self.kv_memory:g}, which leaves memory for no longer text,"
            return loop.longest_text, self.name, more + _LONGER
        return self.context_length, self.name, _LONGER

    def _check_ids(self, name: str, ids: Sequence[int]) -> None:
        size = self._load().model.get_input_embeddings().num_embeddings
        if ids and (min(ids) < 0 or max(ids) >= size):
            wrong = next(i for i in ids if not 0 <= i < size)
            msg = f"{name} holds token id {wrong}, which is not among the {size} ids of {self.name}"
            raise ConfigurationError(msg)

    def _load(self) -> LoadedModel:
        if self._loaded is None:
            from langchain_darwin.inference.embedded_model import resolve_model
            from langchain_darwin.inference.loading import load_model

            self._loaded = load_model(
                resolve_model(self.model),
                revision=self.revision,
                dtype=self.dtype,
                device=self.device,
                trust_remote_code=self.trust_remote_code,
            )
        return self._loaded

    def _running(self) -> DecodeLoop:
        """The decoding thread of the model, shared with all policies of the same weights."""
        if self._loop is None or self._loop.is_foreign:
            loaded = self._load()
            if self._loop is not None and loaded.device.type != "cpu":
                raise PolicyError(_forked(loaded))
            own = _process.get()
            with own.lock:
                if loaded not in own.loops:
                    own.loops[loaded] = _start_loop(loaded, self.max_rows, self.kv_memory)
                self._loop = own.loops[loaded]
        return self._loop


class _LoopsByModel:
    """The decoding threads of one process, by model."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loops: weakref.WeakKeyDictionary[LoadedModel, DecodeLoop] = weakref.WeakKeyDictionary()


_process = PerProcess(_LoopsByModel)


def _start_loop(loaded: LoadedModel, max_rows: int, kv_memory: float) -> DecodeLoop:
    from langchain_darwin.policies.local.decode_loop import DecodeLoop

    make_store, longest = _memory(loaded, max_rows, kv_memory)
    grammars = LazyGrammars(loaded.codec, loaded.model.config.get_text_config().vocab_size)
    name = f"{loaded.name} in {str(loaded.dtype).removeprefix('torch.')}"
    return DecodeLoop(make_store, loaded.codec, longest, loaded.device, grammars, name)


def _forked(loaded: LoadedModel) -> str:
    return (
        f"{loaded.name} was loaded on {loaded.device} before this process was forked, and a forked process cannot "
        "use it; start processes with multiprocessing's 'spawn' method, or call the model first in each of them"
    )


def _memory(loaded: LoadedModel, max_rows: int, share: float) -> tuple[Callable[[], RowStore], int]:
    """Make memory for a model's rows, and the most tokens of a text in it.

    Slots where the model's layers allow them, else a slower cache for each row, which knows no budget.
    """
    if not loaded.ragged:
        from langchain_darwin.inference.memory.row_caches import RowCaches

        if share != _KV_MEMORY:
            msg = (
                f"kv_memory={share:g} has no effect on {loaded.name}: its state is not counted; lower max_rows instead"
            )
            warnings.warn(msg, stacklevel=2)
        return partial(RowCaches, loaded.model, max_rows), loaded.context_length
    from langchain_darwin.inference.memory.budget import bytes_per_token, kv_budget, longest_text
    from langchain_darwin.inference.memory.kv_slots import KVSlots

    budget = kv_budget(loaded.device, share)
    longest = longest_text(budget, bytes_per_token(loaded.model.config, loaded.dtype))
    return partial(KVSlots, loaded.model, max_rows, budget=budget), min(loaded.context_length, longest)
