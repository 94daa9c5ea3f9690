"""The settings of one call: resolved once from the model's fields and what the call says, and passed on whole."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Protocol

from langchain_darwin.chat.plain import plain
from langchain_darwin.chat.settings import values
from langchain_darwin.chat.settings.names import translated
from langchain_darwin.dialects.structured_output import response_format
from langchain_darwin.dialects.tool_use import definitions
from langchain_darwin.policies.base import Policy
from langchain_darwin.rewards.base import Reward
from langchain_darwin.search.base import Event, Search, describe

logger = logging.getLogger(__name__)

NOT_ASKED = frozenset(
    ("darwin_settings", "darwin_run", "stream", "ls_structured_output_format", "structured_output_format")
)
"""Arguments of a call that say how it is made or traced, and not what is asked."""


class Model(Protocol):
    """The model whose attributes a call's settings come from."""

    def policy_of(self, model: Any) -> tuple[Policy, str]:
        """The policy that `model=` means, and its name."""
        ...

    def reward_of(self, reward: Any) -> Reward:
        """The reward that `reward=` means."""
        ...


def _kind(
    check: Callable[[str, Any], Any] = values.anything,
    *,
    identity: Callable[[Any], Any] = lambda value: value,
    per_call: bool = True,
    when_given: bool = False,
    excluded: str = "",
) -> dict[str, Any]:
    """Return what is known of a field of `CallSettings`.

    Args:
        check: Makes a value what it must be, or raises.
        identity: Makes the value JSON-able facts for the cache key.
        per_call: False for what only the model's constructor sets.
        when_given: True leaves None out of the cache key.
        excluded: Why it is not in the cache key; "" if it is.
    """
    facts = {"check": check, "identity": identity, "per_call": per_call}
    return {**facts, "when_given": when_given, "excluded": excluded}


@dataclass(frozen=True)
class CallSettings:
    """What one call asks, checked and complete.

    A field that a `ChatDarwin` has too takes the model's value where the call says nothing. All fields make up the
    identity of the call, the key of LangChain's cache, except those that name a reason not to.
    """

    model: Policy = field(metadata=_kind(check=values.model, identity=lambda policy: dict(policy.identity())))
    reward: Reward = field(metadata=_kind(identity=lambda reward: reward.identity()))
    search: Search = field(metadata=_kind(check=values.search, identity=describe))
    temperature: float = field(metadata=_kind(check=values.number))
    top_p: float = field(metadata=_kind(check=values.number))
    top_k: int = field(metadata=_kind(check=values.whole))
    max_tokens: int = field(metadata=_kind(check=values.whole))
    min_tokens: int = field(metadata=_kind(check=values.whole))
    stop: list[str] | None = field(metadata=_kind(check=values.strings))
    seed: int | None = field(metadata=_kind(check=values.whole))
    timeout: float | None = field(metadata=_kind(check=values.number))
    budget_tokens: int | None = field(metadata=_kind(check=values.whole))
    n: int = field(metadata=_kind(check=values.whole))
    response_template: str | dict[str, Any] | None = field(metadata=_kind(per_call=False))
    chat_template_kwargs: dict[str, Any] | None = field(metadata=_kind(values.mapping, identity=plain, when_given=True))
    tools: list[dict[str, Any]] | None = field(
        metadata=_kind(check=lambda _, tools: definitions(tools), when_given=True)
    )
    tool_choice: Any = field(metadata=_kind(when_given=True))
    strict: bool | None = field(metadata=_kind(check=values.flag, when_given=True))
    parallel_tool_calls: bool | None = field(metadata=_kind(check=values.flag, when_given=True))
    response_format: Any = field(metadata=_kind(check=lambda _, wanted: _as_dict(wanted), when_given=True))
    trace: Any = field(metadata=_kind(per_call=False, excluded="says where a search is recorded"))
    on_search_event: Callable[[Event], None] | None = field(
        metadata=_kind(per_call=False, excluded="only watches a search")
    )
    model_name: str = field(metadata=_kind(per_call=False, excluded="is part of the policy's identity"))

    @classmethod
    def resolve(cls, model: Model, stop: Any, overrides: dict[str, Any]) -> CallSettings:
        """The settings of a call of `model`.

        Args:
            model: Its fields count where the call says nothing.
            stop: Stop strings of the call, which replace the model's, even if there are none; None if not given.
            overrides: Other arguments of the call; None means "not given".

        Raises:
            DarwinError: An argument is not known, or its value is not one of those that it takes.
        """
        asked = overrides if stop is None else {**overrides, "stop": stop}
        given = translated(asked, PER_CALL, "a call of ChatDarwin takes no argument", NOT_ASKED)
        own, made = vars(model), dict[str, Any]()
        for name, check in CHECKS.items():  # no comprehension: its frame would be a visit, see benchmarks/way_in.py
            value = given.get(name, own.get(name))
            made[name] = None if value is None else check(name, value)
        made["model"], made["model_name"] = model.policy_of(made["model"])
        made["reward"] = model.reward_of(made["reward"])
        return cls(**made)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Return what is asked, as JSON-able facts; calls that could be answered differently have different facts."""
        made: dict[str, Any] = {}
        for name, entry in _FIELDS.items():
            value = getattr(self, name)
            if not entry.metadata["excluded"] and not (value is None and entry.metadata["when_given"]):
                made[_KEYS.get(name, name)] = facts_of(name, value)
        return made


_FIELDS = {entry.name: entry for entry in fields(CallSettings)}

_KEYS = {"model": "policy"}  # where the identity says more than the setting's name

PER_CALL = frozenset(name for name, entry in _FIELDS.items() if entry.metadata["per_call"])
"""Names of the settings that a call, or `bind`, may set for itself."""

CHECKS: Mapping[str, Callable[[str, Any], Any]] = {name: entry.metadata["check"] for name, entry in _FIELDS.items()}
"""The check of each setting."""


def facts_of(name: str, value: Any) -> Any:
    """The facts of one setting; what cannot be described counts by its object id, and matches only itself."""
    try:
        return None if value is None else _FIELDS[name].metadata["identity"](value)
    except Exception:
        logger.warning("%s=%s has no identity, so no cache knows it again", name, values.short(value), exc_info=True)
        return f"object {id(value)}"


def _as_dict(wanted: Any) -> Any:
    """A `response_format` that is a class as the JSON-able dict that asks for it."""
    return wanted if isinstance(wanted, Mapping) else response_format(wanted)
