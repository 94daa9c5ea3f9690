"""TRL's (GRPO's) reward functions, as judges."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.rewards.checks import name_of
from langchain_darwin.rewards.transcript import content, transcript
from langchain_darwin.runtime.fingerprints import identity_of

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage


class TrlJudge:
    """A TRL reward function, as a judge.

    Args:
        function: The function.
        columns: Other columns of the data set, one value each.
        conversational: Whether it is called as for conversational data, or with plain texts.
    """

    partial = False

    def __init__(self, function: Callable[..., Any], columns: dict[str, Any], *, conversational: bool) -> None:
        self.function = function
        self.columns = columns
        self.conversational = conversational
        self.name = name_of(function)
        self._named, self._takes_all = _parameters(function)
        self.token_ids = self._takes("completion_ids")

    def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> Any:
        """Return what the function does, with 0.0 for None."""
        return _none_as_zero(self.function(**self._arguments(messages, responses)))

    def identity(self) -> dict[str, Any]:
        """Return the function's identity, the columns and the form of the data."""
        facts = {"trl_columns": repr(self.columns)} | ({} if self.conversational else {"conversational": False})
        return {**identity_of(self.function), **facts}

    def _arguments(self, messages: list[BaseMessage], responses: list[AIMessage]) -> dict[str, Any]:
        columns = {name: [value] * len(responses) for name, value in self.columns.items()}
        return {**self._texts(messages, responses), **self._extras(responses), **columns}

    def _texts(self, messages: list[BaseMessage], responses: list[AIMessage]) -> dict[str, Any]:
        from langchain_core.messages import convert_to_openai_messages

        if not self.conversational:
            texts = [content(response) for response in responses]
            return {"prompts": [transcript(messages)] * len(texts), "completions": texts}
        prompts = [convert_to_openai_messages(messages) for _ in responses]
        return {"prompts": prompts, "completions": [[convert_to_openai_messages(response)] for response in responses]}

    def _extras(self, responses: list[AIMessage]) -> dict[str, Any]:
        """The trainer's other arguments, for functions that name them. There is no trainer: its logs go nowhere."""
        extras: dict[str, Any] = {}
        if self._takes("completion_ids"):
            extras |= self._completion_ids(responses)
        for log in ("log_extra", "log_metric"):
            if log in self._named:
                extras[log] = _log_nowhere
        if "trainer_state" in self._named:
            from transformers import TrainerState

            extras["trainer_state"] = TrainerState()
        return extras

    def _completion_ids(self, responses: list[AIMessage]) -> dict[str, Any]:
        """The token ids of the responses, which a search notes in their metadata."""
        found = [response.response_metadata.get("token_ids") for response in responses]
        if None not in found:
            return {"completion_ids": found}
        if "completion_ids" not in self._named:
            return {}
        message = (
            f"reward {self.name!r} reads completion_ids, which these responses lack; outside of a search, put their "
            'token ids into response_metadata["token_ids"]'
        )
        raise ConfigurationError(message)

    def _takes(self, name: str) -> bool:
        return self._takes_all or name in self._named


class AsyncTrlJudge(TrlJudge):
    """An async TRL reward function, as a judge."""

    async def __call__(self, messages: list[BaseMessage], responses: list[AIMessage]) -> Any:
        """Return what the function does, with 0.0 for None."""
        return _none_as_zero(await self.function(**self._arguments(messages, responses)))


def _parameters(function: Callable[..., Any]) -> tuple[frozenset[str], bool]:
    """The names of its parameters, and whether it takes any others."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # built in, no signature
        return frozenset(), False
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return frozenset(parameter.name for parameter in parameters), takes_all


def _log_nowhere(*_: Any, **__: Any) -> None:
    """Take a trainer's log entry."""


def _none_as_zero(values: Any) -> Any:
    """TRL's "not applicable" as 0.0, which is what it adds to TRL's sum of rewards."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | dict | set):
        return values
    return (0.0 if value is None else value for value in values)
