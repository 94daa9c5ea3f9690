"""The decoding thread: receives requests, schedules them, gives each live row a token a step, and delivers."""

from __future__ import annotations

import math
import queue
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from langchain_darwin.errors import UnsupportedModelError
from langchain_darwin.inference.memory.rows import RowStore
from langchain_darwin.inference.out_of_memory import is_out_of_memory
from langchain_darwin.policies.base import Codec
from langchain_darwin.policies.local.dead_device import dead_device_error, is_dead_device
from langchain_darwin.policies.local.live_rows import LiveRows, Request
from langchain_darwin.policies.local.proposals import ProposalRequest, ProposedPrefix
from langchain_darwin.policies.local.sampler import Cursor, Sampler
from langchain_darwin.policies.local.scheduler import Scheduler
from langchain_darwin.policies.sequences import Submission, TokenSequence

if TYPE_CHECKING:
    from langchain_darwin.policies.grammar.grammars import Grammars


class Engine:
    """Decodes the texts of all callers in one batch. `run` is the thread's function; all else is its own.

    A failure of one text (its grammar, its caller's function, its numbers) fails its submission alone.

    Attributes:
        inbox: What callers send; None once nobody can submit any more.
        abandoned: Set to have the thread end after the step under way.
    """

    def __init__(
        self,
        make_store: Callable[[], RowStore],
        codec: Codec,
        device: torch.device,
        inbox: queue.SimpleQueue[Submission | ProposalRequest | None],
        grammars: Callable[[], Grammars],
        name: str,
    ) -> None:
        """Prepare to decode; arguments as of `DecodeLoop`."""
        self.inbox = inbox
        self.abandoned = False
        self._codec = codec
        self._device = device
        self._grammars = grammars
        self._name = name
        self._scheduler: Scheduler[Request] = Scheduler()
        self._rows = LiveRows(make_store)
        self._sampler = Sampler(sorted(codec.end_ids), device)
        self._closing = False
        self._dead: Exception | None = None

    @property
    def live_rows(self) -> int:
        """Requests that take part in the next step."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Requests that wait for a row."""
        return len(self._scheduler)

    @torch.inference_mode()
    def run(self) -> None:
        """Decode until nobody can submit any more and all is done, or the interpreter exits."""
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)  # kernels that ask for the current device are launched there
        while not self.abandoned:
            self._receive()
            if self._closing and not self.live_rows and not self.waiting:
                return
            try:
                self.step()
            except Exception as error:  # noqa: BLE001  (the thread must outlive whatever a model can raise)
                self._recover(error)

    def step(self) -> None:
        """Let waiting requests join the batch, and give each live text a token."""
        self._drop()
        self._admit()
        if not self._rows:
            return
        cursor = self._sampler.cursor(self._rows)
        logits = self._rows.step(cursor.tokens, cursor.ids)
        self._deliver(self._rows.requests, cursor, logits)
        self._scheduler.stepped()

    # ---- receive and schedule

    def _receive(self) -> None:
        """Take what callers have sent; sleep only if there is nothing else to do."""
        idle = not self.live_rows and not self.waiting and not self._closing
        while idle or not self.inbox.empty():
            idle = False
            item = self.inbox.get()
            if item is None:
                self._closing = True
            elif isinstance(item, ProposalRequest):
                self._add(item.parts())
            else:
                item.deliver()
                self._add([text for text in item.texts if not text.done])

    def _add(self, requests: Sequence[Request]) -> None:
        if self._dead is not None:
            _fail(requests, self._dead)
        elif requests:
            self._scheduler.add(requests, len(self._rows))

    def _drop(self) -> None:
        """Let go of requests that are cancelled or out of time."""
        now = time.monotonic()
        for request in (*self._rows.requests, *self._scheduler.waiting):
            if isinstance(request, TokenSequence):
                request.expire(now)
        self._rows.close([request for request in self._rows.requests if request.gone])
        self._scheduler.drop(lambda request: request.gone)

    def _admit(self) -> None:
        """Open rows for what waits, as far as rows are free and live texts need not wait still for long."""
        admission = self._scheduler.admit(self._rows.free(self._scheduler.waiting), len(self._rows))
        if admission.whole:
            self._open(admission.whole)
        if admission.ahead is not None:
            self._read_ahead(admission.ahead, admission.upto)

    def _open(self, requests: Sequence[Request]) -> None:
        """Make requests live, and deliver the first tokens of those that need no step for them."""
        requests = [request for request in requests if self._match(request)]
        if not requests:
            return
        try:
            ahead, logits = self._rows.open(requests)
        except Exception as error:  # noqa: BLE001
            self._not_opened(requests, error)
            return
        if ahead:
            self._deliver(ahead, self._sampler.cursor_of(ahead), logits)

    def _match(self, request: Request) -> bool:
        """Bring a text's grammar to its newest token; False if the text does not follow it."""
        if not isinstance(request, TokenSequence) or request.grammar is None:
            return True
        try:
            request.matcher = self._grammars().matcher(request.grammar, request.response)
        except Exception as error:  # noqa: BLE001
            request.fail(error)
            return False
        return True

    def _read_ahead(self, request: Request, upto: int) -> None:
        """Compute a part of a long text that waits; a failure is left to its opening."""
        try:
            self._rows.read_ahead(request, upto)
        except Exception:  # noqa: BLE001
            request.read = request.length - 1

    # ---- deliver

    def _deliver(self, requests: Sequence[Request], cursor: Cursor, logits: torch.Tensor) -> None:
        """Draw the next token of each request, and deliver the results."""
        tokens, logprobs = cursor.draw(logits, self._allowed(requests))
        ended = []
        for i, request in enumerate(requests):
            try:
                if self._advance(request, i, (tokens[i], logprobs[i]), cursor, logits):
                    ended.append(request)
            except Exception as error:  # noqa: BLE001
                request.fail(error)
                ended.append(request)
        self._rows.close(ended)

    def _advance(
        self, request: Request, i: int, drawn: tuple[int, float], cursor: Cursor, logits: torch.Tensor
    ) -> bool:
        """Give row `i` of a step what it asked for; return True if it leaves the batch."""
        token, logprob = drawn
        if not math.isfinite(logprob):
            raise UnsupportedModelError(self._not_a_number())
        if isinstance(request, ProposedPrefix):
            request.answer(logits[i])
            return True
        if request.gone:
            return True
        if request.matcher is not None:
            kept = request.matcher.accept(token, request.room - len(request.new) - 1)
            if kept != token:  # the text must be closed now to end in time
                cursor.replace(i, kept)
                token, logprob = kept, float(logits[i].log_softmax(dim=-1)[kept])
        ends = request.take(token, logprob, self._codec)
        if _tell(request) and ends:
            request.submission.deliver()
        return ends

    def _allowed(self, requests: Sequence[Request]) -> torch.Tensor | None:
        """Return the tokens that the texts' grammars allow, as `sampling.draw` takes it; None if no text has one."""
        matchers = [request.matcher if isinstance(request, TokenSequence) else None for request in requests]
        if not any(matchers):
            return None
        bits = self._grammars().allowed([None] * len(requests))
        for row, (request, matcher) in enumerate(zip(requests, matchers, strict=True)):
            try:
                if matcher is not None:
                    matcher.fill(bits, row)
            except Exception as error:  # noqa: BLE001
                request.fail(error)
        return bits.to(self._device)

    # ---- failures

    def _not_opened(self, requests: Sequence[Request], error: Exception) -> None:
        """After requests could not be opened together: wait for memory, or find the one that is at fault."""
        if is_dead_device(error):
            raise error
        if is_out_of_memory(error):
            self._retry_smaller(requests, error)
        elif len(requests) > 1:
            for request in requests:
                self._open([request])
        else:
            _fail(requests, error)

    def _retry_smaller(self, requests: Sequence[Request], error: Exception) -> None:
        """Let requests for which memory ran out wait until there are fewer rows; fail what is alone already."""
        if not self._rows:
            self._rows.reset()
        if not self._scheduler.put_back(requests, len(self._rows)):
            _fail(requests, error)

    def _recover(self, error: Exception) -> None:
        """After a failed step: what is live fails, or waits if only memory was short; the store starts anew."""
        lost = [request for request in self._rows.reset() if not request.gone]
        if is_dead_device(error):
            self._dead = dead_device_error(error, self._device)
            _fail([*lost, *self._scheduler.waiting], self._dead)
            self._scheduler.drop(lambda _: True)
        elif is_out_of_memory(error) and lost:
            self._retry_smaller(lost, error)
        else:
            _fail(lost, error)

    def _not_a_number(self) -> str:
        return (
            f"{self._name} gives numbers that are not finite (NaN or infinite) for this text; "
            "pass dtype='bfloat16' or dtype='float32', or check the files of the model"
        )


def _fail(requests: Sequence[Request], error: Exception) -> None:
    for request in requests:
        request.fail(error)


def _tell(text: TokenSequence) -> bool:
    """Tell the caller of a text's newest token; False if its function raised."""
    if text.submission.on_tokens is None:
        return True
    try:
        text.submission.on_tokens(text.index, text.new[-1:])
    except Exception as error:  # noqa: BLE001  (a caller's function)
        text.fail(error, "on_tokens raised")
        return False
    return True
