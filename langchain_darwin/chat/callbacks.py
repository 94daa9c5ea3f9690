"""Tells LangChain and LangGraph of a search under way, and gives a reward's own models their place in traces.

Every event becomes a custom event named `darwin` with a small JSON-able dict. It reaches `on_custom_event` of callback
handlers, `on_custom_event` of `astream_events`, and `{"darwin": ...}` in LangGraph's `custom` stream mode.
"""

from __future__ import annotations

import contextvars
import inspect
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    CallbackManager,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, run_in_executor, var_child_runnable_config

from langchain_darwin.chat.plain import plain
from langchain_darwin.search.base import (
    Archived,
    Beam,
    CycleStarted,
    Event,
    Finished,
    Grown,
    Mutated,
    Remark,
    Replaced,
    Scored,
    Started,
)

EVENT_NAME = "darwin"
_NO_STREAM = "nostream"  # langgraph.constants.TAG_NOSTREAM: keeps a judge's tokens out of an agent's answer

Observer: TypeAlias = Callable[[Event], Awaitable[None] | None]
Run: TypeAlias = CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun
_Listener: TypeAlias = Callable[[dict[str, Any]], Any]


def stream_run(model: BaseChatModel, config: RunnableConfig | None, *, blocking: bool) -> tuple[Run, RunnableConfig]:
    """The run that a stream of the model will be, and the config that makes LangChain begin just that run.

    LangChain hands no run to `_stream`. So the handlers of config, model and environment are gathered here, once,
    and LangChain finds them in the config.
    """
    config = ensure_config(config)
    ident = config["run_id"] = config.get("run_id") or uuid.uuid4()
    gather: Any = CallbackManager.configure if blocking else AsyncCallbackManager.configure
    manager = gather(
        config.get("callbacks"),
        model.callbacks,
        model.verbose,
        config.get("tags"),
        model.tags,
        config.get("metadata"),
        model.metadata,
    )
    config["callbacks"] = manager
    kind = CallbackManagerForLLMRun if blocking else AsyncCallbackManagerForLLMRun
    names = ("handlers", "inheritable_handlers", "tags", "inheritable_tags", "metadata", "inheritable_metadata")
    facts = {name: getattr(manager, name) for name in names}
    return kind(run_id=ident, parent_run_id=manager.parent_run_id, **facts), config


def progress(run: Run | None, *, blocking: bool) -> Observer:
    """An observer that tells callbacks, and LangGraph's `custom` stream if there is one.

    Unless `blocking`, it may return an awaitable. If nothing is known of this run (None), the run around it, if
    there is one, is told. A handler that raises keeps no event from the others; the error of one with `raise_error`
    is raised when all have been told.
    """
    write = _stream_writer()
    listeners = _listeners(run, blocking=blocking)

    def observe(event: Event) -> Awaitable[None] | None:
        data = summary(event)
        if data is None:
            return None
        write(data)
        if not blocking:
            return _atell(listeners, data)
        _tell(listeners, data)
        return None

    return observe


def _listeners(run: Run | None, *, blocking: bool) -> list[_Listener]:
    """One function per handler, so that each is told by itself."""
    around: Any = run or (var_child_runnable_config.get() or {}).get("callbacks")
    ident = getattr(around, "run_id", None) or getattr(around, "parent_run_id", None)
    if ident is None:
        return []
    return [_listener(handler, around, ident, blocking=blocking) for handler in around.handlers]


def _listener(handler: Any, around: Any, ident: uuid.UUID, *, blocking: bool) -> _Listener:
    """Return the function that reports to one handler, in a thread if it would block an event loop.

    The threads are `run_in_executor`'s of LangChain's configs, which turns a StopIteration into a RuntimeError. Its
    callback managers do not, and nobody who awaits a future is ever told of a StopIteration.
    """
    awaited = not blocking and inspect.iscoroutinefunction(handler.on_custom_event)
    kind = AsyncCallbackManager if awaited else CallbackManager
    manager: Any = kind([handler], parent_run_id=ident, tags=around.tags, metadata=around.metadata)
    tell = partial(manager.on_custom_event, EVENT_NAME, run_id=ident)
    return tell if blocking or awaited or handler.run_inline else partial(run_in_executor, None, tell)


