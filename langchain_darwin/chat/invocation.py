"""One invocation of the chat model: a prepared search, its events passed on, its outcome made a LangChain result."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_darwin.chat.callbacks import Observer
from langchain_darwin.chat.cancellation import CancelScope, check_scopes
from langchain_darwin.chat.chunks import Pieces
from langchain_darwin.chat.plain import plain
from langchain_darwin.chat.streaming import CommittedText
from langchain_darwin.dialects.response_reader import Read, Reading
from langchain_darwin.dialects.response_reader import plain as plain_text
from langchain_darwin.errors import DarwinError, SearchCancelledError
from langchain_darwin.search.base import Beam, CycleStarted, Event, Finished, Grown, Outcome, Replaced
from langchain_darwin.search.driver.runner import Runner
from langchain_darwin.trace import TraceWriter

logger = logging.getLogger(__name__)


@dataclass
class Call:
    """One invocation under way.

    Attributes:
        runner: The search, ready to run.
        trace: File to append the trace to, or None.
        read: Takes the text of a response apart.
        tell: Tells LangChain's handlers of every event; awaited if need be. What it raises ends the call.
        observers: Called with every event, in order, and awaited if need be; one that raises is logged and left
            out from then on.
        n: How many answers to return, best first.
        scopes: What the search is cancelled with.
        outcome: What the search found, once it has ended.
    """

    runner: Runner
    trace: str | Path | None = None
    read: Read = plain_text
    tell: Observer = lambda _event: None
    observers: list[Observer] = field(default_factory=list)
    n: int = 1
    scopes: Sequence[CancelScope] = ()
    outcome: Outcome | None = None
    _seen: list[Event] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=lambda: {"rounds": 0, "cycles": 0, "replacements": 0})
    _started: float = field(default_factory=time.monotonic)

    def invoke(self) -> ChatResult:
        """Run the search to its end."""
        with closing(self._events()) as events:
            for _ in events:
                pass
        return self.result()

    async def ainvoke(self) -> ChatResult:
        """Run the search to its end without blocking."""
        async with aclosing(self._aevents()) as events:
            async for _ in events:
                pass
        return self.result()

    def stream(self) -> Generator[ChatGenerationChunk, None, None]:
        """Run the search; the text that is certain as it becomes so, then the rest, then the facts."""
        committed, pieces = self._committed(), Pieces(self.read)
        with closing(self._events()) as events:
            for event in events:
                if committed.feed(event):
                    yield from pieces.feed(committed.committed)
        yield from self._last_chunks(pieces)

    async def astream(self) -> AsyncGenerator[ChatGenerationChunk, None]:
        """Like `stream`, without blocking."""
        committed, pieces = self._committed(), Pieces(self.read)
        async with aclosing(self._aevents()) as events:
            async for event in events:
                if committed.feed(event):
                    for chunk in pieces.feed(committed.committed):
                        yield chunk
        for chunk in self._last_chunks(pieces):
            yield chunk

    def _committed(self) -> CommittedText:
        self.runner.watch = True
        return CommittedText(self.runner.task.text, self.runner.task.sampling.stop)

    def _last_chunks(self, pieces: Pieces) -> Iterator[ChatGenerationChunk]:
        message = cast("AIMessage", self.result().generations[0].message)
        yield from pieces.rest(message)
        last = AIMessageChunk(
            content="",
            response_metadata=message.response_metadata,
            usage_metadata=message.usage_metadata,
            chunk_position="last",
        )
        yield ChatGenerationChunk(message=last)

    def _record(self, path: str | Path | None) -> TraceWriter:
        """The trace's writer; None as path only collects the records."""
        runner = self.runner
        return TraceWriter(path, runner.task, runner.search, model=runner.policy.name, reward=runner.reward.name)

    def _events(self) -> Generator[Event, None, None]:
        """The search's events, after the observers and the trace have seen them."""
        trace = self._record(self.trace) if self.trace else None
        with closing(self.runner.run()) as events:
            try:
                for event in events:
                    self._note(event)
                    if trace:
                        trace.write(event)
                    self._tell(event)
                    yield event
            except (DarwinError, CancelledError) as error:
                raise self._with_findings(self._unless_cancelled(error), trace) from error.__cause__

    async def _aevents(self) -> AsyncGenerator[Event, None]:
        trace = await asyncio.to_thread(self._record, self.trace) if self.trace else None
        async with aclosing(self.runner.arun()) as events:
            try:
                async for event in events:
                    self._note(event)
                    if trace:
                        await trace.awrite(event)
                    await self._atell(event)
                    yield event
            except (DarwinError, CancelledError) as error:
                ended = self._unless_cancelled(error)
                raise await asyncio.to_thread(self._with_findings, ended, trace) from error.__cause__

    def result(self) -> ChatResult:
        """The `n` best answers, best first, with what the search found and cost."""
        if self.outcome is None:
            msg = "the search has not ended; run it to its end first"
            raise RuntimeError(msg)
        return ChatResult(generations=[self._generation(beam) for beam in self.outcome.beams[: self.n]])

    def _note(self, event: Event) -> None:
        self._seen.append(event)
        match event:
            case Grown():
                self._counts["rounds"] += not all(beam.aside for beam in event.beams)
            case CycleStarted():
                self._counts["cycles"] += 1
            case Replaced():
                self._counts["replacements"] += 1
            case Finished():
                self.outcome = event.outcome

    def _tell(self, event: Event) -> None:
        for observer in list(self.observers):
            with self._guarded(observer):
                observer(event)
        self.tell(event)

    async def _atell(self, event: Event) -> None:
        for observer in list(self.observers):
            with self._guarded(observer):
                await _awaited(observer(event))
        await _awaited(self.tell(event))

    @contextmanager
    def _guarded(self, observer: Observer) -> Iterator[None]:
        try:
            yield
        except Exception:
            logger.exception("%r raised on a search event and is left out from now on", observer)
            self.observers.remove(observer)

    def _unless_cancelled(self, error: Exception) -> DarwinError:
        """The error, or, whatever it is, that the search was cancelled if it was."""
        try:
            check_scopes(self.scopes)
        except SearchCancelledError as cancelled:
            return cancelled
        if isinstance(error, DarwinError):
            return error
        raise error

    def _with_findings(self, error: DarwinError, trace: TraceWriter | None) -> DarwinError:
        """The error with the best answer and the records so far: a failure late in a search loses nothing."""
        found = self.runner.ledger.best_so_far()
        error.best = self.runner.respond(found[0]) if found else None
        if trace is None:
            trace = self._record(None)
            for event in self._seen:
                trace.write(event)
        trace.fail(error)
        error.trace = trace.records
        return error

    def _generation(self, beam: Beam) -> ChatGeneration:
        message = self.read(self.runner.task.text(beam), True).message()
        message.usage_metadata = self._usage(beam, message.additional_kwargs.get("reasoning_content", ""))
        message.response_metadata = {
            "model_name": plain(self.runner.policy.name),
            "model_provider": "darwin",
            "finish_reason": self._finish_reason(beam, message),
            "darwin": self._facts(beam),
        }
        return ChatGeneration(message=message)

    def _finish_reason(self, beam: Beam, message: AIMessage) -> str | None:
        if self.runner.stopped:
            return self.runner.stopped
        return "tool_calls" if message.tool_calls and beam.finish == "stop" else beam.finish

    def _usage(self, beam: Beam, reasoning: str) -> UsageMetadata:
        """All policy tokens: `search` counts those of answers that were not returned."""
        ledger, prompt = self.runner.ledger, len(self.runner.task.prompt)
        read = max(ledger.prefilled, prompt)
        details: dict[str, int] = {"search": max(0, ledger.decoded - len(beam.tokens))}
        if reasoning:
            details["reasoning"] = min(len(beam.tokens), len(self.runner.task.codec.encode_text(reasoning)))
        return UsageMetadata(
            input_tokens=read,
            output_tokens=ledger.decoded,
            total_tokens=read + ledger.decoded,
            input_token_details=InputTokenDetails(cache_read=read - ledger.prefilled),
            output_token_details=cast("OutputTokenDetails", details),  # integration packages may add their own
        )

    def _facts(self, beam: Beam) -> dict[str, Any]:
        runner, ledger = self.runner, self.runner.ledger
        seed_answer = self.outcome.seed if self.outcome else None
        facts = {
            "search": type(runner.search).__name__,
            "seed": runner.task.seed,
            "reward": beam.reward,
            **_reward_parts(beam),
            "seed_answer_reward": seed_answer.reward if seed_answer else None,
            "instruction": beam.instruction,
            "complete": beam.complete,
            "stopped": runner.stopped,
            **self._counts,
            "tokens": {"prefilled": ledger.prefilled, "decoded": ledger.decoded, "reused": ledger.reused},
            "judged": ledger.judged,
            "seconds": round(time.monotonic() - self._started, 3),
        }
        return {name: plain(value) for name, value in facts.items()}


async def _awaited(told: Any) -> None:
    if inspect.isawaitable(told):
        await told


def _reward_parts(beam: Beam) -> dict[str, Any]:
    """The scores that a composed reward was made of; None for the nan of a member that failed."""
    return {"reward_parts": dict(beam.parts)} if beam.parts else {}


def response_message(beam: Beam, reading: Reading) -> AIMessage:
    """The message a reward sees; `finish_reason` is None while the text is still being written."""
    message = reading.message()
    finish = beam.finish if beam.complete else None
    message.response_metadata = {"finish_reason": finish, "tokens": len(beam.tokens), "logprob": beam.logprob}
    return message
