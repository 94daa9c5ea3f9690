"""Settings without effect: each is warned about, once for each place in the code, as Python's warnings are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_darwin.chat.settings.call import CallSettings, facts_of
from langchain_darwin.policies.vllm.policy import SCHEMES
from langchain_darwin.rewards.judges.self_reward import SelfReward
from langchain_darwin.search.base import Beam, Event, Finished, Grown, Scored
from langchain_darwin.search.darwin import Darwin

_OF_SERVERS: tuple[str, ...] = ("api_key", "max_retries")
_OF_LOCAL_MODELS: tuple[str, ...] = ("revision", "device", "dtype", "trust_remote_code")


def warn_of_connection(model: Any, given: set[str]) -> None:
    """Warn of fields that `model=` makes no use of.

    Args:
        model: The field of that name.
        given: Names of the fields that are not at their defaults.
    """
    if model is not None and not isinstance(model, str | Path):
        kind, unused = "a policy", _OF_SERVERS + _OF_LOCAL_MODELS
    elif str(model).startswith(SCHEMES):
        kind, unused = "a model on a server", _OF_LOCAL_MODELS
    else:
        kind, unused = "a model that runs here", _OF_SERVERS
    for name in unused:
        if name in given:
            _warn(f"{name}= has no effect: {kind} takes no such setting from ChatDarwin; leave it out")


def watch_effects(settings: CallSettings) -> Callable[[Event], None]:
    """An observer of a search that warns of settings whose effect the search shows to be none."""
    greedy = settings.temperature == 0 or settings.top_k == 1

    def observe(event: Event) -> None:
        match event:
            case Grown() if greedy and _repeats(event.beams):
                _warn_of_repeats(settings)
            case Scored() if not settings.reward.partial and _unjudged(event.beams):
                _warn_of_beginnings(settings)
            case Finished() if len(event.outcome.beams) < settings.n:
                found = len(event.outcome.beams)
                _warn(f"n={settings.n} answers are wanted, but the search gives {found}; give it more candidates")

    return observe


def warn_of_tools(settings: CallSettings) -> None:
    """Warn of settings of tool calls where there are no tools."""
    for name in ("strict", "parallel_tool_calls"):
        if getattr(settings, name) is not None and not settings.tools:
            _warn(f"{name}={getattr(settings, name)} has no effect without tools; pass tools or leave it out")


def warn_of_changing_reward(settings: CallSettings) -> None:
    """Warn of a reward that has changed since the cache was asked, so that the cache never finds its answers."""
    asked = vars(settings).get("identity")
    if asked is not None and facts_of("reward", settings.reward) != asked["reward"]:
        _warn(
            f"reward {settings.reward.name!r} changes while it judges, so LangChain's cache never finds its answers "
            "again; give it a method identity() that leaves out what it counts or remembers"
        )


def _repeats(beams: Sequence[Beam]) -> bool:
    """Return True if two answers are the same text under the same prompt."""
    answers = [(beam.prompt, beam.tokens) for beam in beams if beam.tokens and not beam.aside]
    return len(set(answers)) < len(answers)


def _unjudged(beams: Sequence[Beam]) -> bool:
    """Return True if there are only beginnings, and none has a reward."""
    return bool(beams) and all(not beam.complete and beam.reward is None and not beam.aside for beam in beams)


def _warn_of_repeats(settings: CallSettings) -> None:
    drawn = "temperature=0" if settings.temperature == 0 else "top_k=1"
    name = type(settings.search).__name__
    _warn(
        f"{drawn} draws the same text for equal candidates, so {name} decodes it several times over; "
        "raise the temperature, or use search=BestOfN(n=1)"
    )


def _warn_of_beginnings(settings: CallSettings) -> None:
    if settings.search == Darwin() and isinstance(settings.reward.judge, SelfReward):
        return  # nobody has set these: they are the defaults
    name = type(settings.search).__name__
    _warn(
        f"reward {settings.reward.name!r} judges finished answers only, so {name} cannot compare beginnings; "
        "use search=BestOfN(...), or a reward with partial=True"
    )


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=3)
