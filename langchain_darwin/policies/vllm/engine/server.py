"""vLLM's engine as a backend: started at first use, started again if it died, with errors that name the way out."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain_darwin.errors import PolicyError
from langchain_darwin.policies.vllm.backend import Take
from langchain_darwin.policies.vllm.engine.requests import read_output, sampling_arguments
from langchain_darwin.policies.vllm.refusals import bad_request
from langchain_darwin.policies.vllm.requests import Body, Piece
from langchain_darwin.runtime.http_retries import BrokenAnswer

_T = TypeVar("_T")

_PASSING = {"EngineDeadError", "RetryableRequestError", "GracefulHTTPError"}
_REFUSED = {"VLLMClientError", "ValueError", "TypeError"}
_WATCH_SECONDS = 1.0  # between two checks that the engine lives
_request_numbers = itertools.count()


@dataclass(eq=False)
class RunningEngine:
    """A running engine.

    Attributes:
        llm: vLLM's `AsyncLLM`.
        make_params: Makes `SamplingParams` of their arguments; its second argument says if each token is sent at once.
        lora: The `LoRARequest` of every request, or None.
        root: The folder or hub id of its model.
        close: Ends it. Called once; may take seconds.
    """

    llm: Any
    make_params: Callable[[dict[str, Any], bool], Any]
    lora: Any
    root: str
    close: Callable[[], None] = field(repr=False)

    @property
    def is_dead(self) -> bool:
        """True if its process died."""
        return bool(self.llm.errored)

    @property
    def facts(self) -> dict[str, Any]:
        """The facts that a server tells of its model, and `draws_by_position`.

        vLLM's second model runner draws each token by a hash of the request's seed and of the token's index. The
        first one has a random stream that starts again with each request.
        """
        config = self.llm.vllm_config
        length = int(config.model_config.max_model_len)
        return {"root": self.root, "max_model_len": length, "draws_by_position": bool(config.use_v2_model_runner)}

    def generate(self, body: Body, *, at_once: bool) -> AsyncGenerator[Any]:
        """Begin a request. Closing the generator ends it."""
        params = self.make_params(sampling_arguments(body), at_once)
        prompt = {"type": "token", "prompt_token_ids": body["prompt"]}
        generator: AsyncGenerator[Any] = self.llm.generate(
            prompt, params, f"darwin-{next(_request_numbers)}", lora_request=self.lora
        )
        return generator


class EngineServer:
    """The engine of one model. All of it but the constructor runs on one event loop; see `Backend`."""

    remedy = "what vLLM said is above"

    def __init__(self, name: str, start: Callable[[], RunningEngine]) -> None:
        """Start nothing yet.

        Args:
            name: The model's name.
            start: Starts the engine; called in a thread of its own, and again after the engine died.
        """
        self.name = name
        self.url = f"vLLM's engine for {name!r}"
        self.asking = 0
        self.failures = 0
        self.down_until = 0.0
        self._start = start
        self._task: asyncio.Task[RunningEngine] | None = None

    async def aclose(self) -> None:
        """End the engine; a new one is started if it is asked again."""
        task, self._task = self._task, None
        if task is not None and (engine := _result(task)) is not None:
            await _in_thread(engine.close)

    async def models(self) -> list[dict[str, Any]]:
        """Return the facts of its one model, as of `RunningEngine.facts`.

        Raises:
            DarwinError: The engine cannot be started.
        """
        engine = await self._running()
        return [{"id": self.name, **engine.facts}]

    async def complete(self, body: Body, take: Take, *, at_once: bool) -> None:
        """Ask for a completion and pass its pieces on; see `Backend.complete`.

        Raises:
            BrokenAnswer: The engine died, or cannot take the request now.
            DarwinError: It refused the request, failed, or cannot be started.
        """
        engine = await self._running()
        self.asking += 1
        try:
            await _unless_dead(engine, _stream(engine, body, take, at_once=at_once))
        except Exception as error:
            raise self._explained(error) from error
        finally:
            self.asking -= 1

    async def _running(self) -> RunningEngine:
        """Return the engine, started if need be. Leaving before it has started does not end the start."""
        task = self._task
        if task is None or (task.done() and ((last := _result(task)) is None or last.is_dead)):
            self._task = task = asyncio.create_task(self._started(task))
            task.add_done_callback(_result)  # so that an error that nobody waits for is no warning
        return await asyncio.shield(task)

    async def _started(self, before: asyncio.Task[RunningEngine] | None) -> RunningEngine:
        if before is not None and (dead := _result(before)) is not None:
            await _in_thread(dead.close)
        return await _in_thread(self._start)

    def _explained(self, error: Exception) -> Exception:
        """Return the error as one of ours. vLLM's classes are known by name, since they move between its modules."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        said = f"{type(error).__name__}: {error}"
        if kinds & _PASSING:
            return BrokenAnswer(said)
        if kinds & _REFUSED:
            return bad_request(str(error), f"{self.url} refused the request: {error}")
        if isinstance(error, BrokenAnswer):
            return error
        return PolicyError(f"{self.url} failed: {said}; {self.remedy}")


async def _unless_dead(engine: RunningEngine, work: Coroutine[Any, Any, None]) -> None:
    """Do the work, unless the engine dies. vLLM leaves requests waiting for ever whose engine was killed."""
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_WATCH_SECONDS)
            if engine.is_dead and not task.done():
                msg = "its process died"
                raise BrokenAnswer(msg)
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _stream(engine: RunningEngine, body: Body, take: Take, *, at_once: bool) -> None:
    piece = Piece()
    async with contextlib.aclosing(engine.generate(body, at_once=at_once)) as outputs:
        async for output in outputs:
            piece = read_output(output)
            if not take(piece) and not piece.ended:
                return
    if not piece.ended:
        msg = f"broke off before {body['max_tokens']} tokens"
        raise BrokenAnswer(msg)


def _result(task: asyncio.Task[RunningEngine]) -> RunningEngine | None:
    """Return the engine of a start that succeeded, else None."""
    if not task.done() or task.cancelled() or task.exception() is not None:
        return None
    return task.result()


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Return what `work` returns, called in a thread that the interpreter does not wait for when it exits."""
    outcome: Future[_T] = Future()

    def run() -> None:
        if not outcome.set_running_or_notify_cancel():
            return
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001  (it is raised where the outcome is awaited)
            outcome.set_exception(error)

    threading.Thread(target=run, name="langchain-darwin-engine", daemon=True).start()
    return await asyncio.wrap_future(outcome)
