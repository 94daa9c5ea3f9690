"""`reward="self"`: the policy judges its own answers."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from langchain_darwin.errors import ConfigurationError, ContextOverflowError, UnsupportedModelError
from langchain_darwin.rewards.transcript import content, transcript

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage, BaseMessage

    from langchain_darwin.policies.base import Codec, Policy, Proposal

QUESTION = "Is this a good answer? Reply with Yes or No."

_PROMPT = """\
Read this conversation and the answer that an assistant gave.

[Conversation]
{conversation}

[Answer]
{answer}

{question}"""

_YES = ("Yes", " Yes", "yes", " yes", "YES")
_NO = ("No", " No", "no", " no", "NO")


@dataclass(frozen=True)
class SelfReward:
    """Log-odds that the policy says Yes rather than No when asked whether an answer is good; any real number.

    `log sum_v p(v | judging prompt) - log sum_w p(w | judging prompt)`, v over the spellings of Yes that are
    one token of the policy, w over those of No. It needs no second model. It costs one prefill of conversation
    and answer, most of which the policy remembers if it judged the same text when it was shorter.

    Weak on small models: SmolLM2-135M preferred the better answer in 9 of 12 plain pairs, and in 12 of 24 when
    both were cut short. Unfinished text is therefore not judged unless asked for, and a search that compares
    unfinished texts cannot. Prefer a reward model, a rule, or a judge that knows more than the policy.

    Attributes:
        question: What the policy is asked; must be answerable by Yes (good) or No (bad).
        policy: The policy to ask; `ChatDarwin` gives its own.
        partial: Whether to judge unfinished text.
    """

    question: str = QUESTION
    policy: Policy | None = field(default=None, compare=False)
    partial: bool = False

    name = "self"

    def __call__(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """One log-odds per response."""
        proposals, yes = self._ask(messages, responses)
        return [_log_odds(proposal, yes) for proposal in proposals.result()]

    async def acall(self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]) -> list[float]:
        """The same without blocking the event loop."""
        proposals, yes = self._ask(messages, responses)
        return [_log_odds(proposal, yes) for proposal in await asyncio.wrap_future(proposals)]

    def bind(self, policy: Policy) -> SelfReward:
        """The same reward asking `policy`, unless it has one already."""
        return self if self.policy is not None else replace(self, policy=policy)

    def identity(self) -> dict[str, Any]:
        """The question, and the policy if it is bound."""
        policy = {} if self.policy is None else {"policy": dict(self.policy.identity())}
        return {"reward": "SelfReward", "question": self.question, **policy}

    def _ask(
        self, messages: Sequence[BaseMessage], responses: Sequence[AIMessage]
    ) -> tuple[Future[list[Proposal]], frozenset[int]]:
        policy = self._policy()
        yes, no = _answer_ids(policy)
        conversation = transcript(messages)
        prefixes = [fitting_prompt(policy, conversation, content(response), self._prompt) for response in responses]
        among = [*yes, *no]
        return policy.propose(prefixes, k=len(among), among=among), yes

    def _policy(self) -> Policy:
        if self.policy is None:
            message = "SelfReward() has no policy to ask: give it to ChatDarwin, or pass policy="
            raise ConfigurationError(message)
        return self.policy

    def _prompt(self, conversation: str, answer: str) -> str:
        return _PROMPT.format(conversation=conversation, answer=answer, question=self.question)


def fitting_prompt(policy: Policy, conversation: str, answer: str, write: Callable[[str, str], str]) -> tuple[int, ...]:
    """Token ids of the judging prompt `write(conversation, answer)`; too long a one loses the conversation's start.

    Raises:
        ContextOverflowError: The answer alone is too long.
    """
    while True:
        prompt = policy.codec.encode_chat([{"role": "user", "content": write(conversation, answer)}])
        if len(prompt) < policy.context_length:
            return prompt
        if not conversation:
            message = (
                f"an answer and the judging prompt are {len(prompt)} tokens, more than the context of"
                f" {policy.context_length}; lower max_tokens, or use another reward than 'self'"
            )
            raise ContextOverflowError(message)
        conversation = conversation[len(conversation) // 4 + 1 :]


def _log_odds(proposal: Proposal, yes: frozenset[int]) -> float:
    pairs = list(zip(proposal.tokens, proposal.logprobs, strict=True))
    good = [logprob for token, logprob in pairs if token in yes]
    bad = [logprob for token, logprob in pairs if token not in yes]
    return _logsumexp(good) - _logsumexp(bad)


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def _answer_ids(policy: Policy) -> tuple[frozenset[int], frozenset[int]]:
    """Token ids of the spellings of Yes and of No that are a single token."""
    yes, no = _single_tokens(policy.codec, _YES), _single_tokens(policy.codec, _NO)
    if not yes or not no:
        message = f"reward='self': {policy.name!r} has no single tokens for Yes and No; pass another reward"
        raise UnsupportedModelError(message)
    return yes, no


def _single_tokens(codec: Codec, words: Iterable[str]) -> frozenset[int]:
    encoded = [codec.encode_text(word) for word in words]
    return frozenset(tokens[0] for tokens in encoded if len(tokens) == 1)
