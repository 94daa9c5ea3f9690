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
from langchain_darwin.policies.local.decode_batch import DecodeBatch
from langchain_darwin.policies.sequences import ProposalRequest, Submission, open_submission

if TYPE_CHECKING:
    from langchain_darwin.policies.grammar.grammars import Grammars
    from langchain_darwin.policies.grammar.matcher import CompiledGrammar

_EXIT_PATIENCE = 30.0  # seconds that the interpreter waits for the step under way


class DecodeLoop:
    """The callers' side of the decoding thread, which ends when this object is gone and its work is done."""

    def __init__(
        self,
        make_store: Callable[[], RowStore],
        codec: Codec,
        context_length: int,
        device: torch.device,
        make_grammars: Callable[[], Grammars],
    ) -> None:
        """Start the thread.

        Args:
            make_store: A fresh, empty store; called again after a failure that leaves the old one in doubt.
            codec: The model's tokenizer, for stop strings.
            context_length: Most tokens of a text.
            device: Where the model is.
            make_grammars: What compiles constraints; called at the first one.
        """
        self._grammars = make_grammars
        self._inbox: queue.SimpleQueue[Submission | ProposalRequest | None] = queue.SimpleQueue()
        self._context_length = context_length
        self._codec = codec
        self._batch = batch = DecodeBatch(make_store, codec, device, self._inbox, self._grammars)
        thread = threading.Thread(target=batch.run, name="langchain-darwin-decode", daemon=True)
        weakref.finalize(self, self._inbox.put, None).atexit = False
        _batches.add(batch)
        _threads.add(thread)
        thread.start()

    @property
    def live_rows(self) -> int:
        """Texts in the decode batch now."""
        return self._batch.live_rows

    @property
    def waiting(self) -> int:
        """What waits for a row now, or has not been looked at yet."""
        return self._batch.waiting + self._inbox.qsize()

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
        submission.unfinished = sum(not text.done for text in submission.texts)
        self._inbox.put(submission)
        return submission.future

    def propose(
        self, prefixes: Sequence[tuple[int, ...]], k: int, among: Sequence[int] | None
    ) -> Future[list[Proposal]]:
        """The likeliest next tokens; see `Policy.propose`."""
        question = ProposalRequest(Future(), prefixes, k, among)
        if prefixes:
            self._inbox.put(question)
        else:
            question.answer({})
        return question.future


_batches: weakref.WeakSet[DecodeBatch] = weakref.WeakSet()
_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Let no thread run native code while the interpreter is taken down: that would abort the process.

    A thread may outlive its batch by the time that it takes to free the batch's tensors.
    """
    for batch in list(_batches):
        batch.abandoned = True
        batch.inbox.put(None)
    for thread in list(_threads):
        thread.join(_EXIT_PATIENCE)
