"""The fields of `ChatDarwin`, their checks, and what LangChain may ask of them before a call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from langchain_core.language_models import BaseChatModel, LangSmithParams, ModelProfile
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from langchain_darwin._version import __version__
from langchain_darwin.chat.effects import warn_of_connection
from langchain_darwin.chat.hooks.profile import model_profile
from langchain_darwin.chat.plain import plain
from langchain_darwin.chat.prepare import verify
from langchain_darwin.chat.settings import values
from langchain_darwin.chat.settings.call import CHECKS, CallSettings
from langchain_darwin.chat.settings.names import translated
from langchain_darwin.dialects.dialect import named_format
from langchain_darwin.policies.base import Policy
from langchain_darwin.policies.by_name import policy_named
from langchain_darwin.rewards.accepting import as_reward
from langchain_darwin.rewards.base import Reward
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.search.darwin import Darwin

if TYPE_CHECKING:
    from langchain_darwin.search.base import Event, Search

    ModelSetting = str | Path | Policy | None
    Observe = Callable[[Event], None] | None
else:  # JSON Schemas of LangChain's configs know no protocols and no callables
    Search = ModelSetting = Observe = Any

_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {**CHECKS, "max_retries": values.whole, "dtype": values.dtype}
_CONNECTION = (
    *("api_key", "max_retries", "revision", "dtype", "device", "trust_remote_code", "engine", "engine_options"),
)
_SHARED = ("model", "reward", "search", "on_search_event", "cache", "rate_limiter", "callbacks")


class Settings(BaseChatModel):
    """Fields of `ChatDarwin`, documented there.

    A value is checked in the same way as a field, in `bind` and in a call. The constructor is pydantic's: it raises
    `pydantic.ValidationError`, a `ValueError`, whose `errors()[0]["ctx"]["error"]` is the `DarwinError` that `bind`
    and calls raise themselves. None means "not given" everywhere.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    model: ModelSetting = None
    reward: Any = Field(default="self", exclude=True)
    search: Search = Field(default_factory=Darwin)
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
    engine: str = "auto"
    engine_options: dict[str, Any] | None = None
    response_template: str | dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    trace: str | Path | None = Field(default=None, exclude=True)
    on_search_event: Observe = Field(default=None, exclude=True)

    _kept: dict[str, tuple[Any, Any]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _check_fields(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        own = translated(given, cls.model_fields, "ChatDarwin has no argument")
        return {name: _CHECKS[name](name, value) if name in _CHECKS else value for name, value in own.items()}

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        verify(CallSettings.resolve(self, None, {}))
        check_range("max_retries", self.max_retries or 0, low=0)
        if isinstance(self.response_template, str):
            named_format(self.response_template)
        set_here = {name for name in _CONNECTION if getattr(self, name) != type(self).model_fields[name].default}
        warn_of_connection(self.model, set_here)
        return self

    @model_validator(mode="after")
    def _set_darwin_version(self) -> Self:
        self._add_version("langchain-darwin", __version__)
        return self

    def with_fields(self, **own: Any) -> Self:
        """A copy with other values of some fields, which are checked as the constructor's."""
        checked = {name: _CHECKS[name](name, value) if name in _CHECKS else value for name, value in own.items()}
        copied = self.model_copy(update=checked)
        if "model" in own:
            with contextlib.suppress(Exception):  # as LangChain does: a profile is optional
                copied.profile = copied._resolve_model_profile()  # noqa: SLF001
        return copied

    def __copy__(self) -> Self:
        """A copy that keeps nothing which was made of this one's fields."""
        copied = super().__copy__()
        copied._kept = {}  # noqa: SLF001
        vars(copied).pop("_serialized", None)  # LangChain's description of the model
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        """Return what is pickled: not what can be made again of the fields."""
        state = super().__getstate__()
        return {**state, "__pydantic_private__": {**(state["__pydantic_private__"] or {}), "_kept": {}}}

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy with settings of its own, which shares the policy, reward, search, callbacks and cache."""
        memo = {} if memo is None else memo
        memo[id(self._kept)] = {}
        memo |= {id(shared): shared for shared in (getattr(self, name) for name in _SHARED)}
        return super().__deepcopy__(memo)

    def policy_of(self, model: Any) -> tuple[Policy, str]:
        """The policy that `model=` means, and its name. Making one is cheap: weights are shared process-wide."""
        policy = model
        if model is None or isinstance(model, str | Path):
            connection = {name: getattr(self, name) for name in _CONNECTION}
            policy = policy_named(None if model is None else str(model), **connection)
        return cast("Policy", policy), self._keep("name", model, lambda: str(policy.identity()["model"]))

    def reward_of(self, reward: Any) -> Reward:
        """The reward that `reward=` means."""
        made: Reward = self._keep("reward", reward, lambda: as_reward(reward))
        return made

    def _keep(self, name: str, given: Any, make: Callable[[], Any]) -> Any:
        """Return what is made of a field, made once for as long as the field holds the same object."""
        kept = self._kept.get(name)
        if kept is None or kept[0] is not given:
            kept = self._kept[name] = (given, make())
        return kept[1]

    @property
    def _llm_type(self) -> str:
        return "chat-darwin"

    @property
    def model_name(self) -> str:
        """The model's name as text; LangChain's agents look for it, since `model` may be an object."""
        return self.policy_of(self.model)[1]

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """Everything that changes an answer; the key of LangChain's cache."""
        return CallSettings.resolve(self, None, {}).identity

    def _settings(self, stop: list[str] | None, kwargs: dict[str, Any]) -> CallSettings:
        """The settings of a call, resolved before if it began in one of `ResolvedOnce`'s methods."""
        known = kwargs.get("darwin_settings")
        return known if known is not None else CallSettings.resolve(self, stop, kwargs)

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        """Return what traces show of a call: names and numbers, and no digests of code, which may take their time."""
        settings = self._settings(stop, kwargs)
        shown = {name: plain(value) for name, value in vars(settings).items() if name in CHECKS}
        return {**shown, "_type": self._llm_type, "model": settings.model_name, "reward": settings.reward.name}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The cache key: what is asked. Objects given to a call are in it by their identity, not by their address."""
        return str([("_type", self._llm_type), *sorted(self._settings(stop, kwargs).identity.items())])

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        settings = self._settings(stop, kwargs)
        params = LangSmithParams(
            ls_provider="darwin",
            ls_model_name=settings.model_name,
            ls_model_type="chat",
            ls_temperature=settings.temperature,
            ls_max_tokens=settings.max_tokens,
        )
        if settings.stop:
            params["ls_stop"] = settings.stop
        return params

    def _resolve_model_profile(self) -> ModelProfile:
        return model_profile(self.policy_of(self.model)[0])
