"""Events: what happened in a search, for traces, streams and live views.

The runner emits `Started` to `Scored` and `Finished`, searches the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from langchain_darwin.search.vocabulary.beam import Beam, Outcome


@dataclass(frozen=True, slots=True)
class Started:
    """A search began."""

    search: Mapping[str, Any]
    seed: int
    instruction: str
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class GrowthStarted:
    """A `Grow` is about to be answered (only while tokens are watched)."""

    beams: tuple[Beam, ...]
    last_roots: bool


@dataclass(frozen=True, slots=True)
class TokensDrawn:
    """New tokens of one beam while a `Grow` runs (only if a stream asked for them)."""

    beam: int
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Grown:
    """A `Grow` or an `Extend` was answered."""

    beams: tuple[Beam, ...]
    prefilled: int
    decoded: int
    reused: int
    seconds: float
    last_roots: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """A `Score` was answered; `judged` of the beams were new to the reward."""

    beams: tuple[Beam, ...]
    judged: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CycleStarted:
    """A mutation cycle began from `instruction`, drawn from `archive` (Alg. 1: I_cand ~ A)."""

    cycle: int
    instruction: str
    archive: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mutated:
    """Instructions were rewritten. `fallbacks[i]` is the reason why the original is in place i, or None."""

    cycle: int
    instructions: tuple[str, ...]
    fallbacks: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Replaced:
    """Beam `receiver` was given up; `beam` took its place, with the response of `donor`."""

    receiver: int
    donor: int
    beam: int
    reward: float | None


@dataclass(frozen=True, slots=True)
class Archived:
    """A cycle ended; the archive is now this (Alg. 1: A <- ...), with each instruction's final reward."""

    cycle: int
    instructions: tuple[str, ...]
    rewards: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Remark:
    """Any other remark of a search, for people: a skipped step and its reason, a stop before the end."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The search ended. `stopped` names the limit that cut it short ("timeout", "budget"), else None."""

    outcome: Outcome
    stopped: str | None


Event: TypeAlias = (
    Started
    | GrowthStarted
    | TokensDrawn
    | Grown
    | Scored
    | CycleStarted
    | Mutated
    | Replaced
    | Archived
    | Remark
    | Finished
)
