"""What a search asks of a policy: token ids in, token ids out.

A policy never sees text, beams or rewards. It remembers the prefixes that it has computed by itself, so a caller
simply submits whole prefixes and pays only for what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from langchain_darwin.errors import ConfigurationError
from langchain_darwin.inference.chat_codec import Conversation as Conversation  # noqa: PLC0414 - part of the protocol
from langchain_darwin.runtime.ranges import check_range
from langchain_darwin.runtime.text.thinking import Thought
from langchain_darwin.runtime.text.unicode_text import well_formed

FinishReason = Literal["stop", "length", "timeout"]
"""Why a text ended: an end token or stop string, its token or context limit, or the deadline."""

OnTokens = Callable[[int, Sequence[int]], None]
"""Called as `on_tokens(job index, new token ids)` from the policy's thread; must return at once and not raise."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A grammar that the response must follow from its first token on.

    Attributes:
        kind: What `grammar` is written in.
        grammar: A JSON Schema as JSON text, a regular expression, an EBNF grammar, or an xgrammar structural tag
            as JSON text.
    """

    kind: Literal["json_schema", "regex", "ebnf", "structural_tag"]
    grammar: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn and when a response ends.

    Attributes:
        temperature: 0 takes the likeliest token; otherwise logits are divided by it. Paper: 0.7 (App. B).
        top_p: Smallest set of likeliest tokens with at least this probability, in (0, 1]; 1 is off.
        top_k: Only this many likeliest tokens; 0 is off. Paper: 40 (App. B).
        max_tokens: Most tokens of a response.
        min_tokens: End tokens and stop strings are ignored before this many tokens.
        stop: Strings that end a response; the text is cut before the first of them in the answer.
        constraint: A grammar to follow, or None.
        thought: Marks of the thinking before the answer, in which stop strings do not count; None without thinking.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 40
    max_tokens: int = 512
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    constraint: Constraint | None = None
    thought: Thought | None = None

    def __post_init__(self) -> None:
        """Refuse values outside their range; `stop` may be one string, and its Unicode is mended."""
        stop: Any = self.stop
        object.__setattr__(self, "stop", well_formed((stop,) if isinstance(stop, str) else stop))
        if "" in self.stop:
            msg = f"stop={self.stop!r} holds an empty string, which would end every response; remove it"
            raise ConfigurationError(msg)
        check_range("temperature", self.temperature, low=0)
        check_range("top_p", self.top_p, low=0, high=1, low_open=True)
        check_range("top_k", self.top_k, low=0)
        check_range("max_tokens", self.max_tokens, low=1)
        check_range("min_tokens", self.min_tokens, low=0, high=self.max_tokens)


@dataclass(frozen=True, slots=True)
class Job:
    """One text to continue.

    Attributes:
        prefix: Prompt and response so far, as token ids; not empty.
        start: Index in `prefix` where the response begins; stop strings, grammar, `max_tokens` and `min_tokens`
            count from there.
        tokens: Most tokens to add now, or None for no limit but the sampling's and the context's.
        sampling: How tokens are drawn.
        key: 64-bit key of the text's random stream. The draw for a token depends on the key and on the token's
            index in the text alone. So two short continuations equal one long one.
        deadline: `time.monotonic()` at which to return what there is, with finish "timeout"; or None.
    """

    prefix: tuple[int, ...]
    start: int
    sampling: Sampling
    key: int
    tokens: int | None = None
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """What was added to a job's prefix, and what it cost.

    Attributes:
        tokens: The new token ids, an end token included.
        logprob: Sum of the natural-log probabilities of `tokens` under the model itself (temperature 1, before
            top-k, top-p and grammar).
        finish: Why the text ended, or None if only `Job.tokens` ran out.
        prefilled: Prefix tokens computed for this job.
        reused: Prefix tokens found in the policy's memory.
    """

    tokens: tuple[int, ...]
    logprob: float
    finish: FinishReason | None
    prefilled: int = 0
    reused: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """The likeliest next tokens of one prefix, likeliest first, with natural-log probabilities and raw logits."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    prefilled: int = 0
    reused: int = 0


class Codec(Protocol):
    """Text to a model's token ids and back. Pure computation: no input or output, safe in any thread."""

    @property
    def end_ids(self) -> frozenset[int]:
        """Token ids that end a response."""
        ...

    def encode_chat(
        self,
        conversation: Conversation,
        tools: Sequence[Mapping[str, Any]] = (),
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> tuple[int, ...]:
        """Token ids of a conversation by the model's chat template, up to where the assistant's answer begins.

        `template_kwargs` are variables of the template, such as `enable_thinking`. A codec without a template takes
        and ignores them.
        """
        ...

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Token ids of bare text, with no special tokens added and none recognised."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids; end tokens and other special tokens are left out."""
        ...


@runtime_checkable
class Policy(Protocol):
    """A language model that continues token ids.

    Implementations are safe to call from any thread, and independent jobs do not influence one another.
    """

    @property
    def name(self) -> str:
        """The model's name for users: hub id, folder name or served name."""
        ...

    @property
    def codec(self) -> Codec:
        """The model's tokenizer and chat template."""
        ...

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and response together."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """JSON-able facts that tell this policy from any other with different outputs.

        `"model"` is the model's name. Must not load weights.
        """
        ...

    def submit(self, jobs: Sequence[Job], on_tokens: OnTokens | None = None) -> Future[list[Growth]]:
        """Continue each job; the future's list is in the jobs' order.

        Cancelling the future frees its rows within one decode step.
        """
        ...

    def propose(
        self, prefixes: Sequence[tuple[int, ...]], k: int, among: Sequence[int] | None = None
    ) -> Future[list[Proposal]]:
        """The `k` likeliest next tokens of each prefix, or those of `among` (likeliest first) if given."""
        ...
