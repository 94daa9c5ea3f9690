"""`ChatDarwin`: a search over a policy, guided by a reward, as a LangChain chat model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool

from langchain_darwin.chat.batching import BatchedAtOnce
from langchain_darwin.chat.callbacks import Observer, RunManager, StreamRun, progress, reward_context
from langchain_darwin.chat.cancellation import cancellable, open_scopes
from langchain_darwin.chat.invocation import Call, response_message
from langchain_darwin.chat.settings import NOT_ASKED, PER_CALL, Settings, check_names
from langchain_darwin.dialects.conversation import to_conversation
from langchain_darwin.dialects.dialect import dialect_of
from langchain_darwin.dialects.response_reader import Read
from langchain_darwin.dialects.structured_output import (
    Method,
    check_method,
    parser,
    response_format,
    tool_name,
    unless_called,
    with_raw,
)
from langchain_darwin.dialects.tool_use import ARGUMENTS, definitions, task_and_reader, tool_use
from langchain_darwin.errors import ContextOverflowError
from langchain_darwin.policies.base import Policy
from langchain_darwin.search.base import Task
from langchain_darwin.search.driver.runner import Budget, Runner


class ChatDarwin(BatchedAtOnce, Settings):
    """Chat model that searches for the answer a reward likes best, by DARWIN (arXiv 2406.15193) or another search.

    Setup:
        Nothing beyond `pip install`: without `model` it uses the embedded SmolLM2-135M-Instruct.

    Key init args:
        model: Hub id or folder of a Hugging Face causal chat model, "vllm+http://host:8000/served-name" for one on a
            vLLM server, a `Policy`, or None for the embedded model.
        reward: What a good answer is: a function `(messages, responses) -> list[float]`, a reward object, a
            Hugging Face reward-model id, a list of rewards with weights, or "self" (the policy's own judgement;
            weak on small models).
        search: The algorithm and its settings, `Darwin()` by default; `BestOfN(n=5)`, ...
        temperature, top_p, top_k, max_tokens, min_tokens, stop: How each answer is drawn.
        seed: Same seed, same answer; None draws a new one for every call and reports it.
        response_template: How the model writes reasoning and tool calls: "hermes", "qwen_xml", "llama_json",
            "mistral", "mistral_args", or a response template of transformers; by default found out from tokenizer
            and chat template.
        timeout, budget_tokens: Seconds, and policy tokens, after which the best answer so far comes back.
        api_key, max_retries: Of a vLLM server that `model` names; models that run here need neither.
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
        kind, judged texts and seconds, all JSON-able. `finish_reason` is "stop", "tool_calls", "length" (also for a
        call or JSON that is valid, but had to be closed for want of tokens), or "timeout" and "budget" when a limit
        cut the search short. `usage_metadata` counts every policy token of the search.
    """

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
        check_names(kwargs, PER_CALL | ARGUMENTS | NOT_ASKED, "a call of ChatDarwin takes no argument")
        run = run_manager or kwargs.get("darwin_run")
        scopes = open_scopes()
        policy = cancellable(self._policy(kwargs), scopes)
        task, read = self._task(messages, stop, kwargs, policy)
        check_context(task, policy)
        runner = Runner(
            search=self._setting("search", kwargs),
            task=task,
            policy=policy,
            reward=self._reward(kwargs).bind(policy),
            messages=list(messages),
            respond=lambda beam: response_message(beam, read(task.text(beam), beam.complete)),
            budget=Budget(self._setting("timeout", kwargs), self._setting("budget_tokens", kwargs)),
            context=reward_context(run),
        )
        observers: list[Observer] = [progress(run, blocking=blocking)]
        observers += [self.on_search_event] if self.on_search_event else []
        return Call(runner, self.trace, read, observers, self._setting("n", kwargs), scopes)

    def _task(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any], policy: Policy
    ) -> tuple[Task, Read]:
        """The task of a call, and what reads its responses; a grammar that it needs is compiled here, not later."""
        seed = self._setting("seed", kwargs)
        seed = random.SystemRandom().getrandbits(31) if seed is None else seed
        conversation, use = to_conversation(messages), tool_use(kwargs)
        sampling = self._sampling(stop, kwargs)
        task, read = task_and_reader(conversation, policy.codec, sampling, seed, use, self.response_template)
        if task.sampling.constraint is not None and (prepare := getattr(policy, "prepare", None)):
            prepare(task.sampling.constraint)
        return task, read


def check_context(task: Task, policy: Policy) -> None:
    """Raise `ContextOverflowError` unless the prompt leaves room for an answer."""
    if len(task.prompt) < policy.context_length:
        return
    msg = (
        f"the prompt has {len(task.prompt)} tokens and {policy.name} holds {policy.context_length} of prompt "
        "and answer together; shorten or trim the messages (langchain_core.messages.trim_messages)"
    )
    raise ContextOverflowError(msg)


__all__ = ["ChatDarwin"]
