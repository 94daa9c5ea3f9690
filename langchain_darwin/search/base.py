"""The vocabulary of every search: the beam, the requests a search makes, the events it tells of, its task.

A search is a frozen dataclass with a method `run(task)`, a generator that performs no input or output: it
yields requests and receives their results, and yields events and receives None. `search/runner.py` drives it.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from types import FunctionType
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from langchain_darwin.policies.base import Codec, FinishReason, Growth, Proposal, Sampling
from langchain_darwin.rewards.identity import digest


@dataclass(frozen=True, slots=True)
class Beam:
    """One text under way or finished; never changed, only succeeded by another with the same id.

    Attributes:
        id: Unique within a search. A grown or scored beam keeps its id, a copy gets a new one.
        instruction: Text of the last human message that this beam answers, possibly a rewritten one.
        prompt: Token ids of the whole prompt.
        tokens: Token ids of the response so far, the end token included. Never re-tokenised.
        key: 64-bit key of the beam's random stream, from the task's seed and the id.
        parent: Id of the beam it was copied from, or None for a fresh one.
        logprob: Sum of natural-log probabilities of the tokens, each under the prompt it was drawn with.
        reward: Last score against the original conversation, or None if not judged as it stands.
        finish: Why it ended, or None while it is live.
        aside: An auxiliary text (a rewritten instruction, say): never scored, never an answer.
    """

    id: int
    instruction: str
    prompt: tuple[int, ...]
    tokens: tuple[int, ...] = ()
    key: int = 0
    parent: int | None = None
    logprob: float = 0.0
    reward: float | None = None
    finish: FinishReason | None = None
    aside: bool = False

    @property
    def live(self) -> bool:
        """Whether it can still grow."""
        return self.finish is None

    @property
    def complete(self) -> bool:
        """Whether it came to its own end, and was not cut by a deadline."""
        return self.finish in ("stop", "length")

    def grown(self, growth: Growth) -> Beam:
        """The beam with a policy's new tokens; its reward is void unless nothing was added."""
        return replace(
            self,
            tokens=self.tokens + growth.tokens,
            logprob=self.logprob + growth.logprob,
            finish=growth.finish,
            reward=None if growth.tokens else self.reward,
        )


# Requests: what a search yields, and what it gets back.


@dataclass(frozen=True, slots=True)
class Grow:
    """Decode up to `tokens` more tokens on each live beam (None: until each ends). Answer: the beams in order.

    Attributes:
        beams: Beams to continue; finished ones come back unchanged.
        tokens: Most new tokens per beam, or None.
        sampling: How to draw, if not as the task says (for asides).
        last_roots: True if the answer will be one of these beams, a continuation or copy of one, or a beam
            that is finished already. It lets a stream hand out the text that all of them share.
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


# Events: what happened, for traces, streams and live views. The runner emits the first five and `Finished`,
# searches the rest.


@dataclass(frozen=True, slots=True)
class Started:
    """A search began."""

    search: Mapping[str, Any]
    seed: int
    instruction: str
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class GrowthStarted:
    """A `Grow` is about to be answered (told only while tokens are watched)."""

    beams: tuple[Beam, ...]
    last_roots: bool


@dataclass(frozen=True, slots=True)
class TokensDrawn:
    """New tokens of one beam while a `Grow` is under way (only when a stream asked for them)."""

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
    """Instructions were rewritten. `fallbacks[i]` says why the original stands in place i, else None."""

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
    """Anything else a search has to say, for people: a skipped step and why, a stop before the end."""

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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search found.

    Attributes:
        beams: Candidate answers, best first; never empty.
        seed: The plain answer to the original instruction, where the search made one; else None.
    """

    beams: tuple[Beam, ...]
    seed: Beam | None = None

    @property
    def best(self) -> Beam:
        """The answer."""
        return self.beams[0]


Steps: TypeAlias = Generator[Request | Event, Any, Outcome]
"""The type of `Search.run`."""

T = TypeVar("T")
Part: TypeAlias = Generator[Request | Event, Any, T]
"""A part of a search, to be run by `yield from`."""


@runtime_checkable
class Search(Protocol):
    """An algorithm. Its fields are its whole configuration; `run` keeps all state in local variables."""

    def run(self, task: Task) -> Steps:
        """Search for an answer to the task."""
        ...


def describe(search: Search) -> dict[str, Any]:
    """The search as JSON-able facts: its class name and its fields.

    Two searches that could give different answers never look the same: a function among the fields, and a class
    that is not of this package, are told from others by their code and what it refers to.
    """
    thing: Any = search
    facts: dict[str, Any] = {"search": type(search).__qualname__}
    code: list[Any] = [member for kind in type(search).__mro__ for member in _own_functions(kind)]
    if is_dataclass(thing):
        facts |= {entry.name: _described(getattr(thing, entry.name)) for entry in fields(thing)}
    else:
        code.append(thing)
    return {**facts, "digest": digest(code)} if code else facts


