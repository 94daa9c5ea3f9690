"""Everything that is accepted as a reward, and how it becomes one: `as_reward` and its adapters."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, overload

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards.base import JudgeFunction, Reward
from langchain_darwin.rewards.calls import gather, is_async
from langchain_darwin.rewards.checks import name_of
from langchain_darwin.runtime.fingerprints import identity_of

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage
    from langchain_core.runnables import Runnable

ACCEPTED = """\
- a callable (messages, responses) -> list of numbers, plain or async
- a function of one response, decorated with @per_response
- a LangChain chat model, which becomes a Judge
- a LangChain Runnable that turns {"messages": [...], "response": AIMessage} into a number
- trl_reward(fn, **columns) for a TRL/GRPO reward function
- a list of these, or of (weight, reward) pairs: their weighted sum
- "self", a Hugging Face id of a sequence-classification reward model, or the folder of one"""


def as_reward(
    thing: Any,
    *,
    name: str | None = None,
    partial: bool | None = None,
    min_tokens: int | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    version: str | None = None,
) -> Reward:
    """Make a reward of anything that is accepted as one, and set how it is asked.

    Accepted, and distinguished by type alone, never by the names of parameters:

    - a callable `(messages, responses) -> list of numbers`, plain or `async`;
    - a function of one response, decorated with `@per_response`;
    - a LangChain chat model, which becomes a `Judge` with the usual criteria;
    - a LangChain `Runnable`, such as a chain that ends in a judging chat model. It turns
      `{"messages": [...], "response": AIMessage}` into a number, a text that is a number, or a dict or Pydantic
      object with a `score`;
    - `trl_reward(fn, **columns)` for a TRL/GRPO reward function;
    - a list of these, or of `(weight, reward)` pairs: their weighted sum;
    - `"self"` for `SelfReward()`; any other string is a model for `RewardModel`;
    - a `Reward`, whose settings change where given.

    Settings that are left out keep what the reward declares as an attribute of the same name, else the
    default.

    Args:
        thing: The reward.
        name: What errors and traces call it. Default: the function's or class's name.
        partial: Whether it may judge text that is still being written (such a response has
            `response_metadata["finish_reason"] is None`). Default: True.
        min_tokens: Judge unfinished text from this many response tokens on. Default: 0.
        timeout: Seconds that one call may take. Default: no limit.
        retries: How often to repeat a failed call (an exception, a timeout, a wrong value). Default: 0.
        version: Anything that changes when its numbers do, for caches: the version of a remote model, say.

    Raises:
        ConfigurationError: It is none of these; the message lists them.
    """
    given = {
        "name": name,
        "partial": partial,
        "min_tokens": min_tokens,
        "timeout": timeout,
        "retries": retries,
        "version": version,
    }
    settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if isinstance(thing, Reward):
        settings = {**_settings(thing), **settings}
        thing = thing.judge
    judge = _judge(thing)
    settings = {"name": name_of(judge), **_declared(judge), **settings}
    return Reward(judge, **settings)


@overload
def per_response(function: Callable[..., Any], /) -> Reward: ...
@overload
def per_response(**settings: Any) -> Callable[[Callable[..., Any]], Reward]: ...
def per_response(function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Make a reward of a function of one response, `(messages, response) -> number`, plain or `async`.

    Use it as `@per_response` or with settings, `@per_response(partial=False, timeout=10)`; see `as_reward`.
    The responses of one call are judged one after another by a plain function, all at once by an `async` one.
    """
    if function is None:
        return lambda late: per_response(late, **settings)
    adapter = _AsyncPerResponse(function) if is_async(function) else _PerResponse(function)
    return as_reward(adapter, **settings)


def trl_reward(function: Callable[..., Any], /, *, conversational: bool = True, **columns: Any) -> Reward:
    """Make a reward of a TRL (GRPO) reward function, plain or `async`.

    It is called as TRL does: `prompts` holds the conversation once per response, `completions` the responses.
    `completion_ids` is passed if the function takes it, also by `**kwargs`; `log_extra`, `log_metric` and
    `trainer_state` if it names them. There is no trainer: what is logged goes nowhere, and the state is that of a
    training that has not begun. None in the answer, TRL's "not applicable", counts as 0.0, which is what it adds to
    TRL's sum of rewards. As in TRL it sees finished answers only, unless `as_reward(trl_reward(...), partial=True)`
    says otherwise.

    Args:
        function: The reward function.
        conversational: True passes each prompt as a list of messages, and each completion as a list of one assistant
            message. The messages are dicts with `role` and `content`. False passes both as texts.
        **columns: The other columns of the data set. Each is passed as a list with its value once per response.
    """
    from langchain_darwin.rewards.trl import AsyncTrlJudge, TrlJudge

    kind = AsyncTrlJudge if is_async(function) else TrlJudge
    return as_reward(kind(function, columns, conversational=conversational))


