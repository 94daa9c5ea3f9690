"""`ChatDarwin`: a search over a policy, guided by a reward, as a LangChain chat model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor
from langchain_core.tools import BaseTool

from langchain_darwin.chat.effects import warn_of_changing_reward
from langchain_darwin.chat.hooks.batching import BatchedAtOnce
from langchain_darwin.chat.hooks.binding import BoundDarwin
from langchain_darwin.chat.hooks.once import ResolvedOnce
from langchain_darwin.chat.prepare import prepare, verify
from langchain_darwin.chat.settings.call import NOT_ASKED, PER_CALL, CallSettings
from langchain_darwin.chat.settings.names import translated
from langchain_darwin.dialects.conversation import to_conversation
from langchain_darwin.dialects.dialect import dialect_of
from langchain_darwin.dialects.schemas.conversion import output_tool, traced_schema
from langchain_darwin.dialects.structured_output import (
    Method,
    check_method,
    parser,
    response_format,
    unless_called,
    with_raw,
)
from langchain_darwin.dialects.tool_use import definitions, tool_use


class ChatDarwin(BatchedAtOnce, ResolvedOnce):
    """Chat model that searches for the answer a reward likes best, by DARWIN (arXiv 2406.15193) or another search.

    Setup:
        Nothing beyond `pip install`: without `model` it uses the embedded SmolLM2-135M-Instruct.

    Key init args:
        model: Hub id or folder of a Hugging Face causal chat model, a `Policy`, or None for the embedded model.
            "vllm+http://host:8000/served-name" is a model on a vLLM server.
        reward: The measure of a good answer. It is a function `(messages, responses) -> list[float]`, a reward
            object, a Hugging Face reward-model id, or a list of rewards with weights. "self" is the policy's own
            judgement, which is weak on small models.
        search: The algorithm and its settings, `Darwin()` by default; `BestOfN(n=5)`, ...
        temperature, top_p, top_k, max_tokens, min_tokens, stop: How each answer is drawn.
        seed: Same seed, same answer; None draws a new one for every call and reports it.
        response_template: How the model writes reasoning and tool calls: "hermes", "qwen_xml", "llama_json",
            "mistral", "mistral_args", or a response template of transformers. By default found out from tokenizer
            and chat template.
        chat_template_kwargs: Variables of the model's chat template, such as `{"enable_thinking": False}`.
        timeout, budget_tokens: Seconds, and policy tokens, after which the best answer so far comes back.
        api_key, max_retries: Of a vLLM server that `model` names; models that run here need neither.
        engine: "vllm" or "transformers" for a model that runs here. "auto" takes vLLM where it is installed for a
            GPU.
        engine_options: Of vLLM's engine, such as `{"gpu_memory_utilization": 0.6}`; see `VLLMPolicy`.
        trace: File to which every search appends its record, as JSON lines.
        on_search_event: Called with every event of every search (`langchain_darwin.search.base`).

    Instantiate and invoke:
        ```python
        from langchain_darwin import ChatDarwin, Darwin

        def concise(messages, responses):
            return [-len(r.text) for r in responses]

        model = ChatDarwin(reward=concise, search=Darwin(cycles=1), max_tokens=120, seed=7)
        answer = model.invoke("Why is the sky blue?")
        answer.text
        answer.response_metadata["darwin"]["reward"]
        ```

    Response metadata:
        `model_name`, `finish_reason` and `darwin`: the search's name, seed, reward, rounds, replacements, tokens by
        kind, judged texts and seconds, all JSON-able. `finish_reason` is "stop", "tool_calls", "length",
        "timeout" or "budget". It is "length" also for a call or JSON that is valid, but had to be closed at the token
        limit. "timeout" and "budget" name the limit that cut the search short. `usage_metadata` counts every policy
        token of the search.
    """

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        settings = self._settings(stop, kwargs)
        result = prepare(settings, messages, run_manager, blocking=True).invoke()
        warn_of_changing_reward(settings)
        return result

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        settings = self._settings(stop, kwargs)
        call = await run_in_executor(None, prepare, settings, messages, run_manager, blocking=False)
        result = await call.ainvoke()
        if "identity" in vars(settings):  # a cache was asked
            await run_in_executor(None, warn_of_changing_reward, settings)
        return result

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        run = run_manager or kwargs.get("darwin_run")
        for chunk in prepare(self._settings(stop, kwargs), messages, run, blocking=True).stream():
            if run_manager:
                run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        run = run_manager or kwargs.get("darwin_run")
        call = await run_in_executor(None, prepare, self._settings(stop, kwargs), messages, run, blocking=False)
        async with aclosing(call.astream()) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                yield chunk

    def bind(self, **kwargs: Any) -> Any:
        """This model with other settings, checked as the constructor's.

        Settings that are fields make a copy of the model, which is a `ChatDarwin` as well. Others, such as `tools`,
        are bound to it, and kept by `bind_tools`, `with_structured_output` and `configurable_fields`.

        Args:
            **kwargs: Arguments of a call; None means "not given".

        Raises:
            DarwinError: A name is not known, or a value is not one that it takes.
        """
        verify(CallSettings.resolve(self, None, kwargs))
        given = translated(kwargs, PER_CALL, "a call of ChatDarwin takes no argument", NOT_ASKED)
        own = {name: value for name, value in given.items() if name in type(self).model_fields}
        rest = {name: value for name, value in kwargs.items() if name in NOT_ASKED} | given
        rest = {name: value for name, value in rest.items() if name not in own}
        model = self.with_fields(**own) if own else self
        return BoundDarwin(bound=model, kwargs=rest, config={}) if rest else model

    def with_config(
        self, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with a config, which is kept by what is bound to it later."""
        return BoundDarwin(bound=self, kwargs={}, config={**(config or {}), **kwargs})

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        response_format: Any = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """This model with tools that it may call.

        Args:
            tools: Tools, functions, Pydantic classes, TypedDicts or JSON Schemas with a name.
            tool_choice: None, False or "auto" leave it to the model. "none" forbids calls. "any", "required" or True
                make it call a tool. A name, or OpenAI's dict with one, make it call that tool. A call that must be
                is enforced while decoding: its name exists and its arguments follow their schema.
            strict: Enforce the schema of arguments in calls that need not be, too.
            parallel_tool_calls: False allows one call an answer, True several. By default the model decides, but a
                call that must be is one.
            response_format: What an answer that calls no tool must look like; see `with_structured_output`.
            **kwargs: Other arguments of a call, such as `temperature`.
        """
        own = {"strict": strict, "parallel_tool_calls": parallel_tool_calls, "response_format": response_format}
        given = {name: value for name, value in own.items() if value is not None}
        choice = {} if tool_choice in (None, False) else {"tool_choice": tool_choice}
        bound = {"tools": definitions(tools, strict=strict), **choice, **given}
        tool_use(bound)
        model: Runnable[LanguageModelInput, AIMessage] = self.bind(**bound, **kwargs)
        return model

    def with_structured_output(
        self,
        schema: Any = None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """This model with answers that follow a schema, enforced while decoding.

        Args:
            schema: A Pydantic class, a dataclass or another type (`list[int]`, a union, an enum), of which an
                instance is returned. For a TypedDict or JSON Schema a dict is returned.
            method: "json_schema" has the model answer with JSON, "function_calling" call a tool. "json_mode" is
                "json_schema", but needs no schema: any JSON object will then do.
            include_raw: Give a dict of `raw` (the message), `parsed` and `parsing_error` instead; nothing is raised.
            strict: Ask for a schema in which every property is required ("function_calling").
            tools: Tools the model may call instead of answering ("json_schema"); the result is None if it does.
            **kwargs: Other arguments of a call, such as `temperature`.
        """
        check_method(method, schema, tools)
        if schema is not None:
            form = {"kwargs": {"method": method, "strict": strict}, "schema": traced_schema(schema)}
            kwargs["ls_structured_output_format"] = form
        parse = parser(schema, method)
        model: Any
        if method == "function_calling":
            one: dict[str, Any] = {"strict": strict, "parallel_tool_calls": False}
            tool = output_tool(schema, strict=strict)
            model = self.bind_tools([tool], tool_choice=tool["function"]["name"], **one, **kwargs)
        elif tools:
            model = self.bind_tools(tools, response_format=response_format(schema), **kwargs)
            parse = unless_called(parse)
        else:
            wanted = {"type": "json_object"} if schema is None else response_format(schema)
            model = self.bind(response_format=wanted, **kwargs)
        made: Runnable[LanguageModelInput, Any] = with_raw(model, parse) if include_raw else model | parse
        return made

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of bare text by the policy's tokenizer."""
        return list(self.policy_of(self.model)[0].codec.encode_text(text))

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Prompt tokens of the messages by the policy's own chat template, tools included."""
        codec = self.policy_of(self.model)[0].codec
        speaking = dialect_of(codec, self.response_template, self.chat_template_kwargs).codec(codec, marked=False)
        return len(speaking.encode_chat(to_conversation(messages), definitions(tools or ())))


__all__ = ["ChatDarwin"]
