"""The beginning of a call: its settings are resolved once, before LangChain's hooks ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from langchain_core.caches import BaseCache
from langchain_core.globals import get_llm_cache
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig

from langchain_darwin.chat.callbacks import stream_run
from langchain_darwin.chat.hooks.fields import Settings

_TRACED = frozenset(("tags", "metadata", "run_name", "run_id"))
"""Arguments of `generate` that name and place its run."""


class ResolvedOnce(Settings):
    """A chat model that passes the settings of a call on whole, as `darwin_settings`, to each of LangChain's hooks."""

    def generate(
        self, messages: list[list[BaseMessage]], stop: list[str] | None = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        """Answer each conversation; see `BaseChatModel.generate`."""
        settings = self._settings(stop, _asked(kwargs))
        return super().generate(messages, settings.stop, callbacks, **{**kwargs, "darwin_settings": settings})

    async def agenerate(
        self, messages: list[list[BaseMessage]], stop: list[str] | None = None, callbacks: Any = None, **kwargs: Any
    ) -> LLMResult:
        """Answer each conversation without blocking; see `BaseChatModel.agenerate`."""
        settings = self._settings(stop, _asked(kwargs))
        if self._asks_a_cache():
            await asyncio.to_thread(getattr, settings, "identity")
        own = {**kwargs, "darwin_settings": settings}
        return await super().agenerate(messages, settings.stop, callbacks, **own)

    def stream(
        self,
        input: Any,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream what is certain of the answer as soon as it is; see `docs/streaming.md`."""
        settings = self._settings(stop, kwargs)
        run, config = stream_run(self, config, blocking=True)
        own = {**kwargs, "darwin_settings": settings, "darwin_run": run}
        yield from super().stream(input, config, stop=settings.stop, **own)

    async def astream(
        self,
        input: Any,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """Stream what is certain of the answer as soon as it is; see `docs/streaming.md`."""
        settings = self._settings(stop, kwargs)
        run, config = stream_run(self, config, blocking=False)
        own = {**kwargs, "darwin_settings": settings, "darwin_run": run}
        stream = super().astream(input, config, stop=settings.stop, **own)
        async with aclosing(cast("AsyncGenerator[AIMessageChunk, None]", stream)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _asks_a_cache(self) -> bool:
        return self.cache is not False and (isinstance(self.cache, BaseCache) or get_llm_cache() is not None)


def _asked(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kwargs.items() if name not in _TRACED}
