"""Requests: what a search yields, and what it receives for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from langchain_darwin.policies.base import Sampling
from langchain_darwin.search.vocabulary.beam import Beam


@dataclass(frozen=True, slots=True)
class Grow:
    """Decode up to `tokens` more tokens on each live beam (None: until each ends). Answer: the beams in order.

    Attributes:
        beams: Beams to continue; finished ones come back unchanged.
        tokens: Most new tokens per beam, or None.
        sampling: How to draw, if not as the task says (for asides).
        last_roots: True if the answer will be one of these beams, a continuation or copy of one, or a beam
            that is finished already. It lets a stream release the text that all of them share.
    """

    beams: Sequence[Beam]
    tokens: int | None = None
    sampling: Sampling | None = None
    last_roots: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """Reward each beam against the original conversation. Answer: the beams with `reward` set, in order.

    `reward` stays None on a beam that the reward may not judge yet (unfinished, or too short).
    """

    beams: Sequence[Beam]


@dataclass(frozen=True, slots=True)
class Propose:
    """Ask for the `k` likeliest next tokens of each beam. Answer: a list of `Proposal`, in order.

    It costs as much as decoding one token of each beam.
    """

    beams: Sequence[Beam]
    k: int


@dataclass(frozen=True, slots=True)
class Extend:
    """Go on with these beams, made by `Task.extend` from proposals. Answer: the beams, in order.

    A beam that fills the policy's context is ended. To traces, streams and limits this is a `Grow` of one
    token.

    Attributes:
        beams: All beams of the search; finished ones come back unchanged.
        last_roots: As for `Grow`.
    """

    beams: Sequence[Beam]
    last_roots: bool = False


Request: TypeAlias = Grow | Score | Propose | Extend
