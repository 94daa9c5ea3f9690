"""One thread that decodes the texts of all callers in one batch.

A text joins the batch when a row is free, gets one token a step, and leaves when it ends. The thread owns the
model and the row store; callers reach it through a queue and wait on futures.
"""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

import torch

from langchain_darwin.inference.memory.rows import RowStore
from langchain_darwin.policies.base import Codec, Constraint, Growth, Job, OnTokens, Proposal
from langchain_darwin.policies.local.engine import Engine
from langchain_darwin.policies.local.proposals import ProposalRequest
from langchain_darwin.policies.sequences import Submission, open_submission
from langchain_darwin.runtime.forks import PerProcess, ProcessBound

if TYPE_CHECKING:
    from langchain_darwin.policies.grammar.grammars import Grammars
    from langchain_darwin.policies.grammar.matcher import CompiledGrammar

_EXIT_PATIENCE = 30.0  # seconds that the interpreter waits for the step under way


class DecodeLoop(ProcessBound):
    """The callers' side of the decoding thread, which ends when this object is gone and its work is done."""

    def __init__(
        self,
        make_store: Callable[[], RowStore],
        codec: Codec,
        context_length: int,
        device: torch.device,
        make_grammars: Callable[[], Grammars],
        name: str = "the model",
    ) -> None:
        """Start the thread.

        Args:
            make_store: A fresh, empty store; called again after a failure that leaves the old one in doubt.
            codec: The model's tokenizer, for stop strings.
            context_length: Most tokens of a text.
            device: Where the model is.
            make_grammars: What compiles constraints; called at the first one.
            name: The model's and its dtype, for errors.
        """
        super().__init__()
        self._grammars = make_grammars
        self._inbox: queue.SimpleQueue[Submission | ProposalRequest | None] = queue.SimpleQueue()
        self._context_length = context_length
        self._codec = codec
        self._engine = engine = Engine(make_store, codec, device, self._inbox, self._grammars, name)
        thread = threading.Thread(target=engine.run, name="langchain-darwin-decode", daemon=True)
        weakref.finalize(self, self._inbox.put, None).atexit = False
        _process.get().engines.add(engine)
        _process.get().threads.add(thread)
        thread.start()

    @property
    def live_rows(self) -> int:
        """Texts in the decode batch now."""
        return self._engine.live_rows

    @property
    def longest_text(self) -> int:
        """Most tokens of a text, by the model's context and by the memory for it."""
        return self._context_length

    @property
    def waiting(self) -> int:
        """Number of requests that wait for a row, or have not been received yet."""
        return self._engine.waiting + self._inbox.qsize()

    def compile(self, constraint: Constraint) -> CompiledGrammar:
        """A constraint's grammar; a new one takes from milliseconds to seconds, a known one none.

        Raises:
            InvalidRequestError: It cannot be read.
            MissingDependencyError: xgrammar is not installed.
        """
        return self._grammars().compile(constraint)

    def submit(self, jobs: Sequence[Job], on_tokens: OnTokens | None) -> Future[list[Growth]]:
        """Continue each job; see `Policy.submit`."""
        submission = open_submission(jobs, on_tokens, self._context_length, self._codec, self.compile)
        self._inbox.put(submission)
        return submission.future

    def propose(
        self, prefixes: Sequence[tuple[int, ...]], k: int, among: Sequence[int] | None
    ) -> Future[list[Proposal]]:
        """The likeliest next tokens; see `Policy.propose`."""
        request = ProposalRequest(Future(), prefixes, k, among)
        self._inbox.put(request)
        return request.future


class _Running:
    """The engines and threads of one process."""

    def __init__(self) -> None:
        self.engines: weakref.WeakSet[Engine] = weakref.WeakSet()
        self.threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


_process = PerProcess(_Running)


@atexit.register
def _stop_all() -> None:
    """Let no thread run native code while the interpreter is taken down: that would abort the process.

    A thread may outlive its engine by the time that it takes to free the batch's tensors.
    """
    running = _process.get()
    for engine in list(running.engines):
        engine.abandoned = True
        engine.inbox.put(None)
    for thread in list(running.threads):
        thread.join(_EXIT_PATIENCE)
