"""Requests for the likeliest next tokens of prefixes; each prefix takes part in the batch for one step."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch

from langchain_darwin.policies.base import Proposal, Sampling
from langchain_darwin.policies.sequences import reject, resolve

_GREEDY = Sampling(temperature=0)


@dataclass(eq=False)
class ProposalRequest:
    """One `propose`.

    Attributes:
        future: Gets a proposal for each of `prefixes`, in order.
        prefixes: Token ids, at least one each.
        k: How many of the likeliest tokens are proposed.
        among: The token ids to choose from, or None for all.
        answers: Those there are, by place among `prefixes`.
    """

    future: Future[list[Proposal]]
    prefixes: Sequence[tuple[int, ...]]
    k: int
    among: Sequence[int] | None
    answers: dict[int, Proposal] = field(default_factory=dict)

    def parts(self) -> list[ProposedPrefix]:
        """Return a request for each prefix; without prefixes, the future is done."""
        if not self.prefixes:
            resolve(self.future, [])
        return [ProposedPrefix(self, place) for place in range(len(self.prefixes))]


@dataclass(eq=False)
class ProposedPrefix:
    """One prefix of a `ProposalRequest`, waiting or live. What is drawn for its row is not used."""

    request: ProposalRequest
    place: int
    read: int = 0
    prefilled_ahead: int = 0
    cost: tuple[int, int] | None = None  # prefilled and reused
    begun: bool = True
    sampling: Sampling = _GREEDY
    key: int = 0
    floor: int = 0

    @property
    def tokens(self) -> tuple[int, ...]:
        """Token ids of the prefix."""
        return self.request.prefixes[self.place]

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.tokens)

    @property
    def newest(self) -> int:
        """The last token id."""
        return self.tokens[-1]

    @property
    def gone(self) -> bool:
        """True if nobody waits for the answer any more."""
        return self.request.future.done()

    def answer(self, logits: torch.Tensor) -> None:
        """Propose by the logits `[vocabulary]` after the prefix; with the last answer the caller gets them all."""
        request = self.request
        tokens, logprobs = likeliest(logits, request.k, request.among)
        request.answers[self.place] = Proposal(tokens, logprobs, *(self.cost or (0, 0)))
        if len(request.answers) == len(request.prefixes):
            resolve(request.future, [request.answers[place] for place in range(len(request.prefixes))])

    def fail(self, error: Exception) -> None:
        """Deliver an error in place of the proposals."""
        reject(self.request.future, "the model failed", error)


def likeliest(logits: torch.Tensor, k: int, among: Sequence[int] | None) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Return the `k` likeliest tokens, or all of `among`, likeliest first, and their natural-log probabilities.

    Args:
        logits: Float32 `[vocabulary]`.
        k: How many, if `among` is None.
        among: Token ids to choose from, or None for all.
    """
    logprobs = logits.log_softmax(dim=-1)
    if among is None:
        best, ids = logprobs.topk(min(k, len(logprobs)))
    else:
        listed = torch.tensor(list(among), device=logits.device)
        best, order = logprobs[listed].sort(descending=True, stable=True)
        ids = listed[order]
    return tuple(ids.tolist()), tuple(best.tolist())
