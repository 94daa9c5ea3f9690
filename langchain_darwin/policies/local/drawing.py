"""The next tokens of a batch of texts: drawn, led by grammars, or only proposed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from langchain_darwin.inference.memory.rows import Row
from langchain_darwin.policies.base import Proposal
from langchain_darwin.policies.local.sampling import Plan, draw, make_plan
from langchain_darwin.policies.sequences import TokenSequence


@dataclass(eq=False)
class Drawing:
    """What a batch draws with: `tokens` are the rows' newest, `positions` those of their next ones.

    `ids` are the numbers of `tokens` on the host.
    """

    plan: Plan
    tokens: torch.Tensor
    ids: list[int]
    positions: torch.Tensor
    first: int  # smallest of `positions`

    def draw(
        self, texts: list[TokenSequence], logits: torch.Tensor, allowed: torch.Tensor | None
    ) -> tuple[list[int], list[float]]:
        """The next token of each text and its log-probability; grammars are told of it.

        Args:
            texts: Those that this was made for, in the same order.
            logits: Float32 `[texts, vocabulary]`; may be changed in place.
            allowed: Bits of what the texts' grammars allow, int32 `[texts, vocabulary / 32]`; None without any.
        """
        original = logits if allowed is None else logits.clone()
        tokens, logprobs = draw(logits, self.plan, self.positions, first_position=self.first, allowed=allowed)
        if allowed is not None:
            tokens, logprobs = _follow(texts, tokens, logprobs, original)
        self.tokens = tokens
        self.positions = self.positions + 1
        self.first += 1
        drawn = torch.stack([tokens.double(), logprobs.double()]).tolist()  # the one wait for the device
        self.ids = [int(token) for token in drawn[0]]
        return self.ids, drawn[1]


def make_drawing(texts: list[TokenSequence], end_ids: Iterable[int], device: torch.device) -> Drawing:
    """The drawing of the next tokens of `texts`."""
    jobs = [text.job for text in texts]
    lengths = [text.length for text in texts]
    floors = [job.start + job.sampling.min_tokens for job in jobs]
    newest = [text.new[-1] if text.new else text.job.prefix[-1] for text in texts]
    return Drawing(
        plan=make_plan([job.sampling for job in jobs], [job.key for job in jobs], floors, sorted(end_ids), device),
        tokens=torch.tensor(newest, device=device),
        ids=newest,
        positions=torch.tensor(lengths, device=device),
        first=min(lengths),
    )


def propose(rows: Sequence[Row], logits: torch.Tensor, k: int, among: Sequence[int] | None) -> list[Proposal]:
    """The `k` likeliest next tokens of each row, or all of `among`, likeliest first."""
    logprobs = logits.log_softmax(dim=-1)
    if among is None:
        best, ids = logprobs.topk(min(k, logprobs.shape[-1]), dim=-1)
    else:
        listed = torch.tensor(list(among), device=logits.device)
        best, order = logprobs[:, listed].sort(dim=-1, descending=True, stable=True)
        ids = listed[order]
    return [
        Proposal(tuple(tokens), tuple(values), row.prefilled, row.reused)
        for row, tokens, values in zip(rows, ids.tolist(), best.tolist(), strict=True)
    ]


def _follow(
    texts: list[TokenSequence], tokens: torch.Tensor, logprobs: torch.Tensor, logits: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tell the grammars what was drawn. Where a text must be closed now for want of room, its next token changes."""
    for row, (text, token) in enumerate(zip(texts, tokens.tolist(), strict=True)):
        if text.matcher is None:
            continue
        taken = text.matcher.accept(token, text.room - len(text.new) - 1)
        if taken != token:
            tokens[row] = taken
            logprobs[row] = logits[row].log_softmax(dim=-1)[taken]
    return tokens, logprobs
