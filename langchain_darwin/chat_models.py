"""`ChatDarwin`: a search over a local policy, guided by a reward, as a LangChain chat model."""

from __future__ import annotations

import asyncio
import difflib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self, TypeAlias, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_config_list
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, Field, SkipValidation, model_validator

from langchain_darwin._version import __version__
from langchain_darwin.call import Call, response_message
from langchain_darwin.callbacks import Observer, RunManager, StreamRun, progress, reward_context
from langchain_darwin.dialects import dialect_of, named_format
from langchain_darwin.errors import ConfigurationError, ContextOverflowError, InvalidRequestError
from langchain_darwin.messages import to_conversation
from langchain_darwin.policies.base import Policy, Sampling, check_range
from langchain_darwin.rewards.adapters import as_reward
from langchain_darwin.rewards.base import Reward
from langchain_darwin.search.base import Beam, Event, Search, describe
from langchain_darwin.search.darwin import Darwin
from langchain_darwin.search.runner import Budget, Runner
from langchain_darwin.structured import (
    Method,
    check_method,
    parser,
    response_format,
    tool_name,
    unless_called,
    with_raw,
)
from langchain_darwin.tools import ARGUMENTS, definitions, task_and_reader, tool_use
from langchain_darwin.trace import TraceWriter

_PER_CALL = frozenset(
    ("model", "reward", "search", "temperature", "top_p", "top_k", "max_tokens", "min_tokens")
    + ("seed", "timeout", "budget_tokens", "n")
)
"""Fields that a call, or `bind`, may set for itself."""

_MOST_THREADS = 256

Configs: TypeAlias = RunnableConfig | list[RunnableConfig] | None