def _judge(thing: Any) -> JudgeFunction:
    """The callable that represents `thing`."""
    from langchain_core.runnables import Runnable

    from langchain_darwin.rewards.composed.weighted_sum import WeightedSum

    if isinstance(thing, str):
        return _named(thing)
    if isinstance(thing, list | tuple):
        return WeightedSum(thing)
    if _is_chat_model(thing):
        from langchain_darwin.rewards.judges.judge import Judge

        return Judge(thing)
    if isinstance(thing, Runnable):
        return _RunnableJudge(thing)
    if isinstance(thing, type):
        raise ConfigurationError(f"reward={thing.__name__} is a class; pass an instance: {thing.__name__}(...)")
    if callable(thing):
        _refuse_other_signatures(thing)
        return thing  # type: ignore[no-any-return]
    raise ConfigurationError(f"reward={thing!r} is not a reward. Accepted are\n{ACCEPTED}")


def _is_chat_model(thing: Any) -> bool:
    """Return True for a LangChain chat model, also one with bound arguments or retries, but not for a chain."""
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables.base import RunnableBindingBase

    while isinstance(thing, RunnableBindingBase):
        thing = thing.bound
    return isinstance(thing, BaseChatModel)


def _named(name: str) -> JudgeFunction:
    if name == "self":
        from langchain_darwin.rewards.judges.self_reward import SelfReward

        return SelfReward()
    from langchain_darwin.rewards.models.reward_model import RewardModel

    if not name.strip():
        msg = f"reward={name!r} names no reward; pass 'self', a reward model's hub id or folder, or a function"
        raise ConfigurationError(msg)
    return RewardModel(name)


def _refuse_other_signatures(judge: JudgeFunction) -> None:
    """Refuse a callable that cannot be called as `judge(messages, responses)`."""
    try:
        inspect.signature(judge).bind([], [])
    except ValueError:  # built in, no signature
        return
    except TypeError as error:
        what = f"reward={name_of(judge)!r} cannot be called with (messages, responses): {error}"
        raise ConfigurationError(f"{what}. Accepted are\n{ACCEPTED}") from None


def _declared(judge: JudgeFunction) -> dict[str, Any]:
    """Settings that a judge declares as attributes."""
    kinds = {"name": str, "partial": bool, "min_tokens": int, "timeout": int | float, "token_ids": bool}
    found = {key: getattr(judge, key, None) for key in kinds}
    return {key: value for key, value in found.items() if isinstance(value, kinds[key])}


def _settings(reward: Reward) -> dict[str, Any]:
    return {key: value for key, value in vars(reward).items() if key != "judge"}


class _PerResponse:
    """A function of one response, as a judge."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = name_of(function)

    def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> Any:
        return [self._one(messages, response, at) for at, response in enumerate(responses, 1)]

    def identity(self) -> dict[str, Any]:
        return identity_of(self.function)

    def _one(self, messages: list[BaseMessage], response: AIMessage, at: int) -> Any:
        with _noting(at):
            return self.function(messages, response)


class _AsyncPerResponse(_PerResponse):
    """An async function of one response, as a judge."""

    async def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> Any:
        return await gather([self._aone(messages, response, at) for at, response in enumerate(responses, 1)])

    async def _aone(self, messages: list[BaseMessage], response: AIMessage, at: int) -> Any:
        with _noting(at):
            return await self.function(messages, response)


@contextlib.contextmanager
def _noting(at: int) -> Iterator[None]:
    """Add to an exception which response it was about."""
    try:
        yield
    except Exception as error:
        error.add_note(f"on response {at}")
        raise


class _RunnableJudge:
    """A LangChain Runnable, as a judge."""

    def __init__(self, runnable: Runnable[Any, Any]) -> None:
        self.runnable = runnable
        self.name = runnable.get_name()

    def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[Any]:
        return [_score_in(output) for output in self.runnable.batch(_inputs(messages, responses))]

    async def acall(self, messages: list[BaseMessage], responses: list[AIMessage]) -> list[Any]:
        return [_score_in(output) for output in await self.runnable.abatch(_inputs(messages, responses))]

    def identity(self) -> dict[str, Any]:
        return {**identity_of(self.runnable), "name": self.name}


def _inputs(messages: list[BaseMessage], responses: list[AIMessage]) -> list[dict[str, Any]]:
    return [{"messages": messages, "response": response} for response in responses]


def _score_in(output: Any) -> Any:
    """The number in a Runnable's output; what is none is left for the check that follows."""
    from langchain_core.messages import BaseMessage

    if isinstance(output, BaseMessage):
        output = output.text
    if isinstance(output, dict) and "score" in output:
        output = output["score"]
    output = getattr(output, "score", output)
    try:
        return float(output) if isinstance(output, str) else output
    except ValueError:
        return output
