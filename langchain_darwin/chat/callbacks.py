"""Tells LangChain and LangGraph of a search under way, and gives a reward's own models their place in traces.

Every event becomes a custom event named `darwin` with a small JSON-able dict: `on_custom_event` of callback
handlers, `on_custom_event` of `astream_events`, and `{"darwin": ...}` in LangGraph's `custom` stream mode.
"""

from __future__ import annotations

import contextvars
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    CallbackManager,
    CallbackManagerForLLMRun,
    adispatch_custom_event,
    dispatch_custom_event,
)
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, var_child_runnable_config

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

Observer = Callable[[Event], Awaitable[None] | None]
RunManager = CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun
Tell = Callable[[dict[str, Any]], Awaitable[None] | None]


class StreamRun(str):
    """The id of a streamed run, with its config, neither of which LangChain passes to `_stream`."""

    __slots__ = ("config",)
    config: RunnableConfig

    @classmethod
    def of(cls, config: RunnableConfig | None) -> StreamRun:
        """The run that a `stream` call with this config will be."""
        config = ensure_config(config)
        config["run_id"] = config.get("run_id") or uuid.uuid4()
        run = cls(config["run_id"])
        run.config = config
        return run


def progress(run: RunManager | StreamRun | None, *, blocking: bool) -> Observer:
    """An observer that tells callbacks, and LangGraph's `custom` stream if there is one.

    Unless `blocking`, it may return an awaitable. If nothing is known of this run (None), the run around it, if
    there is one, is told.
    """
    write = _stream_writer()
    tell = _tell_around(blocking=blocking) if run is None else _tell_own(run, blocking=blocking)

    def observe(event: Event) -> Awaitable[None] | None:
        data = summary(event)
        if data is None:
            return None
        write(data)
        return tell(data)

    return observe


def _tell_own(run: RunManager | StreamRun, *, blocking: bool) -> Tell:
    kind = CallbackManager if blocking else AsyncCallbackManager
    if isinstance(run, StreamRun):
        manager = kind.configure(
            run.config.get("callbacks"),
            inheritable_tags=run.config.get("tags"),
            inheritable_metadata=run.config.get("metadata"),
        )
        return partial(manager.on_custom_event, EVENT_NAME, run_id=uuid.UUID(run))
    manager = kind(run.handlers, parent_run_id=run.run_id, tags=run.tags, metadata=run.metadata)
    return partial(manager.on_custom_event, EVENT_NAME, run_id=run.run_id)


def _tell_around(*, blocking: bool) -> Tell:
    config = var_child_runnable_config.get()
    if getattr((config or {}).get("callbacks"), "parent_run_id", None) is None:
        return _tell_nobody
    return partial(dispatch_custom_event if blocking else adispatch_custom_event, EVENT_NAME, config=config)


def reward_context(run: RunManager | StreamRun | None) -> contextvars.Context:
    """The context in which a reward runs: its own LangChain calls are children of this run, and not streamed."""
    config: RunnableConfig = {**(var_child_runnable_config.get() or {})}
    config["tags"] = [*config.get("tags", []), _NO_STREAM]
    if run is not None and not isinstance(run, StreamRun):
        kind = CallbackManager if isinstance(run, CallbackManagerForLLMRun) else AsyncCallbackManager
        handlers = run.inheritable_handlers
        config["callbacks"] = kind(handlers, inheritable_handlers=handlers, parent_run_id=run.run_id)
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


def summary(event: Event) -> dict[str, Any] | None:  # noqa: PLR0911 - a table
    """An event as a small JSON-able dict without token ids, or None for those of no interest to people."""
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
