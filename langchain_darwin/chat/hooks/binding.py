"""What `bind`, `bind_tools` and `with_config` return: nothing that was bound is lost by what is called next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableBinding


class BoundDarwin(RunnableBinding[LanguageModelInput, AIMessage]):  # type: ignore[no-redef]
    """A `ChatDarwin` with tools, an output format or a config.

    LangChain's own binding passes methods that it does not know to the model within, which forgets what was bound.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        """The id of LangChain's own class, since it behaves as that."""
        return [*cls.get_lc_namespace(), "RunnableBinding"]

    def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """See `ChatDarwin.bind`."""
        return self._around(self.bound.bind(**{**self.kwargs, **kwargs}))

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """See `ChatDarwin.bind_tools`; tools that were bound before are replaced."""
        model: Any = self.bound
        return self._around(model.bind_tools(tools, **{**self._but("tools", "tool_choice"), **kwargs}))

    def with_structured_output(
        self, schema: Any = None, *, method: str = "json_schema", **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """See `ChatDarwin.with_structured_output`; tools that are bound may be called instead of answering."""
        model: Any = self.bound
        forgotten = () if method == "json_schema" else ("tools", "tool_choice", "strict", "parallel_tool_calls")
        own = self._but("response_format", "ls_structured_output_format", *forgotten)
        made = model.with_structured_output(schema, method=method, **{**own, **kwargs})
        return RunnableBinding(bound=made, config=self.config, config_factories=self.config_factories)

    def configurable_fields(self, **kwargs: Any) -> Any:
        """See `RunnableSerializable.configurable_fields`; the fields are those of the model."""
        model: Any = self.bound
        return self._copy(model.configurable_fields(**kwargs), self.kwargs)

    def _but(self, *names: str) -> dict[str, Any]:
        """Return what is bound, without the settings of these names."""
        return {name: value for name, value in self.kwargs.items() if name not in names}

    def _around(self, made: Any) -> BoundDarwin:
        """The config of this one around another model and what is bound to it."""
        if isinstance(made, RunnableBinding):
            return self._copy(made.bound, made.kwargs)
        return self._copy(made, {})

    def _copy(self, bound: Any, kwargs: Any) -> BoundDarwin:
        return BoundDarwin(
            bound=bound,
            kwargs=kwargs,
            config=self.config,
            config_factories=self.config_factories,
            custom_input_type=self.custom_input_type,
            custom_output_type=self.custom_output_type,
        )
