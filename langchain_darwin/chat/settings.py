"""Settings of `ChatDarwin`: its fields, their checks, and what one call makes of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, cast

from langchain_core.language_models import BaseChatModel, LangSmithParams, ModelProfile
from pydantic import ConfigDict, Field, SecretStr, SkipValidation, model_validator

from langchain_darwin._version import __version__
from langchain_darwin.chat.profile import model_profile
from langchain_darwin.dialects.dialect import named_format
from langchain_darwin.errors import ConfigurationError, InvalidRequestError
from langchain_darwin.policies.base import Policy, Sampling
from langchain_darwin.policies.by_name import policy_named
from langchain_darwin.rewards.accepting import as_reward
from langchain_darwin.rewards.base import Reward
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.base import Event, Search, describe
from langchain_darwin.search.darwin import Darwin
from langchain_darwin.search.driver.runner import Budget

PER_CALL = frozenset(
    (
        *("model", "reward", "search", "temperature", "top_p", "top_k", "max_tokens", "min_tokens"),
        *("seed", "timeout", "budget_tokens", "n"),
    )
)
"""Fields that a call, or `bind`, may set for itself."""

NOT_ASKED = frozenset(("darwin_run", "stream"))
"""Arguments of a call that say how it is made and not what is asked; `stream` is LangChain's."""


class Settings(BaseChatModel):
    """Fields of `ChatDarwin`, documented there, and how a call with settings of its own reads them."""

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
    api_key: SecretStr | None = Field(default=None, exclude=True)
    max_retries: int | None = None
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
            check_names(values, {*cls.model_fields}, "ChatDarwin has no argument")
        return values

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        self._sampling(None, {})
        Budget(self.timeout, self.budget_tokens)
        check_range("n", self.n, low=1)
        check_range("max_retries", self.max_retries or 0, low=0)
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
    def model_name(self) -> str:
        """The model's name as text; LangChain's agents look for it, since `model` may be an object."""
        return str(self._policy({}).identity()["model"])

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """Everything that changes an answer; the key of LangChain's cache."""
        return self._identity({})

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        own = {name: value for name, value in kwargs.items() if name in PER_CALL}
        rest = {name: value for name, value in kwargs.items() if name not in PER_CALL | NOT_ASKED}
        return {**self._identity(own), "_type": self._llm_type, "stop": self._stops(stop), **rest}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The cache key: what is asked. Objects given to a call are in it by their identity, not by their address."""
        return str(sorted(self._get_invocation_params(stop, **kwargs).items()))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = LangSmithParams(
            ls_provider="darwin",
            ls_model_name=str(self._policy(kwargs).identity()["model"]),
            ls_model_type="chat",
            ls_temperature=self._setting("temperature", kwargs),
            ls_max_tokens=self._setting("max_tokens", kwargs),
        )
        if stops := self._stops(stop):
            params["ls_stop"] = stops
        return params

    def _resolve_model_profile(self) -> ModelProfile:
        return model_profile(self._policy({}))

    def _setting(self, name: str, kwargs: Mapping[str, Any]) -> Any:
        value = kwargs.get(name)
        return getattr(self, name) if value is None else value

    def _policy(self, kwargs: Mapping[str, Any]) -> Policy:
        """The policy of a call. Making one is cheap: weights and worker are shared process-wide."""
        model = self._setting("model", kwargs)
        if model is None or isinstance(model, str | Path):
            return policy_named(
                None if model is None else str(model),
                api_key=self.api_key,
                max_retries=self.max_retries,
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
        return Sampling(**{name: self._setting(name, kwargs) for name in names}, stop=tuple(self._stops(stop) or ()))

    def _stops(self, stop: list[str] | None) -> list[str] | None:
        """Stop strings of a call; those given to it replace the model's, even if there are none."""
        return self.stop if stop is None else stop

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


def check_names(values: Mapping[str, Any], known: set[str] | frozenset[str], complaint: str) -> None:
    """Raise `InvalidRequestError` with a hint at the first name that is not known."""
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(sorted(known))}"
            msg = f"{complaint} {name!r}; {hint}"
            raise InvalidRequestError(msg)