class ChatDarwin(BaseChatModel):
    """Chat model that searches for the answer a reward likes best, by DARWIN (arXiv 2406.15193) or another search.

    Setup:
        Nothing beyond `pip install`: without `model` it uses the embedded SmolLM2-135M-Instruct.

    Key init args:
        model: Hub id or folder of a Hugging Face causal chat model, a `Policy`, or None for the embedded model.
        reward: What a good answer is: a function `(messages, responses) -> list[float]`, a reward object, a
            Hugging Face reward-model id, a list of rewards with weights, or "self" (the policy's own judgement;
            weak on small models).
        search: The algorithm and its settings, `Darwin()` by default; `BestOfN(n=5)`, ...
        temperature, top_p, top_k, max_tokens, min_tokens, stop: How each answer is drawn.
        seed: Same seed, same answer; None draws a new one for every call and reports it.
        response_template: How the model writes reasoning and tool calls: "hermes", "qwen_xml", "llama_json",
            "mistral", or a response template of transformers; by default found out from tokenizer and chat template.
        timeout, budget_tokens: Seconds, and policy tokens, after which the best answer so far comes back.
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
        `model_name`, `finish_reason` ("stop", "length", "tool_calls", or "timeout" and "budget" when a limit cut
        the search short) and `darwin`: the search's name, seed, reward, rounds, replacements, tokens by kind,
        judged texts and seconds, all JSON-able. `usage_metadata` counts every policy token of the search.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    model: SkipValidation[str | Path | Policy | None] = None
    reward: SkipValidation[Any] = Field(default="self", exclude=True)
    search: SkipValidation[Search] = Field(default_factory=Darwin)
    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 40
    max_tokens: int = 512
    min_tokens: int = 0
    stop: list[str] | None = None
    seed: int | None = None
    timeout: float | None = None
    budget_tokens: int | None = None
    n: int = 1
    streaming: bool = False
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    response_template: str | dict[str, Any] | None = None
    trace: str | Path | None = Field(default=None, exclude=True)
    on_search_event: Callable[[Event], None] | None = Field(default=None, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, values: Any) -> Any:
        if isinstance(values, dict):
            _check_names(values, {*cls.model_fields}, "ChatDarwin has no argument")
        return values

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        self._sampling(None, {})
        Budget(self.timeout, self.budget_tokens)
        check_range("n", self.n, low=1)
        if isinstance(self.response_template, str):
            named_format(self.response_template)
        as_reward(self.reward)
        if isinstance(self.search, type) or not callable(getattr(self.search, "run", None)):
            msg = f"search={self.search!r} is not a search; pass an instance, such as Darwin() or BestOfN(n=5)"
            raise ConfigurationError(msg)
        return self

    @model_validator(mode="after")
    def _set_darwin_version(self) -> Self:
        self._add_version("langchain-darwin", __version__)
        return self

    @property
    def _llm_type(self) -> str:
        return "chat-darwin"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """Everything that changes an answer; the key of LangChain's cache."""
        return self._identity({})

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        own = {name: value for name, value in kwargs.items() if name in _PER_CALL}
        rest = {name: value for name, value in kwargs.items() if name not in {*_PER_CALL, "darwin_run"}}
        return {**self._identity(own), "_type": self._llm_type, "stop": stop or self.stop, **rest}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = LangSmithParams(
            ls_provider="darwin",
            ls_model_name=str(self._policy(kwargs).identity()["model"]),
            ls_model_type="chat",
            ls_temperature=kwargs.get("temperature", self.temperature),
            ls_max_tokens=kwargs.get("max_tokens", self.max_tokens),
        )
        if stop or self.stop:
            params["ls_stop"] = stop or self.stop
        return params

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._prepare(messages, stop, kwargs, run_manager).invoke()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        call = await asyncio.to_thread(self._prepare, messages, stop, kwargs, run_manager, blocking=False)
        return await call.ainvoke()

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self._prepare(messages, stop, kwargs, run_manager).stream():
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
        call = await asyncio.to_thread(self._prepare, messages, stop, kwargs, run_manager, blocking=False)
        async with aclosing(call.astream()) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                yield chunk

    def stream(
        self,
        input: Any,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream what is certain of the answer as soon as it is; see `docs/streaming.md`."""
        run = StreamRun.of(config)
        yield from super().stream(input, run.config, stop=stop, darwin_run=run, **kwargs)

    async def astream(
        self,
        input: Any,  # noqa: A002 - LangChain's name
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncGenerator[AIMessageChunk, None]:
        """Stream what is certain of the answer as soon as it is; see `docs/streaming.md`."""
        run = StreamRun.of(config)
        stream = super().astream(input, run.config, stop=stop, darwin_run=run, **kwargs)
        async with aclosing(cast("AsyncGenerator[AIMessageChunk, None]", stream)) as chunks:
            async for chunk in chunks:
                yield chunk

    def batch(self, inputs: list[Any], config: Configs = None, **kwargs: Any) -> list[AIMessage]:
        """Answer all inputs at once: their searches share the policy's decode batch."""
        return super().batch(inputs, _all_at_once(config, len(inputs)), **kwargs)

    def batch_as_completed(  # type: ignore[override]
        self, inputs: Sequence[Any], config: Configs = None, **kwargs: Any
    ) -> Iterator[tuple[int, AIMessage | Exception]]:
        """Answer all inputs at once, each as soon as it is there."""
        return super().batch_as_completed(inputs, _all_at_once(config, len(inputs)), **kwargs)

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
            tool_choice: None, False or "auto" leave it to the model; "none" forbids calls; "any", "required" or True
                make it call a tool; a name, or OpenAI's dict with one, make it call that tool. A call that must be
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
        return self.bind(**bound, **kwargs)

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
            schema: A Pydantic class, whose instances come back, or a TypedDict or JSON Schema, for dicts.
            method: "json_schema" has the model answer with JSON, "function_calling" call a tool. "json_mode" is
                "json_schema", but needs no schema: any JSON object will then do.
            include_raw: Give a dict of `raw` (the message), `parsed` and `parsing_error` instead; nothing is raised.
            strict: Ask for a schema in which every property is required ("function_calling").
            tools: Tools the model may call instead of answering ("json_schema"); the result is None if it does.
            **kwargs: Other arguments of a call, such as `temperature`.
        """
        check_method(method, schema, tools)
        form = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        if schema is not None:
            kwargs["ls_structured_output_format"] = form
        parse = parser(schema, method)
        model: Runnable[LanguageModelInput, AIMessage]
        if method == "function_calling":
            one: dict[str, Any] = {"strict": strict, "parallel_tool_calls": False}
            model = self.bind_tools([schema], tool_choice=tool_name(schema), **one, **kwargs)
        elif tools:
            model = self.bind_tools(tools, response_format=response_format(schema), **kwargs)
            parse = unless_called(parse)
        else:
            wanted = {"type": "json_object"} if schema is None else response_format(schema)
            model = self.bind(response_format=wanted, **kwargs)
        return with_raw(model, parse) if include_raw else model | parse

    def get_token_ids(self, text: str) -> list[int]:
        """Token ids of bare text by the policy's tokenizer."""
        return list(self._policy({}).codec.encode_text(text))

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Prompt tokens of the messages by the policy's own chat template, tools included."""
        codec = self._policy({}).codec
        speaking = dialect_of(codec, self.response_template).codec(codec, marked=False)
        return len(speaking.encode_chat(to_conversation(messages), definitions(tools or ())))

    def _prepare(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        kwargs: dict[str, Any],
        run_manager: RunManager | None,
        *,
        blocking: bool = True,
    ) -> Call:
        """Everything before the first token: loads the model at the first call, then takes about a millisecond."""
        streamed = kwargs.pop("darwin_run", None)
        run = run_manager or streamed
        _check_names(kwargs, _PER_CALL | ARGUMENTS, "a call of ChatDarwin takes no argument")
        policy = self._policy(kwargs)
        conversation = to_conversation(messages)
        seed = self._setting("seed", kwargs)
        seed = random.SystemRandom().getrandbits(31) if seed is None else seed
        sampling = self._sampling(stop, kwargs)
        use = tool_use(kwargs)
        task, read = task_and_reader(conversation, policy.codec, sampling, seed, use, self.response_template)
        if task.sampling.constraint is not None and (prepare := getattr(policy, "prepare", None)):
            prepare(task.sampling.constraint)
        if len(task.prompt) >= policy.context_length:
            msg = (
                f"the prompt has {len(task.prompt)} tokens and {policy.name} holds {policy.context_length} of prompt "
                "and answer together; shorten or trim the messages (langchain_core.messages.trim_messages)"
            )
            raise ContextOverflowError(msg)

        def respond(beam: Beam) -> AIMessage:
            return response_message(beam, read(task.text(beam), beam.complete))

        runner = Runner(
            search=self._setting("search", kwargs),
            task=task,
            policy=policy,
            reward=self._reward(kwargs).bind(policy),
            messages=list(messages),
            respond=respond,
            budget=Budget(self._setting("timeout", kwargs), self._setting("budget_tokens", kwargs)),
            context=reward_context(run),
        )

        def record(path: str | Path | None) -> TraceWriter:
            return TraceWriter(path, task, runner.search, model=policy.name, reward=runner.reward.name)

        observers: list[Observer] = [progress(run, blocking=blocking)]
        if self.on_search_event:
            observers.append(self.on_search_event)
        return Call(runner, respond, record, self.trace, read, observers, self._setting("n", kwargs))

    def _setting(self, name: str, kwargs: Mapping[str, Any]) -> Any:
        value = kwargs.get(name)
        return getattr(self, name) if value is None else value

    def _policy(self, kwargs: Mapping[str, Any]) -> Policy:
        """The policy of a call. Making one is cheap: weights and worker are shared process-wide."""
        model = self._setting("model", kwargs)
        if model is None or isinstance(model, str | Path):
            from langchain_darwin.policies.transformers import TransformersPolicy

            return TransformersPolicy(
                None if model is None else str(model),
                revision=self.revision,
                dtype=self.dtype,
                device=self.device,
                trust_remote_code=self.trust_remote_code,
            )
        return cast("Policy", model)

    def _reward(self, kwargs: Mapping[str, Any]) -> Reward:
        return as_reward(self._setting("reward", kwargs))

    def _sampling(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> Sampling:
        names = ("temperature", "top_p", "top_k", "max_tokens", "min_tokens")
        stops = self.stop if stop is None else stop
        return Sampling(**{name: self._setting(name, kwargs) for name in names}, stop=tuple(stops or ()))

    def _identity(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        plain = ("temperature", "top_p", "top_k", "max_tokens", "min_tokens", "seed", "timeout", "budget_tokens", "n")
        return {
            "policy": self._policy(kwargs).identity(),
            "reward": self._reward(kwargs).identity(),
            "search": describe(self._setting("search", kwargs)),
            **{name: self._setting(name, kwargs) for name in plain},
            "response_template": self.response_template,
            "stop": self.stop,
        }


def _all_at_once(config: Configs, n: int) -> list[RunnableConfig]:
    """Configs without LangChain's limit of a few threads, unless the caller has set one."""
    configs = get_config_list(config, n)
    return [{**each, "max_concurrency": each.get("max_concurrency") or min(n, _MOST_THREADS)} for each in configs]


def _check_names(values: Mapping[str, Any], known: set[str] | frozenset[str], complaint: str) -> None:
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(known))}"
            msg = f"{complaint} {name!r}; {hint}"
            raise InvalidRequestError(msg)


__all__ = ["ChatDarwin"]