def _tell(listeners: Sequence[_Listener], data: dict[str, Any]) -> None:
    failures = []
    for listen in listeners:
        try:
            listen(data)
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
    if failures:
        raise failures[0]


async def _atell(listeners: Sequence[_Listener], data: dict[str, Any]) -> None:
    failures = []
    for listen in listeners:
        try:
            told = listen(data)
            if inspect.isawaitable(told):
                await told
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
    if failures:
        raise failures[0]


def reward_context(run: Run | None) -> contextvars.Context:
    """The context in which a reward runs: its own LangChain calls are children of this run, and not streamed."""
    config: RunnableConfig = {**(var_child_runnable_config.get() or {})}
    config["tags"] = [*config.get("tags", []), _NO_STREAM]
    if run is not None:
        kind = CallbackManager if isinstance(run, CallbackManagerForLLMRun) else AsyncCallbackManager
        handlers = run.inheritable_handlers
        config["callbacks"] = kind(
            handlers,
            inheritable_handlers=handlers,
            parent_run_id=run.run_id,
            tags=run.inheritable_tags,
            inheritable_tags=run.inheritable_tags,
        )
    context = contextvars.copy_context()
    context.run(var_child_runnable_config.set, config)
    return context


def _tell_nobody(data: Mapping[str, Any]) -> None:
    """Nobody listens."""
    del data


def _stream_writer() -> Callable[[Mapping[str, Any]], None]:
    """LangGraph's writer for `stream_mode="custom"`, or one that does nothing outside a graph."""
    if "langgraph" not in sys.modules:
        return _tell_nobody
    from langgraph.config import get_stream_writer

    try:
        writer = get_stream_writer()
    except (RuntimeError, KeyError):  # not called from a graph's node
        return _tell_nobody
    return lambda data: writer({EVENT_NAME: data})


def summary(event: Event) -> dict[str, Any] | None:
    """An event as a small dict of built-in types without token ids, or None for those of no interest to people."""
    facts = _facts(event)
    return None if facts is None else {name: plain(value) for name, value in facts.items()}


def _facts(event: Event) -> dict[str, Any] | None:  # noqa: PLR0911 - a table
    match event:
        case Started():
            return {"event": "started", "search": dict(event.search), "seed": event.seed}
        case Grown():
            beams = [_beam_facts(beam) for beam in event.beams]
            return {"event": "grown", "decoded": event.decoded, "seconds": event.seconds, "beams": beams}
        case Scored():
            rewards = {str(beam.id): beam.reward for beam in event.beams}
            return {"event": "scored", "rewards": rewards, "seconds": event.seconds}
        case CycleStarted():
            return {"event": "cycle_started", "cycle": event.cycle, "instruction": event.instruction}
        case Mutated():
            instructions = list(event.instructions)
            return {"event": "mutated", "instructions": instructions, "fallbacks": list(event.fallbacks)}
        case Replaced():
            return {"event": "replaced", "receiver": event.receiver, "donor": event.donor, "beam": event.beam}
        case Archived():
            pairs = zip(event.instructions, event.rewards, strict=True)
            return {"event": "archived", "archive": dict(pairs)}
        case Remark():
            return {"event": "remark", "text": event.text}
        case Finished():
            return {"event": "finished", "reward": event.outcome.best.reward, "stopped": event.stopped}
    return None


def _beam_facts(beam: Beam) -> dict[str, Any]:
    return {"id": beam.id, "tokens": len(beam.tokens), "finish": beam.finish, "aside": beam.aside}
