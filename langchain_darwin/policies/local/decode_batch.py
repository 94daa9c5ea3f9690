"""The decoding thread's side: texts join the batch, get a token a step, and leave."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from langchain_darwin.errors import DarwinError
from langchain_darwin.inference.memory.rows import Row, RowStore
from langchain_darwin.inference.out_of_memory import is_out_of_memory
from langchain_darwin.policies.base import Codec
from langchain_darwin.policies.local.drawing import Drawing, make_drawing, propose
from langchain_darwin.policies.sequences import (
    ProposalRequest,
    Submission,
    TokenSequence,
    is_gone,
    is_new,
    reject,
    resolve,
)

if TYPE_CHECKING:
    from langchain_darwin.policies.grammar.grammars import Grammars

_NEVER = float("inf")


class DecodeBatch:
    """What waits and what is live. `run` is the thread's function; all else but the properties is its own.

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
    ) -> None:
        self._grammars = grammars
        self.abandoned = False
        self.inbox = inbox
        self._make_store = make_store
        self._store: RowStore = make_store()
        self._codec = codec
        self._device = device
        self._waiting: deque[TokenSequence | ProposalRequest] = deque()
        self._live: dict[Row, TokenSequence] = {}
        self._asked: dict[Row, tuple[ProposalRequest, int]] = {}
        self._closing = False
        self._most_rows = _NEVER  # fewer after memory ran out, until the batch is empty
        self._drawing: Drawing | None = None

    @property
    def live_rows(self) -> int:
        """Texts that get a token a step."""
        return len(self._live)

    @property
    def waiting(self) -> int:
        """Texts and questions that wait for a row."""
        return len(self._waiting)

    # ---- the loop

    @torch.inference_mode()
    def run(self) -> None:
        """Decode until nobody can submit any more and all is done, or the interpreter exits."""
        while not self.abandoned:
            self._receive()
            if self._closing and not self._live and not self._waiting:
                return
            try:
                self._turn()
            except Exception as error:  # noqa: BLE001  (the thread must outlive whatever a model can raise)
                self._recover(error)

    def _receive(self) -> None:
        """Take what callers have sent; sleep only if there is nothing else to do.

        What is begun goes before what is new, and is otherwise served in turn: were all searches begun at once, each
        would have lost its place in memory by the time that its turn comes again.
        """
        idle = not self._live and not self._waiting and not self._closing
        if self.inbox.empty() and not idle:
            return
        while idle or not self.inbox.empty():
            item = self.inbox.get()
            idle = False
            if item is None:
                self._closing = True
            elif isinstance(item, ProposalRequest):
                self._waiting.append(item)
            else:
                self._waiting.extend(text for text in item.texts if not text.done)
                if not item.unfinished:
                    resolve(item.future, [text.growth() for text in item.texts])
        self._waiting = deque(sorted(self._waiting, key=is_new))

    def _turn(self) -> None:
        self._drop()
        self._admit()
        if self._asked:
            self._step_and_answer()
        elif self._live:
            drawing = self._next_drawing()
            logits = self._store.step(drawing.tokens, drawing.ids)
            self._accept([self._live[row] for row in self._store.live], drawing, logits)
        else:
            self._most_rows = _NEVER

    def _drop(self) -> None:
        """Let go of texts that are cancelled or out of time."""
        now = time.monotonic()
        for text in [*self._live.values(), *(t for t in self._waiting if isinstance(t, TokenSequence))]:
            if (text.job.deadline or _NEVER) <= now and not text.done:
                text.finish, text.done = "timeout", True
                self._count_down(text)
        gone = [row for row, text in self._live.items() if text.done or text.submission.future.done()]
        self._close(gone)
        if self._waiting:
            self._waiting = deque(each for each in self._waiting if not is_gone(each))

    # ---- joining and leaving

    def _admit(self) -> None:
        """Open rows for what waits, as far as rows are free."""
        while self._waiting:
            free = int(min(self._store.free(), self._most_rows - len(self._live) - len(self._asked)))
            if free < 1:
                return
            first = self._waiting[0]
            if isinstance(first, ProposalRequest):
                self._ask(first, free)
                continue
            texts: list[TokenSequence] = []
            while self._waiting and isinstance(text := self._waiting[0], TokenSequence) and len(texts) < free:
                texts.append(text)
                self._waiting.popleft()
            if not self._open(texts):
                return

    def _open(self, texts: list[TokenSequence]) -> bool:
        """Make texts live, draw first tokens of those not behind; False if memory is short until others have left."""
        texts = [text for text in texts if self._match(text)]
        if not texts:
            return True
        try:
            rows, logits = self._store.open([(*text.job.prefix, *text.new) for text in texts], may_lag=True)
        except Exception as error:  # noqa: BLE001
            if not is_out_of_memory(error):
                self._fail({text.submission for text in texts}, error)
                return True
            return self._wait_for_memory(texts, error)
        for text, row in zip(texts, rows, strict=True):
            text.row = row
            text.cost = text.cost or (row.prefilled, row.reused)
            self._live[row] = text
        self._drawing = None
        ahead = [text for text, row in zip(texts, rows, strict=True) if not row.behind]
        if ahead:
            self._accept(ahead, make_drawing(ahead, self._codec.end_ids, self._device), logits)
        return True

    def _match(self, text: TokenSequence) -> bool:
        """Bring the text's grammar to where the text stands; False if the text does not follow it."""
        if text.grammar is None:
            return True
        try:
            response = (*text.job.prefix[text.job.start :], *text.new)
            text.matcher = self._grammars().matcher(text.grammar, response)
        except DarwinError as error:
            self._fail({text.submission}, error)
            return False
        return True

    def _wait_for_memory(self, texts: list[TokenSequence], error: Exception) -> bool:
        """Put texts back until rows are closed, or try with fewer; give up only on a text that is alone."""
        if not self._store.live and len(texts) == self._most_rows == 1:
            self._fail({texts[0].submission}, error)
            return True
        self._waiting.extendleft(reversed(texts))
        if self._store.live:
            self._most_rows = max(1, len(self._live))
            return False
        self._store = self._make_store()
        self._most_rows = max(1, len(texts) // 2)
        return True

    def _close(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        self._store.close(rows)
        for row in rows:
            self._live.pop(row).row = None
        self._drawing = None

    def _count_down(self, text: TokenSequence) -> None:
        submission = text.submission
        submission.unfinished -= 1
        if not submission.unfinished:
            resolve(submission.future, [each.growth() for each in submission.texts])

    # ---- drawing

    def _next_drawing(self) -> Drawing:
        """The drawing of all live texts, in the store's order."""
        if self._drawing is None:
            texts = [self._live[row] for row in self._store.live if row in self._live]
            self._drawing = make_drawing(texts, self._codec.end_ids, self._device)
        return self._drawing

    def _accept(self, texts: list[TokenSequence], drawing: Drawing, logits: torch.Tensor) -> None:
        """Draw a token for each text, append it, and close the texts that end with it."""
        tokens, logprobs = drawing.draw(texts, logits, self._allowed(texts))
        drawn = zip(texts, tokens, logprobs, strict=True)
        taken = [text for text, token, logprob in drawn if text.take(token, logprob, self._codec)]
        ended = [text.row for text in taken if text.row is not None]
        self._tell(texts)
        for row in ended:
            self._count_down(self._live[row])
        self._close(ended)

    def _allowed(self, texts: list[TokenSequence]) -> torch.Tensor | None:
        """What the texts' grammars allow, as `Grammars.allowed` gives it; None if no text has one."""
        matchers = [text.matcher for text in texts]
        return self._grammars().allowed(matchers).to(self._device) if any(matchers) else None

    def _tell(self, texts: list[TokenSequence]) -> None:
        for text in texts:
            if text.submission.on_tokens is None or text.submission.future.done():
                continue
            try:
                text.submission.on_tokens(text.index, text.new[-1:])
            except Exception as error:  # noqa: BLE001  (a caller's function)
                reject(text.submission.future, "on_tokens raised", error)

    # ---- proposals

    def _ask(self, question: ProposalRequest, free: int) -> None:
        """Open as many prefixes of a question as there are rows; answer those that need not wait for the next step."""
        first = question.asked
        try:
            rows, logits = self._store.open(question.prefixes[first : first + free], may_lag=bool(self._live))
        except Exception as error:  # noqa: BLE001
            reject(question.future, "the model failed", error)
            self._waiting.popleft()
            return
        self._drawing = None
        question.asked += len(rows)
        if question.asked == len(question.prefixes):
            self._waiting.popleft()
        self._asked |= {row: (question, place) for place, row in enumerate(rows, start=first)}
        if ahead := [row for row in rows if not row.behind]:
            self._answer(ahead, logits)

    def _answer(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Answer the questions of `rows`, which end with it; logits `[rows, vocabulary]`."""
        self._store.close(rows)
        self._drawing = None
        asked = [self._asked.pop(row) for row in rows]
        for question in dict.fromkeys(question for question, _ in asked):
            own = [i for i, (other, _) in enumerate(asked) if other is question]
            proposals = propose([rows[i] for i in own], logits[own], question.k, question.among)
            question.answer({asked[i][1]: proposal for i, proposal in zip(own, proposals, strict=True)})

    def _step_and_answer(self) -> None:
        """A step of the texts in which the rows that questions wait for take part."""
        live = list(self._store.live)
        newest = {row: question.prefixes[place][-1] for row, (question, place) in self._asked.items()}
        ids = [newest.get(row, 0) for row in live]
        tokens = torch.tensor(ids, device=self._device)
        ours = [i for i, row in enumerate(live) if row in self._live]
        theirs = [i for i, row in enumerate(live) if row in newest]
        drawing = self._next_drawing() if ours else None
        if drawing is not None:
            tokens[ours] = drawing.tokens
            for i, token in zip(ours, drawing.ids, strict=True):
                ids[i] = token
        logits = self._store.step(tokens, ids)
        self._answer([live[i] for i in theirs], logits[theirs])
        if drawing is not None:
            self._accept([self._live[live[i]] for i in ours], drawing, logits[ours])

    # ---- failures

    def _recover(self, error: Exception) -> None:
        """After a failed step: what is live fails, or waits if only memory was short; the store starts anew."""
        texts = list(self._live.values())
        questions = list(dict.fromkeys(question for question, _ in self._asked.values()))
        self._live, self._asked = {}, {}
        self._drawing = None
        for text in texts:
            text.row = None
        self._store = self._make_store()
        if is_out_of_memory(error) and len(texts) + len(questions) > 1:
            for question in questions:
                question.begin_again()
            self._waiting.extendleft(each for each in questions if each not in self._waiting)
            self._waiting.extendleft(reversed(texts))
            self._most_rows = max(1, len(texts) // 2)
            return
        self._fail({text.submission for text in texts}, error)
        for question in questions:
            reject(question.future, "the model failed", error)

    def _fail(self, submissions: set[Submission], error: Exception) -> None:
        for submission in submissions:
            reject(submission.future, "the model failed while decoding", error)
