"""From a call's settings and messages to a search that is ready to run: everything before the first token."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from hashlib import blake2b
from typing import Any, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage

from langchain_darwin.chat.callbacks import Observer, Run, progress, reward_context
from langchain_darwin.chat.cancellation import cancellable, open_scopes
from langchain_darwin.chat.effects import warn_of_tools, watch_effects
from langchain_darwin.chat.invocation import Call, response_message
from langchain_darwin.chat.settings.call import CallSettings
from langchain_darwin.dialects.conversation import to_conversation
from langchain_darwin.dialects.dialect import Dialect, dialect_of
from langchain_darwin.dialects.response_reader import Read, plain
from langchain_darwin.dialects.tool_use import ARGUMENTS, ToolUse, tool_use
from langchain_darwin.errors import ContextOverflowError
from langchain_darwin.policies.base import Constraint, Policy, Sampling
from langchain_darwin.rewards.composed.valid_first import ValidFirst
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.runtime.text.unicode_text import well_formed_messages
from langchain_darwin.search.base import Beam, Task
from langchain_darwin.search.driver.runner import Budget, Runner

Respond: TypeAlias = Callable[[Beam], AIMessage]

_SAMPLED = tuple(entry.name for entry in fields(Sampling) if entry.name in CallSettings.__dataclass_fields__)


def prepare(settings: CallSettings, messages: Sequence[BaseMessage], run: Run | None, *, blocking: bool) -> Call:
    """The call, ready to run. Loads the model at the first call; then it takes about a millisecond.

    Args:
        settings: What is asked.
        messages: The conversation.
        run: LangChain's run, which hears of the search; None if nothing is known of it.
        blocking: Whether the search will run in this thread, and not on an event loop.

    Raises:
        DarwinError: The call cannot be served; nothing has been decoded.
    """
    scopes = open_scopes()
    policy = cancellable(settings.model, scopes)
    observers: list[Observer] = [settings.on_search_event] if settings.on_search_event else []
    observers.append(watch_effects(settings))
    warn_of_tools(settings)
    tell, context = progress(run, blocking=blocking), reward_context(run)
    drawn, seed, tools = _drawn(settings), _seed(settings), _tools(settings)
    sampling, messages = Sampling(**drawn), well_formed_messages(messages)
    check_range("n", settings.n, low=1)
    conversation, use = to_conversation(messages), tool_use(tools)
    found = dialect_of(policy.codec, settings.response_template, settings.chat_template_kwargs)
    dialect = found.answering(conversation)
    constraint = use.constraint(dialect.format, dialect.thought, settings.max_tokens)
    turns, checks, reads = use.instruct(conversation), use.checks(), bool(use.tools) or dialect.reasons
    codec = dialect.codec(policy.codec, marked=reads)
    if constraint is not None:  # the grammar alone says when a response may end
        sampling = replace(sampling, constraint=constraint, min_tokens=0)
    reward = ValidFirst.of(settings.reward.bind(policy), checks)
    budget = Budget(settings.timeout, settings.budget_tokens)
    task = Task(turns, codec, sampling, seed, use.tools)
    _check_context(task, policy)
    _compile(constraint, policy)
    read = _reader(dialect, use, task) if reads else plain
    runner = Runner(
        search=settings.search,
        task=task,
        policy=policy,
        reward=reward,
        messages=messages,
        respond=_respond(task, read),
        budget=budget,
        context=context,
    )
    return Call(runner, settings.trace, read, tell, observers, settings.n, scopes)


def verify(settings: CallSettings) -> None:
    """Raise what `prepare` would raise about the settings, whatever the messages are."""
    Sampling(**_drawn(settings))
    check_range("n", settings.n, low=1)
    tool_use(_tools(settings))
    Budget(settings.timeout, settings.budget_tokens)


def _tools(settings: CallSettings) -> dict[str, Any]:
    """Arguments of `tool_use`."""
    return {name: getattr(settings, name) for name in ARGUMENTS}


def _drawn(settings: CallSettings) -> dict[str, Any]:
    """Arguments of `Sampling`."""
    return {name: getattr(settings, name) for name in _SAMPLED} | {"stop": tuple(settings.stop or ())}


def _seed(settings: CallSettings) -> int:
    return random.SystemRandom().getrandbits(31) if settings.seed is None else settings.seed


def _reader(dialect: Dialect, use: ToolUse, task: Task) -> Read:
    """Return the reader of the task's responses; ids of calls follow from seed and prompt."""
    reader = dialect.reader(use.tools, blake2b(f"{task.seed} {task.prompt}".encode(), digest_size=16).digest())
    if task.sampling.stop:
        task.sampling = replace(task.sampling, thought=reader.thought)
    return reader


def _respond(task: Task, read: Read) -> Respond:
    return lambda beam: response_message(beam, read(task.text(beam), beam.complete))


def _compile(constraint: Constraint | None, policy: Policy) -> None:
    """Have the policy compile a grammar here and not in its decode loop, if it can."""
    if constraint is not None and (compile_grammar := getattr(policy, "prepare", None)):
        compile_grammar(constraint)


def _check_context(task: Task, policy: Policy) -> None:
    """Raise `ContextOverflowError` unless the prompt leaves room for an answer."""
    if len(task.prompt) < policy.context_length:
        return
    msg = (
        f"the prompt has {len(task.prompt)} tokens and {policy.name} holds {policy.context_length} of prompt "
        "and answer together; shorten or trim the messages (langchain_core.messages.trim_messages)"
    )
    raise ContextOverflowError(msg)