def _own_functions(kind: type) -> list[FunctionType]:
    """Functions of a class outside this package, without those that dataclasses generate."""
    if kind.__module__.startswith("langchain_darwin."):
        return []
    return [member for name, member in vars(kind).items() if isinstance(member, FunctionType) and name[:2] != "__"]


def _described(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_described(item) for item in value]
    if isinstance(value, Search) and not isinstance(value, type):
        return describe(value)
    name = getattr(value, "__qualname__", type(value).__qualname__)
    return {"name": name, "digest": digest(value)}


@dataclass
class Task:
    """One question put to a search. Made anew for every run.

    Attributes:
        conversation: The original conversation, in chat-template form.
        codec: The policy's tokenizer and chat template.
        sampling: How responses are drawn.
        seed: All randomness of the run follows from it.
        tools: Tool definitions for the chat template (JSON Schema dicts).
    """

    conversation: Sequence[Mapping[str, Any]]
    codec: Codec
    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    tools: Sequence[Mapping[str, Any]] = ()
    _ids: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def __post_init__(self) -> None:
        """Encode the original prompt once."""
        self.rng = random.Random(self.seed)
        self.prompt = self.codec.encode_chat(self.conversation, self.tools)

    @property
    def instruction(self) -> str:
        """Text of the last human message, or "" if there is none."""
        said = (str(turn["content"]) for turn in reversed(self.conversation) if turn["role"] == "user")
        return next(said, "")

    def root(self, instruction: str | None = None) -> Beam:
        """A fresh beam that answers the original instruction, or another one in its place."""
        if instruction is None or instruction == self.instruction:
            return self._beam(self.instruction, self.prompt)
        turns = with_instruction(self.conversation, instruction)
        return self._beam(instruction, self.codec.encode_chat(turns, self.tools))

    def roots(self, n: int) -> list[Beam]:
        """`n` fresh beams that answer the original instruction, each with its own random stream."""
        return [self.root() for _ in range(n)]

    def aside(self, question: str) -> Beam:
        """A fresh auxiliary beam that answers `question` alone, outside the conversation."""
        prompt = self.codec.encode_chat([{"role": "user", "content": question}])
        return replace(self._beam(question, prompt), aside=True)

    def branch(self, donor: Beam) -> Beam:
        """A copy of `donor`, instruction and response, that goes on with a random stream of its own."""
        ident = next(self._ids)
        return replace(donor, id=ident, parent=donor.id, key=stream_key(self.seed, ident))

    def graft(self, donor: Beam, receiver: Beam) -> Beam:
        """The response of `donor` under the instruction of `receiver`, as in the paper."""
        return replace(self.branch(donor), instruction=receiver.instruction, prompt=receiver.prompt)

    def extend(self, beam: Beam, token: int, logprob: float = 0.0) -> Beam:
        """The beam with one more token, chosen by the search; it ends where a policy would have ended it."""
        longer = beam.grown(Growth((token,), logprob, None))
        return replace(longer, finish=self._finish(longer))

    def text(self, beam: Beam) -> str:
        """The response as text, without end token, cut before the first stop string."""
        text = self.codec.decode(beam.tokens)
        cuts = [at for at in (text.find(stop) for stop in self.sampling.stop) if at >= 0]
        return text[: min(cuts)] if cuts and not beam.aside else text

    def _finish(self, beam: Beam) -> FinishReason | None:
        answered = len(beam.tokens)
        if beam.tokens[-1] in self.codec.end_ids:
            return "stop"
        if self.sampling.stop and answered >= self.sampling.min_tokens:
            text = self.codec.decode(beam.tokens)
            if any(stop in text for stop in self.sampling.stop):
                return "stop"
        return "length" if answered >= self.sampling.max_tokens else None

    def _beam(self, instruction: str, prompt: tuple[int, ...]) -> Beam:
        ident = next(self._ids)
        return Beam(ident, instruction, prompt, key=stream_key(self.seed, ident))


def with_instruction(conversation: Sequence[Mapping[str, Any]], instruction: str) -> list[Mapping[str, Any]]:
    """The conversation with the text of its last human message replaced; everything else stays."""
    turns = list(conversation)
    last = max((i for i, turn in enumerate(turns) if turn["role"] == "user"), default=None)
    if last is not None:
        turns[last] = {**turns[last], "content": instruction}
    return turns


def stream_key(seed: int, ident: int) -> int:
    """A 63-bit key for the random stream of beam `ident`: blake2b, so that near seeds share nothing."""
    digest = hashlib.blake2b(f"{seed}/{ident}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def ranked(beams: Iterable[Beam]) -> list[Beam]:
    """Beams by reward, highest first; unjudged ones last; ties in the given order."""
    return sorted(beams, key=lambda beam: (beam.reward is None, -(beam.reward or 0.0)))


Result: TypeAlias = list[Beam] | list[Proposal]
"""What a request is answered with."""
